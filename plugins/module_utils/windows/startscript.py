# SPDX-License-Identifier: GPL-3.0-or-later
"""The script of the first start: a small state machine whose state is the names of files, in a folder that a person can read.

Each step runs in a process of its own, so that none that hangs holds up another, and leaves `STEP.ok`, `STEP.bad` or `STEP.never` with
its exit code; the machine makes `STEP.done` or `STEP.failed` of it. Names are made and changed by the file system's journal: after a
power cut a file is there or not, and what it holds is for people only. Only cmd and reg, ping, find and shutdown are used beside what the
steps call: no task scheduler, no WMI, no PowerShell. What wine and cmd.exe read differently is left out: FOR /F, blocks, `%%`.
Sources: Microsoft, "MsiExec.exe and InstMsi.exe error messages"; "PnPUtil return values" (259: nothing to do, 3010 and 1641: a restart);
"PnPUtil command syntax" for the releases that have a command.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Mapping, Sequence

from ..guest.model import WindowsFacts
from .storage import FOLDER

STATE = "state"  # below our folder: how far the first start has come
SERVICE = "hyper2kvm-firstboot"
SERVICE_KEY = f"HKLM\\SYSTEM\\CurrentControlSet\\Services\\{SERVICE}"
SETUP = "HKLM\\SYSTEM\\Setup"
FIND = "%SystemRoot%\\System32\\find.exe"  # what else has this name reads other words
WORK, STARTER = "work.cmd", "firstboot.cmd"
ACCOUNT_FILE = "account.cmd"  # holds a password until it has been set, or nothing is tried any more
DONE, LOG, TRIES = "firstboot.done", "firstboot.log", "firstboot.try"
MAX_STARTS, MAX_TRIES, MAX_RESTARTS = 5, 3, 2
LATE = 1460  # ERROR_TIMEOUT: a step that had not ended
DRIVERS, NETWORK, DISKS, SETTINGS, EXTRAS, ACCOUNT, AGENT, TOOLS, CLEANUP = STEPS = (
    "drivers",
    "network",
    "disks",
    "settings",
    "extras",
    "account",
    "agent",
    "tools",
    "cleanup",
)
CRITICAL = (DRIVERS, NETWORK)
# How long a step may take before the machine goes on without it, in looks that are two seconds apart.
LOOKS: Mapping[str, int] = {DRIVERS: 450, NETWORK: 450, DISKS: 60, SETTINGS: 60, EXTRAS: 450, ACCOUNT: 60, AGENT: 900, TOOLS: 900}
BUSY_LOOKS = 150

# The first release that has it: version and build.
SINCE: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "pnputil": (6, 0, 0),
        "pnputil /remove-device": (10, 0, 19041),
    }
)

# What the installer's exit codes ask for, beside 0; every other code is tried again.
INSTALL, REMOVE = "install", "remove"
_DONE: Mapping[str, tuple[int, ...]] = {INSTALL: (3010, 1641, 1638), REMOVE: (3010, 1641, 1605, 1614)}
_BUSY = (1618, 1601)
_NEVER = (1619, 1620, 1625, 1633, 1643)
MEANINGS: Mapping[int, str] = MappingProxyType(
    {
        2: "the program is not there",
        3: "what was to be done is not there",
        259: "nothing was to be done",
        1460: "it had not ended in time",
        1601: "the installer's service is not there",
        1603: "the installer failed; its own log tells",
        1605: "it was not installed",
        1618: "another installation runs",
        1619: "the package cannot be opened",
        1620: "the package is damaged",
        1625: "a policy forbids it",
        1633: "it is for another architecture",
        1638: "another version is installed",
        1641: "a restart was begun",
        1643: "a policy forbids it",
        3010: "a restart is needed",
    }
)


@dataclass(frozen=True)
class Step:
    """A step by its name in STEPS, the lines that do it, and subroutines of its own. They leave in WORST what went wrong, 0 for nothing."""

    name: str
    lines: Sequence[str]
    subroutines: Sequence[str] = ()


def has(facts: WindowsFacts, command: str) -> bool:
    """Whether this release brings the command along."""
    return (*facts.nt, facts.build) >= SINCE[command]


def batch(lines: Sequence[str]) -> str:
    return "".join(f"{line}\r\n" for line in lines)


def starter() -> str:
    """What the Setup command line runs: the service is armed for every later start, then Setup forgets this, then the work begins.

    A power cut in between leaves both armed: the service then does the work by itself.
    """
    return batch(
        [
            "@echo off",
            "setlocal enableextensions disabledelayedexpansion",
            f"set HOME=%SystemRoot%\\{FOLDER}",
            f"set LOG=%HOME%\\{LOG}",
            "set ARMED=",
            f'reg query "{SERVICE_KEY}" /v Start 2>nul | {FIND} "0x2" >nul',
            "if not errorlevel 1 set ARMED=1",
            f'reg add "{SERVICE_KEY}" /v Start /t REG_DWORD /d 2 /f >>"%LOG%" 2>&1',
            "rem Windows must start normally the next time, whatever happens below.",
            *_forgotten(),
            "if defined ARMED goto :quit",
            f'start "" /b cmd.exe /c %HOME%\\{WORK}',
            ":quit",
            "endlocal",
            "exit /b 0",
        ]
    )


def _forgotten() -> list[str]:
    """Setup forgets our command. Its text goes last: as long as it is there, this was not done to its end."""
    return [
        f'reg add "{SETUP}" /v SystemSetupInProgress /t REG_DWORD /d 0 /f >>"%LOG%" 2>&1',
        f'reg add "{SETUP}" /v SetupType /t REG_DWORD /d 0 /f >>"%LOG%" 2>&1',
        f'reg add "{SETUP}" /v CmdLine /t REG_SZ /d "" /f >>"%LOG%" 2>&1',
    ]


def work(steps: Sequence[Step], two_phase: bool = False, task: bool = False) -> str:
    """The machine with its steps. `two_phase`: what is set back waits for the final devices; `task`: that of an earlier version starts it."""
    lines = [*_head(), *_order([step.name for step in steps], two_phase), *_end([step.name for step in steps], task), *_run(), *_restart()]
    lines += [*_SUBROUTINES, *_DRIVER]
    for step in steps:
        lines += [f":step_{step.name}", *step.lines, "goto :ended", *step.subroutines]
    return batch(lines)


def _head() -> list[str]:
    return [
        "@echo off",
        "setlocal enableextensions disabledelayedexpansion",
        f"set HOME=%SystemRoot%\\{FOLDER}",
        f"set S=%HOME%\\{STATE}",
        f"set LOG=%HOME%\\{LOG}",
        "set PNPUTIL=%SystemRoot%\\System32\\pnputil.exe",
        'if exist "%SystemRoot%\\Sysnative\\pnputil.exe" set PNPUTIL=%SystemRoot%\\Sysnative\\pnputil.exe',
        'if not "%1"=="step" goto :main',
        "set LOG=%HOME%\\firstboot.%2.log",
        "set WORST=0",
        "set NEVER=",
        "goto :step_%2",
        ":main",
        f'if exist "%HOME%\\{DONE}" goto :disarm',
        'if not exist "%S%" mkdir "%S%"',
        "set START=1",
        *(f'if exist "%S%\\start.{number}" set START={number + 1}' for number in range(1, MAX_STARTS + 1)),
        '>"%S%\\start.%START%" echo %DATE% %TIME%',
        f'>"%HOME%\\{TRIES}" echo %START%',
        'if exist "%S%\\restart.wanted" del "%S%\\restart.wanted"',
        'call :say "start %START%"',
        f'reg query "{SETUP}" /v CmdLine 2>nul | {FIND} "{FOLDER}" >nul',
        "if errorlevel 1 goto :begun",
        *_forgotten(),
        ":begun",
    ]


def _order(names: Sequence[str], two_phase: bool) -> list[str]:
    """What Windows cannot be used without comes first; then what holds for the first start only is set back; then the rest."""
    first = [f"call :run {name} {LOOKS[name]}" for name in names if name in CRITICAL]
    back = [f"call :run {name} {LOOKS[name]} always" for name in names if name in (DISKS, SETTINGS)]
    if two_phase and back:
        # On its first devices Windows has the disks that qemu gives it without our drivers, by their names.
        enumerated = '"HKLM\\SYSTEM\\CurrentControlSet\\Services\\disk\\Enum"'
        back = [
            f"if %START% GEQ {MAX_STARTS} goto :final",
            f'reg query {enumerated} 2>nul | {FIND} "QEMU" >nul',
            "if errorlevel 1 goto :final",
            'call :say "settings of the first start stay until the final devices"',
            "goto :rest",
            ":final",
            *back,
        ]
    return [
        *first,
        "call :restart",
        "if defined RESTARTED goto :quit",
        "set OPEN=",
        *_open([name for name in names if name in CRITICAL]),
        "if defined OPEN goto :rest",
        *back,
        ":rest",
        *(f"call :run {name} {LOOKS[name]}" for name in names if name in (EXTRAS, ACCOUNT)),
        "call :restart",
        "if defined RESTARTED goto :quit",
        *(f"call :run {name} {LOOKS[name]}" for name in names if name in (AGENT, TOOLS)),
    ]


def _open(names: Sequence[str]) -> list[str]:
    return [f'if not exist "%S%\\{name}.done" if not exist "%S%\\{name}.failed" set OPEN=1' for name in names]


def _end(names: Sequence[str], task: bool) -> list[str]:
    return [
        "set OPEN=",
        *_open(names),
        "if not defined OPEN goto :finish",
        'call :say "not finished, goes on at the next start"',
        "goto :quit",
        ":finish",
        *([f'if exist "%HOME%\\{ACCOUNT_FILE}" del "%HOME%\\{ACCOUNT_FILE}"'] if ACCOUNT in names else []),
        "set RESULT=ok",
        *(f'if exist "%S%\\{name}.failed" set RESULT=failed' for name in names if name in CRITICAL),
        '>"%HOME%\\firstboot.new" echo %RESULT%',
        f'ren "%HOME%\\firstboot.new" {DONE}',
        'call :say "end: %RESULT%"',
        ":disarm",
        f'schtasks /delete /tn {SERVICE} /f >>"%LOG%" 2>&1'
        if task
        else f'reg add "{SERVICE_KEY}" /v Start /t REG_DWORD /d 4 /f >>"%LOG%" 2>&1',
        ":quit",
        "endlocal",
        "exit /b 0",
    ]


def _run() -> list[str]:
    """:run STEP LOOKS [always]: a step that is not settled is tried, in a process of its own, and looked at until it ends."""
    return [
        ":run",
        'if exist "%S%\\%1.done" goto :eof',
        'if exist "%S%\\%1.failed" goto :eof',
        "set TRY=0",
        'if exist "%S%\\%1.ok" goto :run_ok',
        'if exist "%S%\\%1.never" goto :run_never',
        f"if %START% LEQ {MAX_STARTS} goto :run_again",
        'if not "%3"=="always" goto :run_given_up',
        ":run_again",
        "set /a TRY+=1",
        '>"%S%\\%1.try.%START%.%TRY%" echo %DATE% %TIME%',
        'if exist "%S%\\%1.bad" del "%S%\\%1.bad"',
        'call :say "%1: try %TRY%"',
        f'start "" /b cmd.exe /c %HOME%\\{WORK} step %1',
        "set LOOK=0",
        ":run_wait",
        'if exist "%S%\\%1.ok" goto :run_ok',
        'if exist "%S%\\%1.never" goto :run_never',
        'if exist "%S%\\%1.bad" goto :run_bad',
        "set /a LOOK+=1",
        "if %LOOK% GTR %2 goto :run_late",
        "call :pause",
        "goto :run_wait",
        ":run_ok",
        "call :merge %1",
        'ren "%S%\\%1.ok" %1.done',
        'call :say "%1: done"',
        "goto :eof",
        ":run_bad",
        "call :merge %1",
        f"if %TRY% GEQ {MAX_TRIES} goto :run_ended",
        "call :pause",
        "goto :run_again",
        ":run_late",
        'call :say "%1: no end yet, the others go on without it"',
        ":run_ended",
        f"if %START% LSS {MAX_STARTS} goto :eof",
        ":run_given_up",
        'if exist "%S%\\%1.bad" ren "%S%\\%1.bad" %1.failed',
        f'if not exist "%S%\\%1.failed" >"%S%\\%1.failed" echo {LATE}',
        'call :say "%1: given up"',
        "goto :eof",
        ":run_never",
        "call :merge %1",
        'ren "%S%\\%1.never" %1.failed',
        'call :say "%1: given up, trying again would change nothing"',
        "goto :eof",
    ]


def _restart() -> list[str]:
    """:restart: one that a driver has asked for, unless there were enough. It leaves RESTARTED where Windows goes down."""
    return [
        ":restart",
        "set RESTARTED=",
        'if not exist "%S%\\restart.wanted" goto :eof',
        f'if exist "%S%\\restart.{MAX_RESTARTS}" goto :eof',
        "set TIMES=1",
        *(f'if exist "%S%\\restart.{number}" set TIMES={number + 1}' for number in range(1, MAX_RESTARTS)),
        '>"%S%\\restart.%TIMES%" echo %DATE% %TIME%',
        'call :say "a driver asks for a restart"',
        'shutdown.exe -r -t 0 >>"%LOG%" 2>&1',
        "if not errorlevel 1 set RESTARTED=1",
        "goto :eof",
    ]


_SUBROUTINES = (
    # How a step ends. The name says it, and comes when the file is whole.
    ":ended",
    "set RESULT=ok",
    "if defined NEVER set RESULT=never",
    "if not %WORST%==0 set RESULT=bad",
    "if %RESULT%==never set WORST=%NEVER%",
    '>"%S%\\%2.new" echo %WORST%',
    'ren "%S%\\%2.new" %2.%RESULT%',
    "goto :quit",
    # A step has a log of its own while it runs: two processes cannot append to one file.
    ":merge",
    'if not exist "%HOME%\\firstboot.%1.log" goto :eof',
    'type "%HOME%\\firstboot.%1.log" >>"%LOG%"',
    'del "%HOME%\\firstboot.%1.log"',
    "goto :eof",
    ":say",
    '>>"%LOG%" echo %DATE% %TIME% %~1',
    "goto :eof",
    # ping fails at once as long as there is no network; waitfor came with 2003.
    ":pause",
    "ping -n 3 127.0.0.1 >nul 2>&1",
    "if errorlevel 1 waitfor /t 2 hyper2kvm >nul 2>&1",
    "goto :eof",
)

_DRIVER = (
    ":driver",
    'if exist "%S%\\driver.%1" goto :eof',
    "set CODE=2",
    'if not exist "%PNPUTIL%" goto :driver_judge',
    '"%PNPUTIL%" -i -a "%HOME%\\drivers\\%1\\%2" >>"%LOG%" 2>&1',
    "set CODE=%ERRORLEVEL%",
    ":driver_judge",
    'call :say "driver %1: %CODE%"',
    "if %CODE%==0 goto :driver_done",
    "if %CODE%==259 goto :driver_done",
    "if %CODE%==3010 goto :driver_restart",
    "if %CODE%==1641 goto :driver_restart",
    "set WORST=%CODE%",
    "goto :eof",
    ":driver_restart",
    '>"%S%\\restart.wanted" echo %1',
    ":driver_done",
    '>"%S%\\driver.%1" echo %CODE%',
    "goto :eof",
)


def account() -> Step:
    """The step that sets a password by a file of its own, which goes with it. What the program says is not kept."""
    file = f'"%HOME%\\{ACCOUNT_FILE}"'
    mark = '"%S%\\account.set"'
    lines = [
        f"if exist {mark} goto :account_set",
        "set WORST=3",
        f"if not exist {file} goto :ended",
        f"call {file} >nul 2>&1",
        "set WORST=%ERRORLEVEL%",
        "if not %WORST%==0 goto :ended",
        f">{mark} echo %WORST%",
        ":account_set",
        f"if exist {file} del {file}",
    ]
    return Step(ACCOUNT, lines)


def packages(step: str, kind: str, commands: Sequence[tuple[str, str]]) -> Step:
    """The step that has the installer do these: (what it is, msiexec's words). One that is done is not done again."""
    lines: list[str] = []
    for number, (what, words) in enumerate(commands):
        label, mark = f"{step}_{number}", f'"%S%\\{step}.package.{number}"'
        lines += [
            "set BUSY=0",
            f":{label}",
            f"if exist {mark} goto :{label}_end",
            f'start "" /wait msiexec.exe {words}',
            "set CODE=%ERRORLEVEL%",
            f'call :say "{what}: %CODE%"',
            f"call :judge_{step} %CODE%",
            f"if %VERDICT%==again goto :{label}",
            f"if %VERDICT%==done >{mark} echo %CODE%",
            "if %VERDICT%==bad set WORST=%CODE%",
            "if %VERDICT%==never set NEVER=%CODE%",
            f":{label}_end",
        ]
    judge = [
        f":judge_{step}",
        "set VERDICT=bad",
        *(f"if %1=={code} set VERDICT=done" for code in (0, *_DONE[kind])),
        *(f"if %1=={code} set VERDICT=never" for code in _NEVER),
        *(f"if %1=={code} goto :busy_{step}" for code in _BUSY),
        "goto :eof",
        f":busy_{step}",
        "set /a BUSY+=1",
        f"if %BUSY% GTR {BUSY_LOOKS} goto :eof",
        "set VERDICT=again",
        "call :pause",
        "goto :eof",
    ]
    return Step(step, lines, judge)
