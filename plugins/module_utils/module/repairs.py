# SPDX-License-Identifier: GPL-3.0-or-later
"""What the modules do that look into guests, repair them, and take repairs back: offline, in check mode, and on the running system."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import replace
from typing import Any, Callable, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..core import atomic, files, limits, macs
from ..core.errors import InvalidInput, NotInPlace, ProofFailed
from ..core.manifest import Identity, Manifest
from ..core.progress import Silent, sink
from ..core.trace import point
from ..disk import encrypted, staging
from ..guest.apply import BACKUPS
from ..guest.family import GuestRequest
from ..guest.offline import Attached
from ..guest.plan import Plan
from ..linux.plan import FIXES
from ..pipeline.engines import OWN, Engine, repair
from ..pipeline.fetch import reading
from ..pipeline.kinds import KINDS
from ..pipeline.live_repair import live_fix
from ..pipeline.repair import GuestReport, fix, look, masked, take_back
from ..pipeline.report import PLANNED, REFUSED
from ..pipeline.sources import libraries_of, opened
from .access import access_of
from .guest_options import (
    all_options_of,
    disk_set_spec,
    fix_spec,
    fixes_spec,
    grown_request,
    guest_request,
    named_disks,
    options_digest,
    options_of,
)
from .holding import working_on
from .runtime import Result, respawn_for, run
from .source_options import fetched_of, module_with_source, require_fetched, require_own, run_spec, source_of, sources_of

_LONGEST_WARNING, _LONGEST_WARNINGS = 500, 2500  # characters of a concern, and of all, among the warnings


def report_result(module: AnsibleModule, report: GuestReport, changed: bool, plan_file: str = "") -> Result:
    """What every guest module returns. The plan is not in it, but where it is kept: it holds files of the guest."""
    result = recorded_result(report.as_result(), changed, plan_file)
    if module.params.get("return_plan"):
        result["plan"] = report.plan.shown().as_data()
    if module._diff:
        result["diff"] = [*({"prepared": f"grown: {line}\n"} for line in report.grown), *report.plan.diff()]
    said = 0
    for number, concern in enumerate(report.plan.concerns):
        text = masked(str(concern))[:_LONGEST_WARNING]
        said += len(text)
        if said > _LONGEST_WARNINGS:
            module.warn(f"There are {len(report.plan.concerns) - number} more concerns; the report of the migration has all of them.")
            break
        module.warn(text)
    return result


def recorded_result(record: Mapping[str, Any], changed: bool, plan_file: str) -> Result:
    """A result from what a session found, or an earlier one has recorded."""
    changes = [{key: change[key] for key in ("kind", "path", "reason")} for change in record.get("changes") or ()]
    kept = {"plan_file": plan_file} if plan_file else {}
    return {**{key: value for key, value in record.items() if key != "plan"}, "changes": changes, "changed": changed, **kept}


def report_on_guest(look_at: Callable[[GuestRequest], GuestReport]) -> None:
    """The body of a module that only looks."""
    spec = {**disk_set_spec(), "passphrase": {"type": "str", "default": "", "no_log": True}}
    module = module_with_source(spec, required_one_of=[("source", "disks", "work_dir")], mutually_exclusive=[("source", "disks")])
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))

    def work(module: AnsibleModule) -> Result:
        with guest_request(module) as request:
            return {"changed": False, **look_at(request).as_result()}

    run(module, work)


def single_fix(fixes: Sequence[str]) -> None:
    """The body of a module that carries out one kind of fix on overlays."""
    module = module_with_source(
        {**fix_spec(), **run_spec()}, required_one_of=[("source", "disks", "work_dir")], mutually_exclusive=[("source", "disks")]
    )
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))
    run(module, lambda module: _single_fix(module, fixes))


def _single_fix(module: AnsibleModule, fixes: Sequence[str]) -> Result:
    directory = module.params["work_dir"]
    if module.params["source"] and not module.check_mode and not (directory and staging.flattened(directory)):
        raise InvalidInput(
            "A source is never written.", "Run vmdk_fetch and disk_flatten, then name their work_dir; or use check mode to see the changes."
        )
    require_own(module)
    with working_on(module, directory) if directory else contextlib.nullcontext(), guest_request(module, fixes, overlays=True) as request:
        if module.check_mode:
            report = look(request, plan_too=True)
        else:
            report = fix(replace(request, accept=(*request.accept, "proof.failed")), Silent())
        kept = os.path.join(directory, PLANNED) if directory and not module.check_mode else ""
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


def live_spec() -> dict[str, Any]:
    """The options of a repair on the running system."""
    spec = {**fix_spec(), **fixes_spec()}
    for name in {*disk_set_spec(), "mac_map", "virtio_win", "windows"} - {"accept"}:
        del spec[name]
    spec["fixes"]["choices"] = list(FIXES)
    return {**spec, "initramfs": {**spec["initramfs"], "default": "regenerate"}}


def live_fix_work(module: AnsibleModule) -> Result:
    """guest_live_fix: on the system that the module runs on."""
    options = options_of(module.params, module.params["fixes"])
    report = live_fix(GuestRequest((), options=(options,), accept=tuple(module.params["accept"])), module.check_mode)
    kept = f"{BACKUPS}/{report.plan.id}/plan.json" if report.plan.changes and not module.check_mode else ""
    return report_result(module, report, bool(report.plan.changes), kept)


def composite_fix(module: AnsibleModule) -> Result:
    """guest_fix: on the overlays of a work directory; in check mode the same on throw-away overlays."""
    params = module.params
    options = all_options_of(params, params["fixes"])
    saved = saved_plan(module)
    engine = Engine(params["engine"], tuple(params["v2v_options"]))
    recorded = {
        "fixes": params["fixes"],
        "fstab_mode": params["fstab_mode"],
        "initramfs": params["initramfs"],
        "firmware": params["firmware"],
        "options": options_digest(params["root"], options),
        "accept": sorted(params["accept"]),
        "keys": sorted(params["luks_keys"]),
        "nics": [macs.canonical(nic["mac"]) or nic["mac"] for nic in params["nics"]],
        "plan": saved.id if saved is not None else None,
        **({"engine": [engine.name, *engine.options]} if engine.name != OWN else {}),
        **({"grow": params["grow"]} if any(params["grow"]) else {}),
    }
    directory = params["work_dir"]
    with working_on(module, directory):
        require_own(module)
        base = fetched_of(params) if module.check_mode else staging.fetched(directory)
        recorded["vm"] = (base.result.get("identity") or {}).get("digest", "") if base is not None else ""
        earlier = Manifest.load(os.path.join(directory, staging.FIXED), "fix", staging.REPAIRING)
        if base is not None and earlier is not None and earlier.current("fix", base.inputs, recorded):
            result = recorded_result(earlier.result, False, os.path.join(directory, PLANNED))
            return {**result, **({"plan": load_plan(result["plan_file"]).shown().as_data()} if params["return_plan"] else {})}
        if params["probe"]:
            return {"changed": False, "pending": True}
        if module.check_mode:
            if not params["source"]:
                raise InvalidInput("In check mode guest_fix needs the source, since nothing is staged.", "Give source beside work_dir.")
            return _rehearsed(module, options, saved, engine)
        base = require_fetched(params)
        with reading(base, directory, access_of(params), cached=True):
            # Always on fresh overlays: an earlier run may have been killed in the middle of its writes.
            staged = staging.flatten(base.result, directory, base.inputs)
            Manifest(staging.REPAIRING, base.inputs, recorded).save(os.path.join(directory, staging.FIXED))
            point("fix.begun")
            request = grown_request(params, base.result, staged, options)
            try:
                report = repair(engine, request, sink(params["progress_file"]), saved)
            except ProofFailed as error:
                atomic.write_text(os.path.join(directory, REFUSED), error.plan)
                raise error.kept(os.path.join(directory, REFUSED)) from None
            point("fix.done")
        point("fix.compared")
        outputs = tuple(Identity.of(disk.overlay) for disk in staged)
        kept = os.path.join(directory, PLANNED)
        atomic.write_text(kept, report.plan.text())
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(directory, REFUSED))
        Manifest("fix", base.inputs, recorded, outputs, report.as_result()).save(os.path.join(directory, staging.FIXED))
        point("fix.recorded")
        return report_result(module, report, True, kept)


def _rehearsed(module: AnsibleModule, options: Sequence[object], saved: Optional[Plan], engine: Engine) -> Result:
    """The repair on throw-away overlays; a source that must be fetched first is only said to be one."""
    params = module.params
    try:
        with opened(source_of(params), access_of(params), check=True) as found, found.looked_at() as (description, staged, moved):
            request = grown_request(params, description, staged, options)
            result = report_result(module, repair(engine, request, Silent(), saved), True)
    except NotInPlace as error:
        module.warn(f"The guest was not looked at. {error}")
        return {"changed": True}
    return {**result, "read": sum(moved)} if moved else result


def saved_plan(module: AnsibleModule) -> Optional[Plan]:
    """The plan that the user gave, as data or as a file, if there is one. Ansible does not answer with it."""
    params = module.params
    if params["plan_file"]:
        return load_plan(params["plan_file"], params["plan_digest"])
    if not params["plan"]:
        return None
    plan = Plan.from_data(params["plan"], KINDS)
    params["plan"] = {"id": plan.id}
    return plan


def load_plan(path: str, digest: str = "") -> Plan:
    """The plan in a file, whose SHA-256 digest is `digest` where one is given. Raises InvalidInput."""
    content = files.read(path, limits.PLAN, "The plan")
    if digest and hashlib.sha256(content).hexdigest() != digest.lower():
        raise InvalidInput(
            f"{path} is not the plan that was reviewed: its digest is another.", "Make a new plan, and review it.", path=path
        )
    try:
        return Plan.from_data(json.loads(content), KINDS)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no plan: {error}.", "Make a new plan with guest_plan.", path=path) from error
