# SPDX-License-Identifier: GPL-3.0-or-later
"""A secret for a program that takes it from a file: in memory only, readable by our user, and gone when this process ends, however it ends."""

from __future__ import annotations

import contextlib
import os
from typing import Iterator

KEY = "key"  # what qemu's programs call it


def for_qemu(file: str) -> str:
    """The object by which a program of qemu reads a secret from a file."""
    return f"secret,id={KEY},file={file}"


@contextlib.contextmanager
def readable(value: str) -> Iterator[str]:
    """A path under which programs that we start read `value`, for the time of a block; the empty path for an empty value."""
    if not value:
        yield ""
        return
    fd = os.memfd_create("hyper2kvm", os.MFD_CLOEXEC)
    try:
        os.write(fd, value.encode("utf-8"))
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)
