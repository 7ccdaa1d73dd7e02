# SPDX-License-Identifier: GPL-3.0-or-later
"""Words of VMware's configurations that mean the same in a .vmx and in its API."""

from __future__ import annotations

import re

# Keys of what cloud-init, ignition and appliances read in the guest; VMware's tools keep others of this name.
_SETTINGS = re.compile(r"guestinfo\.((user|meta|vendor)data|ovfenv|(ignition|coreos)\.config\.(data|url))")
_FORGETFUL = re.compile(r"nonpersistent|undoable|append")


def is_setting(key: str, value: str) -> bool:
    """Whether a setting, its key in small letters, is one that the guest reads."""
    return _SETTINGS.match(key) is not None and value.strip() != ""


def forgets(mode: str) -> bool:
    """Whether a disk of this mode (independent-nonpersistent, independent_nonpersistent, undoable, ...) forgets what is written to it, or keeps it apart."""
    return _FORGETFUL.search(mode) is not None
