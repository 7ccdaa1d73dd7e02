# SPDX-License-Identifier: GPL-3.0-or-later
"""What the hardware of a VM of vSphere has, beside its disks, and a migration does not take with it.

Source: vSphere Web Services API reference, VirtualDevice and its kinds, VirtualDeviceConnectInfo, VirtualMachineBootOptions, VmConfigInfo.
"""

from __future__ import annotations

from typing import Iterator, Sequence

from ..core.concern import BLOCKER, INFO, WARNING, Concern, listed
from .model import DRIVES, Vm, VmDevice


def of(vm: Vm) -> Iterator[Concern]:
    if vm.vtpm:
        yield Concern(
            "vsphere.vtpm",
            WARNING,
            f"{vm.name} has a virtual TPM, whose content is not migrated.",
            "Have the recovery keys of BitLocker or LUKS at hand, or unbind them from the TPM first.",
        )
    yield from _devices(vm)
    yield from _cards(vm)
    yield from _settings(vm)
    yield from _bound(vm)


def _devices(vm: Vm) -> Iterator[Concern]:
    """Of devices that do not come along each is named."""
    found: dict[str, list[VmDevice]] = {}
    for device in vm.devices:
        found.setdefault(_code(device.kind), []).append(device)
    passed, memory = (_listed(found.get(code, ())) for code in ("vsphere.passthrough", "vsphere.nvdimm"))
    usb, others = (_listed(found.get(code, ())) for code in ("vsphere.usb", "vsphere.device"))
    drives = _listed(found.get("vsphere.media", ()))
    if passed:
        yield Concern(
            "vsphere.passthrough",
            WARNING,
            f"{vm.name} has passed-through devices of its host: {passed}.",
            "They are not migrated; attach others on the target.",
        )
    if memory:
        yield Concern(
            "vsphere.nvdimm",
            BLOCKER,
            f"{vm.name} keeps data in persistent memory, which is not migrated: {memory}.",
            "Copy them to a virtual disk, and remove the device; accept to migrate the rest.",
        )
    if usb:
        yield Concern("vsphere.usb", INFO, f"{vm.name} has USB controllers: {usb}.", "USB devices are not migrated.")
    if others:
        yield Concern(
            "vsphere.device", INFO, f"{vm.name} has devices that are not migrated: {others}.", "Attach what is needed on the target."
        )
    if drives or vm.media:
        inside = f", with {', '.join(vm.media[:3])} in them" if vm.media else ""
        yield Concern(
            "vsphere.media",
            INFO,
            f"{vm.name} has drives for CDs or floppies: {drives or len(vm.media)}{inside}.",
            "Neither they nor media in them are migrated.",
        )


def _code(kind: str) -> str:
    """What a device is, by its type. VirtualUSB is a device of a host or of a client; its controllers have longer names."""
    if "Passthrough" in kind or kind == "VirtualUSB":
        return "vsphere.passthrough"
    if kind == "VirtualNVDIMM":
        return "vsphere.nvdimm"
    return "vsphere.media" if kind in DRIVES else "vsphere.usb" if "USB" in kind else "vsphere.device"


def _listed(devices: Sequence[VmDevice]) -> str:
    return listed(devices, 120)


def _cards(vm: Vm) -> Iterator[Concern]:
    sriov = [nic.label or f"card {nic.key}" for nic in vm.nics if nic.nic.model == "sriov"]
    if sriov:
        yield Concern(
            "vsphere.sriov",
            WARNING,
            f"{vm.name} has SR-IOV cards: {', '.join(sriov)}.",
            "They become virtio cards; look at drivers and VLANs in the guest.",
        )
    # A VM that is off has no card that is connected.
    cut = [nic.label or f"card {nic.key}" for nic in vm.nics if not nic.starts or (vm.power == "on" and not nic.connected)]
    if cut:
        yield Concern(
            "vsphere.disconnected",
            WARNING,
            f"Cards of {vm.name} are not connected at its source, and are at the target: {', '.join(cut)}.",
            "Look whether their addresses are free, or leave them out (migrate_nics).",
        )


def _settings(vm: Vm) -> Iterator[Concern]:
    """What firmware and guest are told from outside."""
    if vm.boots and vm.boots[0] == "ethernet":
        yield Concern(
            "vsphere.boot-order",
            INFO,
            f"The firmware of {vm.name} tries the network before its disks; at the target it starts from a disk.",
            "Change the order on the target if the VM is to start from the network.",
        )
    if vm.settings:
        yield Concern(
            "vsphere.properties",
            WARNING,
            f"{vm.name} reads settings of its own from vSphere ({listed(vm.settings)}), which it finds at the target no more.",
            "Set in the guest what it needs (an address, a password), or give it by cloud-init.",
        )


def _bound(vm: Vm) -> Iterator[Concern]:
    if vm.cpu_affinity:
        yield Concern(
            "vsphere.affinity", INFO, f"{vm.name} is bound to certain CPUs.", "Pin its CPUs on the target if that is still wanted."
        )
    if vm.numa_affinity:
        yield Concern(
            "vsphere.numa-affinity",
            INFO,
            f"{vm.name} is bound to certain NUMA nodes.",
            "Set numatune in the domain if that is still wanted.",
        )
    if vm.host_clock:
        yield Concern(
            "vsphere.clock",
            INFO,
            f"VMware Tools set the clock of {vm.name} by its host.",
            "Let the guest ask a time server (NTP) from now on.",
        )
    if vm.cpu_hot_add or vm.memory_hot_add:
        yield Concern(
            "vsphere.hot-add",
            INFO,
            f"{vm.name} can get CPUs or memory while it runs.",
            "Set maximum values in the domain if that is wanted.",
        )
    if vm.memory_reservation_locked:
        yield Concern(
            "vsphere.reserved",
            INFO,
            f"{vm.name} has all its memory reserved.",
            "Use huge pages or locked memory on the target if it matters.",
        )
