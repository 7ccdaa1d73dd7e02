# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM as KubeVirt takes it. Source: KubeVirt's API, kubevirt.io/v1."""

from __future__ import annotations

from typing import Any, Mapping

from ..core.errors import InvalidInput
from .domain import ENLIGHTENMENTS, Domain, bridge
from .format import AsJson, Format, Said, label, require_open

_POD = "default"
_TIMERS = {"hpet": {"present": False}, "pit": {"tickPolicy": "delay"}, "rtc": {"tickPolicy": "catchup"}}


def virtual_machine(domain: Domain) -> dict[str, Any]:
    """A VirtualMachine, which is stopped; its disks are claims named after it ("web01-disk0"), to be filled by whoever has the cluster.

    Raises InvalidInput for a VM that KubeVirt cannot have.
    """
    if domain.disk_bus == "ide" or domain.machine != "q35":
        raise InvalidInput(
            f"{domain.name} needs IDE or an i440FX machine, which KubeVirt does not have.", "Leave kubevirt out of the formats."
        )
    require_open(domain, "KubeVirt")
    name = label(domain.name)
    claims = [{"name": f"disk{index}", "persistentVolumeClaim": {"claimName": f"{name}-disk{index}"}} for index in range(len(domain.disks))]
    interfaces, networks = _nics(domain)
    spec = {"domain": _machine(domain, interfaces), "networks": networks, "volumes": claims}
    return {
        "apiVersion": "kubevirt.io/v1",
        "kind": "VirtualMachine",
        "metadata": {"name": name},
        "spec": {"runStrategy": "Halted", "template": {"metadata": {"labels": {"kubevirt.io/vm": name}}, "spec": spec}},
    }


def _nics(domain: Domain) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The NICs and their networks: the first that goes to libvirt's network "default" goes to the pod network, every other one to a Multus network."""
    interfaces, networks = [], []
    pod = next((index for index, nic in enumerate(domain.nics) if nic.network == _POD), None)
    for index, nic in enumerate(domain.nics):
        mac = {"macAddress": nic.mac} if nic.mac else {}
        name, to_pod = f"net{index}", index == pod
        interfaces.append({"name": name, "model": domain.nic_model, **mac, "masquerade" if to_pod else "bridge": {}})
        networks.append({"name": name, **({"pod": {}} if to_pod else {"multus": {"networkName": label(bridge(nic) or nic.network)}})})
    return interfaces, networks


def _machine(domain: Domain, interfaces: list[dict[str, Any]]) -> dict[str, Any]:
    sockets, cores = domain.topology
    disks = [
        {"name": f"disk{index}", "bootOrder": domain.boot_order(index), "disk": {"bus": domain.disk_bus}}
        for index in range(len(domain.disks))
    ]
    machine: dict[str, Any] = {
        "cpu": {"sockets": sockets, "cores": cores, "threads": 1},
        "memory": {"guest": f"{domain.memory}Mi"},
        "machine": {"type": domain.machine},
        "firmware": {"bootloader": {"efi": {"secureBoot": domain.secure_boot}} if domain.firmware == "uefi" else {"bios": {}}},
        "clock": {"utc": {}, "timer": {**_TIMERS, **({"hyperv": {}} if domain.windows else {})}},
        "devices": {"disks": disks, "interfaces": interfaces, "rng": {}},
    }
    if domain.windows:
        flags = [{"stimer": "synictimer"}.get(flag, flag) for flag in ENLIGHTENMENTS]
        machine["features"] = {"acpi": {}, "apic": {}, "hyperv": {**{flag: {} for flag in flags}, "spinlocks": {"spinlocks": 8191}}}
    if domain.secure_boot and domain.firmware == "uefi":
        machine.setdefault("features", {})["smm"] = {"enabled": True}
    if domain.tpm:
        machine["devices"]["tpm"] = {}
    if not interfaces:
        machine["devices"]["autoattachPodInterface"] = False
    return machine


def _said(data: Mapping[str, Any], domain: Domain) -> Said:
    """Where its disks are is for whoever fills the claims; networks have other names in a cluster."""
    devices = data["spec"]["template"]["spec"]["domain"]["devices"]
    first = [disk["bootOrder"] for disk in devices["disks"]]
    return Said(None, first.index(min(first)), tuple(nic.get("macAddress", "") for nic in devices["interfaces"]))


FORMAT: Format = AsJson("kubevirt", virtual_machine, _said)
