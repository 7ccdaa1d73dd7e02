# SPDX-License-Identifier: GPL-3.0-or-later
"""The bodies of the modules that ask vSphere about a VM or change it there."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible.module_utils.basic import AnsibleModule

from ..vsphere import inventory
from ..vsphere.connection import Session, session
from ..vsphere.model import Vm
from .runtime import Result, module_for, respawn_for, run
from .vsphere_login import endpoint_of

VmWork = Callable[[AnsibleModule, Session, Vm], Result]


def on_vm(spec: Mapping[str, Any], work: VmWork, **constraints: Any) -> None:
    """The body of a module that looks at, or works on, one VM of vSphere."""
    module = module_for(spec, **constraints)
    respawn_for("pyVmomi")

    def on_found(module: AnsibleModule) -> Result:
        with session(endpoint_of(module.params)) as opened:
            return work(module, opened, find(opened, module.params["vm"]))

    run(module, on_found)


def find(opened: Session, wanted: str) -> Vm:
    """A VM by its inventory path, or moref=, uuid=, name= and what follows."""
    kind, separator, value = wanted.partition("=")
    if separator and kind in ("moref", "uuid", "name"):
        return inventory.find(opened, query={kind: value})
    return inventory.find(opened, wanted.strip("/"))
