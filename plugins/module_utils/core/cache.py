# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host keeps between runs, and makes again where it is gone: below /var/cache, or below a user's own cache."""

from __future__ import annotations

import os
import stat

from . import modes
from .errors import UnsafeInput


def base() -> str:
    """The directory of all of it, which need not exist."""
    above = "/var/cache" if os.getuid() == 0 else os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(above, "hyper2kvm")


def directory(name: str) -> str:
    """A directory for one kind of things, which is this user's alone. Raises UnsafeInput where it is not."""
    path = os.path.join(base(), name)
    modes.make_directory(path)
    found = os.lstat(path)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise UnsafeInput(f"{path} is not a directory that this user alone writes to.", "Remove it; it is made again.", path=path)
    return path
