# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of clouds. A snapshot of each disk is read, and removed when its copy is here."""

from __future__ import annotations

import contextlib
import os
import urllib.parse
from dataclasses import dataclass, replace
from typing import Callable, Iterator, Sequence

from ..core import machine
from ..core.concern import BLOCKER, WARNING, Concern
from ..core.errors import InvalidInput
from ..core.progress import Progress
from ..core.urls import Form, split
from ..core.vm import VmId, uuid_of
from ..disk import around
from ..disk.machine import SourceDisk, SourceVm
from ..disk.source import open_source
from ..transport.cloud import Cloud, Disk, Vm
from ..transport.download import Arrived, Job
from ..transport.files import Files
from .files import bring_each
from .opened import Remote, RemoteDisk
from .source import Access, Can, Kind, refuse, unless_treated, which


@dataclass(frozen=True)
class CloudSource(Kind):
    """See Source. `count`: the names in a URL, which `make` the cloud."""

    scheme: str
    words: str
    count: int
    make: Callable[..., Cloud]
    libraries: tuple[str, ...] = ()
    form: Form = Form()
    can: Can = Can(power=True, freeze=True)

    def identified(self, url: str, access: Access) -> VmId:
        return self._which(url, self.named(url).find())

    @contextlib.contextmanager
    def opened(self, url: str, access: Access, check: bool) -> Iterator[Remote]:
        """In check mode no snapshot is made, so only sizes are known."""
        cloud = self.named(url)
        vm = cloud.find()
        found = unless_treated((*_of_power(vm, cloud.consistent, access.running), *vm.told), access)
        refuse(found, access.accept, url)
        identity = self._which(url, vm)
        if check:
            yield replace(_remote(self.scheme, vm, found, (), access), which=identity)
            return
        if vm.power == "on" and access.running == "shutdown":
            access.stopping()
            cloud.stop(vm, access.shutdown_timeout)
            vm = cloud.find()
        with cloud.exported(vm, cloud.snapshots(vm)) as disks:
            wanted = disks if access.allocated_only else [(files, replace(job, areas=None)) for files, job in disks]
            yield replace(_remote(self.scheme, vm, found, wanted, access), which=identity)

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        cloud = self.named(url)
        vm = cloud.find()
        left = cloud.snapshots(vm)
        for snapshot in () if check else left:
            cloud.remove(vm, snapshot)
        return tuple(snapshot.name for snapshot in left)

    def started(self, url: str, access: Access, check: bool) -> bool:
        cloud = self.named(url)
        vm = cloud.find()
        if vm.power == "off" and not check:
            cloud.start(vm)
        return vm.power == "off"

    def named(self, url: str) -> Cloud:
        """The cloud, with the names in the URL. Raises InvalidInput for too few or too many of them."""
        parts = split(url)
        names = [urllib.parse.unquote(name) for name in (parts.netloc, *parts.path.strip("/").split("/"))]
        if len(names) != self.count or not all(names) or any(name.startswith("-") for name in names):
            raise InvalidInput(f"{url} does not name a VM.", f"Write {self.words}.", source=url)
        return self.make(*names)

    def _which(self, url: str, vm: Vm) -> VmId:
        """The place is all of the URL but the VM's own name."""
        parts = split(url)
        place = f"{parts.scheme}://{'/'.join((parts.netloc, *parts.path.strip('/').split('/')[:-1])).lower()}".rstrip("/")
        return which(_described(self.scheme, vm), place, url, [(disk.size, *_place(disk).at) for disk in vm.disks])


def _of_power(vm: Vm, consistent: bool, running: str) -> Iterator[Concern]:
    if vm.power == "on":
        yield Concern(
            "cloud.running",
            BLOCKER,
            f"{vm.name} is running: its disks change while they are read.",
            "Stop it, let the migration do it (migrate_running: shutdown), or read from a snapshot (snapshot), which is as after a power failure.",
        )
        if running == "snapshot" and len(vm.disks) > 1 and not consistent:
            yield Concern(
                "cloud.not_consistent",
                WARNING,
                f"The snapshots of the {len(vm.disks)} disks of {vm.name} are taken one after the other.",
                "What lies on several of them (LVM, RAID, a database and its log) may not fit together: stop the VM.",
            )


def _remote(kind: str, vm: Vm, found: tuple[Concern, ...], files: Sequence[tuple[Files, Job]], access: Access) -> Remote:
    """The VM; `files` hold its disks in their order, and are not there in check mode."""
    described = replace(_described(kind, vm), concerns=found)
    jobs: Sequence[tuple[Job, ...]] = [(job,) for dummy, job in files] or [()] * len(vm.disks)
    disks = tuple(RemoteDisk(disk.size, job, _place(disk)) for disk, job in zip(vm.disks, jobs))

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return bring_each([(reader, (job,)) for reader, job in files], directory, progress, access)

    def local(directory: str) -> SourceVm:
        here = open_source([os.path.join(directory, f"disk{number}", job.name) for number, (dummy, job) in enumerate(files)]).disks
        for disk, arrived in zip(vm.disks, here):
            if arrived.chain.virtual_size != disk.size:
                raise InvalidInput(
                    f"{disk.name} has {disk.size} bytes, what arrived for it {arrived.chain.virtual_size}.",
                    "Run again; the disk has grown meanwhile.",
                )
        return around.whole(
            replace(described, disks=tuple(SourceDisk(arrived.chain, _place(disk)) for disk, arrived in zip(vm.disks, here)))
        )

    return Remote(described, disks, kind, found, bring, local)


def _described(kind: str, vm: Vm) -> SourceVm:
    """The VM without its disks."""
    return SourceVm(
        name=vm.name,
        kind=kind,
        disks=(),
        nics=vm.nics,
        cpus=vm.cpus,
        memory=vm.memory,
        firmware=vm.firmware,
        secure_boot=vm.secure_boot,
        guest_os="windows" if vm.windows else "linux",
        uuid=uuid_of(vm.uuid or vm.id),
    )


def _place(disk: Disk) -> machine.Disk:
    """The system disk is on one of its own. The bus (SCSI, NVMe, Xen's) is the size's affair, and may have been another before."""
    return machine.Disk(None, 0, 0, None, disk.names) if disk.unit is None else machine.Disk(None, 1, disk.unit, None, disk.names)
