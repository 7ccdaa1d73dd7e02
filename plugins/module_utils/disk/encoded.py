# SPDX-License-Identifier: GPL-3.0-or-later
"""Text in the encoding that it names itself, as VMware's products on Windows write theirs: .encoding in a .vmx, encoding in a VMDK descriptor."""

from __future__ import annotations

import codecs
import re
from typing import Optional

from ..core.errors import InvalidInput

_NAMED = re.compile(rb'(?:^|[\r\n])[ \t]*\.?encoding[ \t]*=[ \t]*"?([^"#\r\n]*)', re.IGNORECASE)
_WINDOWS = re.compile(r"(?:windows|ibm|cp)[-_]?([0-9]{3,5})(?:_p.*)?", re.IGNORECASE)
# What Windows means by these names is more than the standards do; Python has others under another name.
_KNOWN = {
    **dict.fromkeys(("shift_jis", "shift-jis", "sjis", "943"), "cp932"),
    **dict.fromkeys(("gbk", "gb2312", "936", "54936"), "gb18030"),
    **dict.fromkeys(("20866", "878"), "koi8_r"),
    "20932": "euc_jp",
    "51949": "euc_kr",
    "28591": "latin-1",
    "10000": "mac_roman",
}
_PLAIN = b'.a|22 = "\\x41+AGE-~{\x1b$B"'  # which no encoding changes that has ASCII in it, and every other one does


def text(data: bytes, path: str, otherwise: str, errors: str = "strict") -> str:
    """UTF-8 wherever it is that, else what it says, else `otherwise` with `errors`; UTF-16 where it begins so, as editors on Windows save a file.

    Raises InvalidInput for an encoding that is unknown, or not the one.
    """
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and not data.startswith(codecs.BOM_UTF32_LE):
        try:
            return data.decode("utf-16")
        except UnicodeDecodeError as error:
            raise InvalidInput(
                f"{path} begins as UTF-16, and is not that (byte {error.start}).",
                "Copy it again; if it was edited, save it as UTF-8.",
                path=path,
            ) from error
    found = _NAMED.search(data)
    name = found[1].decode("ascii", "replace").strip() if found is not None else ""
    codec = _codec(name) if name else otherwise
    if codec is None:
        raise InvalidInput(
            f"{path} is written in the encoding {name[:40]!r}, which is not known.",
            "Save it as UTF-8 in a copy of the VM, and set its encoding to UTF-8 there.",
            path=path,
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        return data.decode(codec, "strict" if name else errors)
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"{path} is not written in the encoding {name[:40]!r} that it names (byte {error.start}).",
            "Copy it again; if it was edited, save it as UTF-8, and set its encoding to UTF-8.",
            path=path,
        ) from error


def _codec(name: str) -> Optional[str]:
    """Python's name of an encoding in which ASCII is ASCII; None for another one, and for what is none."""
    windows = _WINDOWS.fullmatch(name)
    number = windows[1] if windows is not None else ""
    codec = _KNOWN.get(number or name.lower()) or (f"cp{number}" if number else name)
    try:
        return codec if _PLAIN.decode(codec) == _PLAIN.decode("ascii") else None
    except (LookupError, ValueError):
        return None
