# SPDX-License-Identifier: GPL-3.0-or-later
"""Settings that hold for the first start only. What was there before is kept beside each, so that a second plan finds it.

Sources: Microsoft, "SAN policy" (a server leaves disks on new controllers offline); Microsoft, "Configure system failure and recovery
options" (AutoReboot 0 leaves the stop code on the screen).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

from ..core.concern import INFO
from ..guest.model import BOOTSTRAP
from . import regf
from .work import Work

NOT_SET = 0xFFFFFFFF
_CURRENT = "HKLM\\SYSTEM\\CurrentControlSet"


@dataclass(frozen=True)
class Temporary:
    """A number below the control set, and what it was before (NOT_SET: there was none)."""

    key: str
    name: str
    before: int

    def put_back(self) -> list[str]:
        """Commands that set it back and leave WORST at 0 where that is so. The copy goes last: a power cut before it loses nothing."""
        key, end = f'"{_CURRENT}\\{self.key}"', ' >>"%LOG%" 2>&1'
        if self.before == NOT_SET:
            # `reg delete` fails for a value that is gone already, so the value is asked for; and its key, for a reg that does nothing.
            lines = [
                f"reg delete {key} /v {self.name} /f{end}",
                f"reg query {key} >nul 2>&1",
                "if errorlevel 1 set WORST=1",
                f"reg query {key} /v {self.name} >nul 2>&1",
                "if not errorlevel 1 set WORST=1",
            ]
        else:
            lines = [f"reg add {key} /v {self.name} /t REG_DWORD /d {self.before} /f{end}", "if errorlevel 1 set WORST=1"]
        return [*lines, "if not %WORST%==0 goto :ended", f"reg delete {key} /v {_copy(self.name)} /f{end}"]


def disks_online(work: Work) -> Optional[Temporary]:
    """Disks on a new controller are new disks for Windows: servers leave them offline unless the policy says otherwise."""
    numbers = {device.disk for device in work.guest.devices() if device.disk is not None}
    key = "Services\\partmgr\\Parameters"
    if len(numbers) < 2 or work.windows.nt < (6, 0) or "cluster node" in work.windows.roles:
        return None
    setting = _set(work, key, "SanPolicy", 1, "data disks come online on the new controller")
    if setting is not None and BOOTSTRAP in work.facts.phases:
        work.findings.add(
            "windows.san-policy",
            INFO,
            "Disks on new controllers come online by themselves until Windows has started on its final devices, where it sets the policy back.",
            "Nothing, unless disks are shared with other machines: attach those after that start.",
        )
    return setting


def stop_code_stays(work: Work) -> Optional[Temporary]:
    """A stop code stays on the screen, where a person and the report's picture find it; else Windows restarts for ever."""
    return _set(work, "Control\\CrashControl", "AutoReboot", 0, "a stop code of the first start stays on the screen")


def _set(work: Work, key: str, name: str, wanted: int, reason: str) -> Optional[Temporary]:
    place = f"{work.windows.control_set}\\{key}"
    now, kept = work.system.number(place, name), work.system.number(place, _copy(name))
    if kept is None and now == wanted:
        return None
    before = kept if kept is not None else now if now is not None else NOT_SET
    work.system.set(place, _copy(name), regf.DWORD, before, reason)
    work.system.set(place, name, regf.DWORD, wanted, reason)
    return Temporary(key, name, before)


def _copy(name: str) -> str:
    return f"{name}Before"
