# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of what systems leave beside the files of people: it is no part of any VM, and often has the name of one.

Sources: Apple's AppleDouble (`._NAME`) and what macOS and netatalk make on a share; Synology's and QNAP's indexes and bins; Windows Explorer, and the
streams of NTFS as Samba and WSL write them; mke2fs.
"""

from __future__ import annotations

import re

_LITTER = re.compile(
    r"\._.*|__macosx|\.ds_store|\.appledouble|\.appledb|\.appledesktop|\.apdisk|\.fseventsd|\.spotlight-v100|\.documentrevisions-v100"
    r"|\.temporaryitems|temporary items|network trash folder|thevolumesettingsfolder|icon\r"
    r"|\.trash(es|-[0-9]+)?|@eadir|@tmp|#recycle|#snapshot|.*@syno(eastream|resource)|\.@__thumb|@recycle|@recently-snapshot"
    r"|thumbs\.db|ehthumbs(_vista)?\.db|desktop\.ini|\$recycle\.bin|system volume information"
    r"|.*:(zone\.identifier|afp_afpinfo|afp_resource)(:\$data)?|lost\+found",
    re.IGNORECASE | re.DOTALL,
)


def is_litter(path: str) -> bool:
    """Whether a part of a relative path is a name that only a system gives, to a file or to a directory for what it keeps."""
    return any(map(_LITTER.fullmatch, path.split("/")))


def is_hidden(path: str) -> bool:
    """Whether it is litter, or below a name that begins with a dot: what is on its way, locked, or kept by a program for itself."""
    return is_litter(path) or any(part.startswith(".") and part not in (".", "..") for part in path.split("/"))
