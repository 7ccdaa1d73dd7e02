#!/usr/bin/python
# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A migrated VM as a domain of libvirt."""

from __future__ import annotations

DOCUMENTATION = r"""
module: libvirt_domain
short_description: Define, start or take back a migrated VM
description:
  - Places the disks of a migrated VM in a libvirt pool or directory, and defines the VM as M(hyper2kvm.migration.domain_describe) has described it.
  - The domain gets a mark in its metadata, and domains without it are never touched. What was changed in the domain later, by hand, stays; it is defined
    anew only when its description is another.
  - Disks are copied once. A domain whose disks were migrated again is not given the new ones unless O(overwrite) says so.
version_added: 0.2.0
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  state:
    description: What shall be. V(absent) shuts the VM down and undefines it.
    type: str
    default: defined
    choices: [defined, running, absent]
  description:
    description: The description. Needed unless O(state=absent).
    type: path
  source:
    description:
      - What the VM was migrated from. A description, or a domain, of another VM is refused.
      - A domain remembers its VM (C(docs/security.md)), and a description of another VM never replaces it, whatever their name is.
    type: list
    elements: str
    version_added: 0.2.0
  work_dir:
    description: The work directory of the migration that is taken back, for O(state=absent) with O(source). One of another VM is refused.
    type: path
    version_added: 0.2.0
  moved:
    description: Whether the VM of the description may be the domain's although it comes from another place.
    type: bool
    default: false
    version_added: 0.2.0
  name:
    description: The name of the domain, for O(state=absent).
    type: str
  placement:
    description:
      - V(in_place) leaves the disks where they are. V(reflink) makes copies that share their blocks with the originals, on file systems that can (XFS,
        Btrfs).
      - V(copy) does so where it is possible, and copies where not.
    type: str
    default: in_place
    choices: [in_place, copy, reflink, move]
  pool:
    description: The storage pool that gets the disks, of type dir, fs or netfs.
    type: str
  directory:
    description: The directory that gets the disks.
    type: path
  autostart:
    description: Whether the VM starts with its host. Left as it is by default.
    type: bool
  overwrite:
    description: Whether copies of disks that were migrated again are replaced by the new ones. What the VM has written since is lost.
    type: bool
    default: false
  passphrase:
    description: Opens the disks, if they are encrypted. libvirt keeps it as a secret that it shows to nobody, until the VM is taken back.
    type: str
    default: ""
  accelerator:
    description: What the VM runs on. V(auto) takes KVM where it really runs a kernel, emulation otherwise.
    type: str
    default: auto
    choices: [auto, kvm, tcg]
  quarantine:
    description: A directory that gets the disks, the variables of the firmware and the description of a domain that is taken back. They stay where they
      are by default.
    type: path
  timeout:
    description: Seconds until the guest must have shut down, for O(state=absent).
    type: int
    default: 120
  power_off:
    description: Whether a VM that does not shut down is switched off hard.
    type: bool
    default: false
  libvirt_uri:
    description: What runs the VM, the libvirt of this host by default. A URI of libvirt, or of another kind of target, whose scheme tells which.
    type: str
    default: qemu:///system
requirements:
  - libvirt
  - python3-libvirt
extends_documentation_fragment:
  - hyper2kvm.migration.attributes.run
  - hyper2kvm.migration.attributes
  - hyper2kvm.migration.attributes.mode
"""

EXAMPLES = r"""
- name: Define the VM in a pool and start it
  hyper2kvm.migration.libvirt_domain:
    description: /var/lib/images/web01/web01.xml
    placement: copy
    pool: default
    state: running
    autostart: true

- name: Take it back
  hyper2kvm.migration.libvirt_domain:
    name: web01
    state: absent
    quarantine: /var/lib/images/quarantine/web01
"""

RETURN = r"""
actions:
  description: What was done, or, in check mode, would be.
  returned: success
  type: list
  elements: str
  sample: [copy /var/lib/images/web01/web01-disk0.qcow2 to /var/lib/libvirt/images/web01-disk0.qcow2, define web01, start web01]
disks:
  description: The disks of the domain.
  returned: success
  type: list
  elements: str
  sample: [/var/lib/libvirt/images/web01-disk0.qcow2]
"""

import contextlib
import os
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import files, modes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.runtime import Result, respawn_for, run
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.source_options import (
    module_with_source,
    require_own,
    run_of,
    source_of,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.module.specs import attributes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.stage import working_on
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import lifecycle, placement, targets
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.decision import Unwanted, Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.target import Settings, Target


def argument_spec() -> dict[str, Any]:
    # Written by make options.
    return {
        **attributes.RUN,
        **attributes.MODE,
        "state": {"type": "str", "default": "defined", "choices": ["defined", "running", "absent"]},
        "description": {"type": "path"},
        "source": {"type": "list", "elements": "str"},
        "work_dir": {"type": "path"},
        "moved": {"type": "bool", "default": False},
        "name": {"type": "str"},
        "placement": {"type": "str", "default": "in_place", "choices": ["in_place", "copy", "reflink", "move"]},
        "pool": {"type": "str"},
        "directory": {"type": "path"},
        "autostart": {"type": "bool"},
        "overwrite": {"type": "bool", "default": False},
        "passphrase": {"type": "str", "default": "", "no_log": True},
        "accelerator": {"type": "str", "default": "auto", "choices": ["auto", "kvm", "tcg"]},
        "quarantine": {"type": "path"},
        "timeout": {"type": "int", "default": 120},
        "power_off": {"type": "bool", "default": False},
        "libvirt_uri": {"type": "str", "default": "qemu:///system"},
    }


def work(module: AnsibleModule) -> Result:
    params = module.params
    settings = Settings(params["pool"] or "", params["accelerator"])
    with targets.of(params["libvirt_uri"]).opened(params["libvirt_uri"], settings) as target:
        if params["state"] == "absent":
            done = taken_back(module, target)
        else:
            done = lifecycle.bring(target, _wanted(params, target), module.check_mode)
    result: Result = done.as_result()
    if module._diff and (done.before or done.after):
        result["diff"] = {"before": done.before, "after": done.after}
    return result


def taken_back(module: AnsibleModule, target: Target) -> lifecycle.Done:
    """The domain away, if it is that of the source that is named; nobody works on the VM meanwhile."""
    params, directory = module.params, module.params["work_dir"] or ""
    source = tuple(source_of(params)) if params["source"] else ()
    require_own(module)
    with working_on(run_of(module), directory) if os.path.isdir(directory) else contextlib.nullcontext():
        unwanted = Unwanted(
            params["name"],
            quarantine=params["quarantine"] or "",
            timeout=params["timeout"],
            power_off=params["power_off"],
            mode=modes.parse(params["mode"]),
            source=source,
            description=files.description(params["description"]) if os.path.lexists(params["description"] or "") else "",
        )
        return lifecycle.take_back(target, unwanted, module.check_mode)


def _wanted(params: dict[str, Any], target: Target) -> Wanted:
    return Wanted(
        files.description(params["description"]),
        kind=params["placement"],
        directory=target.directory() if params["pool"] else params["directory"] or "",
        overwrite=params["overwrite"],
        running=params["state"] == "running",
        autostart=params["autostart"],
        passphrase=params["passphrase"],
        source=tuple(source_of(params)) if params["source"] else (),
        moved=params["moved"],
    )


def main() -> None:
    there = [("placement", kind, ("pool", "directory"), True) for kind in placement.KINDS if kind != placement.IN_PLACE]
    module = module_with_source(
        argument_spec(),
        mutually_exclusive=[("pool", "directory")],
        required_if=[("state", "absent", ["name"]), ("state", "defined", ["description"]), ("state", "running", ["description"]), *there],
    )
    respawn_for(*targets.of(module.params["libvirt_uri"]).libraries)
    run(module, work)


if __name__ == "__main__":
    main()
