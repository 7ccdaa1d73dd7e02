# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot a result headless, watch it, and say whether it works; the disks are opened in snapshot mode and never written."""

from __future__ import annotations

import contextlib
import time
from typing import Mapping, Optional

from ..core import atomic, modes
from ..core.accel import accelerator
from ..core.errors import naming
from ..core.progress import Progress
from . import checks, with_libvirt, with_qemu
from .model import BootOutcome, BootRequest, CheckOutcome
from .signals import Console


def boot(request: BootRequest, progress: Progress) -> BootOutcome:
    """Run the test to its verdict: login prompt, network, no missing devices, every check; or a fault, or the deadline.

    A guest without a serial console is judged by its network alone. Raises ToolFailed when the VM itself does not start.
    """
    kind = accelerator()
    started = with_libvirt.started if request.description else with_qemu.started
    with started(request, kind) as machine, contextlib.ExitStack() as stack:
        console, begin = Console(request.expect), time.monotonic()
        progress.phase("boot")
        log = stack.enter_context(modes.create(request.console_log, request.mode)) if request.console_log else None
        network: Optional[str] = None
        left = dict.fromkeys(request.checks, "it was not reached")
        while time.monotonic() - begin < request.timeout:
            now = time.monotonic() - begin
            data = machine.receive()
            if data is None:
                break  # the guest switched itself off or crashed
            console.feed(data, now)
            if log is not None and request.console_log is not None:
                with naming(request.console_log):
                    log.write(data)
            answer = console.answer(request.passphrases)
            if answer is not None:
                machine.send(answer.encode("utf-8") + b"\n")
            fault = console.fault()
            if fault is not None and fault.fatal:
                break
            up = "login" in console.seen or (not console.seen and now > request.timeout / 2)
            if request.network != "none" and up and network is None:
                network = checks.network(request.network, machine)
                if network is not None:
                    console.seen[network] = round(time.monotonic() - begin, 1)
            if up and (network is not None or request.network == "none"):
                left = {check: why for check, why in ((check, checks.fault(check, machine)) for check in left) if why}
                if not left and not console.missing():
                    break
            if "login" in console.seen and now > console.seen["login"] + request.grace:
                break
        shown = machine.screenshot() if request.screenshot else None
        if request.screenshot and shown is not None:
            atomic.write_bytes(request.screenshot, shown, request.mode)
        picture = request.screenshot if shown is not None else None
    verdict, cause = _judge(request, console, network, {check.name: why for check, why in left.items()})
    checked = tuple(CheckOutcome(check.name, check not in left, left.get(check, "")) for check in request.checks)
    return BootOutcome(verdict, cause, dict(console.seen), console.lines(), picture, kind, round(time.monotonic() - begin, 1), checked)


def _judge(request: BootRequest, console: Console, network: Optional[str], left: Mapping[str, str]) -> tuple[str, str]:
    fault = console.fault()
    if fault is not None:
        return "failed", fault.cause
    if console.missing() and ("login" in console.seen or network is not None):
        return "failed", f"the console never showed what was expected: {', '.join(console.missing())}"
    works = network is not None or ("login" in console.seen and request.network == "none")
    if works and left:
        return "failed", "; ".join(f"{name}: {why}" for name, why in left.items())
    if works:
        return "passed", "" if "login" in console.seen else "the guest has no serial console; it answered on the network"
    if "login" in console.seen:
        return "failed", "the guest is up but did not answer on the network (no SSH banner, no guest agent)"
    if "passphrase" in console.seen:
        return "failed", "the guest waits for the passphrase of a disk" + (
            " and does not accept the given ones" if request.passphrases else ""
        )
    last = max(console.seen, key=lambda name: console.seen[name], default="nothing")
    return "failed", f"no login prompt within {request.timeout:.0f} seconds; the last thing seen was: {last}"
