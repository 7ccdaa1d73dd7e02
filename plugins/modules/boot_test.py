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
options:
  work_dir:
    description: The VM's work directory, which says what its results are and what hardware its guest was repaired for, where O(disks) are not given.
      A guest that is not Linux is skipped then.
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
  cards:
    description: The network cards in order, as M(hyper2kvm.migration.guest_fix) returns them in its facts. Around a static address the test makes the
      network that the guest believes to be in, so that it is reached at its own address.
    type: list
    elements: dict
    default: []
    version_added: 0.2.0
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
        description: The guest's name of the card; not used.
        type: str
      method:
        description: How the card gets its address; not used.
        type: str
      backend:
        description: What configures the card; not used.
        type: str
      path:
        description: The profile; not used.
        type: str
      'on':
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
      - V(libvirt) starts the VM of O(description), its devices, memory and CPUs, as a transient domain of a name of its own, on overlays and without
        its networks. It is gone when the test ends, or when its process dies.
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
    cards:
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

import os
from dataclasses import asdict
from typing import Optional

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import BootRequest, Check, Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.runner import boot
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import ahead, atomic, files, modes, spared
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.device import exists
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import BootFailed, InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Identity, Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.process import require
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import sink
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import encrypted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    module_with_source,
    progress_spec,
    require_own,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import stages
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.libvirtd import SYSTEM
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.qemu_arguments import firmware_files

_RECORD = "boot.manifest.json"
_LOG = "console.log"
_PICTURE = "console.png"
_HARDWARE = ("firmware", "boot_disk", "disk_bus", "nic_model", "cards")


def argument_spec() -> dict:
    return {
        **progress_spec(),
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
        "cards": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "mac": {"type": "str", "required": True},
                "addresses": {"type": "list", "elements": "str", "default": []},
                "gateway": {"type": "str", "default": ""},
                **{name: {"type": "str"} for name in ("name", "method", "backend", "path", "on")},
            },
        },
        "luks_keys": {"type": "dict", "default": {}, "no_log": True},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "memory": {"type": "int", "default": 1024},
        "cpus": {"type": "int", "default": 2},
        "timeout": {"type": "int", "default": 300},
        "network": {"type": "str", "default": "auto", "choices": ["auto", "ssh", "agent", "none"]},
        "expect": {"type": "list", "elements": "str", "default": []},
        "checks": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "options": {
                "port": {"type": "int", "default": 0},
                "http": {"type": "str", "default": ""},
                "host": {"type": "str", "default": ""},
                "status": {"type": "int", "default": 200},
                "tls": {"type": "bool", "default": False},
                "verify": {"type": "bool", "default": True},
                "command": {"type": "list", "elements": "str", "default": []},
                "rc": {"type": "int", "default": 0},
                "expect": {"type": "str", "default": ""},
            },
        },
        "backend": {"type": "str", "default": "qemu", "choices": ["qemu", "libvirt"]},
        "description": {"type": "path"},
        "libvirt_uri": {"type": "str", "default": SYSTEM},
        "mode": {"type": "raw"},
        "repeat": {"type": "bool", "default": False},
        "dest": {"type": "path", "required": True},
    }


def _nic(card: dict) -> Nic:
    return Nic(card["mac"], next((address for address in card["addresses"] if ":" not in address), ""), card["gateway"])


def _check(entry: dict) -> Check:
    if bool(entry["port"]) == bool(entry["command"]):
        raise InvalidInput("A check has neither a port nor a command, or both.", "Give each check one of them.")
    if entry["tls"] and not entry["http"]:
        raise InvalidInput("A check over TLS has nothing to ask.", "Give it a path (http: /).")
    return Check(**{**entry, "command": tuple(entry["command"])})


def of_records(params: dict) -> Optional[dict]:
    """The parameters with the results of the work directory and the hardware that was found; None for a guest whose start nothing would tell."""
    before = stages.so_far(params["work_dir"])
    vm, facts = before.vm, before.facts
    if not facts.get("console", True):  # records of 0.1.0 are of Linux, and do not say it
        return None
    unknown = params["firmware"] if params["firmware"] != "bios" else vm.get("firmware") or "bios"
    cards = facts.get("cards") or [nic for nic in vm.get("nics", ()) if nic.get("mac")]
    return {
        **params,
        **{name: facts[name] for name in ("boot_disk", "disk_bus", "nic_model") if name in facts},
        "firmware": facts.get("firmware") or unknown,
        "disks": [{"path": disk["path"], "format": disk["format"]} for disk in before.disks],
        "cards": [{"mac": card["mac"], "addresses": card.get("addresses") or [], "gateway": card.get("gateway") or ""} for card in cards],
    }


def _request(params: dict, written: dict, nics: tuple, checks: tuple, description: str) -> BootRequest:
    disks = tuple((disk["path"], disk["format"]) for disk in params["disks"])
    return BootRequest(
        disks,
        params["firmware"],
        nics,
        params["boot_disk"],
        params["disk_bus"],
        params["nic_model"],
        tuple(dict.fromkeys(params["luks_keys"].values())),
        params["memory"],
        params["cpus"],
        params["timeout"],
        params["network"],
        expect=tuple(params["expect"]),
        screenshot=written[_PICTURE],
        console_log=written[_LOG],
        checks=checks,
        description=description,
        uri=params["libvirt_uri"],
        scratch=params["dest"],
        encrypted=encrypted.require(disks, params["passphrase"]),
        passphrase=params["passphrase"],
        mode=modes.parse(params["mode"]),
    )


def work(module: AnsibleModule) -> Result:
    require_own(module)
    written = {name: os.path.join(module.params["dest"], name) for name in (_RECORD, _LOG, _PICTURE)}
    spared.require(*(name for path in written.values() for name in (path, f"{path}{atomic.PARTIAL}")))
    params = module.params if module.params["disks"] is not None else of_records(module.params)
    if params is None:
        return {"changed": False, "skipped": True, "skip_reason": "Nothing tells whether a system that is not known has started."}
    checks, mode = tuple(_check(entry) for entry in params["checks"]), modes.parse(params["mode"])
    missing = [disk["path"] for disk in params["disks"] if not exists(disk["path"])]
    if module.check_mode:
        ahead.writable(params["dest"])
        if params["backend"] == "qemu":
            require("qemu-system-x86_64")
        if params["backend"] == "qemu" and params["firmware"] == "uefi":
            firmware_files()
    if missing and module.check_mode:
        return {"changed": True, "boot": {"verdict": "not run", "cause": "check mode: the disks are not there yet"}}
    if missing:
        raise InvalidInput(f"{missing[0]} does not exist.", "Convert the VM first.", path=missing[0])
    description = files.description(params["description"]) if params["backend"] == "libvirt" else ""
    inputs = tuple(Identity.of(disk["path"]) for disk in params["disks"])
    options = {key: params[key] for key in (*_HARDWARE, "memory", "cpus", "timeout", "network", "expect", *(("checks",) if checks else ()))}
    nics = tuple(_nic(card) for card in params["cards"])
    options["cards"] = [asdict(nic) for nic in nics]  # what is booted: the records have less of a card than the facts
    if description:
        options["description"] = description
    earlier = Manifest.load(written[_RECORD], "boot")
    if earlier is not None and earlier.current("boot", inputs, options) and not params["repeat"]:
        return {"changed": False, "boot": earlier.result}
    if params["probe"]:
        return {"changed": False, "pending": True}
    if module.check_mode:
        return {"changed": True, "boot": {"verdict": "not run", "cause": "check mode"}}
    request = _request(params, written, nics, checks, description)
    modes.make_directory(params["dest"], modes.with_disks(mode), modes.with_disks(mode))
    outcome = boot(request, sink(params["progress_file"]))
    if outcome.verdict != "passed":
        said = "\n".join(outcome.console[-12:])
        raise BootFailed(
            f"The boot test failed: {outcome.cause}.",
            f"The console is in {request.console_log}. Its last lines:\n{said}",
            boot=outcome.as_result(),
        )
    Manifest("boot", inputs, options, (), outcome.as_result()).save(written[_RECORD])
    return {"changed": True, "boot": outcome.as_result()}


def main() -> None:
    module = module_with_source(
        argument_spec(), required_if=[("backend", "libvirt", ["description"])], required_one_of=[("disks", "work_dir")]
    )
    if module.params["backend"] == "libvirt":
        respawn_for("libvirt")
    run(module, work)


if __name__ == "__main__":
    main()
