# SPDX-License-Identifier: GPL-3.0-or-later
"""Options that say how a guest is reached and repaired, and the requests that they make."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..core.data import from_data
from ..core.errors import InvalidInput
from ..disk import encrypted, qemu_img, staging
from ..disk.machine import VmSaid
from ..guest.family import GuestRequest
from ..guest.nics import named
from ..guest.offline import Attached
from ..linux.customize import Customization
from ..linux.plan import Options
from ..linux.tools import HYPERVISORS
from ..pipeline import families
from ..pipeline.fetch import reading
from ..windows import drivers
from ..windows.work import DIRECT, TWO_PHASE
from ..windows.work import Options as WindowsOptions
from .source_options import subject_of, work_dir_spec

PACKAGED_DRIVERS = "/usr/share/virtio-win"


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
    return {"fixes": {"type": "list", "elements": "str", "default": [], "choices": list(families.fixes())}}


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


def windows_options_of(params: Mapping[str, Any], fixes: Sequence[str]) -> WindowsOptions:
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
        tuple(fixes),
        tuple(params["remove_tools"]),
        tuple(params["agent_packages"]),
        params["mac_map"],
    )


def all_options_of(params: Mapping[str, Any], fixes: Sequence[str]) -> tuple[object, ...]:
    """What the operator chose for each family that there are options for."""
    return (options_of(params, fixes), windows_options_of(params, fixes))


@contextlib.contextmanager
def guest_request(module: AnsibleModule, fixes: Sequence[str] = (), overlays: bool = False) -> Iterator[GuestRequest]:
    """The request behind `disks`, a `work_dir` with overlays, or a `source`, which is looked at through throw-away overlays.

    With `overlays`, given disks must be overlays: what is written to must never be a source.
    """
    params = module.params
    options = all_options_of(params, fixes) if "fstab_mode" in params else ()
    accept = tuple(params.get("accept") or ())
    if params["disks"]:
        disks = named_disks(params)
        for path, fmt in disks if overlays and not module.check_mode else ():
            if fmt != "qcow2" or qemu_img.info(path, "qcow2").backing is None:
                raise InvalidInput(
                    f"{path} is not an overlay, and a fix never writes to a source.",
                    "Create an overlay with disk_flatten (or qemu-img create -b) and name that.",
                )
        nics = named(params["nics"], ())
        with encrypted.opened(disks, params.get("passphrase", "")) as images:
            attached = tuple(Attached(path, fmt) for path, fmt in images)
            yield GuestRequest(attached, nics, params["firmware"], params["luks_keys"], params["root"], options, accept)
    elif params["work_dir"] and staging.flattened(params["work_dir"]):
        subject = subject_of(params)
        base = subject.require_fetched()
        with reading(base, subject.work_dir, subject.access, cached=True):
            yield staged_request(params, base.result, staging.staged_disks(base.result, subject.work_dir), options, accept)
    elif params["source"]:
        with subject_of(params).looked_at() as found, found.looked_at() as (description, staged, dummy):
            yield staged_request(params, description, staged, options, accept)
    else:
        raise InvalidInput(
            "No input: no source and no disks were given, and the work directory has no overlays.",
            "Give source, disks, or the work_dir of an earlier vmdk_fetch and disk_flatten.",
        )


def named_disks(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["path"], entry["format"]) for entry in params["disks"]]


def staged_request(
    params: Mapping[str, Any],
    description: Mapping[str, Any],
    disks: Sequence[staging.StagedDisk],
    options: Sequence[object],
    accept: tuple[str, ...],
) -> GuestRequest:
    """A request for overlays under the operator's parameters."""
    return families.guest_request(
        from_data(VmSaid, description, "vm"),
        disks,
        params["firmware"],
        params["luks_keys"],
        params["root"],
        options,
        accept,
        params["nics"],
    )
