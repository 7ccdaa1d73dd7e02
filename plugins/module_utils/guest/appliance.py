# SPDX-License-Identifier: GPL-3.0-or-later
"""libguestfs's appliance, watched: a call into it cannot hang for ever, and whatever ends it is an error of ours, never an absent file.

The library waits without a limit, and in C, where nothing of Python interrupts it. So a thread looks at what the appliance's qemu does, and hears
from it when it pauses because a write has failed: that, a long time without progress, or a start that does not end is the end of it.

Sources: guestfs(3), guestfs_config; qemu(1), -set and werror; QEMU QMP Reference Manual, BLOCK_IO_ERROR.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core.deadline import Pulse, marked, stopped
from ..core.errors import MigrationError, NotEnoughSpace, TimedOut, ToolFailed
from ..core.numbers import decimal

_LITTLE_TIME, _LITTLE_DATA = 0.05, 4096  # processors and bytes a second: an idle appliance has 0.006 and 200
_SLOWEST = 0.1  # of the time that passes is counted on the busiest machine: every wait has an end
_UNWATCHED = ("is_ready", "get_pid", "set_backend", "set_backend_settings", "set_smp", "set_autosync", "add_drive_opts", "config")


@dataclass(frozen=True)
class Patience:
    """Seconds. `launch`: for the start. `idle`: for a call in which nothing happens, `stopped` where somebody has stopped qemu, `spin`: in which
    processors work and no data moves. `look`: between two looks. Those in which other work has the processors do not count: on a busy machine
    an appliance that is ended would only begin anew, and hold up the others.
    """

    launch: float = 300.0
    idle: float = 300.0
    stopped: float = 60.0
    spin: float = 1800.0
    look: float = 2.0


class Appliance:
    """A handle of libguestfs, for all its calls. A call that fails raises RuntimeError as ever; one that fails because the appliance is gone or
    was ended raises the MigrationError that says why.
    """

    def __init__(self, handle: Any, paths: Sequence[str], patience: Patience = Patience()) -> None:
        self._handle, self._paths, self._patience = handle, tuple(paths), patience
        self._directory = tempfile.mkdtemp(prefix="hyper2kvm-")
        self._socket = os.path.join(self._directory, "qmp")
        self._call, self._number, self._launched = "", 0, False
        self.reason: Optional[MigrationError] = None
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="appliance")

    def launch(self) -> None:
        """Start it. Raises RuntimeError where it cannot, TimedOut where it does not come up."""
        for number in range(len(self._paths)):
            # A write that fails is never reported to the guest's kernel, which may lose it: qemu pauses, and we are told.
            self._handle.config("-set", f"drive.hd{number}.werror=stop")
        self._handle.config("-qmp", f"unix:{self._socket},server=on,wait=off")
        self._thread.start()
        self._called("launch", self._handle.launch)
        self._launched = True

    def close(self) -> None:
        try:
            self._called("close", self._handle.close)
        finally:
            self._done.set()
            if self._thread.is_alive():
                self._thread.join(self._patience.look + 5.0)
            shutil.rmtree(self._directory, ignore_errors=True)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._handle, name)
        if not callable(value) or name in _UNWATCHED:
            return value
        return lambda *given, **more: self._called(name, value, *given, **more)

    def _called(self, name: str, work: Any, *given: Any, **more: Any) -> Any:
        if self.reason is not None and name != "close":
            raise self.reason
        self._number += 1
        self._call = name + "".join(
            f" {one[:80]}" for one in given[:1] if isinstance(one, str) and one.startswith("/")
        )  # others may be secret
        try:
            return work(*given, **more)
        except RuntimeError as error:
            if self.reason is not None:
                raise self.reason from error
            if self._launched and name not in ("shutdown", "close") and not self._handle.is_ready():
                self.reason = ToolFailed(
                    f"The appliance ended during {self._call}: {str(error).splitlines()[0]}",
                    "Check whether the host has run out of memory (dmesg), then run again. The source is unchanged.",
                )
                raise self.reason from error
            raise
        finally:
            self._call = ""

    # -- the watch ---------------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        words, judge = _Monitor(self._socket), _Judge(self._patience)
        try:
            while not self._done.is_set():
                for event in words.events(self._patience.look):
                    self._hear(event)
                pids = tuple(marked(self._socket.encode()))
                reason = judge.look((self._number, self._call), pids)
                if reason is not None:
                    self._end(reason, pids)
        finally:
            words.close()

    def _hear(self, event: Mapping[str, Any]) -> None:
        data = event.get("data") or {}
        if event.get("event") != "BLOCK_IO_ERROR" or data.get("action") != "stop":
            return
        name, why = str(data.get("device") or ""), str(data.get("reason") or "a write failed")
        number = decimal(name[2:]) if name[:2] == "hd" else None
        path = self._paths[number] if number is not None and number < len(self._paths) else tempfile.gettempdir()
        met = NotEnoughSpace.met(why)
        if data.get("nospace") or met is not None:
            reason: MigrationError = NotEnoughSpace(
                f"There is no space left in {os.path.dirname(path) or path} for what is written into the guest's disk: {why}.",
                "Free space there, or choose another work directory, then run again. The source is unchanged.",
                path=path,
            )
        else:
            reason = ToolFailed(
                f"What is written into the guest's disk does not reach {path}: {why}.",
                "Check the health of the storage of the work directory (dmesg), then run again. The source is unchanged.",
                path=path,
            )
        self._end(reason, tuple(marked(self._socket.encode())))

    def _end(self, reason: MigrationError, pids: Sequence[int]) -> None:
        self.reason = self.reason or reason
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


class _Judge:
    """Whether a call makes progress. Its clock is slower than the wall's by what other work takes of the processors."""

    def __init__(self, patience: Patience) -> None:
        self._patience, self._call, self._pulse, self._at = patience, (0, ""), Pulse(), time.monotonic()
        self._clock = self._began = self._worked = self._moved = 0.0

    def look(self, call: tuple[int, str], pids: Sequence[int]) -> Optional[MigrationError]:
        """The reason to end the appliance; None as long as there is none. `call`: its number and name, empty where none is waited for."""
        now = time.monotonic()
        if call != self._call or not call[1]:
            self._call, self._began, self._worked, self._moved = call, self._clock, self._clock, self._clock
            self._pulse, self._at = Pulse.of(*pids), now
            return None
        past = now - self._at
        if past < self._patience.look / 2:  # too short to tell an idle one
            return None
        before, self._pulse, self._at = self._pulse, Pulse.of(*pids), now
        used, waited = abs(self._pulse.seconds - before.seconds), max(0.0, self._pulse.waited - before.waited)
        busy = (used + waited) / past >= _LITTLE_TIME
        self._clock += past * (max(used / (used + waited), _SLOWEST) if busy else 1.0)
        if abs(self._pulse.bytes - before.bytes) / past >= _LITTLE_DATA:
            self._worked = self._moved = self._clock
        elif busy:
            self._worked = self._clock
        return self._judged(pids)

    def _judged(self, pids: Sequence[int]) -> Optional[MigrationError]:
        idle, held = self._clock - self._worked, any(map(stopped, pids))
        if held and idle >= self._patience.stopped:
            return TimedOut(
                f"The appliance was stopped by a signal, and {self._call[1]} has waited {idle:.0f} seconds for it.",
                f"Find out who stops processes of qemu on the conversion host ({', '.join(map(str, pids))}), then run again.",
            )
        if self._call[1] == "launch":
            return _late(self._patience.launch) if self._clock - self._began >= self._patience.launch else None
        if idle >= self._patience.idle:
            return TimedOut(
                f"Nothing has happened in the appliance for {idle:.0f} seconds, while {self._call[1]} was waited for.",
                "Look at the storage that holds the disks (dmesg, a share that hangs); a damaged file system in the guest can do it too (fsck).",
            )
        if self._clock - self._moved >= self._patience.spin:
            return TimedOut(
                f"The appliance has computed for {self._clock - self._moved:.0f} seconds without reading or writing anything in {self._call[1]}.",
                "A damaged file system in the guest can do this: check it (fsck) at the source, then run again.",
            )
        return None


def _late(seconds: float) -> TimedOut:
    return TimedOut(
        f"The libguestfs appliance did not come up within {seconds:.0f} seconds, not counting those in which other work had the processors.",
        "Run libguestfs-test-tool on the conversion host.",
    )


class _Monitor:
    """What qemu tells by itself. Before it is there, and after it has gone, nothing."""

    def __init__(self, path: str) -> None:
        self._path, self._said = path, b""
        self._connection: Optional[socket.socket] = None

    def events(self, seconds: float) -> Iterator[Mapping[str, Any]]:
        """What it says within about so many seconds: at once when it says something."""
        self._connection = connection = self._connection or self._connect()
        if connection is None:
            time.sleep(min(seconds, 0.2))
            return
        connection.settimeout(seconds)
        try:
            data = connection.recv(65536)
        except socket.timeout:  # TimeoutError since Python 3.10
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            time.sleep(min(seconds, 0.2))
        *lines, self._said = (self._said + data).split(b"\n")
        for line in lines:
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict):
                    yield said

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> Optional[socket.socket]:
        made = socket.socket(socket.AF_UNIX)
        try:
            made.settimeout(1.0)
            made.connect(self._path)
            made.sendall(b'{"execute": "qmp_capabilities"}\n')  # before that it tells no events
        except OSError:
            made.close()
            return None
        return made
