# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways that the disks of a VM of vSphere come here: as files, by a lease, through VMware's own library, as an export of another program."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import replace
from typing import Callable, Mapping, Optional, Sequence, Union

from ..core import atomic, modes, process
from ..core.errors import InvalidInput, MigrationError, TransferFailed
from ..core.progress import Progress
from ..disk import chain, ovf
from ..disk.machine import Chain, SourceDisk, SourceVm
from ..guest.model import Concern
from ..transport import download, esxi, exporter, nbdkit, nfc, vddk, walk
from ..transport.download import Arrived, Job, Throttle
from ..transport.files import Areas, Files
from ..transport.https import HttpsFiles
from ..transport.ssh import SshFiles
from ..vsphere import connection, leases, snapshots
from ..vsphere.model import Vm, VmDisk
from .origin import Access, InPlace, Remote, RemoteDisk, described

_PACKAGE = "package"
_ROUNDS = 2  # a disk that did not arrive as it was sent is fetched once more
_DATASTORE_PATH = re.compile(r"^\[(.+?)\] ?(.*)$")


def volume_path(name: str) -> str:
    """The path on a host of "[datastore] dir/file"."""
    match = _DATASTORE_PATH.match(name)
    if match is None or "/" in match[1]:
        raise InvalidInput(f"{name!r} is no path on a datastore.", "Another transport may read this disk (nfc).", path=name)
    return f"{esxi.VOLUMES}/{match[1]}/{match[2]}"


def from_files(
    files: Union[HttpsFiles, SshFiles],
    vm: Vm,
    disks: Sequence[VmDisk],
    transport: str,
    access: Access,
    found: tuple[Concern, ...],
    allocated: Callable[[VmDisk], Optional[Areas]],
) -> Remote:
    planned = []
    for disk in disks:
        walked = walk.chain(files, volume_path(disk.files[0]))
        if walked.size != disk.capacity:
            raise InvalidInput(
                f"{disk.files[0]} of {vm.name} has {walked.size} bytes, vSphere says {disk.capacity}.",
                "The host or the datastore is not the VM's own, or its description is out of date; look at the disk in vSphere.",
                path=disk.files[0],
            )
        jobs = walked.jobs
        areas = allocated(disk) if walked.flat else None
        if areas is not None:  # offsets of the disk are those of its one flat file
            jobs = (jobs[0], replace(jobs[1], areas=download.joined(areas, files.gap)))
        planned.append(RemoteDisk(walked.size, jobs, disk.bus, disk.controller, disk.unit, walked.flat, walked.wwn))

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return bring_each([(files, disk.jobs) for disk in planned], directory, progress, access)

    def local(directory: str) -> SourceVm:
        tops = [os.path.join(directory, f"disk{number}", disk.jobs[0].name) for number, disk in enumerate(planned)]
        return _as_described(vm, disks, [chain.resolve(top) for top in tops])

    return Remote(described(vm), tuple(planned), transport, found, bring, local, in_place(files, planned))


def from_lease(
    session: connection.Session, vm: Vm, disks: Sequence[VmDisk], snapshot: str, access: Access, found: tuple[Concern, ...]
) -> Remote:
    """Disks as their host sends them: compressed, in one go. Disk and lease are matched by the order that both keep: that of the devices."""

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        order = [disk for disk in vm.disks if disk in disks]
        with leases.held(session, vm, snapshot) as lease:
            if len(lease.disks) != len(order):
                raise InvalidInput(
                    f"{vm.name} has {len(order)} disks, its lease {len(lease.disks)}.",
                    "Independent disks are not exported; use another transport.",
                )
            arrived: dict[str, Arrived] = {}
            wanted = list(zip(order, lease.disks))
            for dummy in range(_ROUNDS):
                for disk, leased in wanted:
                    progress.phase(f"fetch disk {disks.index(disk) + 1} of {len(order)}", disk.capacity)
                    place = os.path.join(directory, f"disk{disks.index(disk)}")
                    arrived[leased.key] = _received(session, leased, place, progress, Throttle(access.bandwidth))
                    lease.percent = 99 * len(arrived) // len(order)
                sent = lease.digests()
                wanted = [pair for pair in wanted if not _as_sent(arrived[pair[1].key], sent.get(pair[1].key))]
                if not wanted:
                    break
            else:
                raise TransferFailed(
                    f"{', '.join(disk.label for disk, dummy in wanted)} of {vm.name} did not arrive as the host says it was sent.",
                    "Check the way to the host, then run again; or use another transport.",
                )
        return tuple(arrived.values())

    return Remote(described(vm), _whole(disks), "nfc", found, bring, _apart(vm, disks, nfc.NAME))


def from_vddk(
    session: connection.Session, vm: Vm, disks: Sequence[VmDisk], snapshot: str, access: Access, found: tuple[Concern, ...]
) -> Remote:
    """Disks through VMware's own library: only what is allocated crosses the wire, whatever the datastore is."""
    access.vddk.check()
    endpoint, thumbprint = session.endpoint, session.thumbprint
    named = [vddk.VddkDisk(endpoint.host, endpoint.user, thumbprint, vm.id, snapshot, disk.files[0], endpoint.port) for disk in disks]

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        arrived = []
        for number, (disk, name) in enumerate(zip(disks, named)):
            progress.phase(f"fetch disk {number + 1} of {len(disks)}", disk.capacity)
            arrived.append(
                vddk.receive(access.vddk, name, endpoint.password, disk.capacity, os.path.join(directory, f"disk{number}"), progress)
            )
        return tuple(arrived)

    def exported(sockets: Sequence[str], cached: bool) -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        return nbdkit.exports(
            [vddk.export(access.vddk, name, endpoint.password, nbdkit.Manner(cached, socket)) for name, socket in zip(named, sockets)]
        )

    return Remote(
        described(vm),
        _whole(disks),
        "vddk",
        found,
        bring,
        _apart(vm, disks, vddk.NAME),
        exported if vm.power == "off" or snapshot else None,
    )


def from_export(
    session: connection.Session, vm: Vm, disks: Sequence[VmDisk], snapshot: str, access: Access, found: tuple[Concern, ...]
) -> Remote:
    """The package that another program writes; its manifest is checked, and it is held against what vSphere says."""
    process.require(access.transport)
    server = session.endpoint
    wanted = exporter.Export(
        server.host, server.port, server.user, server.password, server.trust, session.thumbprint, vm.id, f"/{vm.path}", snapshot
    )
    if access.transport == "govc":
        exporter.require_one(wanted)

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        progress.phase("export", sum(disk.capacity for disk in disks))
        package = os.path.join(directory, _PACKAGE)
        exporter.TOOLS[access.transport](wanted, package, progress)
        return tuple(
            Arrived(f"{_PACKAGE}/{name}", size, size, "")
            for place, dummy, names in sorted(os.walk(package))
            for name, size in ((name, os.path.getsize(os.path.join(place, name))) for name in sorted(names))
        )

    def local(directory: str) -> SourceVm:
        package = ovf.read(exporter.descriptor(os.path.join(directory, _PACKAGE)))
        if len(package.disks) != len(disks):
            raise InvalidInput(
                f"{vm.name} has {len(disks)} disks, its export {len(package.disks)}.",
                "Independent disks are not exported; use another transport.",
            )
        return _as_described(vm, disks, [disk.chain for disk in package.disks])

    return Remote(described(vm), _whole(disks), access.transport, found, bring, local)


def _whole(disks: Sequence[VmDisk]) -> tuple[RemoteDisk, ...]:
    """Disks of which no file is known: they come as a whole."""
    return tuple(RemoteDisk(disk.capacity, (), disk.bus, disk.controller, disk.unit) for disk in disks)


def _apart(vm: Vm, disks: Sequence[VmDisk], name: str) -> Callable[[str], SourceVm]:
    """The VM of disks that arrived each in a directory of its own, as `name`."""

    def local(directory: str) -> SourceVm:
        return _as_described(vm, disks, [chain.resolve(os.path.join(directory, f"disk{number}", name)) for number in range(len(disks))])

    return local


def _as_described(vm: Vm, disks: Sequence[VmDisk], here: Sequence[Chain]) -> SourceVm:
    """The VM with the disks that arrived, if each is as large as vSphere says."""
    for disk, arrived in zip(disks, here):
        if arrived.virtual_size != disk.capacity:
            raise InvalidInput(
                f"{disk.label} has {disk.capacity} bytes, what arrived for it {arrived.virtual_size}.",
                "The disks came in another order; use another transport.",
            )
    return replace(
        described(vm), disks=tuple(SourceDisk(arrived, disk.bus, disk.controller, disk.unit) for disk, arrived in zip(disks, here))
    )


def _received(session: connection.Session, leased: leases.LeasedDisk, place: str, progress: Progress, throttle: Throttle) -> Arrived:
    """A disk from the host that the lease names, which is often not the server that gave the lease."""
    endpoint = session.endpoint
    headers: Mapping[str, str] = {}  # the URL itself is the right to read; the session is nobody else's business
    if (leased.host, leased.port) == (endpoint.host, endpoint.port):
        context, headers = session.context, {"Cookie": session.cookie}
    else:
        trust = replace(endpoint.trust, thumbprint=leased.thumbprint) if leased.thumbprint else endpoint.trust
        context = trust.context(leased.host, leased.port, endpoint.proxy)
    return nfc.receive(leased.host, leased.port, leased.target, context, headers, place, progress, throttle, endpoint.proxy)


def _as_sent(here: Arrived, sent: Optional[tuple[str, int]]) -> bool:
    """Whether a file is what the host's manifest says; a host without a manifest says nothing."""
    return sent is None or sent == (here.digest, here.size)


def allocation(session: connection.Session, vm: Vm, snapshot: str) -> Callable[[VmDisk], Optional[Areas]]:
    """Where a disk holds data, as changed block tracking knows it; None where it does not know."""

    def areas(disk: VmDisk) -> Optional[Areas]:
        if not disk.change_id if snapshot else not (vm.cbt and vm.power == "off"):
            return None
        try:
            return snapshots.changed_areas(session, vm, snapshot, disk.key, disk.capacity)
        except MigrationError:  # tracking that is on without having taken effect; the whole disk is read then
            return None

    return areas


def bring_files(files: Files, jobs: Sequence[Job], directory: str, progress: Progress, access: Access) -> tuple[Arrived, ...]:
    download.check_names(jobs)
    return download.download(files, jobs, directory, progress, access.workers, Throttle(access.bandwidth))


def bring_each(disks: Sequence[tuple[Files, Sequence[Job]]], directory: str, progress: Progress, access: Access) -> tuple[Arrived, ...]:
    """The files of each disk into a directory of its own."""
    arrived: list[Arrived] = []
    modes.make_directory(directory)
    needed = sum(download.missing(jobs, os.path.join(directory, f"disk{number}")) for number, (dummy, jobs) in enumerate(disks))
    atomic.need_space(directory, needed, "The copy of the source")
    for number, (files, jobs) in enumerate(disks):
        arrived += bring_files(files, jobs, os.path.join(directory, f"disk{number}"), progress, access)
    return tuple(arrived)


def in_place(files: Union[HttpsFiles, SshFiles], disks: Sequence[RemoteDisk]) -> Optional[InPlace]:
    """How the disks are read where they are; None unless each is one flat file."""
    if not all(disk.flat for disk in disks) or (isinstance(files, HttpsFiles) and files.anchors is None):
        return None

    def exported(sockets: Sequence[str], cached: bool) -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        manners = [nbdkit.Manner(cached, socket, disk.jobs[1].areas) for disk, socket in zip(disks, sockets)]
        return nbdkit.exports([files.export(disk.jobs[1].path, manner) for disk, manner in zip(disks, manners)])

    return exported
