# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH of sources that are elsewhere: vSphere says what the VM is, a plan says which bytes are wanted, a transport brings them.

A source is a URL: vsphere://vcenter/Datacenter/vm/folder/name, ssh://root@esx1/vmfs/volumes/datastore/dir/name.vmx (or .vmdk).
"""

from __future__ import annotations

import contextlib
import os
import re
import urllib.parse
from dataclasses import dataclass, field, replace
from typing import Any, Callable, Iterator, Mapping, Optional, Sequence, Union

from ..core import atomic
from ..core.errors import Blocked, InvalidInput, MigrationError, TransferFailed
from ..core.locks import slot
from ..core.progress import Progress
from ..core.tls import Trust
from ..disk import chain, vmx
from ..disk.machine import Nic, SourceDisk, SourceVm, bus_key
from ..guest.model import BLOCKER, Concern
from ..transport import download, nbdkit, vddk, walk
from ..transport.download import Arrived, Job, Throttle
from ..transport.files import Areas, beside, patiently, read_small
from ..transport.https import HttpsFiles, quote
from ..transport.nfc import receive
from ..transport.ssh import Login, SshFiles
from ..transport.vddk import Vddk
from ..vsphere import connection, hardware, inventory, leases, readiness, snapshots
from ..vsphere.model import Vm, VmDisk

TRANSPORTS = ("auto", "datastore", "nfc", "ssh", "vddk")
RUNNING = ("refuse", "snapshot", "shutdown")
_VOLUMES = "/vmfs/volumes"
_ROUNDS = 2  # a disk that did not arrive as it was sent is fetched once more
_DATASTORE_PATH = re.compile(r"^\[(.+?)\] ?(.*)$")


@dataclass(frozen=True)
class Access:
    """How a source is reached, and how it may be treated. `bandwidth` in bytes a second over all workers, 0 for no limit.

    `host_slots`: how many VMs of one ESXi host are read at once from here; its buffers for such reads are few.
    `allocated_only`: what changed block tracking calls unused is not read.
    """

    user: str = ""
    password: str = field(default="", repr=False)
    trust: Trust = Trust()
    proxy: Optional[tuple[str, int]] = None
    ssh: Login = Login("")
    vddk: Vddk = Vddk()
    transport: str = "auto"
    running: str = "refuse"
    quiesce: bool = False
    shutdown_timeout: float = 600.0
    power_off: bool = False
    bandwidth: int = 0
    workers: int = 2
    host_slots: int = 8
    allocated_only: bool = True
    accept: tuple[str, ...] = ()


InPlace = Callable[[], contextlib.AbstractContextManager[list[nbdkit.Export]]]


@dataclass(frozen=True)
class RemoteDisk:
    """A disk at the source: its place in the VM, what the guest sees of it (bytes), and the files that hold it, the top one first.

    `flat`: one of them is the disk, byte for byte.
    """

    size: int
    jobs: tuple[Job, ...] = ()
    bus: Optional[str] = None
    controller: Optional[int] = None
    unit: Optional[int] = None
    flat: bool = False
    wwn: Optional[str] = None


@dataclass(frozen=True)
class Remote:
    """A source that is open: the VM without its disks, the disks, why and how they are read, and what brings them into a directory."""

    vm: SourceVm
    disks: tuple[RemoteDisk, ...]
    transport: str
    concerns: tuple[Concern, ...]
    bring: Callable[[str, Progress], tuple[Arrived, ...]]
    local: Callable[[str], SourceVm]
    in_place: Optional[InPlace] = None

    def as_result(self) -> dict[str, Any]:
        """For check mode: what would be fetched."""
        data = self.vm.as_result()
        data["disks"] = [
            {
                "files": [job.path for job in disk.jobs],
                "virtual_size": disk.size,
                "bytes": sum(job.wanted for job in disk.jobs) if disk.jobs else None,
                "bus": disk.bus,
                "controller": disk.controller,
                "unit": disk.unit,
                "wwn": disk.wwn,
            }
            for disk in self.disks
        ]
        return {**data, "transport": self.transport}


def is_remote(source: Sequence[str]) -> bool:
    """Whether a source is a URL."""
    return len(source) == 1 and re.match(r"^[a-z][a-z0-9+.-]*://", source[0]) is not None


@contextlib.contextmanager
def opened(url: str, access: Access, check: bool = False) -> Iterator[Remote]:
    """The source behind a URL, for the time of a block.

    In check mode nothing is changed there: a running VM is neither stopped nor frozen. Raises Blocked for concerns that nobody accepted.
    """
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme == "vsphere":
        with _vsphere(url, access, check) as remote:
            yield remote
    elif scheme == "ssh":
        with _ssh(url, access) as remote:
            yield remote
    else:
        raise InvalidInput(
            f"{url} is of no known kind.", "Write vsphere://vcenter/Datacenter/vm/name or ssh://root@host/path/to/vm.vmx.", source=url
        )


@contextlib.contextmanager
def _vsphere(url: str, access: Access, check: bool) -> Iterator[Remote]:
    host, port, path, query = inventory.parse_url(url)
    endpoint = connection.Endpoint(host, access.user, access.password, port, access.trust, access.proxy)
    with connection.session(endpoint) as session:
        vm = inventory.find(session, path, query)
        found = readiness.concerns(vm)
        if access.running != "refuse":
            found = tuple(concern for concern in found if concern.code != "vsphere.running")
        refuse(found, access.accept, vm.path)
        with contextlib.ExitStack() as stack:
            stack.enter_context(session.kept_alive())
            snapshot = ""
            if vm.power == "on" and not check:
                if access.running == "shutdown":
                    snapshots.shut_down(session, vm, access.shutdown_timeout, access.power_off)
                    vm = snapshots.again(session, vm)
                elif access.running == "snapshot":
                    _need_dependent(vm)
                    snapshot = stack.enter_context(snapshots.frozen(session, vm, access.quiesce))
                    vm = hardware.with_disks_of(vm, snapshots.devices(session, vm, snapshot))
            remote = _by_transport(session, vm, snapshot, access, found, stack, check)
            yield replace(remote, bring=_in_turn(remote, f"{host}-{vm.host}", access.host_slots))


def _in_turn(remote: Remote, source: str, slots: int) -> Callable[[str, Progress], tuple[Arrived, ...]]:
    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        with slot(source, slots, lambda: progress.phase("wait for the host to be free")):
            return remote.bring(directory, progress)

    return bring


def _by_transport(
    session: connection.Session, vm: Vm, snapshot: str, access: Access, found: tuple[Concern, ...], stack: contextlib.ExitStack, check: bool
) -> Remote:
    """What was asked for; else files of the datastore, and a lease where there are none to read (vSAN, vVol)."""
    disks = sorted(vm.disks, key=lambda disk: bus_key(SourceDisk(chain.Chain(()), disk.bus, disk.controller, disk.unit)))
    disks = [disk for disk in disks if disk.rdm != "physical"]
    known = _allocated(session, vm, snapshot) if access.allocated_only else lambda disk: None
    if access.transport in ("auto", "datastore") and not (check and vm.power == "on"):
        files = stack.enter_context(contextlib.closing(datastore(session, vm, access)))
        try:
            return _from_files(files, vm, disks, "datastore", access, found, known)
        except InvalidInput:
            if access.transport == "datastore":
                raise
    elif access.transport == "ssh":
        login = replace(access.ssh, host=access.ssh.host or vm.host)
        return _from_files(stack.enter_context(contextlib.closing(SshFiles(login))), vm, disks, "ssh", access, found, known)
    elif access.transport == "vddk":
        return _from_vddk(session, vm, disks, snapshot, access, found)
    return _from_lease(session, vm, disks, snapshot, access, found)


def datastore(session: connection.Session, vm: Vm, access: Access) -> HttpsFiles:
    """The datastores of a VM's datacenter as files."""

    def target(path: str) -> str:
        name, dummy, rest = path[len(_VOLUMES) + 1 :].partition("/")
        return f"/folder/{quote(rest)}?dcPath={urllib.parse.quote(vm.datacenter, safe='')}&dsName={urllib.parse.quote(name, safe='')}"

    def authorise(again: bool) -> Mapping[str, str]:
        if again:
            session.renew()
        return {"Cookie": session.cookie}

    endpoint = session.endpoint
    return HttpsFiles(endpoint.host, endpoint.port, session.context, target, authorise, access.proxy, anchors=session.anchors)


def volume_path(name: str) -> str:
    """The path on a host of "[datastore] dir/file"."""
    match = _DATASTORE_PATH.match(name)
    if match is None or "/" in match[1]:
        raise InvalidInput(f"{name!r} is no path on a datastore.", "Another transport may read this disk (nfc).", path=name)
    return f"{_VOLUMES}/{match[1]}/{match[2]}"


def _from_files(
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
        arrived: list[Arrived] = []
        os.makedirs(directory, exist_ok=True)
        needed = sum(download.missing(disk.jobs, os.path.join(directory, f"disk{number}")) for number, disk in enumerate(planned))
        atomic.need_space(directory, needed, "The copy of the source")
        for number, disk in enumerate(planned):
            arrived += _download(files, disk.jobs, os.path.join(directory, f"disk{number}"), progress, access)
        return tuple(arrived)

    def local(directory: str) -> SourceVm:
        found_disks = tuple(
            SourceDisk(chain.resolve(os.path.join(directory, f"disk{number}", disk.jobs[0].name)), disk.bus, disk.controller, disk.unit)
            for number, disk in enumerate(planned)
        )
        return replace(_described(vm), disks=found_disks)

    return Remote(_described(vm), tuple(planned), transport, found, bring, local, _in_place(files, planned))


def _from_lease(
    session: connection.Session, vm: Vm, disks: Sequence[VmDisk], snapshot: str, access: Access, found: tuple[Concern, ...]
) -> Remote:
    """Disks as their host sends them: compressed, in one go. Disk and lease are matched by the order that both keep: that of the devices."""
    planned = tuple(RemoteDisk(disk.capacity, (), disk.bus, disk.controller, disk.unit) for disk in disks)

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

    def local(directory: str) -> SourceVm:
        found_disks = tuple(
            SourceDisk(chain.resolve(os.path.join(directory, f"disk{number}", "disk.vmdk")), disk.bus, disk.controller, disk.unit)
            for number, disk in enumerate(planned)
        )
        for disk, source in zip(disks, found_disks):
            if source.chain.virtual_size != disk.capacity:
                raise InvalidInput(
                    f"{disk.label} has {disk.capacity} bytes, what arrived for it {source.chain.virtual_size}.",
                    "The host sent its disks in another order; use another transport.",
                )
        return replace(_described(vm), disks=found_disks)

    return Remote(_described(vm), planned, "nfc", found, bring, local)


def _from_vddk(
    session: connection.Session, vm: Vm, disks: Sequence[VmDisk], snapshot: str, access: Access, found: tuple[Concern, ...]
) -> Remote:
    """Disks through VMware's own library: only what is allocated crosses the wire, whatever the datastore is."""
    access.vddk.check()
    endpoint, thumbprint = session.endpoint, session.thumbprint
    planned = tuple(RemoteDisk(disk.capacity, (), disk.bus, disk.controller, disk.unit) for disk in disks)
    named = [vddk.VddkDisk(endpoint.host, endpoint.user, thumbprint, vm.id, snapshot, disk.files[0], endpoint.port) for disk in disks]

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        arrived = []
        for number, (disk, name) in enumerate(zip(disks, named)):
            progress.phase(f"fetch disk {number + 1} of {len(disks)}", disk.capacity)
            arrived.append(
                vddk.receive(access.vddk, name, endpoint.password, disk.capacity, os.path.join(directory, f"disk{number}"), progress)
            )
        return tuple(arrived)

    def local(directory: str) -> SourceVm:
        found_disks = tuple(
            SourceDisk(chain.resolve(os.path.join(directory, f"disk{number}", vddk.NAME)), disk.bus, disk.controller, disk.unit)
            for number, disk in enumerate(planned)
        )
        return replace(_described(vm), disks=found_disks)

    def in_place() -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        return nbdkit.exports([vddk.export(access.vddk, name, endpoint.password, cached=True) for name in named])

    return Remote(_described(vm), planned, "vddk", found, bring, local, in_place if vm.power == "off" or snapshot else None)


def _received(session: connection.Session, leased: leases.LeasedDisk, place: str, progress: Progress, throttle: Throttle) -> Arrived:
    """A disk from the host that the lease names, which is often not the server that gave the lease."""
    endpoint = session.endpoint
    headers: Mapping[str, str] = {}  # the URL itself is the right to read; the session is nobody else's business
    if (leased.host, leased.port) == (endpoint.host, endpoint.port):
        context, headers = session.context, {"Cookie": session.cookie}
    else:
        trust = replace(endpoint.trust, thumbprint=leased.thumbprint) if leased.thumbprint else endpoint.trust
        context = trust.context(leased.host, leased.port)
    return receive(leased.host, leased.port, leased.target, context, headers, place, progress, throttle)


def _as_sent(here: Arrived, sent: Optional[tuple[str, int]]) -> bool:
    """Whether a file is what the host's manifest says; a host without a manifest says nothing."""
    return sent is None or sent == (here.digest, here.size)


def _allocated(session: connection.Session, vm: Vm, snapshot: str) -> Callable[[VmDisk], Optional[Areas]]:
    """Where a disk holds data, as changed block tracking knows it; None where it does not know."""

    def areas(disk: VmDisk) -> Optional[Areas]:
        if not disk.change_id if snapshot else not (vm.cbt and vm.power == "off"):
            return None
        try:
            return snapshots.changed_areas(session, vm, snapshot, disk.key, disk.capacity)
        except MigrationError:  # tracking that is on without having taken effect; the whole disk is read then
            return None

    return areas


@contextlib.contextmanager
def _ssh(url: str, access: Access) -> Iterator[Remote]:
    parts = urllib.parse.urlsplit(url)
    path = urllib.parse.unquote(parts.path)
    if parts.password:
        raise InvalidInput(f"A password has no place in the URL of {parts.hostname}.", "Use migrate_ssh_password or a key.")
    if not parts.hostname or not path.lower().endswith((".vmx", ".vmdk")):
        raise InvalidInput(f"{url} names no VM.", "Write ssh://root@host/vmfs/volumes/datastore/name/name.vmx (or .vmdk).", source=url)
    login = replace(access.ssh, host=parts.hostname, user=parts.username or access.ssh.user, port=parts.port or access.ssh.port)
    with contextlib.closing(SshFiles(login)) as files:
        if path.lower().endswith(".vmdk"):
            own: tuple[Job, ...] = ()
            tops = [path]
        else:
            found = patiently(lambda: files.stat(path), path)
            own = (Job(path, os.path.basename(path), found.size, found.stamp),)
            text = read_small(files, path).decode("utf-8", "replace")
            tops = [beside(path, name) for name in vmx.disk_names(vmx.parse(text), path)]
        walked = [walk.chain(files, top) for top in tops]
        disks = tuple(RemoteDisk(disk.size, disk.jobs, flat=disk.flat, wwn=disk.wwn) for disk in walked)
        jobs = tuple({job.path: job for job in (*own, *(job for disk in walked for job in disk.jobs))}.values())
        name = os.path.splitext(os.path.basename(path))[0]

        def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
            return _download(files, jobs, os.path.join(directory, "vm"), progress, access)

        def local(directory: str) -> SourceVm:
            staged = os.path.join(directory, "vm", os.path.basename(path))
            return vmx.read(staged) if path.lower().endswith(".vmx") else SourceVm(name, "vmdk", (SourceDisk(chain.resolve(staged)),))

        yield Remote(SourceVm(name, "ssh", ()), disks, "ssh", (), bring, local, _in_place(files, disks))


def _download(
    files: Union[HttpsFiles, SshFiles], jobs: Sequence[Job], directory: str, progress: Progress, access: Access
) -> tuple[Arrived, ...]:
    download.check_names(jobs)
    return download.download(files, jobs, directory, progress, access.workers, Throttle(access.bandwidth))


def _in_place(files: Union[HttpsFiles, SshFiles], disks: Sequence[RemoteDisk]) -> Optional[InPlace]:
    """How the disks are read where they are; None unless each is one flat file."""
    if not all(disk.flat for disk in disks) or (isinstance(files, HttpsFiles) and files.anchors is None):
        return None
    return lambda: nbdkit.exports([files.export(disk.jobs[1].path) for disk in disks])


def _described(vm: Vm) -> SourceVm:
    return SourceVm(
        name=vm.name,
        kind="vsphere",
        disks=(),
        nics=tuple(Nic(nic.mac or None, nic.network, nic.model, nic.slot) for nic in vm.nics),
        cpus=vm.cpus,
        cores_per_socket=vm.cores_per_socket,
        memory=vm.memory,
        firmware=vm.firmware,
        secure_boot=vm.secure_boot,
        guest_os=vm.guest_id or None,
    )


def _need_dependent(vm: Vm) -> None:
    independent = [disk.label for disk in vm.disks if disk.mode.startswith("independent")]
    if independent:
        raise InvalidInput(
            f"{', '.join(independent)} of {vm.name} would not be frozen by a snapshot.",
            "Shut the VM down, or make its disks dependent.",
            vm=vm.path,
        )


def refuse(concerns: Sequence[Concern], accept: Sequence[str], what: str) -> None:
    """Raise Blocked for blockers that were not accepted."""
    blockers = [concern for concern in concerns if concern.severity == BLOCKER and concern.code not in accept]
    if blockers:
        raise Blocked(
            f"{what} is not migrated: " + " ".join(f"{concern.cause} ({concern.code})" for concern in blockers),
            " ".join(concern.remedy for concern in blockers) + " Or accept by code (migrate_accept).",
            concerns=[concern.code for concern in blockers],
        )
