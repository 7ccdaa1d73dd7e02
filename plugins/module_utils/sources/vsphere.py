# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a vCenter or of an ESXi host that is asked by its API: vsphere://vcenter/Datacenter/vm/folder/name, or ?moref=, ?uuid=, ?name= instead of the path."""

from __future__ import annotations

import contextlib
import posixpath
from dataclasses import replace
from typing import Callable, Iterator

from ..core.locks import slot
from ..core.progress import Progress
from ..core.urls import Form
from ..core.vm import VmId, place_of
from ..transport.download import Arrived
from ..vsphere import connection, datastores, inventory, readiness, snapshots
from ..vsphere.model import Vm, VmDisk
from . import source, vsphere_files, vsphere_transports
from .opened import Remote
from .source import Access, Can, Folder, Source, independent, refuse, unless_treated
from .vsphere_transport import Wanted, described


class Vsphere:
    """See Source."""

    scheme = "vsphere"
    words = "vsphere://vcenter/Datacenter/vm/name"
    form = Form(query=("moref", "uuid", "name"))
    libraries = ("pyVmomi",)
    can = Can(power=True, freeze=True, in_place=True, files=True)

    def identified(self, url: str, access: Access) -> VmId:
        with _reached(url, access) as (session, vm):
            return _which(session, vm, url)

    @contextlib.contextmanager
    def opened(self, url: str, access: Access, check: bool) -> Iterator[Remote]:
        with _reached(url, access) as (session, vm), contextlib.ExitStack() as stack:
            found = unless_treated(readiness.concerns(vm), access)
            refuse(found, access.accept, vm.path)
            vsphere_transports.require_possible(vm, access)
            stack.enter_context(session.kept_alive())
            point = snapshots.Point(session, vm)
            if vm.power == "on" and not check:
                if access.running == "shutdown":
                    access.stopping()
                    snapshots.shut_down(session, vm, access.shutdown_timeout, access.power_off)
                    point = snapshots.Point(session, snapshots.again(session, vm))
                elif access.running == "snapshot":
                    independent([disk.label for disk in vm.disks if disk.mode.startswith("independent")], vm.name)
                    point = stack.enter_context(snapshots.frozen(session, vm, access.quiesce))
            wanted = Wanted(point, _in_order(point.vm), access, found, stack)
            remote = vsphere_transports.opened(wanted, running=check and vm.power == "on")
            in_turn = _in_turn(remote, f"{session.endpoint.host}-{point.vm.host}", access.host_slots)
            yield replace(remote, bring=in_turn, which=_which(session, point.vm, url))

    @contextlib.contextmanager
    def folder(self, url: str, access: Access) -> Iterator[Folder]:
        with _reached(url, access) as (session, vm):
            refuse(tuple(readiness.of_power(vm.name, vm.power)), access.accept, url)
            home = posixpath.dirname(vm.files)
            listed = [item.path for item in datastores.browse(session, home)]
            names = tuple(posixpath.basename(path) for path in listed if posixpath.dirname(path) == home)
            with contextlib.closing(vsphere_files.datastore(session, vm, access)) as files:
                yield Folder(files, vsphere_files.volume_path(home), names)

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        with _reached(url, access) as (session, vm):
            left = snapshots.leftovers(vm)
            for snapshot in () if check else left:
                snapshots.remove(session, vm, snapshot)
            return tuple(left.values())

    def started(self, url: str, access: Access, check: bool) -> bool:
        with _reached(url, access) as (session, vm):
            if vm.power == "on":
                return False
            if not check:
                snapshots.power_on(session, vm)
            return True


SOURCE: Source = Vsphere()


@contextlib.contextmanager
def _reached(url: str, access: Access) -> Iterator[tuple[connection.Session, Vm]]:
    """A session with the server of a URL, and the VM."""
    server, port, path, query = inventory.parse_url(url)
    with connection.session(connection.Endpoint(server, access.user, access.password, port, access.trust, access.proxy)) as session:
        yield session, inventory.find(session, path, query)


def _which(session: connection.Session, vm: Vm, url: str) -> VmId:
    """A server has a UUID once; the path of a VM in its inventory changes when it is renamed."""
    endpoint = session.endpoint
    host_of = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    disks = sorted(vm.disks, key=lambda disk: disk.key)
    return source.which(
        described(vm),
        place_of(f"vsphere://{host_of}:{endpoint.port}"),
        url,
        [(disk.capacity, *disk.place.at) for disk in disks],
    )


def _in_order(vm: Vm) -> tuple[VmDisk, ...]:
    """The disks that can be copied, in the order in which the guest's firmware meets them."""
    disks = sorted(vm.disks, key=lambda disk: disk.place.order)
    return tuple(disk for disk in disks if disk.rdm != "physical")


def _in_turn(remote: Remote, host: str, slots: int) -> Callable[[str, Progress], tuple[Arrived, ...]]:
    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        with slot(host, slots, lambda: progress.phase("wait for the host to be free")):
            return remote.bring(directory, progress)

    return bring
