# SPDX-License-Identifier: GPL-3.0-or-later
"""FETCH of sources that are elsewhere: vSphere says what the VM is, a plan says which bytes are wanted, a transport brings them.

A source is a URL: vsphere://vcenter/Datacenter/vm/folder/name, ssh://root@esx1/name or ssh://root@esx1/vmfs/volumes/datastore/dir/name.vmx (or .vmdk),
azure://subscription/resource-group/name, aws://region/instance.
"""

from __future__ import annotations

import contextlib
import re
import urllib.parse
from dataclasses import replace
from typing import Callable, Iterator, Mapping, Sequence

from ..core.errors import InvalidInput
from ..core.locks import slot
from ..core.progress import Progress
from ..core.vm import VmId, place_of
from ..disk import chain
from ..disk.machine import SourceDisk, bus_key
from ..guest.model import Concern
from ..transport import esxi, exporter
from ..transport.download import Arrived
from ..transport.https import HttpsFiles, quote
from ..transport.ssh import SshFiles
from ..vsphere import connection, hardware, inventory, readiness, snapshots
from ..vsphere.model import Vm
from . import cloud, host, ways
from .origin import Access, Remote, described, independent, refuse, unless_treated, which


def is_remote(source: Sequence[str]) -> bool:
    """Whether a source is a URL."""
    return len(source) == 1 and re.match(r"^[a-z][a-z0-9+.-]*://", source[0]) is not None


@contextlib.contextmanager
def opened(url: str, access: Access, check: bool = False) -> Iterator[Remote]:
    """The source behind a URL, for the time of a block.

    In check mode nothing is changed there: a running VM is neither stopped nor frozen. Raises Blocked for concerns that nobody accepted.
    """
    scheme = _scheme(url)
    if scheme == "vsphere":
        with _vsphere(url, access, check) as remote:
            yield remote
    elif scheme == "ssh":
        with host.opened(url, access, check) as remote:
            yield remote
    else:
        with cloud.opened(url, access, check) as remote:
            yield remote


def identified(url: str, access: Access) -> VmId:
    """Which VM is behind a URL. Nothing is changed there, and the VM may run."""
    scheme = _scheme(url)
    if scheme == "vsphere":
        with reached(url, access) as (session, vm):
            return _which(session, vm, url)
    return host.identified(url, access) if scheme == "ssh" else cloud.identified(url)


def _scheme(url: str) -> str:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in ("vsphere", "ssh", *cloud.SCHEMES):
        raise InvalidInput(
            f"{url} is of no known kind.",
            "Write vsphere://vcenter/Datacenter/vm/name, ssh://root@host/path/to/vm.vmx, azure://subscription/resource-group/name or aws://region/instance.",
            source=url,
        )
    return scheme


def _which(session: connection.Session, vm: Vm, url: str) -> VmId:
    """A server has a UUID once; the path of a VM in its inventory changes when it is renamed."""
    endpoint = session.endpoint
    host_of = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    disks = sorted(vm.disks, key=lambda disk: disk.key)
    return which(
        described(vm),
        place_of(f"vsphere://{host_of}:{endpoint.port}"),
        url,
        [(disk.capacity, disk.bus, disk.controller, disk.unit) for disk in disks],
    )


def clean(url: str, access: Access, check: bool) -> tuple[str, ...]:
    """Remove the snapshots that a migration which died has left, and no others; gives their names. In check mode nothing is removed."""
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme == "ssh":
        return host.clean(url, access, check)
    if scheme in cloud.SCHEMES:
        return cloud.clean(url, check)
    with reached(url, access) as (session, vm):
        left = snapshots.leftovers(vm)
        for snapshot in () if check else left:
            snapshots.remove(session, vm, snapshot)
        return tuple(left.values())


@contextlib.contextmanager
def reached(url: str, access: Access) -> Iterator[tuple[connection.Session, Vm]]:
    """A session with the server of a vsphere:// URL, and the VM."""
    server, port, path, query = inventory.parse_url(url)
    with connection.session(connection.Endpoint(server, access.user, access.password, port, access.trust, access.proxy)) as session:
        yield session, inventory.find(session, path, query)


@contextlib.contextmanager
def _vsphere(url: str, access: Access, check: bool) -> Iterator[Remote]:
    with reached(url, access) as (session, vm):
        found = unless_treated(readiness.concerns(vm), access)
        refuse(found, access.accept, vm.path)
        with contextlib.ExitStack() as stack:
            stack.enter_context(session.kept_alive())
            snapshot = ""
            if vm.power == "on" and not check:
                if access.running == "shutdown":
                    access.stopping()
                    snapshots.shut_down(session, vm, access.shutdown_timeout, access.power_off)
                    vm = snapshots.again(session, vm)
                elif access.running == "snapshot":
                    independent([disk.label for disk in vm.disks if disk.mode.startswith("independent")], vm.name)
                    snapshot = stack.enter_context(snapshots.frozen(session, vm, access.quiesce))
                    vm = hardware.with_disks_of(vm, snapshots.devices(session, vm, snapshot))
            remote = _by_transport(session, vm, snapshot, access, found, stack, check)
            in_turn = _in_turn(remote, f"{session.endpoint.host}-{vm.host}", access.host_slots)
            yield replace(remote, bring=in_turn, which=_which(session, vm, url))


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
    known = ways.allocation(session, vm, snapshot) if access.allocated_only else lambda disk: None
    if access.transport in ("auto", "datastore") and not (check and vm.power == "on"):
        files = stack.enter_context(contextlib.closing(datastore(session, vm, access)))
        try:
            return ways.from_files(files, vm, disks, "datastore", access, found, known)
        except InvalidInput:
            if access.transport == "datastore":
                raise
    elif access.transport == "ssh":
        login = replace(access.ssh, host=access.ssh.host or vm.host)
        return ways.from_files(stack.enter_context(contextlib.closing(SshFiles(login))), vm, disks, "ssh", access, found, known)
    elif access.transport == "vddk":
        return ways.from_vddk(session, vm, disks, snapshot, access, found)
    elif access.transport in exporter.TOOLS:
        return ways.from_export(session, vm, disks, snapshot, access, found)
    return ways.from_lease(session, vm, disks, snapshot, access, found)


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
