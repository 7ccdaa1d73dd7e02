# SPDX-License-Identifier: GPL-3.0-or-later
"""Finding VMs: one by its path, all of them a page at a time. Source: PropertyCollector in the vSphere Web Services API reference."""

from __future__ import annotations

import functools
import urllib.parse
from dataclasses import dataclass, field
from typing import Any, Iterator, Mapping, Optional, Sequence

from ..core.errors import InvalidInput
from ..core.urls import split
from .connection import PYVMOMI_ERROR, Session
from .hardware import PROPERTIES, record
from .model import Vm
from .placement import CLUSTER, DATASTORE, HOST, Facts, surrounded
from .serialize import plain

if PYVMOMI_ERROR is None:
    from pyVmomi import vim, vmodl

PAGE = 500  # VMs in one answer
_NAMES = {
    "Folder": ("name", "parent"),
    "Datacenter": ("name", "parent"),
    "HostSystem": HOST,
    "ClusterComputeResource": CLUSTER,
    "Datastore": DATASTORE,
}


@dataclass(frozen=True)
class Place:
    """An entity around the VMs: its name, its kind, what it is in, and its properties."""

    name: str
    kind: str
    parent: Optional[str]
    facts: Facts = field(default_factory=dict)


def parse_url(url: str) -> tuple[str, int, str, Mapping[str, str]]:
    """Host, port, inventory path and query of vsphere://host[:port]/Datacenter/vm/folder/name.

    A query names the VM otherwise: ?moref=vm-57, ?uuid=4212..., ?name=web01. Raises InvalidInput.
    """
    parts = split(url)
    path = urllib.parse.unquote(parts.path).strip("/")
    query = dict(urllib.parse.parse_qsl(parts.query))
    if parts.scheme != "vsphere" or not parts.hostname or not (path or query):
        raise InvalidInput(
            f"{url} does not name a VM of vSphere.", "Write vsphere://vcenter.example.com/Datacenter/vm/folder/name.", source=url
        )
    if parts.username or parts.password:
        raise InvalidInput(
            f"A login has no place in the URL of {parts.hostname}.",
            "Use migrate_vsphere_user and migrate_vsphere_password, or VMWARE_USER and VMWARE_PASSWORD.",
        )
    return parts.hostname, parts.port or 443, path, query


def url_of(host: str, port: int, path: str) -> str:
    """The URL of a VM, as parse_url reads it."""
    return f"vsphere://{host}{'' if port == 443 else f':{port}'}/{urllib.parse.quote(path)}"


def find(session: Session, path: str = "", query: Optional[Mapping[str, str]] = None) -> Vm:
    """The one VM that is meant.

    Raises InvalidInput when there is none, or more than one of a name.
    """
    query = query or {}
    wanted = query.get("uuid", "").lower()
    if query.get("moref"):
        matches = [vm for vm in vms(session) if vm.id == query["moref"]]
    elif wanted:
        matches = [vm for vm in vms(session) if wanted in (vm.uuid, vm.instance_uuid)]
    elif query.get("name"):
        matches = [vm for vm in vms(session) if vm.name == query["name"]]
    else:
        found = session.call(lambda: session.content.searchIndex.FindByInventoryPath(path))
        matches = [describe(session, found)] if isinstance(found, vim.VirtualMachine) else []
    what = path or " ".join(f"{key}={value}" for key, value in query.items())
    if not matches:
        raise InvalidInput(
            f"{session.endpoint.host} has no VM {what}.",
            "Write the path as govc or the inventory plugin show it: Datacenter/vm/folders/name; on ESXi ha-datacenter/vm/name.",
            vm=what,
        )
    if len(matches) > 1:
        raise InvalidInput(
            f"{session.endpoint.host} has {len(matches)} VMs {what}: {', '.join(vm.path for vm in matches)}.",
            "Name one by its path.",
            vm=what,
        )
    return matches[0]


def managed(session: Session, vm_id: str) -> Any:
    """The API's object of a VM."""
    return vim.VirtualMachine(vm_id, session.content.rootFolder._stub)


def describe(session: Session, entity: Any) -> Vm:
    """The record of one VM."""
    spec = vmodl.query.PropertyCollector.ObjectSpec(obj=entity)
    wanted = vmodl.query.PropertyCollector.PropertySpec(type=vim.VirtualMachine, pathSet=list(PROPERTIES))
    filters = [vmodl.query.PropertyCollector.FilterSpec(objectSet=[spec], propSet=[wanted])]
    answer = session.call(lambda: session.content.propertyCollector.RetrieveContents(filters))
    if not answer:
        raise InvalidInput(f"{session.endpoint.host} no longer has the VM.", "It was removed meanwhile; look at the inventory.")
    return _record(answer[0], places(session))


def vms(session: Session) -> Iterator[Vm]:
    """Every VM, in the order of the server: a few answers for a thousand, whatever their number."""
    around = places(session)
    for item in _collect(session, {"VirtualMachine": PROPERTIES}):
        yield _record(item, around)


def places(session: Session) -> dict[str, Place]:
    """Folders, datacenters, hosts, clusters and datastores by id."""
    found = {}
    for item in _collect(session, _NAMES):
        values = {prop.name: plain(prop.val) for prop in item.propSet or ()}
        found[item.obj._moId] = Place(values.get("name", ""), type(item.obj)._wsdlName, values.get("parent"), values)
    root = session.content.rootFolder._moId
    found[root] = Place("", "Folder", None)
    return found


def path_of(entity: Optional[str], around: Mapping[str, Place]) -> tuple[str, str]:
    """The inventory path of an entity's parent chain and of the datacenter in it, both without a leading slash."""
    chain: list[Place] = []
    at = entity
    while at is not None and at in around and around[at].parent is not None:
        chain.insert(0, around[at])
        at = around[at].parent
    names = [place.name for place in chain]
    datacenter = next((number for number, place in enumerate(chain, 1) if place.kind == "Datacenter"), 0)
    return "/".join(names), "/".join(names[:datacenter])


def _record(item: Any, around: Mapping[str, Place]) -> Vm:
    values = {prop.name: plain(prop.val) for prop in item.propSet or ()}
    folder, datacenter = path_of(values.get("parent"), around)
    host = around.get(values.get("runtime.host") or "")
    cluster = around.get(host.parent or "") if host else None
    name = values.get("name", "")
    vm = record(
        item.obj._moId,
        values,
        path=f"{folder}/{name}" if folder else name,
        datacenter=datacenter,
        host=host.name if host else "",
        cluster=cluster.name if cluster and cluster.kind == "ClusterComputeResource" else "",
    )
    stores = [around[store].facts for store in values.get("datastore") or () if store in around]
    return surrounded(vm, host.facts if host else {}, cluster.facts if cluster else {}, stores)


def _collect(session: Session, wanted: Mapping[str, Sequence[str]]) -> Iterator[Any]:
    """ObjectContent of every entity of these kinds, through one view and pages of PAGE."""
    content = session.content
    kinds = [getattr(vim, kind) for kind in wanted]
    view = session.call(lambda: content.viewManager.CreateContainerView(content.rootFolder, kinds, True))
    try:
        walk = vmodl.query.PropertyCollector.TraversalSpec(name="view", path="view", skip=False, type=vim.view.ContainerView)
        start = vmodl.query.PropertyCollector.ObjectSpec(obj=view, skip=True, selectSet=[walk])
        properties = [
            vmodl.query.PropertyCollector.PropertySpec(type=kind, pathSet=list(paths)) for kind, paths in zip(kinds, wanted.values())
        ]
        filters = [vmodl.query.PropertyCollector.FilterSpec(objectSet=[start], propSet=properties)]
        options = vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE)
        answer = session.call(lambda: content.propertyCollector.RetrievePropertiesEx(filters, options))
        while answer is not None:
            yield from answer.objects or ()
            token = answer.token
            if not token:
                return
            answer = session.call(functools.partial(content.propertyCollector.ContinueRetrievePropertiesEx, token))
    finally:
        session.call(view.Destroy)
