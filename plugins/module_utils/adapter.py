# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the options of modules and the domain code: what modules share, and from parameters to requests."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from dataclasses import replace
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .access import access_of, access_spec
from .core import atomic, files, limits, urls
from .core.errors import InvalidInput, NotInPlace, ProofFailed, UnsafeInput
from .core.manifest import Identity, Manifest
from .core.progress import Silent, sink
from .core.trace import point
from .disk import encrypted, qemu_img, sizes, staging
from .guest.apply import BACKUPS
from .guest.cards import Card, named
from .guest.changes import Plan
from .guest.offline import Attached
from .linux.customize import Customization
from .linux.plan import FIXES, Options
from .linux.tools import HYPERVISORS
from .pipeline import fetch, places
from .pipeline.engines import OWN, Engine, repair
from .pipeline.fetch import looked_at, reading
from .pipeline.guest_work import GuestReport, fix, look, masked, take_back
from .pipeline.live_work import live_fix, rollback
from .pipeline.remote import is_remote
from .pipeline.report import PLANNED, REFUSED
from .pipeline.systems import GuestRequest, fixes
from .running import Result, libraries_of, module_for, respawn_for, run, working_on
from .windows import drivers
from .windows.plan import DIRECT, TWO_PHASE
from .windows.plan import Options as WindowsOptions

_LONGEST_WARNING, _LONGEST_WARNINGS = 500, 2500  # characters of a concern, and of all, among the warnings
PACKAGED_DRIVERS = "/usr/share/virtio-win"


def work_dir_spec() -> dict[str, Any]:
    return {
        "source": {"type": "list", "elements": "str"},
        "work_dir": {"type": "path"},
        "accept": {"type": "list", "elements": "str", "default": []},
        **access_spec(),
    }


def disk_set_spec() -> dict[str, Any]:
    return {
        **work_dir_spec(),
        "disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "path": {"type": "path", "required": True},
                "format": {"type": "str", "required": True, "choices": ["qcow2", "raw", "vmdk", "vdi"]},
            },
        },
        "firmware": {"type": "str", "default": "auto", "choices": ["auto", "bios", "uefi"]},
        "nics": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {"mac": {"type": "str", "required": True}, "network": {"type": "str", "default": ""}},
        },
        "luks_keys": {"type": "dict", "default": {}, "no_log": True},
        "root": {"type": "str", "default": ""},
    }


def fix_spec() -> dict[str, Any]:
    return {
        **disk_set_spec(),
        "fstab_mode": {"type": "str", "default": "stabilize-all", "choices": ["stabilize-all", "bypath-only", "noop"]},
        "initramfs": {"type": "str", "default": "overlay", "choices": ["overlay", "regenerate", "skip"]},
        **options_spec(),
        "agent_packages": {"type": "list", "elements": "path", "default": []},
        "mac_map": {"type": "dict", "default": {}},
        "virtio_win": {"type": "path"},
        "windows": {
            "type": "dict",
            "default": {},
            "options": {
                "boot": {"type": "str", "default": DIRECT, "choices": [DIRECT, TWO_PHASE]},
                "drivers": {"type": "list", "elements": "str", "default": [], "choices": list(drivers.OPTIONAL)},
                "network": {
                    "type": "list",
                    "elements": "dict",
                    "default": [],
                    "options": {
                        "mac": {"type": "str", "required": True},
                        "addresses": {"type": "list", "elements": "str", "default": []},
                        "gateway": {"type": "str", "default": ""},
                        "dns": {"type": "list", "elements": "str", "default": []},
                        "suffix": {"type": "str", "default": ""},
                    },
                },
                "wrapper": {"type": "path"},
            },
        },
    }


def options_spec() -> dict[str, Any]:
    """What offline and live repairs have in common beside the modes."""
    return {
        "return_plan": {"type": "bool", "default": False},
        "remove_tools": {"type": "list", "elements": "str", "default": ["vmware"], "choices": list(HYPERVISORS)},
        "customize": {
            "type": "dict",
            "default": {},
            "options": {
                "hostname": {"type": "str", "default": ""},
                "ssh_keys": {"type": "dict", "default": {}, "no_log": False},
                "firstboot_script": {"type": "str", "default": "", "no_log": True},
                "serial_console": {"type": "bool", "default": False},
                "selinux_relabel": {"type": "bool", "default": False},
                "cloud_init": {
                    "type": "dict",
                    "default": {},
                    "no_log": True,
                    "options": {key: {"type": "str", "default": ""} for key in ("user_data", "meta_data", "network_config", "drop_in")},
                },
            },
        },
    }


def fixes_spec() -> dict[str, Any]:
    return {"fixes": {"type": "list", "elements": "str", "default": [], "choices": list(fixes())}}


def progress_spec() -> dict[str, Any]:
    return {
        "progress_file": {"type": "path"},
        "probe": {"type": "bool", "default": False},
        "watch_pid": {"type": "int"},
        "watched": {"type": "list", "elements": "str"},
        **run_spec(),
    }


def run_spec() -> dict[str, Any]:
    return {"run": {"type": "dict"}}


def options_of(params: Mapping[str, Any], fixes: Sequence[str]) -> Options:
    wanted = params.get("customize") or {}
    return Options(
        tuple(fixes),
        params["fstab_mode"],
        params["initramfs"],
        tuple(params["remove_tools"]),
        tuple(params.get("agent_packages") or ()),
        params.get("mac_map") or {},
        Customization(
            wanted.get("hostname") or "",
            {user: (keys,) if isinstance(keys, str) else tuple(keys) for user, keys in (wanted.get("ssh_keys") or {}).items()},
            wanted.get("firstboot_script") or "",
            bool(wanted.get("serial_console")),
            {key: value for key, value in (wanted.get("cloud_init") or {}).items() if value},
            bool(wanted.get("selinux_relabel")),
        ),
    )


def windows_options_of(params: Mapping[str, Any]) -> WindowsOptions:
    """What the operator chose for Windows; drivers of the distribution's package where no source is named."""
    wanted = params.get("windows") or {}
    path = params.get("virtio_win") or (PACKAGED_DRIVERS if os.path.isdir(PACKAGED_DRIVERS) else "")
    source, iso = drivers.locate(path) if path else ("", False)
    return WindowsOptions(
        source,
        iso,
        tuple(wanted.get("drivers") or ()),
        wanted.get("boot") or DIRECT,
        tuple(wanted.get("network") or ()),
        wanted.get("wrapper") or "",
    )


@contextlib.contextmanager
def guest_request(module: AnsibleModule, fixes: Sequence[str] = (), overlays: bool = False) -> Iterator[GuestRequest]:
    """The request behind `disks`, a `work_dir` with overlays, or a `source`, which is looked at through throw-away overlays.

    With `overlays`, given disks must be overlays: what is written to must never be a source.
    """
    params = module.params
    options = options_of(params, fixes) if "fstab_mode" in params else Options()
    for_windows = windows_options_of(params) if "virtio_win" in params else WindowsOptions()
    accept = tuple(params.get("accept") or ())
    if params["disks"]:
        disks = _named_disks(params)
        for path, fmt in disks if overlays and not module.check_mode else ():
            if fmt != "qcow2" or qemu_img.info(path, "qcow2").backing is None:
                raise InvalidInput(
                    f"{path} is not an overlay, and a fix never writes to a source.",
                    "Create an overlay with disk_flatten (or qemu-img create -b) and name that.",
                )
        cards = tuple(Card(nic["mac"]) for nic in named(params["nics"], ()))
        with encrypted.opened(disks, params.get("passphrase", "")) as opened:
            attached = tuple(Attached(path, fmt) for path, fmt in opened)
            yield GuestRequest(attached, cards, params["firmware"], params["luks_keys"], params["root"], options, for_windows, accept)
    elif params["work_dir"] and staging.flattened(params["work_dir"]):
        base = require_fetched(params)
        with reading(base, params["work_dir"], access_of(params), cached=True):
            yield staged_request(params, base.result, staging.staged_disks(base.result, params["work_dir"]), options, for_windows, accept)
    elif params["source"]:
        with contextlib.ExitStack() as stack:
            description, staged, dummy = stack.enter_context(looked_at(source_of(params), access_of(params)))
            yield staged_request(params, description, staged, options, for_windows, accept)
    else:
        raise InvalidInput(
            "There is nothing to look at: the work directory has no overlays and no source was given.",
            "Give source, disks, or the work_dir of an earlier vmdk_fetch and disk_flatten.",
        )


def _named_disks(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["path"], entry["format"]) for entry in params["disks"]]


def source_of(params: Mapping[str, Any]) -> list[str]:
    """What the user named: a URL as it is, paths made absolute. Variables are not expanded: a path may have been found, and is then a name from outside.

    Raises InvalidInput for a URL with a login.
    """
    source: list[str] = params["source"]
    for path in source:
        if any(ord(letter) < 32 for letter in path):
            raise UnsafeInput(f"The source {path!r} holds control characters.", "Rename it; check migrate_source.")
        urls.require_plain(path)
    return source if is_remote(source) else [os.path.abspath(os.path.expanduser(path)) for path in source]


def sources_of(params: Mapping[str, Any]) -> list[str]:
    """Where the disks of a VM come from: what the user names, and what an earlier FETCH into its work directory has noted."""
    earlier = staging.fetched(params["work_dir"]) if params.get("work_dir") else None
    noted = earlier.options.get("source") if earlier is not None else None
    return [*(params.get("source") or ()), *(noted if isinstance(noted, list) else ())]


def require_own(module: AnsibleModule) -> None:
    """Raise InvalidInput where the work directory is another VM's than that of the source; nothing is compared where one of them is not named."""
    params = module.params
    noted = not (module.check_mode and params.get("moved"))  # a dry FETCH says whether the VM has moved, and notes nothing
    if params["work_dir"] and params["source"] and noted:
        places.require_source(params["work_dir"], source_of(params))


def require_fetched(params: Mapping[str, Any]) -> Manifest:
    """What FETCH has staged, which must be what the user names, if that is named."""
    return staging.require_fetched(params["work_dir"], source_of(params) if params.get("source") else ())


def staged_request(
    params: Mapping[str, Any],
    description: Mapping[str, Any],
    disks: Sequence[staging.StagedDisk],
    options: Options,
    for_windows: WindowsOptions,
    accept: tuple[str, ...],
) -> GuestRequest:
    """A request for overlays under the operator's parameters."""
    if params["nics"]:
        description = {**description, "nics": named(params["nics"], description["nics"])}
    return fetch.guest_request(description, disks, params["firmware"], params["luks_keys"], params["root"], options, for_windows, accept)


def grown_request(
    params: Mapping[str, Any],
    description: Mapping[str, Any],
    disks: Sequence[staging.StagedDisk],
    options: Options,
    for_windows: WindowsOptions,
) -> GuestRequest:
    """A request for fresh overlays, which get the sizes that the operator wishes."""
    request = staged_request(params, description, disks, options, for_windows, tuple(params["accept"]))
    return replace(request, grow=sizes.enlarge(disks, params["grow"]))


def report_result(module: AnsibleModule, report: GuestReport, changed: bool, plan_file: str = "") -> Result:
    """What every guest module returns. The plan is not in it, but where it is kept: it holds files of the guest."""
    result = recorded_result(report.as_result(), changed, plan_file)
    if module.params.get("return_plan"):
        result["plan"] = report.plan.shown().as_data()
    if module._diff:
        result["diff"] = [*({"prepared": f"grown: {line}\n"} for line in report.grown), *report.plan.diff()]
    said = 0
    for number, concern in enumerate(report.plan.concerns):
        text = masked(f"{concern.code} ({concern.severity}): {concern.cause} {concern.remedy}")[:_LONGEST_WARNING]
        said += len(text)
        if said > _LONGEST_WARNINGS:
            module.warn(f"There are {len(report.plan.concerns) - number} more concerns; the report of the migration has all of them.")
            break
        module.warn(text)
    return result


def recorded_result(record: Mapping[str, Any], changed: bool, plan_file: str) -> Result:
    """A result from what a session found, or an earlier one has recorded."""
    changes = [{key: change[key] for key in ("kind", "path", "reason")} for change in record["changes"]]
    kept = {"plan_file": plan_file} if plan_file else {}
    return {**{key: value for key, value in record.items() if key != "plan"}, "changes": changes, "changed": changed, **kept}


def report_on_guest(look_at: Callable[[GuestRequest], GuestReport]) -> None:
    """The body of a module that only looks."""
    spec = {**disk_set_spec(), "passphrase": {"type": "str", "default": "", "no_log": True}}
    module = module_for(spec, required_one_of=[("source", "disks", "work_dir")], mutually_exclusive=[("source", "disks")])
    respawn_for("guestfs", *libraries_of(sources_of(module.params)))

    def work(module: AnsibleModule) -> Result:
        with guest_request(module) as request:
            return {"changed": False, **look_at(request).as_result()}

    run(module, work)


def single_fix(fixes: Sequence[str]) -> None:
    """The body of a module that carries out one kind of fix on overlays."""
    module = module_for(
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
    disks = _named_disks(params)
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
    report = live_fix(options, tuple(module.params["accept"]), module.check_mode)
    kept = f"{BACKUPS}/{report.plan.id}/plan.json" if report.plan.changes and not module.check_mode else ""
    return report_result(module, report, bool(report.plan.changes), kept)


def live_rollback_work(module: AnsibleModule) -> Result:
    """guest_live_rollback: takes back what guest_live_fix did on the system that the module runs on."""
    done = rollback(module.params["id"], module.check_mode)
    return {"changed": bool(done.undone), "undone": list(done.undone), "left": list(done.left)}


def composite_fix(module: AnsibleModule) -> Result:
    """guest_fix: on the overlays of a work directory; in check mode the same on throw-away overlays."""
    params = module.params
    options = options_of(params, params["fixes"])
    for_windows = windows_options_of(params)
    saved = saved_plan(module)
    engine = Engine(params["engine"], tuple(params["v2v_options"]))
    recorded = {
        "fixes": list(options.fixes),
        "fstab_mode": options.fstab_mode,
        "initramfs": options.initramfs_mode,
        "firmware": params["firmware"],
        "options": options_digest(params["root"], options, for_windows),
        "accept": sorted(params["accept"]),
        "keys": sorted(params["luks_keys"]),
        "nics": [nic["mac"].lower() for nic in params["nics"]],
        "plan": saved.id if saved is not None else None,
        **({"engine": [engine.name, *engine.options]} if engine.name != OWN else {}),
        **({"grow": params["grow"]} if any(params["grow"]) else {}),
    }
    directory = params["work_dir"]
    with working_on(module, directory):
        base = staging.fetched(directory)
        if base is not None:
            require_own(module)
        recorded["vm"] = base.result.get("identity", {}).get("digest", "") if base is not None else ""
        earlier = Manifest.load(os.path.join(directory, staging.FIXED))
        if base is not None and earlier is not None and earlier.current("fix", base.inputs, recorded):
            result = recorded_result(earlier.result, False, os.path.join(directory, PLANNED))
            return {**result, **({"plan": load_plan(result["plan_file"]).shown().as_data()} if params["return_plan"] else {})}
        if params["probe"]:
            return {"changed": False, "pending": True}
        if module.check_mode:
            if not params["source"]:
                raise InvalidInput("In check mode guest_fix needs the source, since nothing is staged.", "Give source beside work_dir.")
            return _rehearsed(module, options, for_windows, saved, engine)
        base = require_fetched(params)
        with reading(base, directory, access_of(params), cached=True):
            # Always on fresh overlays: an earlier run may have been killed in the middle of its writes.
            staged = staging.flatten(base.result, directory, base.inputs)
            Manifest(staging.REPAIRING, base.inputs, recorded).save(os.path.join(directory, staging.FIXED))
            point("fix.begun")
            request = grown_request(params, base.result, staged, options, for_windows)
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


def _rehearsed(module: AnsibleModule, options: Options, for_windows: WindowsOptions, saved: Optional[Plan], engine: Engine) -> Result:
    """The repair on throw-away overlays; a source that must be fetched first is only said to be one."""
    params = module.params
    try:
        with looked_at(source_of(params), access_of(params)) as (description, staged, moved):
            request = grown_request(params, description, staged, options, for_windows)
            result = report_result(module, repair(engine, request, Silent(), saved), True)
    except NotInPlace as error:
        module.warn(f"The guest was not looked at. {error}")
        return {"changed": True}
    return {**result, "read": sum(moved)} if moved else result


def options_digest(root: str, options: Options, for_windows: WindowsOptions) -> str:
    """Of everything else that the operator chose; customizations may hold secrets, so only their digest is recorded."""
    source = drivers.stamp(for_windows.virtio_win) if for_windows.virtio_win else ""
    return hashlib.sha256(repr((root, options, for_windows, source)).encode("utf-8", "surrogateescape")).hexdigest()


def saved_plan(module: AnsibleModule) -> Optional[Plan]:
    """The plan that the user gave, as data or as a file, if there is one. Ansible does not answer with it."""
    params = module.params
    if params["plan_file"]:
        return load_plan(params["plan_file"], params["plan_digest"])
    if not params["plan"]:
        return None
    plan = Plan.from_data(params["plan"])
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
        return Plan.from_data(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{path} is no plan: {error}.", "Make a new plan with guest_plan.", path=path) from error
