# SPDX-License-Identifier: GPL-3.0-or-later
"""A migrated VM as a domain of libvirt: defined, started, and taken back, and no domain touched that is not of the collection."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from typing import Any, Mapping, Optional, Sequence
from xml.etree import ElementTree

from ..core import atomic, device, modes, names
from ..core.errors import Busy, InvalidInput, ToolFailed
from ..core.vm import VmId, places_of, require_same
from ..disk import encrypted
from . import domain_xml, libvirtd, placement

_POOLS = ("dir", "fs", "netfs")  # kinds of pools whose volumes are files


@dataclass(frozen=True)
class Wanted:
    """The VM that `description` describes, its images by `kind` of placement in `directory`; None for what shall stay as it is.

    `passphrase` opens images that are encrypted; libvirt keeps it as a secret. `source` is what the VM was migrated from, if that is to be made sure;
    `moved`: it may have come from another place before.
    """

    description: str
    accelerator: str
    kind: str = placement.IN_PLACE
    directory: str = ""
    overwrite: bool = False
    running: bool = False
    autostart: Optional[bool] = None
    passphrase: str = field(default="", repr=False)
    source: tuple[str, ...] = ()
    moved: bool = False


@dataclass
class Done:
    """What was done (in check mode: what would be), and the description before and after."""

    actions: list[str] = field(default_factory=list)
    disks: tuple[str, ...] = ()
    before: str = ""
    after: str = ""

    def as_result(self) -> dict[str, Any]:
        return {"changed": bool(self.actions), "actions": self.actions, "disks": list(self.disks)}


def directory_of(host: Any, pool: str) -> str:
    """Where the volumes of a storage pool are. Raises InvalidInput for a pool whose volumes are no files."""
    root = domain_xml.element(host.storagePoolLookupByName(pool).XMLDesc(0))
    if root.get("type") not in _POOLS:
        raise InvalidInput(
            f"The storage pool {pool} is of type {root.get('type')}, and its volumes are no files.",
            "Name a pool of type dir, fs or netfs, or copy the disks into its volumes with qemu-img convert and describe the VM by hand.",
            pool=pool,
        )
    return str(root.findtext("target/path"))


def bring(host: Any, wanted: Wanted, check: bool) -> Done:
    """Make the domain what is wanted. Raises InvalidInput for a domain of that name that is not ours, or that runs on other images."""
    root = domain_xml.parse(wanted.description)
    name = root.findtext("name") or ""
    places = {path: _place(path, wanted) for dummy, path in domain_xml.disks(root)}
    domain = libvirtd.find(host, name)
    known = _known(domain, name)
    described = domain_xml.vm_in(root)
    if described is not None and wanted.source:
        _require_source(f"The description of {name}", described, wanted.source)
    anew = domain is not None and _whose(domain, name, described, places, wanted.moved)
    for network in domain_xml.networks(root) if wanted.running and not (domain is not None and domain.isActive()) else ():
        if not host.networkLookupByName(network).isActive():
            raise InvalidInput(
                f"The libvirt network {network}, which {name} needs, is not active.",
                f"Start it (virsh net-start {network}; virsh net-autostart {network}), or name another (migrate_libvirt_network, migrate_network_map).",
                network=network,
            )
    stamps = {path: placement.stamp(path) for path, target in places.items() if target != path and os.path.exists(path)}
    later = [path for path, stamp in stamps.items() if known.get(path, stamp) != stamp]
    if later and not wanted.overwrite:
        raise InvalidInput(
            f"{name} runs on a copy of what {later[0]} was before it was migrated again.",
            "Take the domain back first (state absent), or allow to overwrite its disks.",
            path=later[0],
        )
    if later and domain.isActive():
        raise Busy(f"{name} runs, and its disks cannot be replaced.", "Shut it down first.", name=name)
    done = Done(disks=tuple(places.values()))
    for path, target in places.items():
        placed = target == path or (path in known and path not in later)
        if not device.exists(target) and (placed or not device.exists(path)):
            raise InvalidInput(f"{target}, a disk of {name}, does not exist.", "Convert the VM first.", path=target)
        if not placed:
            done.actions.append(f"{wanted.kind} {path} to {target}")
            if not check:
                placement.place(path, target, wanted.kind, path in later)
    _keep_secret(host, wanted, root, domain is None or bool(later), done, check)
    images = {**stamps, **known, **{path: stamps[path] for path in later}}
    text = domain_xml.defined(wanted.description, places, wanted.accelerator, images)
    if domain is None or anew or domain_xml.mark_of(libvirtd.mark(domain, domain_xml.MARK) or "") != domain_xml.mark_of(text):
        done.actions.append(f"define {name}")
        done.before, done.after = (libvirtd.text_of(domain) if domain is not None else ""), text
        if not check:
            domain = host.defineXML(domain_xml.with_uuid(text, domain.UUIDString()) if domain is not None else text)
        if done.before:
            _forget_secret(host, domain_xml.parse(done.before), domain_xml.secret_of(root), done, check)
    if wanted.autostart is not None and (domain is None or bool(domain.autostart()) != wanted.autostart):
        done.actions.append(f"{'set' if wanted.autostart else 'clear'} autostart of {name}")
        if not check:
            domain.setAutostart(int(wanted.autostart))
    if wanted.running and (domain is None or not domain.isActive()):
        done.actions.append(f"start {name}")
        if not check:
            domain.create()
    return done


def _keep_secret(host: Any, wanted: Wanted, root: ElementTree.Element, anew: bool, done: Done, check: bool) -> None:
    """Let libvirt know what opens encrypted disks, once, and `anew` for others. It tells nobody what it knows, so that it cannot be compared."""
    uuid, name = domain_xml.secret_of(root), root.findtext("name") or ""
    if not uuid or not (anew or libvirtd.secret(host, uuid) is None):
        return
    locked = [path for disk, path in domain_xml.disks(root) if disk.find("source/encryption") is not None]
    encrypted.require([(path if os.path.exists(path) else _place(path, wanted), "qcow2") for path in locked], wanted.passphrase)
    done.actions.append(f"keep the passphrase of {name}")
    if not check:
        libvirtd.keep_secret(host, domain_xml.secret(uuid, name, lasting=True), wanted.passphrase)


def _forget_secret(host: Any, root: ElementTree.Element, wanted: str, done: Done, check: bool) -> None:
    """Take what opened the disks of a description away from libvirt, unless it is what is `wanted` now, or not of the collection."""
    uuid = domain_xml.secret_of(root)
    kept = libvirtd.secret(host, uuid) if uuid not in ("", wanted) else None
    if kept is not None and domain_xml.is_our_secret(kept.XMLDesc(0)):
        done.actions.append(f"forget the passphrase of {root.findtext('name')}")
        if not check:
            kept.undefine()


def take_back(
    host: Any,
    name: str,
    quarantine: str,
    timeout: float,
    power_off: bool,
    check: bool,
    mode: int = modes.FILE,
    *,
    source: Sequence[str] = (),
    description: str = "",
) -> Done:
    """Shut the domain down and undefine it. Its images, variables and description go to `quarantine`, if one is named, with `mode`; else they stay.

    `source`: what its VM was migrated from, and `description`: how it was described, if that is to be made sure.
    Raises InvalidInput for a domain that is not ours or is another VM's, ToolFailed when it does not shut down in `timeout` seconds and must not be
    switched off.
    """
    domain, done = libvirtd.find(host, name), Done()
    if domain is None:
        return done
    known, text = _known(domain, name), libvirtd.text_of(domain)
    vm = domain_xml.vm_of(libvirtd.mark(domain, domain_xml.OF_VM))
    if source and vm is not None:
        _require_source(f"The domain {name}", vm, source)
    elif source:
        described = {path: path for dummy, path in domain_xml.disks(domain_xml.parse(description))} if description else {}
        _require_images(domain, name, known, described)
    done.before, done.disks = text, tuple(path for dummy, path in domain_xml.disks(domain_xml.parse(text)))
    variables = libvirtd.variables(domain, name)
    if domain.isActive():
        done.actions.append(f"shut down {name}")
        if not check:
            _shut_down(domain, name, timeout, power_off)
    files = [path for path in (*done.disks, variables) if os.path.exists(path) and not device.is_device(path)] if quarantine else []
    if quarantine and not check:
        modes.make_directory(quarantine, modes.with_disks(mode))
        atomic.write_text(os.path.join(quarantine, f"{names.safe(name)}.xml"), text, mode)
    for path in files:
        done.actions.append(f"move {path} to {os.path.join(quarantine, os.path.basename(path))}")
        if not check:
            placement.take_away(path, quarantine)
    _forget_secret(host, domain_xml.parse(text), "", done, check)
    done.actions.append(f"undefine {name}")
    if not check:
        libvirtd.undefine(domain)
    return done


def _place(path: str, wanted: Wanted) -> str:
    """Where an image goes; a block device stays what it is."""
    return path if wanted.kind == placement.IN_PLACE or device.is_device(path) else os.path.join(wanted.directory, os.path.basename(path))


def _known(domain: Optional[Any], name: str) -> Mapping[str, str]:
    """Which images the disks of our domain were made from. Raises InvalidInput for a domain that is not ours."""
    if domain is None:
        return {}
    mark = libvirtd.mark(domain, domain_xml.MARK)
    if mark is None:
        raise InvalidInput(
            f"There is a domain {name} that was not made from a migration.", "Give the migrated VM another name (migrate_name).", name=name
        )
    return domain_xml.images_of(mark)


def _require_source(what: str, vm: VmId, source: Sequence[str]) -> None:
    """Raise InvalidInput for what belongs to a VM that was named otherwise."""
    if places_of(vm.source) != places_of(source):
        raise InvalidInput(
            f"{what} belongs to {vm}, and not to the VM from {', '.join(source)}.",
            "Name the source as it was when it was migrated, or set migrate_name and migrate_output_dir to those of this VM.",
            belongs_to=vm.as_data(),
        )


def _whose(domain: Any, name: str, described: Optional[VmId], places: Mapping[str, str], moved: bool) -> bool:
    """Whether our domain, which must be of the VM that is described, says so otherwise. Raises InvalidInput for another VM's."""
    vm = domain_xml.vm_of(libvirtd.mark(domain, domain_xml.OF_VM))
    if vm is None or described is None:
        _require_images(domain, name, _known(domain, name), places)
    else:
        require_same(vm, described, f"The domain {name}", moved)
    return described is not None and (vm is None or replace(vm, digest="", disks=()) != replace(described, digest="", disks=()))


def _require_images(domain: Any, name: str, known: Mapping[str, str], places: Mapping[str, str]) -> None:
    """Raise InvalidInput for a domain of an earlier version, which does not say whose it is, unless it runs on what is described."""
    images = {path for dummy, path in domain_xml.disks(domain_xml.parse(libvirtd.text_of(domain)))}
    if not (images | known.keys()) & (places.keys() | set(places.values())):
        raise InvalidInput(
            f"The domain {name} does not say which VM it is, and runs on other images ({', '.join(sorted(images)) or 'none'}).",
            "Give the migrated VM another name (migrate_name), or look at the domain and remove it by hand.",
            name=name,
        )


def _shut_down(domain: Any, name: str, timeout: float, power_off: bool) -> None:
    domain.shutdown()
    deadline = time.monotonic() + timeout
    while domain.isActive() and time.monotonic() < deadline:
        time.sleep(0.5)
    if domain.isActive() and not power_off:
        raise ToolFailed(
            f"{name} did not shut down in {timeout:.0f} seconds.", "Shut it down by hand, or allow a hard power-off.", name=name
        )
    libvirtd.destroy(domain)
