#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VALIDATE: boot a result and watch it."""

from __future__ import annotations

DOCUMENTATION = r"""
module: boot_test
short_description: Boot a migrated VM headless and say whether it works
description:
  - Starts qemu with the disks on virtio in snapshot mode, so that they are never written, and watches the serial console, the network and the guest agent.
  - The test passes when a login prompt came, the network answered and no device of the guest was missing. Otherwise the module fails and names the cause.
  - KVM is used where it really runs a kernel, emulation otherwise.
version_added: 0.1.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  work_dir:
    description: The VM's work directory, which says what its results are and what hardware its guest was repaired for, where O(disks) are not given. A
      guest that is not Linux is skipped then.
    type: path
    version_added: 0.2.0
  source:
    description: The source of the VM, as for M(hyper2kvm.migration.vmdk_fetch). A O(work_dir) of another VM is refused.
    type: list
    elements: str
    version_added: 0.2.0
  moved:
    description: Whether the VM may come from another place than before, which in check mode is noted nowhere.
    type: bool
    default: false
    version_added: 0.2.0
  disks:
    description: The disks in their order.
    type: list
    elements: dict
    suboptions:
      path:
        description: The image.
        type: path
        required: true
      format:
        description: Its format.
        type: str
        required: true
        choices: [qcow2, raw, vdi]
  firmware:
    description: The firmware to start with.
    type: str
    default: bios
    choices: [bios, uefi]
  boot_disk:
    description: The number of the disk that the firmware starts from, counted from 0.
    type: int
    default: 0
    version_added: 0.2.0
  disk_bus:
    description: How the disks are attached.
    type: str
    default: virtio
    choices: [virtio, sata]
    version_added: 0.2.0
  nic_model:
    description: The model of the network cards.
    type: str
    default: virtio
    choices: [virtio, e1000e]
    version_added: 0.2.0
  nics:
    description: The NICs in order, as M(hyper2kvm.migration.guest_fix) returns them in its facts. Around a static address the test makes the network that
      the guest believes to be in, so that it is reached at its own address.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    aliases: [cards]
    suboptions:
      mac:
        description: The MAC.
        type: str
        required: true
      addresses:
        description: The static addresses, as address and prefix length.
        type: list
        elements: str
        default: []
      gateway:
        description: The default gateway.
        type: str
        default: ""
      name:
        description: The guest's name of the NIC; not used.
        type: str
      method:
        description: How the NIC gets its address; not used.
        type: str
      backend:
        description: What configures the NIC; not used.
        type: str
      path:
        description: The profile; not used.
        type: str
      "on":
        description: The bond, bridge or VLAN with the addresses; not used.
        type: str
  luks_keys:
    description: Keys of encrypted devices as for M(hyper2kvm.migration.guest_fix). They answer the guest when it asks for a passphrase on its console.
    type: dict
    default: {}
    version_added: 0.2.0
  passphrase:
    description: Opens the disks, if they are encrypted images.
    type: str
    default: ""
    version_added: 0.2.0
  memory:
    description: Memory in MiB.
    type: int
    default: 1024
  cpus:
    description: Number of CPUs.
    type: int
    default: 2
  timeout:
    description: Deadline for the login prompt and the network, in seconds.
    type: int
    default: 300
  network:
    description: What must answer after the login prompt. V(auto) takes an SSH banner or the guest agent.
    type: str
    default: auto
    choices: [auto, ssh, agent, none]
  expect:
    description: Regular expressions that lines of the console must match before the test passes, such as a message of the guest's own service.
    type: list
    elements: str
    default: []
  checks:
    description: What the guest must do before the test passes, beside what O(network) asks for. The test connects over networks of its own, which lead
      nowhere else.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
    suboptions:
      port:
        description: A TCP port that must take a connection.
        type: int
        default: 0
      http:
        description: A path that this port must answer over HTTP.
        type: str
        default: ""
      host:
        description: The name that the request asks for, and that the certificate is for.
        type: str
        default: ""
      status:
        description: The status of the answer.
        type: int
        default: 200
      tls:
        description: Whether it is asked over TLS.
        type: bool
        default: false
      verify:
        description: Whether this host must believe the certificate.
        type: bool
        default: true
      command:
        description: A program with its arguments, run in the guest by its agent.
        type: list
        elements: str
        default: []
      rc:
        description: The status that it must end with.
        type: int
        default: 0
      expect:
        description: A regular expression that the body, or the output of the command, must match.
        type: str
        default: ""
  backend:
    description:
      - What runs the test VM. V(qemu) needs nothing else.
      - V(libvirt) starts the VM of O(description), its devices, memory and CPUs, as a transient domain of a name of its own, on overlays and without its
        networks. It is gone when the test ends, or when its process dies.
    type: str
    default: qemu
    choices: [qemu, libvirt]
    version_added: 0.2.0
  description:
    description: The description of the VM, as M(hyper2kvm.migration.domain_describe) writes it, for O(backend=libvirt).
    type: path
    version_added: 0.2.0
  libvirt_uri:
    description: The libvirt of this host, for O(backend=libvirt).
    type: str
    default: qemu:///system
    version_added: 0.2.0
  repeat:
    description: Whether a test that these disks have passed before is run again.
    type: bool
    default: false
    version_added: 0.2.0
  dest:
    description: A directory for V(console.png), V(console.log) and the record that makes a second run do nothing.
    type: path
    required: true
extends_documentation_fragment:
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.no_diff
  - hyper2kvm.migration.attributes.mode
  - hyper2kvm.migration.attributes.action
requirements:
  - qemu-system-x86_64
  - python3-libvirt and libvirt for O(backend=libvirt)
"""

EXAMPLES = r"""
- name: Boot a result
  hyper2kvm.migration.boot_test:
    disks:
      - path: /var/lib/images/web01/web01-disk0.qcow2
        format: qcow2
    nics:
      - mac: 00:50:56:3a:bb:cc
        addresses: [192.0.2.10/24]
        gateway: 192.0.2.1
    dest: /var/lib/images/web01

- name: Boot it as libvirt will run it, and look at its services
  hyper2kvm.migration.boot_test:
    disks:
      - path: /var/lib/images/web01/web01-disk0.qcow2
        format: qcow2
    backend: libvirt
    description: /var/lib/images/web01/web01.xml
    checks:
      - port: 443
        http: /
        tls: true
        host: web01.example.com
      - port: 80
        http: /health
        expect: '"status": *"ok"'
      - command: [/usr/bin/systemctl, is-active, nginx]
    dest: /var/lib/images/web01
"""

RETURN = r"""
boot:
  description: What came of the boot test.
  returned: success, and in C(details) of a failed test
  type: dict
  contains:
    verdict: {description: "V(passed) or V(failed); in check mode V(not run).", type: str}
    cause: {description: Why it failed., type: str}
    signals: {description: Every signal with the second after power-on in which it came., type: dict}
    console: {description: The last lines of the console., type: list, elements: str}
    screenshot: {description: The path of a picture of the screen., type: str}
    accelerator: {description: V(kvm) or V(tcg)., type: str}
    seconds: {description: How long the test took., type: float}
    checks: {description: "What came of each check, with name and what was found.", type: list, elements: dict}
  sample: {"verdict": "passed", "cause": "", "signals": {"kernel": 3.1, "login": 24.5, "ssh": 25.0}, "seconds": 25.6}
"""

from typing import Any, Mapping

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootRequest, Check
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.data import each_from_data
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import NicFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.fields import made
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import module_with_source, subject_of
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.staged import run_stage
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.boot_test import BootTest, BootTestOptions, nic_of

_NICS_OPTIONS: dict[str, Any] = {
    "mac": {"type": "str", "required": True},
    "addresses": {"type": "list", "elements": "str", "default": []},
    "gateway": {"type": "str", "default": ""},
    "name": {"type": "str"},
    "method": {"type": "str"},
    "backend": {"type": "str"},
    "path": {"type": "str"},
    "on": {"type": "str"},
}

_CHECKS_OPTIONS: dict[str, Any] = {
    "port": {"type": "int", "default": 0},
    "http": {"type": "str", "default": ""},
    "host": {"type": "str", "default": ""},
    "status": {"type": "int", "default": 200},
    "tls": {"type": "bool", "default": False},
    "verify": {"type": "bool", "default": True},
    "command": {"type": "list", "elements": "str", "default": []},
    "rc": {"type": "int", "default": 0},
    "expect": {"type": "str", "default": ""},
}


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.MODE,
        **attributes.ACTION,
        "work_dir": {"type": "path"},
        "source": {"type": "list", "elements": "str"},
        "moved": {"type": "bool", "default": False},
        "disks": {
            "type": "list",
            "elements": "dict",
            "options": {
                "path": {"type": "path", "required": True},
                "format": {"type": "str", "required": True, "choices": ["qcow2", "raw", "vdi"]},
            },
        },
        "firmware": {"type": "str", "default": "bios", "choices": ["bios", "uefi"]},
        "boot_disk": {"type": "int", "default": 0},
        "disk_bus": {"type": "str", "default": "virtio", "choices": ["virtio", "sata"]},
        "nic_model": {"type": "str", "default": "virtio", "choices": ["virtio", "e1000e"]},
        "nics": {"type": "list", "elements": "dict", "default": [], "aliases": ["cards"], "options": _NICS_OPTIONS},
        "luks_keys": {"type": "dict", "default": {}, "no_log": True},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "memory": {"type": "int", "default": 1024},
        "cpus": {"type": "int", "default": 2},
        "timeout": {"type": "int", "default": 300},
        "network": {"type": "str", "default": "auto", "choices": ["auto", "ssh", "agent", "none"]},
        "expect": {"type": "list", "elements": "str", "default": []},
        "checks": {"type": "list", "elements": "dict", "default": [], "options": _CHECKS_OPTIONS},
        "backend": {"type": "str", "default": "qemu", "choices": ["qemu", "libvirt"]},
        "description": {"type": "path"},
        "libvirt_uri": {"type": "str", "default": "qemu:///system"},
        "repeat": {"type": "bool", "default": False},
        "dest": {"type": "path", "required": True},
    }


def stage_of(params: Mapping[str, Any]) -> BootTest:
    request = made(
        BootRequest,
        params,
        disks=tuple((disk["path"], disk["format"]) for disk in params["disks"] or ()),
        nics=tuple(map(nic_of, each_from_data(NicFacts, params["nics"], "nics", "Give what guest_fix returned in its facts."))),
        passphrases=tuple(dict.fromkeys(params["luks_keys"].values())),
        checks=tuple(Check(**{**entry, "command": tuple(entry["command"])}) for entry in params["checks"]),
        description="",  # that of BootTestOptions
        uri=params["libvirt_uri"],
        mode=modes.parse(params["mode"]),
    )
    return BootTest(
        BootTestOptions(
            params["dest"],
            subject_of(params),
            request,
            of_records=params["disks"] is None,
            description=params["description"] if params["backend"] == "libvirt" else "",
            repeat=params["repeat"],
        )
    )


def main() -> None:
    module = module_with_source(
        argument_spec(), required_if=[("backend", "libvirt", ["description"])], required_one_of=[("disks", "work_dir")]
    )
    run_stage(module, stage_of)


if __name__ == "__main__":
    main()
