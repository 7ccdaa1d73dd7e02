# SPDX-License-Identifier: GPL-3.0-or-later
"""Results that are encrypted: qcow2 with a LUKS header of its own, which a passphrase opens."""

from __future__ import annotations

import contextlib
import os
import tempfile
from typing import Iterable, Iterator, Sequence

from ..core import process, secret
from ..core.errors import InvalidInput, ToolFailed
from . import qemu_img

_READY = 60.0  # seconds
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


def locked(disks: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Those of the images, (path, format), that are encrypted."""
    return frozenset(path for path, fmt in disks if fmt == "qcow2" and qemu_img.info(path, fmt).encrypted)


def require(disks: Iterable[tuple[str, str]], passphrase: str) -> frozenset[str]:
    """The same. Raises InvalidInput for one that the passphrase does not open."""
    found = locked(disks)
    for path in sorted(found):
        if not (passphrase and opens(path, "qcow2", passphrase)):
            raise InvalidInput(
                f"{path} is encrypted, and {'the given passphrase does not open it' if passphrase else 'no passphrase is given'}.",
                "Give the passphrase that it was converted with (migrate_output_passphrase).",
                path=path,
            )
    return found


@contextlib.contextmanager
def opened(disks: Sequence[tuple[str, str]], passphrase: str) -> Iterator[list[tuple[str, str]]]:
    """The images, (path, format), as others can read them for the time of a block: those that are encrypted through a throw-away overlay.

    Raises InvalidInput for one that the passphrase does not open.
    """
    closed = require(disks, passphrase)
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="hyper2kvm-")) if closed else ""
        key = stack.enter_context(secret.readable(passphrase))
        found = []
        for number, (path, fmt) in enumerate(disks):
            overlay, socket, ready = (os.path.join(scratch, f"{number}.{end}") for end in ("qcow2", "socket", "pid"))
            if path in closed:
                how, name = qemu_img.named(path, fmt, key)
                child = process.start(
                    ["qemu-nbd", "--read-only", "--persistent", "--shared=8", f"--socket={socket}", f"--pid-file={ready}", *how, name]
                )
                stack.callback(process.stop, child)
                if not process.appears(ready, child, _READY):
                    raise ToolFailed(f"qemu-nbd does not open {path}.", "Find out what else uses it.")
                qemu_img.create_overlay(overlay, f"nbd+unix:///?socket={socket}", "raw", qemu_img.info(path, fmt).virtual_size)
            found.append((overlay, "qcow2") if path in closed else (path, fmt))
        yield found
