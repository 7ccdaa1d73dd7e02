# SPDX-License-Identifier: GPL-3.0-or-later
"""Images of a VM put where its libvirt keeps them: copied, cloned or moved, and never over something that was not put there before."""

from __future__ import annotations

import contextlib
import errno
import os

from ..core import atomic, modes, spared
from ..core.errors import InvalidInput
from ..core.manifest import Identity, Manifest
from ..core.process import Limits, run

IN_PLACE, COPY, REFLINK, MOVE = "in_place", "copy", "reflink", "move"
KINDS = (IN_PLACE, COPY, REFLINK, MOVE)
_LONG = Limits(timeout=7 * 24 * 3600.0)
_RECORD = ".import.json"


def stamp(path: str) -> str:
    """What an image is told from a later one by."""
    found = os.stat(path)
    return f"{found.st_size}-{found.st_mtime_ns}"


def place(path: str, target: str, kind: str, overwrite: bool = False) -> None:
    """Put the image at `path` to `target`, whole or not at all. What an earlier run put there stays.

    Raises InvalidInput for a target that is something else, unless it may be overwritten; NotEnoughSpace.
    """
    if os.path.abspath(path) == os.path.abspath(target):
        return
    record = target + _RECORD
    earlier = Manifest.load(record, "import")
    if os.path.exists(target) and not overwrite:
        if earlier is not None and earlier.options.get("source") == path and all(output.holds() for output in earlier.outputs):
            return
        raise InvalidInput(
            f"{target} exists and is not a copy of {path}.",
            "Move it away, choose another directory, or allow to overwrite it.",
            path=target,
        )
    spared.require(target, record)
    modes.make_directory(os.path.dirname(target), modes.PASSABLE)
    if kind == MOVE:
        _move(path, target)
    else:
        _copied(path, target, kind)
    Manifest("import", (), {"source": path}, (Identity.of(target),)).save(record)


def take_away(path: str, directory: str) -> None:
    """Move the image at `path` into a directory that has nothing of its name; it is no longer where it was put. Raises InvalidInput, NotEnoughSpace."""
    target = os.path.join(directory, os.path.basename(path))
    if os.path.exists(target):
        raise InvalidInput(f"{target} exists.", "Name an empty directory.", path=target)
    _move(path, target)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + _RECORD)


def _move(path: str, target: str) -> None:
    """Move a file, to another file system too."""
    try:
        os.rename(path, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        _copied(path, target, MOVE)
        os.unlink(path)


def _copied(path: str, target: str, kind: str) -> None:
    if kind != REFLINK:
        atomic.need_space(os.path.dirname(target), os.stat(path).st_blocks * 512, path)
    partial = f"{target}{atomic.PARTIAL}"
    modes.create(partial).close()  # cp would write through a link that lies there
    try:
        run(["cp", f"--reflink={'always' if kind == REFLINK else 'auto'}", "--sparse=auto", "--preserve=mode", path, partial], _LONG)
        atomic.publish(partial, target)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(partial)
