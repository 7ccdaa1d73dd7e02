# SPDX-License-Identifier: GPL-3.0-or-later
"""How the disks of a VM of vSphere come here: as files, by a lease, through VMware's own library, as an export of another program.

Each transport says as data what it can do; a new one is a function and a line of TRANSPORTS.
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from dataclasses import dataclass, replace
from typing import Callable, Mapping, Optional, Sequence, Union

from ..core import process
from ..core.concern import Concern
from ..core.errors import InvalidInput, MigrationError, TransferFailed
from ..core.progress import Progress
from ..core.vm import uuid_of
from ..disk import chain, ovf
from ..disk.machine import Chain, SourceDisk, SourceVm
from ..transport import download, esxi, exporter, nbdkit, nfc, vddk, vmdk_chain
from ..transport.download import Arrived, Throttle
from ..transport.files import Areas
from ..transport.https import HttpsFiles, quote
from ..transport.ssh import SshFiles
from ..vsphere import connection, leases, snapshots
from ..vsphere.model import Vm, VmDisk
from .files import bring_each, in_place
from .opened import Remote, RemoteDisk
from .source import Access

_PACKAGE = "package"
_ROUNDS = 2  # a disk that did not arrive as it was sent is fetched once more
_DATASTORE_PATH = re.compile(r"^\[(.+?)\] ?(.*)$")


@dataclass(frozen=True)
class Wanted:
    """The disks of a VM that are to come, in their order; `snapshot` froze them, if it is not empty."""

    session: connection.Session
    vm: Vm
    disks: tuple[VmDisk, ...]
    snapshot: str
    access: Access
    concerns: tuple[Concern, ...]
    stack: contextlib.ExitStack

    def allocated(self, disk: VmDisk) -> Optional[Areas]:
        """Where a disk holds data, as changed block tracking knows it; None where it does not know, or is not asked."""
        if not self.access.allocated_only or (not disk.change_id if self.snapshot else not (self.vm.cbt and self.vm.power == "off")):
            return None
        try:
            return snapshots.changed_areas(self.session, self.vm, self.snapshot, disk.key, disk.capacity)
        except MigrationError:  # tracking that is on without having taken effect; the whole disk is read then
            return None


@dataclass(frozen=True)
class Transport:
    """What a transport can do. `resumes`: what has arrived counts in the next run. `digests`: the other side says what it sent.

    `parts`: a part of a disk is read when it is asked for, so that disks may stay where they are. `allocated`: whether space that is not used is left out,
    on any datastore or only where changed block tracking knows it. `needs_off`: the VM must be off.
    """

    opened: Callable[[Wanted], Remote]
    resumes: bool
    parts: bool
    allocated: str
    digests: bool = False
    needs_off: bool = False


def volume_path(name: str) -> str:
    """The path on a host of "[datastore] dir/file"."""
    match = _DATASTORE_PATH.match(name)
    if match is None or "/" in match[1]:
        raise InvalidInput(f"{name!r} is no path on a datastore.", "Another transport may read this disk (nfc).", path=name)
    return f"{esxi.VOLUMES}/{match[1]}/{match[2]}"


def described(vm: Vm) -> SourceVm:
    """A VM of vSphere without its disks."""
    return SourceVm(
        name=vm.name,
        kind="vsphere",
        disks=(),
        nics=tuple(nic.nic for nic in vm.nics),
        cpus=vm.cpus,
        cores_per_socket=vm.cores_per_socket,
        memory=vm.memory,
        firmware=vm.firmware,
        secure_boot=vm.secure_boot,
        guest_os=vm.guest_id or None,
        uuid=uuid_of(vm.instance_uuid) or uuid_of(vm.uuid),
    )


def from_files(wanted: Wanted, files: Union[HttpsFiles, SshFiles], transport: str) -> Remote:
    vm, disks = wanted.vm, wanted.disks
    planned = []
    for disk in disks:
        walked = vmdk_chain.chain(files, volume_path(disk.files[0]))
        if walked.size != disk.capacity:
            raise InvalidInput(
                f"{disk.files[0]} of {vm.name} has {walked.size} bytes, vSphere says {disk.capacity}.",
                "The host or the datastore is not the VM's own, or its description is out of date; look at the disk in vSphere.",
                path=disk.files[0],
            )
        jobs = walked.jobs
        areas = wanted.allocated(disk) if walked.flat else None
        if areas is not None:  # offsets of the disk are those of its one flat file
            jobs = (jobs[0], replace(jobs[1], areas=download.joined(areas, files.gap)))
        planned.append(RemoteDisk(walked.size, jobs, replace(disk.place, wwn=walked.wwn), walked.flat))

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return bring_each([(files, disk.jobs) for disk in planned], directory, progress, wanted.access)

    def local(directory: str) -> SourceVm:
        tops = [os.path.join(directory, f"disk{number}", disk.jobs[0].name) for number, disk in enumerate(planned)]
        return _as_described(vm, disks, [chain.resolve(top) for top in tops])

    return Remote(described(vm), tuple(planned), transport, wanted.concerns, bring, local, in_place(files, planned))


def from_lease(wanted: Wanted) -> Remote:
    """Disks as their host sends them: compressed, in one go. Disk and lease are matched by the order that both keep: that of the devices."""
    vm, disks, session = wanted.vm, wanted.disks, wanted.session

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        order = [disk for disk in vm.disks if disk in disks]
        with leases.held(session, vm, wanted.snapshot) as lease:
            if len(lease.disks) != len(order):
                raise InvalidInput(
                    f"{vm.name} has {len(order)} disks, its lease {len(lease.disks)}.",
                    "Independent disks are not exported; use another transport.",
                )
            arrived: dict[str, Arrived] = {}
            missing = list(zip(order, lease.disks))
            for dummy in range(_ROUNDS):
                for disk, leased in missing:
                    progress.phase(f"fetch disk {disks.index(disk) + 1} of {len(order)}", disk.capacity)
                    place = os.path.join(directory, f"disk{disks.index(disk)}")
                    arrived[leased.key] = _received(session, leased, place, progress, Throttle(wanted.access.bandwidth))
                    lease.percent = 99 * len(arrived) // len(order)
                sent = lease.digests()
                missing = [pair for pair in missing if not _as_sent(arrived[pair[1].key], sent.get(pair[1].key))]
                if not missing:
                    break
            else:
                raise TransferFailed(
                    f"{', '.join(disk.label for disk, dummy in missing)} of {vm.name} did not arrive as the host says it was sent.",
                    "Check the way to the host, then run again; or use another transport.",
                )
        return tuple(arrived.values())

    return Remote(described(vm), _whole(disks), "nfc", wanted.concerns, bring, _apart(vm, disks, nfc.NAME))


def from_vddk(wanted: Wanted) -> Remote:
    """Disks through VMware's own library: only what is allocated crosses the wire, whatever the datastore is."""
    vm, disks, snapshot, vddk_of = wanted.vm, wanted.disks, wanted.snapshot, wanted.access.vddk
    vddk_of.check()
    endpoint, thumbprint = wanted.session.endpoint, wanted.session.thumbprint
    named = [vddk.VddkDisk(endpoint.host, endpoint.user, thumbprint, vm.id, snapshot, disk.files[0], endpoint.port) for disk in disks]

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        arrived = []
        for number, (disk, name) in enumerate(zip(disks, named)):
            progress.phase(f"fetch disk {number + 1} of {len(disks)}", disk.capacity)
            arrived.append(
                vddk.receive(vddk_of, name, endpoint.password, disk.capacity, os.path.join(directory, f"disk{number}"), progress)
            )
        return tuple(arrived)

    def exported(sockets: Sequence[str], cached: bool) -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        return nbdkit.exports(
            [vddk.export(vddk_of, name, endpoint.password, nbdkit.Manner(cached, socket)) for name, socket in zip(named, sockets)]
        )

    return Remote(
        described(vm),
        _whole(disks),
        "vddk",
        wanted.concerns,
        bring,
        _apart(vm, disks, vddk.NAME),
        exported if vm.power == "off" or snapshot else None,
    )


def from_export(wanted: Wanted) -> Remote:
    """The package that another program writes; its manifest is checked, and it is held against what vSphere says."""
    vm, disks, tool, server = wanted.vm, wanted.disks, wanted.access.transport, wanted.session.endpoint
    process.require(tool)
    export = exporter.Export(
        server.host,
        server.port,
        server.user,
        server.password,
        server.trust,
        wanted.session.thumbprint,
        vm.id,
        f"/{vm.path}",
        wanted.snapshot,
    )
    if tool == "govc":
        exporter.require_one(export)

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        progress.phase("export", sum(disk.capacity for disk in disks))
        package = os.path.join(directory, _PACKAGE)
        exporter.TOOLS[tool](export, package, progress)
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

    return Remote(described(vm), _whole(disks), tool, wanted.concerns, bring, local)


def _whole(disks: Sequence[VmDisk]) -> tuple[RemoteDisk, ...]:
    """Disks of which no file is known: they come as a whole."""
    return tuple(RemoteDisk(disk.capacity, (), disk.place) for disk in disks)


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
    return replace(described(vm), disks=tuple(SourceDisk(arrived, disk.place) for disk, arrived in zip(disks, here)))


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


def from_datastore(wanted: Wanted) -> Remote:
    """Files of the datastore, by the server."""
    return from_files(
        wanted, wanted.stack.enter_context(contextlib.closing(datastore(wanted.session, wanted.vm, wanted.access))), "datastore"
    )


def from_host(wanted: Wanted) -> Remote:
    """Files of the datastore, by the host that runs the VM."""
    login = replace(wanted.access.ssh, host=wanted.access.ssh.host or wanted.vm.host)
    return from_files(wanted, wanted.stack.enter_context(contextlib.closing(SshFiles(login))), "ssh")


def datastore(session: connection.Session, vm: Vm, access: Access) -> HttpsFiles:
    """The datastores of a VM's datacenter as files."""

    def target(path: str) -> str:
        name, dummy, rest = path[len(esxi.VOLUMES) + 1 :].partition("/")
        return f"/folder/{quote(rest)}?dcPath={urllib.parse.quote(vm.datacenter, safe='')}&dsName={urllib.parse.quote(name, safe='')}"

    def authorise(again: bool) -> Mapping[str, str]:
        if again:
            session.renew()
        return {"Cookie": session.cookie}

    endpoint = session.endpoint
    return HttpsFiles(endpoint.host, endpoint.port, session.context, target, authorise, access.proxy, anchors=session.anchors)


AUTO, TRACKED, ANY = "auto", "tracked", "any"
TRANSPORTS: Mapping[str, Transport] = {
    "datastore": Transport(from_datastore, resumes=True, parts=True, allocated=TRACKED),
    "nfc": Transport(from_lease, resumes=False, parts=False, allocated=ANY, digests=True),
    "ssh": Transport(from_host, resumes=True, parts=True, allocated=TRACKED),
    "vddk": Transport(from_vddk, resumes=False, parts=True, allocated=ANY),
    "govc": Transport(from_export, resumes=False, parts=False, allocated=ANY, digests=True),
    "ovftool": Transport(from_export, resumes=False, parts=False, allocated=ANY, digests=True, needs_off=True),
}


def require_possible(vm: Vm, access: Access) -> None:
    """Raise InvalidInput for a VM that would stay on while its transport wants it off; nothing has been changed there then."""
    wanted = TRANSPORTS.get(access.transport)
    if wanted is not None and wanted.needs_off and vm.power == "on" and access.running == "snapshot":
        raise InvalidInput(
            f"{vm.name} runs, and {access.transport} exports no VM that does.",
            "Shut it down (migrate_running: shutdown), or use another transport.",
            vm=vm.name,
        )


def chosen(
    session: connection.Session, vm: Vm, snapshot: str, access: Access, found: tuple[Concern, ...], stack: contextlib.ExitStack, check: bool
) -> Remote:
    """By the transport that was asked for; else files of the datastore, and a lease where there are none to read (vSAN, vVol)."""
    disks = sorted(vm.disks, key=lambda disk: disk.place.order)
    wanted = Wanted(session, vm, tuple(disk for disk in disks if disk.rdm != "physical"), snapshot, access, found, stack)
    running = check and vm.power == "on"  # its files are open, so that nothing of them can be planned
    if access.transport == AUTO:
        with contextlib.suppress(InvalidInput):
            if not running:
                return from_datastore(wanted)
        return from_lease(wanted)
    return from_lease(wanted) if running and access.transport == "datastore" else TRANSPORTS[access.transport].opened(wanted)
