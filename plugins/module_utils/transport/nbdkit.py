# SPDX-License-Identifier: GPL-3.0-or-later
"""A remote disk as an NBD export on a local socket: nbdkit reads it where it is. For looking without copying.

Source: nbdkit(1), nbdkit-curl-plugin(1), nbdkit-ssh-plugin(1), nbdkit-cache-filter(1), nbdkit-stats-filter(1), nbdkit-cacheextents-filter(1).
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess  # pylint: disable=ansible-bad-import
import tempfile
from dataclasses import dataclass
from typing import Iterator, Mapping, Optional, Protocol, Sequence

from ..core import atomic, process
from ..core.errors import ToolFailed
from .files import Areas, Files

_READY = 60.0
_READ = re.compile(r"^read: .*?, ([\d.]+) (bytes|KiB|MiB|GiB|TiB),", re.MULTILINE)
_UNITS = {"bytes": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


@dataclass(frozen=True)
class Manner:
    """How a disk is exported. `cached`: what was read is kept for the next reader, and read in 64 KiB at least; for looking, not for copying.

    `socket`: where it is found, empty for a place of its own. `areas`: (offset, length) in bytes of what holds data, if that is known;
    the rest is a hole to those who ask.
    """

    cached: bool = True
    socket: str = ""
    areas: Optional[Areas] = None


@dataclass
class Export:
    """A running nbdkit; `uri` is what qemu opens, as raw. `moved`: bytes that were read from the source, known once it has ended."""

    uri: str
    _child: subprocess.Popen[bytes]
    _directory: str
    moved: int = 0

    def words(self) -> str:
        """What nbdkit has said: the cause of what its clients see only as an I/O error."""
        return (atomic.read_text(os.path.join(self._directory, "words")) or "").strip()[-2000:]

    def stop(self) -> None:
        process.stop(self._child)
        match = _READ.search(atomic.read_text(os.path.join(self._directory, "stats")) or "")
        if match:
            self.moved = int(float(match[1]) * (1 << _UNITS[match[2]]))


class Exporting(Files, Protocol):
    """A place whose files can be read as disks where they are."""

    @property
    def exports(self) -> bool:
        """Whether nbdkit can be told how the place is reached."""

    def export(self, path: str, manner: Manner) -> contextlib.AbstractContextManager[Export]:
        """A file as an NBD export, for the time of a block."""


@contextlib.contextmanager
def export(plugin: str, arguments: Mapping[str, str], secrets: Mapping[str, str], manner: Manner = Manner()) -> Iterator[Export]:
    """Run nbdkit, read only, for the time of a block. `secrets` are arguments whose values go through files that only we can read.

    Raises ToolFailed with nbdkit's own words when it does not come up.
    """
    with tempfile.TemporaryDirectory(prefix="hyper2kvm-nbd-") as directory:
        socket, stats, ready = (
            manner.socket or os.path.join(directory, "sock"),
            os.path.join(directory, "stats"),
            os.path.join(directory, "pid"),
        )
        # The map of a remote disk comes slowly, and qemu asks for the same part again and again.
        filters, settings = ["--filter=stats", "--filter=cacheextents"], [f"statsfile={stats}"]
        if manner.cached:
            filters, settings = ["--filter=cache", *filters], [*settings, "cache-on-read=true", "cache-min-block-size=64K"]
        if manner.areas is not None:
            extents = os.path.join(directory, "extents")
            atomic.write_text(extents, "".join(f"{offset} {length}\n" for offset, length in manner.areas))
            filters, settings = ["--filter=extentlist", *filters], [*settings, f"extentlist={extents}"]
        with contextlib.suppress(FileNotFoundError):  # of a run that was killed
            os.unlink(socket)
        argv = ["nbdkit", "--foreground", "--readonly", "--exit-with-parent", "--unix", socket, "--pidfile", ready, *filters, plugin]
        argv += [f"{name}={value}" for name, value in arguments.items()]
        for name, value in secrets.items():
            path = os.path.join(directory, f"secret-{name}")
            atomic.write_text(path, value, 0o600)
            argv.append(f"{name}=+{path}")
        argv += settings
        with open(os.path.join(directory, "words"), "wb") as said:
            child = process.start(argv, env={**os.environ, "TMPDIR": directory}, stdout=said, stderr=said)
        running = Export(f"nbd+unix:///?socket={socket}", child, directory)
        try:
            if not process.appears(ready, child, _READY):
                raise ToolFailed("nbdkit did not start.", "See its message; is its plugin installed?")
            yield running
        except ToolFailed as error:
            words = running.words()
            if not words:
                raise
            raise type(error)(f"{error.msg} The reason: {words[-1500:]}", error.hint, **error.details) from error
        finally:
            running.stop()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(socket)


@contextlib.contextmanager
def exports(wanted: Sequence[contextlib.AbstractContextManager[Export]]) -> Iterator[list[Export]]:
    """Several at once."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(one) for one in wanted]
