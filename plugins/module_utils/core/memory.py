# SPDX-License-Identifier: GPL-3.0-or-later
"""What remembers its VM: a directory, by a file in it, which also says who works on that VM from the first stage of its migration to the last.

The stages of a migration are processes of their own, so that no lock of the kernel spans them. The file names the process that runs them all, as one
that can be looked for; it is dead when that process is.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Iterator, Mapping, Optional

from . import files, spared
from .data import to_data
from .errors import Busy, InvalidInput, naming, of_system
from .vm import VmId, require_same
from .watch import lives, mark

LEASE = 600.0  # seconds after which a run of another machine that gives no sign of life is taken for dead
_WAIT = 10.0  # seconds for another process to write a few bytes
_LIMIT = 1 << 20


@dataclass(frozen=True)
class Run:
    """A process that runs migrations, on `host` since its `boot`, in `space` (of process ids), since `start`; for `vm` of its inventory.

    `job` is the number that AWX gives it.
    """

    host: str
    boot: str
    space: str
    pid: int
    start: str
    vm: str = ""
    job: str = ""

    @classmethod
    def of(cls, pid: int, vm: str = "", job: str = "") -> Run:
        """The process `pid` of this machine."""
        return cls(socket.gethostname(), _boot(), _space(), pid, mark(pid).partition(":")[2], vm, job)

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Run:
        """Raises InvalidInput for what is none."""
        try:
            words = {name: str(data.get(name) or "") for name in ("host", "boot", "space", "start", "vm", "job")}
            return cls(pid=int(data["pid"]), **words)
        except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
            raise InvalidInput("This does not identify a run.", "The action plugin of the module sets it; leave it out.") from error

    def as_data(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def process(self) -> Run:
        """The same process, whatever it works on."""
        return replace(self, vm="", job="")

    def gone(self) -> Optional[bool]:
        """Whether it has ended; None where that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        if self.boot != _boot():
            return True
        return None if self.space != _space() else not lives(f"{self.pid}:{self.start}")

    def __str__(self) -> str:
        job = f", job {self.job} of AWX" if self.job else ""
        return f"process {self.pid} on {self.host}{f', for {self.vm}' if self.vm else ''}{job}"


@dataclass(frozen=True)
class Memory:
    """Whose something is, who works on it, and when that one was last seen (seconds since the epoch)."""

    vm: Optional[VmId] = None
    run: Optional[Run] = None
    seen: float = 0.0

    def ended(self, known_dead: str = "") -> bool:
        """Whether nobody works on it any more. `known_dead`: a run that somebody else has found dead."""
        if self.run is None or same_run(self.run, known_dead):
            return True
        gone = self.run.gone()
        return time.time() - self.seen > LEASE if gone is None else gone


def name_of(run: Run) -> str:
    """A word for a process that no other one has."""
    return "/".join((run.host, run.boot, run.space, str(run.pid), run.start))


def same_run(run: Run, name: str) -> bool:
    return name != "" and name_of(run) == name


def recall(path: str) -> Memory:
    """What a file remembers; nothing where there is none. Raises InvalidInput for one that cannot be read."""
    try:
        file = files.own(path)
    except InvalidInput as error:
        if isinstance(error.__cause__, OSError) and not os.path.islink(path):  # its directory cannot be reached
            raise of_system(error.__cause__) from error
        raise _says_nothing(path) from error
    if file is None:
        return Memory()
    with file:
        fcntl.flock(file, fcntl.LOCK_SH)
        return _parsed(file.read(_LIMIT), path)


def claim(path: str, what: str, vm: Optional[VmId], run: Optional[Run], *, moved: bool = False, known_dead: str = "") -> bool:
    """Note that `what`, which the file at `path` remembers, belongs to `vm` and is worked on by `run`; whether it belonged to nobody before.

    None: what is known stays. Raises InvalidInput where it belongs to another VM, Busy where another run works on it.
    """
    with _held(path) as fd:
        known = _parsed(os.pread(fd, _LIMIT, 0), path)
        if known.vm is not None and vm is not None:
            require_same(known.vm, vm, what, moved)
        if run is not None and known.run not in (None, run) and not known.ended(known_dead):
            raise busy(what, known)
        kept = (
            known.vm if vm is None or (known.vm is not None and not vm.digest) else vm
        )  # of a packed source only the place is known at first
        if run is not None or kept != known.vm:
            with naming(path):
                _write(fd, Memory(kept, run or known.run, time.time() if run is not None else known.seen))
    return known.vm is None


def release(path: str, run: Optional[Run], forget: bool = False) -> None:
    """Note that the run, if one is known, has ended its work. `forget`: and that nothing has come of it."""
    with contextlib.suppress(FileNotFoundError), _held(path, create=False) as fd:
        known = _parsed(os.pread(fd, _LIMIT, 0), path)
        if known.run == run and (forget or known.vm is None):
            os.unlink(path)
        elif run is not None and known.run == run:
            with naming(path):
                _write(fd, replace(known, run=None))


def busy(what: str, known: Memory) -> Busy:
    """The error of the second of two runs."""
    lease = (
        "" if known.run is None or known.run.gone() is not None else f" If it has ended, that is noticed after {LEASE / 60:.0f} minutes."
    )
    return Busy(
        f"Another run is working on {what}: {known.run}.",
        f"Wait for it to end, or stop it; nothing was changed by this run.{lease}",
        holder="" if known.run is None else known.run.as_data(),
    )


@contextlib.contextmanager
def _held(path: str, create: bool = True) -> Iterator[int]:
    """The file, locked. Raises Busy for one that somebody else does not let go."""
    spared.require(path)
    deadline = time.monotonic() + _WAIT
    while True:
        fd = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0) | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            files.require_own(fd, path)
            if not _locked(fd, deadline):
                raise Busy(f"Another process holds {path}.", "End it (it may be stopped), then run again.", path=path)
            if _is(fd, path):
                yield fd
                return
        finally:
            os.close(fd)


def _locked(fd: int, deadline: float) -> bool:
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)


def _is(fd: int, path: str) -> bool:
    """Whether the file still has its name: another run may have removed it meanwhile."""
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(fd), os.lstat(path))
    return False


def _write(fd: int, memory: Memory) -> None:
    """In one write, and only its first line counts: whoever is killed here leaves what was there or what is to be there."""
    data = {
        "vm": to_data(memory.vm),
        "run": memory.run.as_data() if memory.run is not None else None,
        "seen": memory.seen,
    }
    text = json.dumps(data).encode("ascii") + b"\n"
    os.pwrite(fd, text, 0)
    os.ftruncate(fd, len(text))
    os.fsync(fd)


def _parsed(text: bytes, path: str) -> Memory:
    if not text:
        return Memory()
    line = text.partition(b"\n")[0]
    try:
        data = json.loads(line)
        vm, run = data["vm"], data["run"]
        return Memory(VmId.from_data(vm) if vm else None, Run.from_data(run) if run else None, float(data["seen"]))
    except (InvalidInput, KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        raise _says_nothing(path) from error


def _says_nothing(path: str) -> InvalidInput:
    return InvalidInput(
        f"{path} does not say which VM its directory belongs to.", "Look whose it is; then remove this file, or the directory.", path=path
    )


def _boot() -> str:
    """When this machine was started; empty where it does not say (only Linux does)."""
    with contextlib.suppress(OSError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        return file.read().strip()
    return ""


def _space() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""
