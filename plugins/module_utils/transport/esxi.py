# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ESXi host says of its own VMs without an API: vim-cmd, over the same SSH connection that reads their disks.

For hosts that stand alone, and free ones, whose API must not take snapshots. Source: the host's own `vim-cmd vmsvc` help and its output.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from dataclasses import dataclass
from typing import Callable, Iterator, Optional

from ..core.errors import InvalidInput, ToolFailed
from .files import patiently
from .ssh import SshFiles

VOLUMES = "/vmfs/volumes"
_NONE = "no vim-cmd"
_ROW = re.compile(r"^(\d+)\s+(.+?)\s+\[([^\]/]+)\] (.+?\.vmx)\s+\S+\s+vmx-\d+\b", re.MULTILINE)
_POWER = {"Powered on": "on", "Powered off": "off", "Suspended": "suspended"}
_SNAPSHOT = re.compile(r"Snapshot Name\s*: (.*?)\s*\n[-|\s]*Snapshot Id\s*: (\d+)")
_WAIT = 600.0
_CONSOLIDATED = 86400.0


@dataclass(frozen=True)
class Registered:
    """A VM as its host lists it: its number there, its name, and the path of its configuration below /vmfs/volumes."""

    id: str
    name: str
    path: str


def registered(files: SshFiles) -> Optional[tuple[Registered, ...]]:
    """The VMs of the host; None where it is no ESXi host."""
    said = _ask(files, f"if command -v vim-cmd >/dev/null; then vim-cmd vmsvc/getallvms; else echo {_NONE}; fi")
    if said.strip() == _NONE:
        return None
    return tuple(Registered(match[1], match[2], f"{VOLUMES}/{match[3]}/{match[4]}") for match in _ROW.finditer(said))


def find(files: SshFiles, name: str) -> Registered:
    """The VM of this name, or of this number.

    Raises InvalidInput when there is none, or more than one.
    """
    every = registered(files)
    if every is None:
        raise InvalidInput(f"{files.login.host} has no vim-cmd to look for {name} with.", "Name the path of the VM's .vmx.", vm=name)
    found = [vm for vm in every if name in (vm.name, vm.id)]
    if len(found) != 1:
        listed = ", ".join(f"{vm.name} ({vm.id}: {vm.path})" for vm in found or every)
        raise InvalidInput(
            f"{files.login.host} has {len(found) or 'no'} VMs {name}.",
            f"Name one by its number or its .vmx; it has {listed or 'none'}.",
            vm=name,
        )
    return found[0]


def same(files: SshFiles, one: str, other: str) -> bool:
    """Whether two paths are one file: a datastore's name below /vmfs/volumes is a link to its id."""
    if one.split("/")[4:] != other.split("/")[4:]:
        return False
    found = _ask(files, f"readlink -f {shlex.quote(one)}; readlink -f {shlex.quote(other)}").splitlines()
    return len(found) == 2 and found[0] == found[1]


def power(files: SshFiles, vm: Registered) -> str:
    """on, off or suspended."""
    said = _ask(files, f"vim-cmd vmsvc/power.getstate {vm.id}").strip().rpartition("\n")[2].strip()
    if said not in _POWER:
        raise ToolFailed(
            f"{files.login.host} does not say whether {vm.name} runs: {said[:200]!r}.", "Check the VM on its host.", vm=vm.name
        )
    return _POWER[said]


def shut_down(files: SshFiles, vm: Registered, timeout: float, hard: bool) -> None:
    """Ask the guest to shut down and wait until the VM is off; by choice switch it off when it does not.

    Raises ToolFailed when it is still on after `timeout` seconds.
    """
    # It fails at once where no VMware Tools run.
    asked = _ask(files, f"vim-cmd vmsvc/power.shutdown {vm.id} 2>&1 || echo failed").strip().endswith("failed")
    if not asked and _until(lambda: power(files, vm) == "off", timeout):
        return
    if not hard:
        why = "has no running VMware Tools, so it cannot be asked to shut down" if asked else "did not shut down in time"
        raise ToolFailed(f"{vm.name} {why}.", "Shut it down by hand, or allow a hard power-off.", vm=vm.name)
    _ask(files, f"vim-cmd vmsvc/power.off {vm.id}")
    if not _until(lambda: power(files, vm) == "off", _WAIT):
        raise ToolFailed(f"{vm.name} is still on after it was switched off.", "Check the VM on its host.", vm=vm.name)


def start(files: SshFiles, vm: Registered) -> None:
    """Start the VM. Raises ToolFailed when it does not power on."""
    _ask(files, f"vim-cmd vmsvc/power.on {vm.id}")
    if not _until(lambda: power(files, vm) == "on", _WAIT):
        raise ToolFailed(f"{vm.name} does not power on.", "Check the VM's events on its host.", vm=vm.name)


@contextlib.contextmanager
def frozen(files: SshFiles, vm: Registered, name: str, quiesce: bool) -> Iterator[None]:
    """A snapshot for the time of a block: what the VM's disks were before it does not change meanwhile."""
    try:
        _ask(files, f"vim-cmd vmsvc/snapshot.create {vm.id} {name} migration 0 {int(quiesce)}")
        if not _until(lambda: name in snapshots(files, vm), _WAIT):
            raise ToolFailed(f"{files.login.host} took no snapshot of {vm.name}.", "Check the VM's events on its host.", vm=vm.name)
        yield
    finally:
        number = snapshots(files, vm).get(name)
        if number is not None:
            remove(files, vm, number)


def snapshots(files: SshFiles, vm: Registered) -> dict[str, str]:
    """Numbers of the VM's snapshots by their names."""
    return {match[1]: match[2] for match in _SNAPSHOT.finditer(_ask(files, f"vim-cmd vmsvc/snapshot.get {vm.id}"))}


def remove(files: SshFiles, vm: Registered, number: str) -> None:
    """Delete one snapshot and wait until it is gone."""
    _ask(files, f"vim-cmd vmsvc/snapshot.remove {vm.id} {number}")
    if not _until(lambda: number not in snapshots(files, vm).values(), _CONSOLIDATED):
        raise ToolFailed(f"A snapshot of {vm.name} is still there.", f"Remove the one with the number {number} on the host.", vm=vm.name)


def _ask(files: SshFiles, command: str) -> str:
    return patiently(lambda: files.command(command, "vim-cmd"), "vim-cmd")


def _until(done: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not done():
        if time.monotonic() > deadline:
            return False
        time.sleep(1.0)
    return True
