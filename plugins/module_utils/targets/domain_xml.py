# SPDX-License-Identifier: GPL-3.0-or-later
"""A description of libvirt made fit for its purpose: to be defined with its disks where they now are, or to be started for a test.

Sources: libvirt, "Domain XML format" and "QEMU/KVM/HVF hypervisor driver" (command line pass-through).
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from typing import Iterable, Iterator, Mapping, Optional, Sequence
from xml.etree import ElementTree

from ..core import rbd
from ..core.data import to_data
from ..core.errors import InvalidInput
from ..core.vm import VmId

MARK = "https://github.com/hyper2kvm/hyper2kvm.migration"
OF_VM = f"{MARK}/vm"
_QEMU = "http://libvirt.org/schemas/domain/qemu/1.0"
_FILE_OF = {"file": "file", "block": "dev"}

ElementTree.register_namespace("qemu", _QEMU)
ElementTree.register_namespace("hyper2kvm", MARK)
ElementTree.register_namespace("migrated", OF_VM)


def element(text: str) -> ElementTree.Element:
    """What libvirt says of something. Raises InvalidInput for what is no XML."""
    try:
        return ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:  # a text that cannot be encoded, too
        raise InvalidInput(f"The description is not XML: {error}.", "Let domain_describe write it anew.") from error


def parse(text: str) -> ElementTree.Element:
    """The description of a domain. Raises InvalidInput for anything else."""
    root = element(text)
    if root.tag != "domain" or not root.findtext("name") or root.find("devices") is None:
        raise InvalidInput("The description is not one of a domain of libvirt.", "Name what domain_describe has written.")
    return root


def disks(root: ElementTree.Element) -> Iterator[tuple[ElementTree.Element, str]]:
    """Each disk of a description with its path. Raises InvalidInput for one that is neither a file nor a block device of the kernel or of Ceph."""
    for disk in root.iterfind("devices/disk"):
        if disk.get("device", "disk") != "disk":
            continue
        source = disk.find("source")
        path = None if source is None else source.get(_FILE_OF.get(disk.get("type", ""), "")) or _of_ceph(source)
        if path is None:
            raise InvalidInput(
                f"A disk of {root.findtext('name')} is neither a file nor a block device nor an image of Ceph.", "Only those can be tested."
            )
        yield disk, path


def _of_ceph(source: ElementTree.Element) -> Optional[str]:
    """qemu's name of an image of Ceph; None for another source."""
    if source.get("protocol") != "rbd":
        return None
    auth, config = source.find("auth"), source.find("config")
    user = "" if auth is None else f":id={auth.get('username')}"
    file = "" if config is None else f":conf={config.get('file')}"
    return f"{rbd.PREFIX}{source.get('name')}{user}{file}"


def networks(root: ElementTree.Element) -> tuple[str, ...]:
    """The networks of libvirt that the NICs are on."""
    found = (source.get("network") for source in root.iterfind("devices/interface[@type='network']/source"))
    return tuple(dict.fromkeys(name for name in found if name))


def secret_of(root: ElementTree.Element) -> str:
    """The UUID of libvirt's secret that opens the disks of a description; empty where they are not encrypted."""
    found = root.find("devices/disk/source/encryption/secret")
    return "" if found is None else found.get("uuid", "")


def secret(uuid: str, name: str, lasting: bool) -> str:
    """libvirt's secret for the disks of a domain, whose value it gives to nobody; one that is not `lasting` is never written to disk."""
    root = ElementTree.Element("secret", ephemeral="no" if lasting else "yes", private="yes")
    ElementTree.SubElement(root, "uuid").text = uuid
    ElementTree.SubElement(root, "description").text = f"{MARK}: the disks of {name}"
    return ElementTree.tostring(root, encoding="unicode")


def is_our_secret(text: str) -> bool:
    """Whether a secret of libvirt was made here."""
    return (element(text).findtext("description") or "").startswith(f"{MARK}: ")


def defined(text: str, places: Mapping[str, str], accelerator: str, images: Mapping[str, str]) -> str:
    """The description with its disks at `places`, on an accelerator that works here, with the mark by which it is known again.

    `images`: by path, which version of it each disk was made from.
    """
    root = parse(text)
    _on(root, accelerator)
    for disk, path in disks(root):
        _put(disk, places.get(path, path))
    digest = hashlib.sha256(ElementTree.tostring(_without_vm(root))).hexdigest()
    metadata = root.find("metadata")
    if metadata is None:
        metadata = ElementTree.SubElement(root, "metadata")
    ElementTree.SubElement(metadata, f"{{{MARK}}}migration", digest=digest, images=json.dumps(images, sort_keys=True))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _without_vm(root: ElementTree.Element) -> ElementTree.Element:
    """A description without what says whose it is, which is told apart by itself."""
    plain = copy.deepcopy(root)
    for metadata in plain.findall("metadata"):
        for found in metadata.findall(f"{{{OF_VM}}}identity"):
            metadata.remove(found)
        if not len(metadata):
            plain.remove(metadata)
    return plain


def identity(vm: VmId) -> ElementTree.Element:
    """The element by which a domain remembers its VM."""
    found = ElementTree.Element(f"{{{OF_VM}}}identity")
    found.text = json.dumps(to_data(vm), sort_keys=True)
    return found


def vm_of(text: Optional[str]) -> Optional[VmId]:
    """The VM that such an element names; None without one, or for one that nobody of us has written."""
    try:
        return VmId.from_data(json.loads(element(text).text or "")) if text else None
    except (InvalidInput, RecursionError, ValueError):
        return None


def vm_in(root: ElementTree.Element) -> Optional[VmId]:
    """The VM whose description this is; None where it does not say."""
    found = root.find(f"metadata/{{{OF_VM}}}identity")
    return None if found is None else vm_of(ElementTree.tostring(found, encoding="unicode"))


def with_uuid(text: str, uuid: str) -> str:
    """The description for a domain that is there already."""
    root = parse(text)
    for old in root.findall("uuid"):
        root.remove(old)
    ElementTree.SubElement(root, "uuid").text = uuid
    return ElementTree.tostring(root, encoding="unicode")


def mark_of(text: str) -> Mapping[str, str]:
    """What tells one definition from another: the attributes of our mark, alone or in a description; nothing without one."""
    root = element(text) if text else ElementTree.Element("none")
    found = root if root.tag == "migration" else root.find(f".//{{{MARK}}}migration")
    return {} if found is None else found.attrib


def images_of(text: str) -> dict[str, str]:
    """The images in our mark."""
    try:
        images = json.loads(mark_of(text).get("images", "{}"))
    except (ValueError, RecursionError):
        images = None
    if not isinstance(images, dict) or not all(isinstance(place, str) for place in images.values()):
        raise InvalidInput(
            "The metadata of a migrated domain was changed: its images cannot be read.", "Undefine the domain, then import it again."
        )
    return images


def for_a_test(
    text: str, name: str, overlays: Sequence[str], accelerator: str, scratch: str, networks: Iterable[str], secret_uuid: str = ""
) -> str:
    """The same VM under another name, on overlays, on networks that lead nowhere, without screen, with its console on a socket.

    A restart ends it, as it ends a test. `networks` are arguments of qemu, `secret_uuid` is what opens its encrypted disks.
    """
    root = parse(text)
    _on(root, accelerator)
    for element in root.iterfind("name"):
        element.text = name
    for tag in ("uuid", "metadata", "on_poweroff", "on_reboot", "on_crash"):
        for element in root.findall(tag):
            root.remove(element)
    for tag in ("on_poweroff", "on_reboot", "on_crash"):
        ElementTree.SubElement(root, tag).text = "destroy"
    for (disk, dummy), overlay in zip(list(disks(root)), overlays):
        _lay_over(disk, overlay, secret_uuid)
        driver = disk.find("driver")
        if driver is not None:
            disk.remove(driver)
        ElementTree.SubElement(disk, "driver", name="qemu", type="qcow2", cache="unsafe", discard="unmap")
    system, devices = root.find("os"), root.find("devices")
    if system is not None and system.get("firmware") == "efi":
        ElementTree.SubElement(system, "nvram").text = os.path.join(scratch, "variables.fd")
    if devices is not None:
        for tag in ("interface", "console", "serial", "graphics", "hostdev", "redirdev"):
            for element in devices.findall(tag):
                devices.remove(element)
        serial = ElementTree.SubElement(devices, "serial", type="unix")
        ElementTree.SubElement(serial, "source", mode="bind", path=os.path.join(scratch, "serial"))
        ElementTree.SubElement(serial, "target", port="0")
    line = ElementTree.SubElement(root, f"{{{_QEMU}}}commandline")
    for argument in networks:
        ElementTree.SubElement(line, f"{{{_QEMU}}}arg", value=argument)
    return ElementTree.tostring(root, encoding="unicode")


def _on(root: ElementTree.Element, accelerator: str) -> None:
    """Emulation has no host CPU to show to the guest, and does not speak Hyper-V."""
    root.set("type", "kvm" if accelerator == "kvm" else "qemu")
    if accelerator == "kvm":
        return
    for cpu in root.iterfind("cpu"):
        if cpu.get("mode", "").startswith("host-"):
            cpu.set("mode", "maximum")
    for parent, tag in (("features", "hyperv"), ("clock", "timer[@name='hypervclock']")):
        for found in root.findall(parent):
            for element_there in found.findall(tag):
                found.remove(element_there)


def _lay_over(disk: ElementTree.Element, overlay: str, secret_uuid: str) -> None:
    """Put an overlay over a disk. libvirt finds by itself what lies below, but not what opens it."""
    source, driver = disk.find("source"), disk.find("driver")
    if source is not None and driver is not None and source.find("encryption") is not None:
        below = ElementTree.SubElement(disk, "backingStore", type=disk.get("type", "file"))
        ElementTree.SubElement(below, "format", type=driver.get("type", ""))
        below.append(copy.deepcopy(source))
        ElementTree.SubElement(below, "backingStore")
        for found in below.iterfind("source/encryption/secret"):
            found.set("uuid", secret_uuid)
        for found in source.findall("encryption"):
            source.remove(found)
    _put(disk, overlay)


def _put(disk: ElementTree.Element, path: str) -> None:
    source = disk.find("source")
    if source is not None and path not in (*source.attrib.values(), _of_ceph(source)):
        disk.set("type", "file")
        source.attrib.clear()
        for found in [*source.findall("auth"), *source.findall("config")]:
            source.remove(found)
        source.set("file", path)
