# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that are encrypted: qcow2 with a LUKS header of its own, which a passphrase opens."""

from __future__ import annotations

from typing import Iterable

from ..core import secret
from ..core.errors import InvalidInput, ToolFailed
from . import qemu_img

_WRONG = "Invalid password"  # what qemu says when it opens no slot of the LUKS header


def opens(path: str, fmt: str, passphrase: str) -> bool:
    """Whether the passphrase opens an encrypted image. Takes seconds: deriving its key is made slow. Raises ToolFailed for a damaged one."""
    try:
        with secret.readable(passphrase) as key:
            return bool(qemu_img.read_start(path, fmt, 512, key))
    except ToolFailed as error:
        if _WRONG in error.msg:
            return False
        raise


def require(disks: Iterable[tuple[str, str]], passphrase: str) -> frozenset[str]:
    """Those of the images, (path, format), that are encrypted. Raises InvalidInput for one that the passphrase does not open."""
    found = frozenset(path for path, fmt in disks if qemu_img.info(path, fmt).encrypted)
    for path in sorted(found):
        if not (passphrase and opens(path, "qcow2", passphrase)):
            raise InvalidInput(
                f"{path} is encrypted, and {'the given passphrase does not open it' if passphrase else 'no passphrase is given'}.",
                "Give the passphrase that it was converted with (migrate_output_passphrase).",
                path=path,
            )
    return found
