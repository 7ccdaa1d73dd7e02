# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of Azure: azure://SUBSCRIPTION/RESOURCE-GROUP/VM. A snapshot of each disk is read, and removed when its copy is here."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from dataclasses import replace
from typing import Iterator, Optional, Sequence

from ..core.errors import InvalidInput
from ..core.progress import Progress
from ..disk.machine import Nic, SourceDisk, SourceVm
from ..disk.source import open_source
from ..guest.model import BLOCKER, WARNING, Concern
from ..transport import azure
from ..transport.download import Arrived, Job, joined
from ..transport.files import Files, patiently
from . import ways
from .origin import Access, Remote, RemoteDisk, refuse, unless_treated


@contextlib.contextmanager
def opened(url: str, access: Access, check: bool) -> Iterator[Remote]:
    """The source behind an azure:// URL, for the time of a block. In check mode no snapshot is made, so only sizes are known."""
    vm = azure.find(*named(url))
    found = unless_treated(concerns(vm, access.running), access)
    refuse(found, access.accept, url)
    if check:
        yield _remote(vm, found, (), access)
        return
    if vm.power == "on" and access.running == "shutdown":
        access.stopping()
        azure.stop(vm, access.shutdown_timeout)
        vm = azure.find(*named(url))
    with contextlib.ExitStack() as stack:
        left = azure.snapshots(vm)
        exports = [stack.enter_context(azure.exported(vm, disk, left)) for disk in vm.disks]
        yield _remote(vm, found, [_whole(export, stack, access) for export in exports], access)


def clean(url: str, check: bool) -> tuple[str, ...]:
    """Remove the snapshots that a migration which died has left, and no others; gives their names."""
    vm = azure.find(*named(url))
    left = azure.snapshots(vm)
    for snapshot in () if check else left:
        azure.remove(vm, snapshot.name)
    return tuple(snapshot.name for snapshot in left)


def started(url: str, check: bool) -> bool:
    """Start the VM; whether it was off."""
    vm = azure.find(*named(url))
    if vm.power == "off" and not check:
        azure.start(vm)
    return vm.power == "off"


def named(url: str) -> tuple[str, str, str]:
    """Subscription, resource group and name of the VM."""
    parts = urllib.parse.urlsplit(url)
    names = [urllib.parse.unquote(name) for name in (parts.netloc, *parts.path.strip("/").split("/"))]
    if len(names) != 3 or not all(names) or any(name.startswith("-") for name in names):
        raise InvalidInput(f"{url} names no VM.", "Write azure://SUBSCRIPTION/RESOURCE-GROUP/VM.", source=url)
    return names[0], names[1], names[2]


def concerns(vm: azure.Vm, running: str) -> Iterator[Concern]:
    """What a person should know before a byte moves."""
    if vm.power == "on":
        yield Concern(
            "azure.running",
            BLOCKER,
            f"{vm.name} is running: its disks change while they are read.",
            "Stop it, let the migration do it (migrate_running: shutdown), or read from a snapshot (snapshot), which is as after a power failure.",
        )
        if running == "snapshot" and len(vm.disks) > 1:
            yield Concern(
                "azure.not_consistent",
                WARNING,
                f"The snapshots of the {len(vm.disks)} disks of {vm.name} are taken one after the other.",
                "What lies on several of them (LVM, RAID, a database and its log) may not fit together: stop the VM.",
            )
    encrypted = [disk.name for disk in vm.disks if disk.encrypted]
    if encrypted:
        yield Concern(
            "azure.encrypted",
            BLOCKER,
            f"{', '.join(encrypted)} of {vm.name} are encrypted in the guest by Azure Disk Encryption, whose keys stay in Key Vault.",
            "Decrypt them first (az vm encryption disable).",
        )
    if vm.security.lower() == "confidentialvm":
        yield Concern(
            "azure.confidential",
            BLOCKER,
            f"{vm.name} is a confidential VM, whose disks are sealed by its own hardware.",
            "Copy its data to a VM of another kind.",
        )


def _remote(vm: azure.Vm, found: tuple[Concern, ...], files: Sequence[tuple[Files, Job]], access: Access) -> Remote:
    """The VM; `files` hold its disks in their order, and are not there in check mode."""
    described = SourceVm(
        name=vm.name,
        kind="azure",
        disks=(),
        nics=tuple(Nic(mac) for mac in vm.macs),
        cpus=vm.cpus,
        memory=vm.memory,
        firmware="uefi" if vm.disks[0].generation == "V2" else "bios",
        secure_boot=vm.secure_boot,
        guest_os="windows" if vm.windows else "linux",
    )
    jobs: Sequence[tuple[Job, ...]] = [(job,) for dummy, job in files] or [()] * len(vm.disks)
    disks = tuple(RemoteDisk(disk.size, job, *_place(disk)) for disk, job in zip(vm.disks, jobs))

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return ways.bring_each([(reader, (job,)) for reader, job in files], directory, progress, access)

    def local(directory: str) -> SourceVm:
        here = open_source([os.path.join(directory, f"disk{number}", job.name) for number, (dummy, job) in enumerate(files)]).disks
        for disk, arrived in zip(vm.disks, here):
            if arrived.chain.virtual_size != disk.size:
                raise InvalidInput(
                    f"{disk.name} has {disk.size} bytes, what arrived for it {arrived.chain.virtual_size}.",
                    "Run again; the disk has grown meanwhile.",
                )
        return replace(described, disks=tuple(SourceDisk(arrived.chain, *_place(disk)) for disk, arrived in zip(vm.disks, here)))

    return Remote(described, disks, "azure", found, bring, local)


def _whole(export: azure.Export, stack: contextlib.ExitStack, access: Access) -> tuple[Files, Job]:
    """A disk as a file that can be read, and what of it is wanted."""
    reader = stack.enter_context(contextlib.closing(azure.files(export)))
    name = f"{export.disk.name}.vhd"
    seen = patiently(lambda: reader.stat(name), name)
    areas = azure.written(reader, name, seen.size) if access.allocated_only else None
    return reader, Job(name, name, seen.size, seen.stamp, None if areas is None else joined(areas, reader.gap), seen.ranged)


def _place(disk: azure.Disk) -> tuple[str, int, Optional[int]]:
    """The bus, controller and unit: the system disk is on a controller of its own."""
    return ("scsi", 0, 0) if disk.lun is None else ("scsi", 1, disk.lun)
