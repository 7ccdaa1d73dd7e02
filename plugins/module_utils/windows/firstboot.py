# SPDX-License-Identifier: GPL-3.0-or-later
"""What Windows does by itself at its first start: install drivers, restore addresses, take disks online, remove the old tools.

The Setup command line starts it, which needs no program of a third party: it forgets itself, and arms a service that starts the work at
every start until it is done. cmd.exe is no service: it starts the work beside itself and ends, which Windows notes as an error and ignores
(ErrorControl 0). The operator's own wrapper in its place is one. What is done and in which order is startscript's.
Sources: Microsoft, "netsh interface ipv4"; facts on the Setup key are not documented; practice, for what a service's cmd.exe has started.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Mapping, Optional, Sequence

from ..core.concern import BLOCKER, Findings
from ..core.numbers import decimal
from ..guest.change import Change
from ..guest.changes.write import edit
from ..guest.model import FirstStart, StartStep, WindowsFacts
from ..guest.protocol import Guest, text
from . import leftovers, netsh, pnp, regf, startscript
from .additions import Installer
from .drivers import STORAGE, Package
from .hives import Draft
from .network import Adapter
from .startscript import ACCOUNT_FILE, DONE, LOG, SERVICE, STARTER, TRIES, WORK, Step
from .storage import FOLDER
from .temporary import Temporary
from .work import Work

_CRITICAL = (*STORAGE, "netkvm")
_EARLIER_TASKS = (f"System32/Tasks/{SERVICE}", f"Tasks/{SERVICE}.job")  # an earlier version handed the work to one
_REASON = "what Windows does by itself at its first start"
_UNTIL_THEN = "the password that the operator gave, until the first start"


@dataclass(frozen=True)
class Todo:
    """What there is to do.

    `account` is the command that sets a password; `disks` and `stop_code` are what is set back, with `two_phase` not before the final devices.
    """

    packages: Mapping[str, Package]
    adapters: tuple[Adapter, ...] = ()
    ghosts: tuple[Adapter, ...] = ()
    products: tuple[str, ...] = ()
    installers: tuple[Installer, ...] = ()
    leftovers: leftovers.Leftovers = leftovers.Leftovers()
    disks: Optional[Temporary] = None
    stop_code: Optional[Temporary] = None
    account: str = ""
    two_phase: bool = False

    @property
    def empty(self) -> bool:
        return self.leftovers.empty and not (
            self.packages or self.adapters or self.products or self.installers or self.disks or self.account
        )


def done(guest: Guest, facts: WindowsFacts) -> bool:
    """Whether the first start has been, and has come to its end."""
    return guest.stat(f"{facts.system_root}/{FOLDER}/{DONE}") is not None


def plan(work: Work, todo: Todo) -> list[Change]:
    """The scripts and what starts them."""
    guest, wrapper, home = work.guest, work.options.wrapper, f"{work.windows.system_root}/{FOLDER}"
    changes: list[Change] = []
    task = any(guest.stat(f"{work.windows.system_root}/{place}") is not None for place in _EARLIER_TASKS)
    script = startscript.work(_steps(work.windows, todo), todo.two_phase, task)
    for name, content in ((WORK, script), *(() if wrapper else ((STARTER, startscript.starter()),))):
        changes += edit(f"{home}/{name}", text(guest, f"{home}/{name}"), content, _REASON)
    if todo.account:
        changes += edit(f"{home}/{ACCOUNT_FILE}", text(guest, f"{home}/{ACCOUNT_FILE}"), todo.account, _UNTIL_THEN, 0o600, secret=True)
    for source in todo.installers:
        changes += source.brought(guest, f"{home}/packages/{source.name}", _REASON)
    changes += Installer(wrapper).brought(guest, f"{home}/{os.path.basename(wrapper)}", _REASON) if wrapper else []
    if task:
        return changes  # it starts the work at every start as it is, and a second one would do it twice at once
    if wrapper or work.system.number(_service_key(work.windows), "Start") != pnp.AUTO_START:
        _service(work.windows, work.system, os.path.basename(wrapper))
        if not wrapper:
            _setup(work.system, work.findings)
    return changes


def _setup(system: Draft, findings: Findings) -> None:
    command = f'cmd.exe /c "%SystemRoot%\\{FOLDER}\\{STARTER}"'
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
    """What starts the work at every start until it is done.

    A wrapper as rhsrvany or pvvxsvc takes it: `-s` and the service, whose Parameters say what to run. Without one cmd.exe; the Setup command
    line makes that automatic, so that the first start does not do the work twice at once.
    """
    key = _service_key(facts)
    home = f"{facts.drive}:\\{facts.system_root.rsplit('/', 1)[-1]}\\{FOLDER}"
    shell = "%SystemRoot%\\System32\\cmd.exe"
    direct = f'{shell} /c start "" /b {shell} /c %SystemRoot%\\{FOLDER}\\{WORK}'
    if not wrapper:
        pnp.add_service(system, key, pnp.DEMAND_START, 0, command=direct, reason=_REASON)
    else:
        pnp.add_service(system, key, pnp.AUTO_START, 1, command=f'"{home}\\{wrapper}" -s {SERVICE}', reason=_REASON)
        system.set(f"{key}\\Parameters", "CommandLine", regf.SZ, f'cmd.exe /c "{home}\\{WORK}"', _REASON)
        system.set(f"{key}\\Parameters", "PWD", regf.SZ, home, _REASON)


def _service_key(facts: WindowsFacts) -> str:
    return f"{pnp.services(facts)}\\{SERVICE}"


def _steps(facts: WindowsFacts, todo: Todo) -> list[Step]:
    """The steps that this guest needs, in their order."""
    critical = [name for name in _CRITICAL if name in todo.packages]
    steps = [_drivers(facts, startscript.DRIVERS, [todo.packages[name] for name in critical])] if critical else []
    if todo.adapters:
        cards = [
            line for index, adapter in enumerate(todo.adapters) for line in (f":card{index}", *netsh.lines(facts.nt, adapter), "goto :eof")
        ]
        lines = [f"call :card{index}" for index, dummy in enumerate(todo.adapters)]
        removes = startscript.has(facts, "pnputil /remove-device")
        steps.append(
            Step(
                startscript.NETWORK,
                [*lines, "if not %WORST%==0 goto :ended", *netsh.removed(todo.ghosts, removes)],
                [*netsh.subroutines(facts.nt), *cards],
            )
        )
    for name, setting in ((startscript.DISKS, todo.disks), (startscript.SETTINGS, todo.stop_code)):
        steps += [Step(name, setting.put_back())] if setting is not None else []
    if len(critical) < len(todo.packages):
        steps.append(_drivers(facts, startscript.EXTRAS, [todo.packages[name] for name in sorted(todo.packages) if name not in critical]))
    steps += [startscript.account()] if todo.account else []
    names = [one.name for one in todo.installers]
    install = [(name, f'/i "%HOME%\\packages\\{name}" /qn /norestart /l* "%HOME%\\{name}.log"') for name in names]
    remove = [(code, f'/x {code} /qn /norestart REBOOT=ReallySuppress /l* "%HOME%\\uninstall.log"') for code in todo.products]
    steps += [startscript.packages(startscript.AGENT, startscript.INSTALL, install)] if install else []
    if remove or not todo.leftovers.empty:
        uninstall = startscript.packages(startscript.TOOLS, startscript.REMOVE, remove)
        rest = leftovers.lines(todo.leftovers, bool(critical))
        steps.append(Step(startscript.TOOLS, [*uninstall.lines, *rest], [*uninstall.subroutines, *leftovers.subroutines()]))
    return steps


def _drivers(facts: WindowsFacts, step: str, packages: Sequence[Package]) -> Step:
    if not startscript.has(facts, "pnputil"):
        return Step(step, ['call :say "drivers: Windows looks for them by itself, in DevicePath"'])
    return Step(step, [f"call :driver {one.name} {one.driver.inf}" for one in packages])


def read(guest: Guest, facts: WindowsFacts, system: Draft) -> FirstStart:
    """What the guest says of its first start; a first start of an earlier version has no steps."""
    home = f"{facts.system_root}/{FOLDER}"
    ended, tries = (text(guest, f"{home}/{DONE}") or "").strip(), (text(guest, f"{home}/{TRIES}") or "").strip()
    log = tuple((text(guest, f"{home}/{LOG}") or "").splitlines()[-50:])
    armed = FOLDER in system.text("Setup", "CmdLine") or system.number(_service_key(facts), "Start") == pnp.AUTO_START
    if ended:
        state = "done" if ended == "ok" else "failed"
    elif tries:
        state = "running"
    else:
        state = "armed" if armed else "none"
    steps = _steps_of(guest, home, ended)
    critical = [step for step in steps if step.name in startscript.CRITICAL]
    ready = state == "done" or (state == "running" and bool(steps) and all(step.state == "done" for step in critical))
    return FirstStart(state, decimal(tries) or 0, log, ready, steps)


def _steps_of(guest: Guest, home: str, ended: str) -> tuple[StartStep, ...]:
    """The steps of the script, each with what the files of its state say."""
    script = set(re.findall(r"^call :run (\w+) ", text(guest, f"{home}/{WORK}") or "", re.MULTILINE))
    names, steps = guest.listdir(f"{home}/{startscript.STATE}"), []
    for step in startscript.STEPS if script else ():
        if step not in script and step != startscript.CLEANUP:
            continue
        tries = sum(name.startswith(f"{step}.try.") for name in names)
        ending = next((ending for ending in ("done", "failed", "bad") if f"{step}.{ending}" in names), "")
        code = decimal((text(guest, f"{home}/{startscript.STATE}/{step}.{ending}") or "").strip() if ending else "")
        state = ending if ending in ("done", "failed") else "running" if tries else "waiting"
        if step == startscript.CLEANUP:
            state = "done" if ended else "waiting"
        meaning = (
            "Windows does not take the password" if (step, code) == (startscript.ACCOUNT, 2) else startscript.MEANINGS.get(code or 0, "")
        )
        steps.append(StartStep(step, state, tries, code, meaning))
    return tuple(steps)
