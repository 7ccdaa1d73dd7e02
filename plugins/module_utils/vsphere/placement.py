# SPDX-License-Identifier: GPL-3.0-or-later
"""What is around a VM and bears on its migration: the state of its host, the rules of its cluster, the room on its datastores.

Source: ClusterConfigInfoEx, HostRuntimeInfo and DatastoreSummary in the vSphere Web Services API reference.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Mapping, Sequence

from .model import Vm

HOST = ("name", "parent", "runtime.inMaintenanceMode")
CLUSTER = ("name", "parent", "configurationEx")
DATASTORE = ("name", "parent", "summary.freeSpace")

Facts = Mapping[str, Any]


def surrounded(vm: Vm, host: Facts, cluster: Facts, datastores: Sequence[Facts]) -> Vm:
    """The VM with what its surroundings say; each of them as plain data of the properties above, empty where vSphere shows none."""
    config = cluster.get("configurationEx") or {}
    free = [int(datastore["summary.freeSpace"]) for datastore in datastores if datastore.get("summary.freeSpace") is not None]
    return replace(
        vm,
        host_maintenance=bool(host.get("runtime.inMaintenanceMode")),
        moved_by_drs=_moved(vm, config),
        host_rules=tuple(_rules(vm, config)),
        datastore_free=min(free) if free else None,
    )


def _moved(vm: Vm, config: Facts) -> bool:
    """Whether DRS may move the VM by itself; a VM's own setting counts before its cluster's."""
    drs = config.get("drsConfig") or {}
    own: Facts = next((item for item in config.get("drsVmConfig") or () if item.get("key") == vm.id), {})
    behaviour = own.get("behavior") or drs.get("defaultVmBehavior") or ""
    return bool(drs.get("enabled")) and own.get("enabled") is not False and behaviour == "fullyAutomated"


def _rules(vm: Vm, config: Facts) -> Sequence[str]:
    """Names of rules in force that bind the VM to hosts, or keep it from them."""
    groups = {group.get("name") for group in config.get("group") or () if vm.id in (group.get("vm") or ())}
    return [
        str(rule.get("name", ""))
        for rule in config.get("rule") or ()
        if rule.get("_type") == "ClusterVmHostRuleInfo" and rule.get("enabled") and rule.get("vmGroupName") in groups
    ]
