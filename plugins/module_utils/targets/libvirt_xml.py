# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as libvirt takes it.

Source: libvirt, "Domain XML format" (libvirt.org/formatdomain.html); the enlightenments are those that Windows looks for.
"""

from __future__ import annotations

import os
import re
from xml.etree import ElementTree

from ..core import rbd
from ..core.errors import InvalidInput
from . import domain_xml
from .domain import BRIDGE, ENLIGHTENMENTS, Domain, bridge
from .format import Format, Said

_TARGETS = {"virtio": "vd", "sata": "sd", "ide": "hd"}
_LIMITS = {"virtio": 24, "sata": 24, "ide": 4}
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class LibvirtXml:
    """See Format. A bus takes so many disks and no more, and XML has no way to write some characters."""

    name, ending, program = "libvirt", ".xml", False

    def text(self, domain: Domain) -> str:
        return _text(domain)

    def said(self, text: str, domain: Domain) -> Said:
        root = domain_xml.parse(text)
        starting = [disk for disk in root.iterfind("devices/disk") if disk.find("boot") is not None]  # the side disk is none of the VM's
        orders = [disk.find("boot[@order='1']") is not None for disk in starting]
        nics = root.findall("devices/interface")
        return Said(
            tuple(_place(source) for disk in starting for source in disk.iterfind("source")),
            orders.index(True) if True in orders else None,
            tuple(mac.get("address", "") if mac is not None else "" for mac in (nic.find("mac") for nic in nics)),
            tuple(_network(source) for nic in nics for source in nic.iterfind("source")),
        )

    def whose(self, found: str, domain: Domain) -> str:
        try:
            return domain_xml.parse(found).findtext("name") or ""
        except InvalidInput:
            return ""


FORMAT: Format = LibvirtXml()


def _place(source: ElementTree.Element) -> str:
    return next((source.attrib[key] for key in ("file", "dev", "name") if key in source.attrib), "")


def _network(source: ElementTree.Element) -> str:
    return source.attrib["network"] if "network" in source.attrib else BRIDGE + source.get("bridge", "")


def _text(domain: Domain) -> str:
    if len(domain.disks) > _LIMITS[domain.disk_bus]:
        raise InvalidInput(
            f"{domain.name} has {len(domain.disks)} disks, and a VM takes {_LIMITS[domain.disk_bus]} of them on {domain.disk_bus}.",
            "Give the guest virtio drivers, or describe the VM by hand.",
        )
    root = ElementTree.Element("domain", type="kvm")
    _add(root, "name", domain.name)
    if domain.uuid:
        _add(root, "uuid", domain.uuid)
    if domain.vm is not None:
        _add(root, "metadata").append(domain_xml.identity(domain.vm))
    _add(root, "memory", str(domain.memory), unit="MiB")
    _add(root, "vcpu", str(domain.cpus))
    features = _firmware(root, domain)
    if domain.windows:
        hyperv = _add(features, "hyperv", mode="custom")
        for name in ENLIGHTENMENTS:
            _add(hyperv, name, state="on")
        _add(hyperv, "spinlocks", state="on", retries="8191")
    cpu = _add(root, "cpu", mode="host-model")
    sockets, cores = domain.topology
    if cores > 1:
        _add(cpu, "topology", sockets=str(sockets), cores=str(cores), threads="1")
    _clock(root, domain)
    devices = _add(root, "devices")
    for index, (path, fmt) in enumerate(domain.disks):
        _disk(devices, path, fmt, domain.disk_bus, index, domain.boot_order(index), path in domain.devices)
        if path in domain.encrypted:
            _encrypted(devices[-1], domain.secret)
    if domain.side_disk:
        _disk(devices, domain.side_disk, "qcow2", "virtio", 0 if domain.disk_bus != "virtio" else len(domain.disks), 0)
    for nic in domain.nics:
        kind = "bridge" if bridge(nic) else "network"
        interface = _add(devices, "interface", type=kind)
        if nic.mac:
            _add(interface, "mac", address=nic.mac)
        _add(interface, "source", **{kind: bridge(nic) or nic.network})
        _add(interface, "model", type=domain.nic_model)
    _around(devices)
    if domain.tpm:
        _add(_add(devices, "tpm", model="tpm-crb"), "backend", type="emulator", version="2.0")
    _refuse_unwritable(root, domain.name)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _refuse_unwritable(root: ElementTree.Element, name: str) -> None:
    """Raise InvalidInput for characters that XML has no way to write, and line ends, which it does not keep."""
    for element in root.iter():
        wrong = next((value for value in (element.text or "", *element.attrib.values()) if _UNWRITABLE.search(value)), None)
        if wrong is not None:
            raise InvalidInput(
                f"{wrong!r} cannot be written into the description of {name!r}: it holds characters that XML does not have.",
                "Give the VM, its network or its disk another name (migrate_name, migrate_network_map, migrate_output_dir).",
            )


def _firmware(root: ElementTree.Element, domain: Domain) -> ElementTree.Element:
    """Without a word libvirt takes the first UEFI that it finds, on Debian one that refuses every boot loader that Microsoft has not signed."""
    system = _add(root, "os", **({"firmware": "efi"} if domain.firmware == "uefi" else {}))
    _add(system, "type", "hvm", arch="x86_64", machine=domain.machine)
    secure = domain.secure_boot and domain.firmware == "uefi"
    if domain.firmware == "uefi":
        wanted = _add(system, "firmware")
        for name in ("secure-boot", "enrolled-keys"):
            _add(wanted, "feature", enabled="yes" if secure else "no", name=name)
    features = _add(root, "features")
    _add(features, "acpi")
    _add(features, "apic")
    if secure:
        _add(features, "smm", state="on")
    return features


def _clock(root: ElementTree.Element, domain: Domain) -> None:
    clock = _add(root, "clock", offset=domain.clock)
    _add(clock, "timer", name="rtc", tickpolicy="catchup")
    _add(clock, "timer", name="pit", tickpolicy="delay")
    _add(clock, "timer", name="hpet", present="no")
    if domain.windows:
        _add(clock, "timer", name="hypervclock", present="yes")


def _disk(devices: ElementTree.Element, path: str, fmt: str, bus: str, index: int, order: int, block: bool = False) -> None:
    kind = "network" if rbd.is_image(path) else "block" if block else "file"
    disk = _add(devices, "disk", type=kind, device="disk")
    _add(disk, "driver", name="qemu", type=fmt, discard="unmap")
    if kind == "network":
        _of_ceph(disk, rbd.parse(path))
    else:
        _add(disk, "source", **{"dev" if block else "file": os.path.abspath(path)})
    _add(disk, "target", dev=f"{_TARGETS[bus]}{chr(97 + index)}", bus=bus)
    if order:
        _add(disk, "boot", order=str(order))


def _encrypted(disk: ElementTree.Element, uuid: str) -> None:
    for source in disk.iterfind("source"):
        _add(_add(source, "encryption", format="luks"), "secret", type="passphrase", uuid=uuid)


def _of_ceph(disk: ElementTree.Element, image: rbd.Image) -> None:
    """libvirt asks the monitors that Ceph's configuration names. The key of a user is a secret of libvirt that Ceph's documentation names so."""
    source = _add(disk, "source", protocol="rbd", name=image.name)
    if image.conf:
        _add(source, "config", file=image.conf)
    if image.user:
        _add(_add(source, "auth", username=image.user), "secret", type="ceph", usage=f"client.{image.user} secret")


def _around(devices: ElementTree.Element) -> None:
    _add(_add(devices, "console", type="pty"), "target", type="serial")
    channel = _add(devices, "channel", type="unix")
    _add(channel, "target", type="virtio", name="org.qemu.guest_agent.0")
    _add(devices, "input", type="tablet", bus="usb")
    _add(devices, "graphics", type="vnc", autoport="yes", listen="127.0.0.1")
    _add(_add(devices, "video"), "model", type="vga")
    _add(_add(devices, "rng", model="virtio"), "backend", "/dev/urandom", model="random")
    _add(devices, "memballoon", model="virtio")


def _add(parent: ElementTree.Element, tag: str, content: str = "", **attributes: str) -> ElementTree.Element:
    child = ElementTree.SubElement(parent, tag, attributes)
    child.text = content or None
    return child
