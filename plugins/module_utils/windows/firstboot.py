# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows does by itself at its first start: install drivers, restore addresses, take disks online, remove the old tools.

The Setup command line starts it, which needs no program of a third party: it resets itself first, hands the work to a scheduled task of
the system, and does the work itself where there is no scheduler. A service with the operator's own wrapper is the other way. Only
cmd, reg, netsh, getmac, pnputil, schtasks and msiexec are used, so that policies for scripts do not matter. The work is tried at five
starts at most, never restarts the machine, and says how it went in firstboot.log and firstboot.done.
Sources: Microsoft, "pnputil command syntax" (0, 259 and 3010 are success), "netsh interface ipv4"; facts on the Setup key are not documented.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from ..core import files
from ..core.concern import BLOCKER, Findings
from ..core.errors import InvalidInput
from ..core.numbers import decimal
from ..guest.change import Change
from ..guest.changes.copies import UploadFile
from ..guest.changes.write import edit
from ..guest.model import FirstStart, WindowsFacts
from ..guest.protocol import Guest, text
from . import netsh, pnp, regf
from .drivers import STORAGE, Package
from .hives import Draft
from .network import Adapter
from .storage import FOLDER
from .work import Work

TASK = "hyper2kvm-firstboot"
DONE, LOG, TRIES = "firstboot.done", "firstboot.log", "firstboot.try"
MAX_TRIES = 5
POLICY_BEFORE, NO_POLICY = "SanPolicyBefore", 0xFFFFFFFF
_CRITICAL = (*STORAGE, "netkvm")
_FILE_NAME = re.compile(r"^[A-Za-z0-9._+-]+$")
_MAX_PACKAGE = 512 << 20
_PARTMGR = "HKLM\\SYSTEM\\CurrentControlSet\\Services\\partmgr\\Parameters"
_REASON = "what Windows does by itself at its first start"


@dataclass(frozen=True)
class Todo:
    """What there is to do. `san_policy` is what the policy for new disks was before (NO_POLICY: not set), None where it is not restored."""

    packages: Mapping[str, Package]
    adapters: tuple[Adapter, ...] = ()
    ghosts: tuple[Adapter, ...] = ()
    products: tuple[str, ...] = ()
    installers: tuple[str, ...] = ()
    san_policy: Optional[int] = None

    @property
    def empty(self) -> bool:
        return not (self.packages or self.adapters or self.products or self.installers)


def plan(work: Work, todo: Todo) -> list[Change]:
    """The scripts and what starts them; nothing where they have done their work already."""
    guest, wrapper, home = work.guest, work.options.wrapper, f"{work.windows.system_root}/{FOLDER}"
    script = _script(work.windows, todo, bool(wrapper))
    changes: list[Change] = []
    if guest.stat(f"{home}/{DONE}") is not None or todo.empty:
        return changes
    for name, content in (("work.cmd", script), *(() if wrapper else (("firstboot.cmd", _starter()),))):
        changes += edit(f"{home}/{name}", text(guest, f"{home}/{name}"), content, _REASON)
    for source in (*todo.installers, *((wrapper,) if wrapper else ())):
        changes += _upload(guest, source, f"{home}/{'' if source == wrapper else 'packages/'}{os.path.basename(source)}")
    if wrapper:
        _service(work.windows, work.system, os.path.basename(wrapper))
    else:
        _setup(work.system, work.findings)
    return changes


def installers(given: Sequence[str], architecture: str) -> tuple[tuple[str, ...], list[str]]:
    """The .msi files among files and directories that are not for another architecture, by their names; and what is none of them."""
    files = [os.path.join(path, name) for path in given if os.path.isdir(path) for name in sorted(os.listdir(path))]
    files += [path for path in given if not os.path.isdir(path)]
    fitting = [path for path in files if path.lower().endswith(".msi") and not _foreign(os.path.basename(path).lower(), architecture)]
    wrong = next((path for path in fitting if not _FILE_NAME.match(os.path.basename(path))), None)
    if wrong is not None:
        raise InvalidInput(f"{wrong} has a name that cannot stand in a script.", "Use letters, digits, dots, dashes and underscores.")
    return tuple(fitting), [path for path in files if path not in fitting]


def _foreign(name: str, architecture: str) -> bool:
    wide = any(word in name for word in ("x86_64", "x64", "amd64"))
    return wide if architecture == "i686" else not wide and any(word in name for word in ("i386", "x86", "i686"))


def _setup(system: Draft, findings: Findings) -> None:
    command = f'cmd.exe /c "%SystemRoot%\\{FOLDER}\\firstboot.cmd"'
    if system.text("Setup", "CmdLine") == command:
        return
    if system.number("Setup", "SetupType") or system.number("Setup", "SystemSetupInProgress"):
        findings.add(
            "windows.setup-pending",
            BLOCKER,
            "Windows is in the middle of its own setup (sysprep or an upgrade): its first start would not be ours.",
            "Start the source, let setup finish, shut it down; or leave the fix firstboot out.",
        )
        return
    system.set("Setup", "CmdLine", regf.SZ, command, _REASON)
    system.set("Setup", "SetupType", regf.DWORD, 2, _REASON)
    system.set("Setup", "SystemSetupInProgress", regf.DWORD, 1, _REASON)


def _service(facts: WindowsFacts, system: Draft, wrapper: str) -> None:
    """A wrapper as rhsrvany or pvvxsvc takes it: `-s` and the service, whose Parameters say what to run."""
    key = f"{pnp.services(facts)}\\{TASK}"
    home = f"{facts.drive}:\\{facts.system_root.rsplit('/', 1)[-1]}\\{FOLDER}"
    system.set(key, "Type", regf.DWORD, 0x10, _REASON)
    system.set(key, "Start", regf.DWORD, 2, _REASON)
    system.set(key, "ErrorControl", regf.DWORD, 1, _REASON)
    system.set(key, "ImagePath", regf.EXPAND_SZ, f'"{home}\\{wrapper}" -s {TASK}', _REASON)
    system.set(key, "ObjectName", regf.SZ, "LocalSystem", _REASON)
    system.set(f"{key}\\Parameters", "CommandLine", regf.SZ, f'cmd.exe /c "{home}\\work.cmd"', _REASON)
    system.set(f"{key}\\Parameters", "PWD", regf.SZ, home, _REASON)


def _upload(guest: Guest, source: str, dest: str) -> list[Change]:
    if guest.stat(dest) is not None:
        return []
    data = files.read(source, _MAX_PACKAGE, "The package")
    return [UploadFile(source, dest, len(data), hashlib.sha256(data).hexdigest(), _REASON)]


def _batch(lines: Sequence[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def _starter() -> str:
    return _batch(
        [
            "@echo off",
            "setlocal",
            f"set HOME=%SystemRoot%\\{FOLDER}",
            f"set LOG=%HOME%\\{LOG}",
            "rem First of all: Windows must start normally the next time, whatever happens below.",
            'reg add "HKLM\\SYSTEM\\Setup" /v SetupType /t REG_DWORD /d 0 /f >>"%LOG%" 2>&1',
            'reg add "HKLM\\SYSTEM\\Setup" /v SystemSetupInProgress /t REG_DWORD /d 0 /f >>"%LOG%" 2>&1',
            'reg add "HKLM\\SYSTEM\\Setup" /v CmdLine /t REG_SZ /d "" /f >>"%LOG%" 2>&1',
            "set /a WAIT=0",
            ":task",
            f'schtasks /create /tn {TASK} /tr "cmd.exe /c %HOME%\\work.cmd" /sc onstart /ru SYSTEM >>"%LOG%" 2>&1',
            "if not errorlevel 1 goto :start",
            "set /a WAIT+=1",
            "if %WAIT% GTR 10 goto :here",
            "ping -n 4 127.0.0.1 >nul",
            "goto :task",
            ":start",
            f'schtasks /run /tn {TASK} >>"%LOG%" 2>&1',
            "if not errorlevel 1 exit /b 0",
            ":here",
            'call "%HOME%\\work.cmd"',
            "exit /b 0",
        ]
    )


# The state of the drivers and the network: how often it was tried, and whether it is done. Optional steps come after them.
_BEGIN = (
    "@echo off",
    "setlocal enableextensions disabledelayedexpansion",
    f"set HOME=%SystemRoot%\\{FOLDER}",
    f"set LOG=%HOME%\\{LOG}",
    f'if exist "%HOME%\\{DONE}" goto :quit',
    "set /a TRY=0",
    f'if exist "%HOME%\\{TRIES}" set /p TRY=<"%HOME%\\{TRIES}"',
    "set /a TRY+=1",
    f'>"%HOME%\\{TRIES}" echo %TRY%',
    'call :say "start, try %TRY%"',
    f"if %TRY% GTR {MAX_TRIES} goto :give_up",
    "set WORST=0",
    "set PNPUTIL=%SystemRoot%\\System32\\pnputil.exe",
    'if exist "%SystemRoot%\\Sysnative\\pnputil.exe" set PNPUTIL=%SystemRoot%\\Sysnative\\pnputil.exe',
)
_SUBROUTINES = (
    ":quit",
    "endlocal",
    "exit /b 0",
    ":say",
    '>>"%LOG%" echo %DATE% %TIME% %~1',
    "goto :eof",
    ":driver",
    'if not exist "%PNPUTIL%" goto :eof',
    '"%PNPUTIL%" -i -a "%HOME%\\drivers\\%2\\%3" >>"%LOG%" 2>&1',
    "set CODE=%ERRORLEVEL%",
    'call :say "driver %2: %CODE%"',
    "if %CODE%==0 goto :eof",
    "if %CODE%==259 goto :eof",
    "if %CODE%==3010 goto :eof",
    "if %1==critical set WORST=1",
    "goto :eof",
)


def _script(facts: WindowsFacts, todo: Todo, wrapped: bool) -> str:
    ordered = sorted(todo.packages, key=lambda name: (name not in _CRITICAL, _CRITICAL.index(name) if name in _CRITICAL else 0, name))
    lines = [*_BEGIN]
    lines += [f"call :driver {'critical' if name in _CRITICAL else 'optional'} {name} {todo.packages[name].driver.inf}" for name in ordered]
    lines += [f"call :card{index}" for index, dummy in enumerate(todo.adapters)]
    lines += ["if not %WORST%==0 goto :quit", *netsh.removed(todo.ghosts)]
    lines += [f'>"%HOME%\\{DONE}" echo ok', 'call :say "drivers and network are done"']
    if todo.san_policy is not None:
        verb, value = ("delete", "/f") if todo.san_policy == NO_POLICY else ("add", f"/t REG_DWORD /d {todo.san_policy} /f")
        lines.append(f'reg {verb} "{_PARTMGR}" /v SanPolicy {value} >>"%LOG%" 2>&1')
        lines.append(f'reg delete "{_PARTMGR}" /v {POLICY_BEFORE} /f >>"%LOG%" 2>&1')
    lines += [
        f'start "" /wait msiexec /i "%HOME%\\packages\\{os.path.basename(path)}" /qn /norestart /l* "%HOME%\\{os.path.basename(path)}.log"'
        for path in todo.installers
    ]
    lines += [
        f'start "" /wait msiexec /x {code} /qn /norestart REBOOT=ReallySuppress /l* "%HOME%\\uninstall.log"' for code in todo.products
    ]
    lines += [
        'call :say "end"',
        "goto :finish",
        ":give_up",
        f'>"%HOME%\\{DONE}" echo failed',
        f'call :say "given up after {MAX_TRIES} tries"',
        ":finish",
        f'reg add "HKLM\\SYSTEM\\CurrentControlSet\\Services\\{TASK}" /v Start /t REG_DWORD /d 4 /f >nul 2>&1'
        if wrapped
        else f'schtasks /delete /tn {TASK} /f >>"%LOG%" 2>&1',
        *_SUBROUTINES,
        *netsh.subroutines(facts.nt),
    ]
    for index, adapter in enumerate(todo.adapters):
        lines += [f":card{index}", *netsh.lines(facts.nt, adapter), "goto :eof"]
    return _batch(lines)


def read(guest: Guest, facts: WindowsFacts, system: Draft) -> FirstStart:
    """What the guest says of its first start."""
    home = f"{facts.system_root}/{FOLDER}"
    done, tries = (text(guest, f"{home}/{DONE}") or "").strip(), (text(guest, f"{home}/{TRIES}") or "").strip()
    log = tuple((text(guest, f"{home}/{LOG}") or "").splitlines()[-50:])
    armed = FOLDER in system.text("Setup", "CmdLine") or system.number(f"{pnp.services(facts)}\\{TASK}", "Start") == 2
    if done:
        state = "done" if done == "ok" else "failed"
    elif tries:
        state = "running"
    else:
        state = "armed" if armed else "none"
    return FirstStart(state, decimal(tries) or 0, log)
