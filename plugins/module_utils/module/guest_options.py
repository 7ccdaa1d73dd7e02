# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options mean that say how a guest is reached and repaired, and the requests that they make."""

from __future__ import annotations

import contextlib
import os
from typing import Any, Iterator, Mapping, Sequence

from ansible.module_utils.basic import AnsibleModule

from ..core.errors import InvalidInput
from ..core.macs import required
from ..disk import encrypted, qemu_img, staging
from ..disk.machine import VmSaid
from ..guest.family import GuestRequest
from ..guest.offline import Attached
from ..linux.customize import Customization as LinuxCustomization
from ..linux.plan import Options
from ..pipeline import families
from ..pipeline.fetch import reading
from ..windows import driver_source
from ..windows.wanted import Customization, Wanted
from ..windows.work import Options as WindowsOptions
from .fields import made
from .records import nics_of
from .source_options import subject_of

PACKAGED_DRIVERS = "/usr/share/virtio-win"


def options_of(params: Mapping[str, Any], fixes: Sequence[str]) -> Options:
    """What the operator chose for Linux."""
    wanted = params.get("customize") or {}
    customize = made(
        LinuxCustomization,
        wanted,
        ssh_keys={user: (keys,) if isinstance(keys, str) else tuple(keys) for user, keys in (wanted.get("ssh_keys") or {}).items()},
        cloud_init={key: value for key, value in (wanted.get("cloud_init") or {}).items() if value},
    )
    macs = params.get("mac_map") or {}
    return made(Options, params, fixes=tuple(fixes), initramfs_mode=params["initramfs"], macs=macs, customize=customize)


def windows_options_of(params: Mapping[str, Any], fixes: Sequence[str]) -> WindowsOptions:
    """What the operator chose for Windows; drivers of the distribution's package where no source is named."""
    path = params.get("virtio_win") or (PACKAGED_DRIVERS if os.path.isdir(PACKAGED_DRIVERS) else "")
    source, iso = driver_source.locate(path) if path else ("", False)
    chosen = {**params, **(params.get("windows") or {})}
    network = tuple(made(Wanted, one, nic=required(one["mac"], " in migrate_windows_network")) for one in chosen.get("network") or ())
    wanted = params.get("customize") or {}
    customize = made(
        Customization,
        chosen,
        hostname=wanted.get("hostname") or "",
        elsewhere=tuple(sorted(name for name, value in wanted.items() if _given(value) and name != "hostname")),
    )
    return made(
        WindowsOptions, chosen, virtio_win=source, iso=iso, network=network, fixes=tuple(fixes), macs=params["mac_map"], customize=customize
    )


def _given(value: Any) -> bool:
    """Whether an option has a value; its own options have, with their defaults, also where none was given."""
    return any(value.values()) if isinstance(value, Mapping) else bool(value)


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
        with encrypted.opened(disks, params.get("passphrase", "")) as images:
            attached = tuple(Attached(path, fmt) for path, fmt in images)
            yield GuestRequest(attached, nics_of(params), params["firmware"], params["luks_keys"], params["root"], options, accept)
    elif params["work_dir"] and staging.flattened(params["work_dir"]):
        subject = subject_of(params)
        base = subject.require_fetched()
        with reading(base, subject.work_dir, subject.access, cached=True):
            yield staged_request(params, base.vm, staging.staged_disks(base.vm, subject.work_dir), options, accept)
    elif params["source"]:
        with subject_of(params).looked_at() as found, found.looked_at() as (vm, staged, dummy):
            yield staged_request(params, vm, staged, options, accept)
    else:
        raise InvalidInput(
            "No input: no source and no disks were given, and the work directory has no overlays.",
            "Give source, disks, or the work_dir of an earlier vmdk_fetch and disk_flatten.",
        )


def named_disks(params: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(entry["path"], entry["format"]) for entry in params["disks"]]


def staged_request(
    params: Mapping[str, Any],
    vm: VmSaid,
    disks: Sequence[staging.StagedDisk],
    options: Sequence[object],
    accept: tuple[str, ...],
) -> GuestRequest:
    """A request for overlays under the operator's parameters."""
    return families.guest_request(
        vm,
        disks,
        params["firmware"],
        params["luks_keys"],
        params["root"],
        options,
        accept,
        nics_of(params),
    )
