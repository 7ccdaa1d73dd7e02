# SPDX-License-Identifier: GPL-3.0-or-later
"""The disks of an OVF: from the hardware to the DiskSection, from there to a file of the package. Each is used, or refused by name.

Source: DSP0243 9.1 (a disk without a file has no content), 7.1 (files in chunks), 8 (items); VirtualBox's, oVirt's and XenServer's exports.
"""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from typing import AbstractSet, Iterable, Mapping, Optional
from xml.etree import ElementTree as ET

from ..core import files, limits
from ..core.errors import InvalidInput
from ..core.machine import Disk
from ..core.numbers import decimal, said
from . import chain, image
from .blank import Blank
from .machine import Chain, SourceDisk
from .ovf_items import DISK, Hardware, Item, unit
from .ovf_package import Member, Package
from .ovf_system import PLACE

_CONTROLLERS = {"5": "ide", "6": "scsi", "20": "sata"}
_SPECIAL = {"nvme": "nvme", "virtioscsi": "scsi"}  # what makers write as the type "other storage" (20), by the subtype
REMOVABLE = ("14", "15", "16")  # floppies, CDs, DVDs
_EXTENTS = ("19", "31")  # what storage has; XenServer writes it for disks
_VMDK = (b"KDMV", b"COWD", b"# Disk Descriptor")
_UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_OVIRT = re.compile(f"^{_UUID}/{_UUID}$")
_PACKED = {".gz": "gunzip -c", ".xz": "xz -dc", ".bz2": "bunzip2 -c", ".zst": "zstd -dc"}
_NO_MANIFEST = "and remove the manifest (.mf), which does not fit then"


@dataclass(frozen=True)
class Found:
    """A disk, which files of the package hold it, and its id in the DiskSection."""

    disk: SourceDisk
    names: tuple[str, ...]
    id: str


@dataclass(frozen=True)
class _Naming:
    """The items that name each disk: those that the VM has, those of other configurations, and those that are only bounds."""

    meant: Mapping[str, list[Item]]
    unchosen: Mapping[str, list[Item]]
    bounds: Mapping[str, list[Item]]
    nameless: Optional[Item]


def find(root: ET.Element, hardware: Hardware, package: Package, elsewhere: AbstractSet[str] = frozenset()) -> tuple[Found, ...]:
    """The disks that the hardware has, in its order.

    Raises InvalidInput for one of the DiskSection that it leaves out, unless by a deployment option, or since the disk is another VM's (`elsewhere`).
    """
    path = package.path
    listed = _by_id(root.findall(".//References/File"), "id", "files", path)
    disks = _by_id(root.findall(".//DiskSection/Disk"), "diskId", "disks", path)
    shared = {disk.get("diskId", "") for disk in root.iterfind(".//SharedDiskSection/SharedDisk")}
    owners = {item.get("InstanceID"): item for item in hardware.meant}
    items = [item for item in hardware.all(DISK) if item.get("HostResource")]
    if len(items) > limits.VM_DISKS:
        raise InvalidInput(f"{path} has {len(items)} disks, and no VM has more than {limits.VM_DISKS}.", "Export the VM again.", path=path)
    found: list[Found] = []
    taken: set[str] = set()
    files_taken: set[str] = set()
    places: dict[tuple[str, ...], str] = {}
    for item in items:
        name, disk = _disk(item, disks, shared, path)
        file = disk.get("fileRef", "")
        if name in taken or file in files_taken:
            raise InvalidInput(
                f"{path} has one disk twice: {name[:80]}.",
                f"Leave one Item, and one Disk for each file, in the .ovf, {_NO_MANIFEST}; or export the VM again.",
                path=path,
            )
        taken.add(name)
        files_taken.update({file} - {""})
        owner = owners.get(item.get("Parent")) if item.get("Parent") else None
        place = _address(item, owner)
        if place is not None and places.setdefault(place, name) != name:
            raise InvalidInput(
                f"{path} has two disks at one place, {places[place][:80]} and {name[:80]} (AddressOnParent {item.get('AddressOnParent')}).",
                f"Correct rasd:Parent or rasd:AddressOnParent of one in the .ovf, {_NO_MANIFEST}; or export the VM again.",
                path=path,
            )
        read, names = _read(_file(name, file, listed, path), disk, package) if file else (_blank(name, disk, path), ())
        bus = _bus(owner) if owner is not None else None
        number = decimal(owner.get("Address")) if owner is not None and bus else None
        found.append(Found(SourceDisk(read, Disk(bus, number, decimal(item.get("AddressOnParent")))), names, name))
    _require_every(disks, listed, taken | elsewhere, hardware, path)
    _require_no_other(listed, disks, {name for one in found for name in one.names}, package)
    return tuple(found)


def _file(name: str, reference: str, listed: Mapping[str, ET.Element], path: str) -> ET.Element:
    if reference not in listed:
        raise InvalidInput(
            f"{path} has a disk without a file: {name[:80]} is to be in {reference[:80]!r}, which its References do not list.",
            "The package is damaged; export the VM again.",
            path=path,
        )
    return listed[reference]


def _by_id(elements: Iterable[ET.Element], key: str, what: str, path: str) -> dict[str, ET.Element]:
    found: dict[str, ET.Element] = {}
    for element in elements:
        name = element.get(key, "")
        if not name or name in found:
            said_so = f"has two {what} with the {key} {name[:80]!r}" if name else f"has {what} without the attribute {key}"
            raise InvalidInput(f"{path} {said_so}.", "The package is damaged; export the VM again.", path=path)
        found[name] = element
    return found


def _disk(item: Item, disks: Mapping[str, ET.Element], shared: AbstractSet[str], path: str) -> tuple[str, ET.Element]:
    resource = item.get("HostResource")
    place = PLACE.match(resource)
    if place is not None and place[1] in disks:
        return place[1], disks[place[1]]
    why = "is not a disk of its DiskSection"
    hint = "The package is damaged; export the VM again."
    if place is not None and place[1] in shared:  # DSP0243 2.0, 9.13
        why = "is a disk that several VMs share (SharedDiskSection)"
        hint = f"Make it a disk of one VM at the source, and export that again; or remove its Item from the .ovf, {_NO_MANIFEST}."
    if _OVIRT.match(resource):
        why = "is an image of an oVirt storage domain"
        hint = "Such a description belongs to an export domain. Export the VM from oVirt as an OVA, or name its disks as a list in migrate_source."
    raise InvalidInput(f"{path} has a disk without a file: {resource[:80]} {why}.", hint, path=path)


def _blank(name: str, disk: ET.Element, path: str) -> Blank:
    """A disk that begins empty. Raises InvalidInput where its size is not said, or is none."""
    what = f"the capacity of the disk {name[:80]}, for which the .ovf names no file so that it is blank,"
    text = disk.get("capacity", "").strip()
    if not text or text.startswith("${"):
        raise InvalidInput(
            f"{path} does not say {what} or leaves it to whoever deploys the VM ({text[:80] or 'no capacity'}).",
            f"Write it as ovf:capacity of the Disk into the .ovf, {_NO_MANIFEST}.",
            path=path,
            disk=name,
        )
    size = (said(text, what, path) or 0) * unit(disk.get("capacityAllocationUnits", ""), 1, "capacityAllocationUnits", path)
    if disk.get("parentRef"):
        raise _delta(f"The disk {name[:80]}", disk, path)
    if not 0 < size <= limits.VMDK_SECTORS * 512:
        raise InvalidInput(
            f"{path} gives {size} bytes as {what} and from 1 byte to 64 TiB can be.",
            f"Correct it in the .ovf, {_NO_MANIFEST}.",
            path=path,
            disk=name,
        )
    return Blank(-(-size // 512) * 512)


def _delta(what: str, disk: ET.Element, path: str) -> InvalidInput:
    return InvalidInput(
        f"{what} of {path} holds only what differs from another disk ({disk.get('parentRef', '')[:80]}).",
        "Delete the VM's snapshots at the source, and export it again.",
        path=path,
    )


def _address(item: Item, owner: Optional[Item]) -> Optional[tuple[str, ...]]:
    """Where a disk is attached; None where that is not said. Controllers of one kind with one address are one."""
    unit_, parent = decimal(item.get("AddressOnParent")), item.get("Parent")
    if unit_ is None or not parent:
        return None
    if owner is None or not owner.get("Address"):
        return parent, str(unit_)
    return owner.type, owner.get("ResourceSubType").lower(), owner.get("Address"), str(unit_)


def _require_every(
    disks: Mapping[str, ET.Element], listed: Mapping[str, ET.Element], known: AbstractSet[str], hardware: Hardware, path: str
) -> None:
    """Raise InvalidInput for a disk that would be left out, and for an item of a disk that has none."""
    nameless = [item for item in hardware.all(DISK) if not item.get("HostResource")]
    meant, unchosen, bounds = map(_by_disk, (hardware.meant, hardware.unchosen, hardware.bounds))
    naming = _Naming(meant, unchosen, bounds, nameless[0] if nameless else None)
    for name, disk in disks.items():
        if disk.get("fileRef") and name not in known:
            _require_left_out(name, listed.get(disk.get("fileRef", "")), naming, path)
    if any(not item.optional for item in nameless):
        raise InvalidInput(
            f"The disk of the InstanceID {nameless[0].get('InstanceID')[:80]!r} of {path} is blank, and the .ovf does not say how large it is (it has no "
            "HostResource).",
            f"Remove its Item from the .ovf, {_NO_MANIFEST}. If the VM needs an empty disk, attach a new one after the migration (qemu-img create, "
            "virsh attach-disk).",
            path=path,
        )


def _by_disk(items: Iterable[Item]) -> dict[str, list[Item]]:
    found: dict[str, list[Item]] = {}
    for item in items:
        place = PLACE.match(item.get("HostResource"))
        names = {place[1] if place is not None else "", item.get("InstanceID") if item.type in _EXTENTS else ""}
        for name in names - {""}:
            found.setdefault(name, []).append(item)
    return found


def _require_left_out(name: str, file: Optional[ET.Element], items: _Naming, path: str) -> None:
    """Raise InvalidInput unless the description itself leaves the disk out: by a deployment option, or as a medium in a drive."""
    href = file.get("href", "") if file is not None else ""
    naming = items.meant.get(name, [])
    if not naming and name in items.unchosen:
        return
    if naming and all(item.type in REMOVABLE for item in naming) and os.path.splitext(href)[1].lower() not in _disk_suffixes():
        return
    why = "no Item of its hardware names it"
    hint = f"Name it in the .ovf, by an Item of the ResourceType {DISK} with the HostResource ovf:/disk/{name[:80]}"
    if items.nameless is not None:
        why += f", and the Item of the InstanceID {items.nameless.get('InstanceID')[:40]!r} has no HostResource"
    if naming:
        kind = naming[0].type[:40]
        why = f"the Item that names it (InstanceID {naming[0].get('InstanceID')[:40]!r}) is of the ResourceType {kind!r}, and that of disks is {DISK}"
        hint = f"Write {DISK} in its place (rasd:ResourceType) in the .ovf"
        if naming[0].type in _EXTENTS:
            why += "; XenServer writes 19 for disks" if naming[0].type == "19" else ""
            hint += f", and ovf:/disk/{name[:80]} as its rasd:HostResource"
    elif name in items.bounds:
        why = "its Item is only a bound (ovf:bound) of what can be chosen"
        hint = "Take the attribute ovf:bound off its Item in the .ovf"
    raise InvalidInput(
        f"The disk {name[:80]} ({href[:80] or 'of no file'}) of {path} would be left out: {why}.",
        f"{hint}; or, if the VM is not to have it, remove its Disk from the DiskSection and its File from the References. In both cases remove the manifest "
        "(.mf), which does not fit then.",
        path=path,
        disk=name,
    )


def _require_no_other(listed: Mapping[str, ET.Element], disks: Mapping[str, ET.Element], read: set[str], package: Package) -> None:
    """Raise InvalidInput where the References list a disk that is none of the DiskSection, and no part of one."""
    known = {disk.get("fileRef") for disk in disks.values()}
    for href in (file.get("href", "") for name, file in listed.items() if name not in known):
        member = package.known_as(href)
        if os.path.splitext(href)[1].lower() in _disk_suffixes() and (href if member is None else member.name) not in read:
            raise InvalidInput(
                f"{package.path} lists the file {href[:80]!r}, which is a disk by its suffix, and no Disk of its DiskSection has it.",
                "If it belongs to the VM, correct ovf:fileRef of its Disk in the .ovf, or export the VM again; else remove its File from the References. The "
                "manifest (.mf) does not fit then, so remove it.",
                path=package.path,
            )


def _disk_suffixes() -> set[str]:
    return {".vmdk", *image.READERS} - {".img", ".bin", ".dd", ".raw"}  # of which many are pictures of CDs and floppies


def _read(file: ET.Element, disk: ET.Element, package: Package) -> tuple[Chain, tuple[str, ...]]:
    """The disk of a file, and the files of the package that it lies in."""
    path = package.path
    name, member = package.find(file.get("href", ""))
    if disk.get("parentRef"):
        raise _delta(f"The disk {name}", disk, path)
    suffix = os.path.splitext(name)[1].lower()
    if file.get("compression", "identity").lower() not in ("", "identity") or suffix in _PACKED:
        raise _packed(name, file.get("compression", ""), package)
    _require_whole(name, member, file, package)
    if member is None:
        raise InvalidInput(f"The disk {name} of {path} is missing.", "Copy the whole package.", path=path)
    if member.size < (decimal(file.get("size")) or 0):
        raise InvalidInput(
            f"The disk {name} of {path} has {member.size} bytes of {file.get('size')}.", "The copy is incomplete; copy it again.", path=path
        )
    if suffix not in (".vmdk", *image.READERS) and disk.get("volume-format") == "COW":  # oVirt's files are called by ids
        suffix = ".qcow2"
    found = _opened(member, suffix, package)
    _check_capacity(disk, found.virtual_size, name, path)
    return found, (name,) if package.archive else tuple(map(package.name_of, found.files()))


def _opened(member: Member, suffix: str, package: Package) -> Chain:
    """By the suffix, as a bare disk; what has none that is known is a VMDK."""
    begins = _begins_as_vmdk(member)
    if suffix not in (".vmdk", *image.READERS) and not begins:
        raise InvalidInput(
            f"The disk {member.name} of {package.path} is not a VMDK, and its suffix does not say what it is.",
            f"{'Unpack the package, and give' if package.archive else 'Give'} the file the suffix of what it is (oVirt: .qcow2 or .raw), there and as its "
            f"ovf:href in the .ovf, {_NO_MANIFEST}. Then name the .ovf.",
            path=package.path,
            member=member.name,
        )
    if suffix not in image.READERS:
        return chain.embedded(member.path, member.offset, member.size, member.name) if package.archive else chain.resolve(member.path)
    if begins:
        raise InvalidInput(
            f"The disk {member.name} of {package.path} begins as a VMDK, and its suffix says {suffix}.",
            f"If it is one, give it the suffix .vmdk, there and as its ovf:href in the .ovf, {_NO_MANIFEST}.",
            path=package.path,
            member=member.name,
        )
    if package.archive:
        raise InvalidInput(
            f"The disk {member.name} in {package.path} is not a VMDK, and only VMDKs are read inside an archive.",
            "Unpack the archive (tar -xf) and name its .ovf instead.",
            path=package.path,
            member=member.name,
        )
    return image.resolve(member.path, suffix)


def _begins_as_vmdk(member: Member) -> bool:
    with files.opened(member.path, "The disk", links=False) as file:
        file.seek(member.offset)
        head = file.read(max(map(len, _VMDK)))
    return head.startswith(_VMDK)


def _packed(name: str, how: str, package: Package) -> InvalidInput:
    stem, suffix = os.path.splitext(name)
    plain = stem if suffix.lower() in _PACKED else f"plain-{name}"
    command = f"{_PACKED.get(suffix.lower(), _PACKED['.gz'])} {shlex.quote(name)} > {shlex.quote(plain)}"
    first = "Unpack the package, and there" if package.archive else "Beside the .ovf,"
    return InvalidInput(
        f"The disk {name} of {package.path} is compressed ({how or suffix[1:].lower()}).",
        f"{first} decompress the disk ({command}); in the .ovf take the attribute ovf:compression off its File and make {plain} its ovf:href, {_NO_MANIFEST}. "
        "Then name the .ovf.",
        path=package.path,
    )


def _require_whole(name: str, member: Optional[Member], file: ET.Element, package: Package) -> None:
    """Raise InvalidInput for a file that is in chunks, or is said to be."""
    size = file.get("chunkSize", "").strip()
    in_chunks = size not in ("", "0")
    chunk = re.compile(re.escape(name) + r"\.([0-9]{9})")
    numbers = sorted(int(match[1]) for match in map(chunk.fullmatch, package.members) if match is not None)
    path = package.path
    off = f"take the attribute ovf:chunkSize off its File in the .ovf, {_NO_MANIFEST}"
    if member is not None:
        if in_chunks:
            raise InvalidInput(
                f"{path} says that the disk {name} is in chunks of {size[:40]} bytes, and there is one file of this name.",
                f"If it was put together of all its chunks, {off}; else copy the whole package.",
                path=path,
            )
        return
    if not in_chunks and not numbers:
        return
    whole, each = decimal(file.get("size")), decimal(size)
    count = max(-(-whole // each) if whole and each else 0, numbers[-1] + 1 if numbers else 1)
    lacking = next((number for number in range(count) if number >= len(numbers) or numbers[number] != number), None)
    if lacking is not None:
        raise InvalidInput(
            f"The disk {name} of {path} is in chunks, and of them {name}.{lacking:09d} is missing.", "Copy the whole package.", path=path
        )
    quoted = shlex.quote(name)
    raise InvalidInput(
        f"The disk {name} of {path} is in {count} chunks, {name}.{0:09d} to {name}.{count - 1:09d}, which are not read.",
        f"{'Unpack the package, and put' if package.archive else 'Put'} them together in their order (cat {quoted}.????????? > {quoted}); then {off}.",
        path=path,
    )


def _check_capacity(disk: ET.Element, size: int, name: str, path: str) -> None:
    """Raise InvalidInput for a disk that is smaller than it is said to be, by more than a tool that rounds up would say.

    Nothing is compared where a property that is asked for at deployment says it.
    """
    said_size = disk.get("capacity", "").strip()
    if not said_size or said_size.startswith("${"):
        return
    each = unit(disk.get("capacityAllocationUnits", ""), 1, "capacityAllocationUnits", path)
    capacity = (said(said_size, f"the capacity of {name}", path) or 0) * each
    if capacity >= size + min(max(each, limits.MIB), limits.GIB):
        raise InvalidInput(
            f"{path} says that the disk {name} has {capacity} bytes, and it has {size}.",
            "The package is incomplete, or its disk is to grow when it is deployed. If it is whole, correct the capacity in the .ovf, remove the manifest "
            "(.mf), and let the disk grow by migrate_resize.",
            path=path,
            disk=name,
        )


def _bus(item: Item) -> Optional[str]:
    subtype = item.get("ResourceSubType").lower()
    special = next((bus for word, bus in _SPECIAL.items() if word in subtype), None) if item.type == "20" else None
    return special or _CONTROLLERS.get(item.type)
