# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules do that look into guests, repair them, and take repairs back: offline, in check mode, and on the running system."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Callable, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..core import atomic
from ..core.errors import InvalidInput
from ..core.progress import Silent
from ..disk import encrypted, staging
from ..guest.apply import BACKUPS
from ..guest.family import GuestRequest
from ..guest.offline import Attached
from ..pipeline.live_repair import live_fix
from ..pipeline.repair import GuestReport, fix, look, take_back
from ..pipeline.repaired import answer
from ..pipeline.sources import libraries_of
from ..pipeline.stage import working_on
from .guest_options import (
    guest_request,
    named_disks,
    options_of,
)
from .runtime import Result, respawn_for, run
from .source_options import module_with_source, require_own, run_of, sources_of
from .specs import attributes, disk_set, vsphere


def report_result(module: AnsibleModule, report: GuestReport, changed: bool, plan_file: str = "") -> Result:
    """What every guest module returns."""
    return {**answer(report, run_of(module), plan_file, bool(module.params.get("return_plan"))), "changed": changed}


def report_on_guest(look_at: Callable[[GuestRequest], GuestReport]) -> None:
    """The body of a module that only looks."""
    spec = {**disk_set.MAIN, **vsphere.SOURCE, **disk_set.GUEST, **disk_set.LOOK, **disk_set.SYSTEM}
    module = module_with_source(spec, required_one_of=[("source", "disks", "work_dir")], mutually_exclusive=[("source", "disks")])
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))

    def work(module: AnsibleModule) -> Result:
        with guest_request(module) as request:
            return {"changed": False, **look_at(request).as_result()}

    run(module, work)


def single_fix(fixes: Sequence[str]) -> None:
    """The body of a module that carries out one kind of fix on overlays."""
    spec = {**disk_set.MAIN, **vsphere.SOURCE, **disk_set.GUEST, **disk_set.SYSTEM, **disk_set.FIX, **disk_set.OPTIONS, **attributes.RUN}
    module = module_with_source(spec, required_one_of=[("source", "disks", "work_dir")], mutually_exclusive=[("source", "disks")])
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))
    run(module, lambda module: _single_fix(module, fixes))


def _single_fix(module: AnsibleModule, fixes: Sequence[str]) -> Result:
    directory = module.params["work_dir"]
    if module.params["source"] and not module.check_mode and not (directory and staging.flattened(directory)):
        raise InvalidInput(
            "A source is never written.", "Run vmdk_fetch and disk_flatten, then name their work_dir; or use check mode to see the changes."
        )
    require_own(module)
    with (
        working_on(run_of(module), directory) if directory else contextlib.nullcontext(),
        guest_request(module, fixes, overlays=True) as request,
    ):
        if module.check_mode:
            report = look(request, plan_too=True)
        else:
            report = fix(replace(request, accept=(*request.accept, "proof.failed")), Silent())
        kept = os.path.join(directory, staging.PLANNED) if directory and not module.check_mode else ""
        if kept:
            atomic.write_text(kept, report.plan.text())
        return report_result(module, report, bool(report.plan.changes), kept)


def rollback_work(module: AnsibleModule) -> Result:
    """guest_fix_rollback: on images that no VM uses and that are no source."""
    params = module.params
    disks = named_disks(params)
    for path in encrypted.locked(disks):
        raise InvalidInput(f"{path} is encrypted, and is not written to.", "Write to a copy that is not: qemu-img convert.", path=path)
    request = GuestRequest(tuple(Attached(path, fmt) for path, fmt in disks), (), params["firmware"], params["luks_keys"], params["root"])
    undone = take_back(request, params["id"], module.check_mode)
    return {"changed": bool(undone), "undone": list(undone)}


def live_fix_work(module: AnsibleModule) -> Result:
    """guest_live_fix: on the system that the module runs on."""
    options = options_of(module.params, module.params["fixes"])
    report = live_fix(GuestRequest((), options=(options,), accept=tuple(module.params["accept"])), module.check_mode)
    kept = f"{BACKUPS}/{report.plan.id}/plan.json" if report.plan.changes and not module.check_mode else ""
    return report_result(module, report, bool(report.plan.changes), kept)
