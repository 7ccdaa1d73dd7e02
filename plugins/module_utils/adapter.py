# SPDX-License-Identifier: GPL-3.0-or-later
"""Between the options of modules and the domain code: what modules share, and from parameters to requests."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from typing import Any, Iterator, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .access import access_of, access_spec
from .core import urls
from .core.errors import InvalidInput, UnsafeInput
from .core.manifest import Manifest
from .disk import encrypted, qemu_img, sizes, staging
from .guest.cards import Card, named
from .guest.offline import Attached
from .linux.customize import Customization
from .linux.plan import Options
from .linux.tools import HYPERVISORS
from .pipeline import fetch, places
from .pipeline.families import GuestRequest, fixes
from .pipeline.fetch import looked_at, reading
from .pipeline.sources import FORMS, is_remote
from .running import module_for
from .windows import drivers
from .windows.plan import DIRECT, TWO_PHASE
from .windows.plan import Options as WindowsOptions

PACKAGED_DRIVERS = "/usr/share/virtio-win"


def module_with_source(spec: Mapping[str, Any], **constraints: Any) -> AnsibleModule:
    """A module, see running.module_for, whose source may be a URL."""
    return module_for(spec, FORMS, **constraints)


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
        disks = named_disks(params)
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


def named_disks(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["path"], entry["format"]) for entry in params["disks"]]


def source_of(params: Mapping[str, Any]) -> list[str]:
    """What the user named: a URL as it is, paths made absolute. Variables are not expanded: a path may have been found, and is then a name from outside.

    Raises InvalidInput for a URL with a login.
    """
    source: list[str] = params["source"]
    for path in source:
        urls.require_plain(path, FORMS)
        strange = next((letter for letter in path if ord(letter) < 32), "")
        if strange:
            shown = f"The source {path!r}" if path.startswith("/") else "A source"  # what is no path may be a login that they hide
            raise UnsafeInput(f"{shown} holds control characters: U+{ord(strange):04X}.", "Rename it; check migrate_source.")
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


def fetched_of(params: Mapping[str, Any]) -> Optional[Manifest]:
    """What FETCH has staged, if that is of what the user names; None where a run would fetch first."""
    earlier = staging.fetched(params["work_dir"])
    noted = earlier.options.get("source") if earlier is not None else None
    return earlier if not (params.get("source") and noted) or noted == source_of(params) else None


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
        description = {**description, "nics": named(params["nics"], description.get("nics") or ())}
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
