# Copyright: (c) 2026, the hyper2kvm.migration contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The VMs of vSphere as hosts that migrate.yml can take as they are."""

from __future__ import annotations

DOCUMENTATION = r"""
name: vsphere
short_description: VMs of vSphere, ready for the playbooks of this collection
version_added: 0.2.0
description:
  - Each VM is a host with C(migrate_source), C(migrate_name), and C(vsphere_vm), which is what M(hyper2kvm.migration.vsphere_vm_info) returns of it.
  - All of it is data that others have written. It is marked so that Ansible never takes it for a template, with every version of ansible-core.
  - The configuration is a file whose name ends in C(vsphere.yml) or C(vsphere.yaml).
  - A host has the VM's name, made safe, and its id behind that where several VMs have one name (in capitals or not), or where a group or
    another host is called so. C(migrate_name) is the same. C(vsphere_vm.name) is what the VM is called in vSphere.
  - Groups are made of the power state (C(power_off)), the guest (C(family_linux), C(family_windows), C(family_other)), the readiness (C(ready), C(blocked)),
    the folder (C(folder_...)), the host (C(host_...)), the cluster (C(cluster_...)) and the tags (C(tag_category_name)).
    A VM that runs, and has no other blocker, is in C(ready_when_off) too.
author: The hyper2kvm.migration contributors (@hyper2kvm)
options:  # written by make options
  plugin:
    description: Always V(hyper2kvm.migration.vsphere).
    type: str
    required: true
    choices: [hyper2kvm.migration.vsphere]
  hostname:
    description: The vCenter or ESXi host.
    type: str
    required: true
    env: [{name: VMWARE_HOST}]
  username:
    description: User name.
    type: str
    env: [{name: VMWARE_USER}]
  password:
    description: The password.
    type: str
    env: [{name: VMWARE_PASSWORD}]
  port:
    description: The port of the API.
    type: int
    default: 443
    env: [{name: VMWARE_PORT}]
  validate_certs:
    description: Whether the server must prove who it is.
    type: bool
    default: true
    env: [{name: VMWARE_VALIDATE_CERTS}]
  ca_file:
    description: A file with the authorities that are believed (PEM), in place of the system's.
    type: path
  thumbprint:
    description: The SHA-1 or SHA-256 digest of the server's certificate, which is then the only one that is believed.
    type: str
  proxy_host:
    description: An HTTP proxy to go through.
    type: str
    env: [{name: VMWARE_PROXY_HOST}]
  proxy_port:
    description: Its port.
    type: int
    default: 3128
    env: [{name: VMWARE_PROXY_PORT}]
  folders:
    description: Inventory paths. Only VMs below one of them are hosts. All without any.
    type: list
    elements: str
    default: []
  tags:
    description: Whether the VMs' tags are read, by vCenter's REST interface. A host without vCenter has none.
    type: bool
    default: true
  filters:
    description: Conditions over the host's variables, all of which must hold, as V(vsphere_vm.power == 'off').
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - constructed
  - inventory_cache
requirements:
  - pyVmomi in the Python of the controller
"""

EXAMPLES = r"""
# vsphere.yml
plugin: hyper2kvm.migration.vsphere
hostname: vcenter.example.com
username: migration@vsphere.local
folders:
  - DC1/vm/production
filters:
  - "'ready' in group_names or vsphere_vm.power == 'off'"
keyed_groups:
  - key: vsphere_vm.firmware
    prefix: firmware
compose:
  migrate_boot_test: vsphere_vm.memory < 65536
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: .cache
"""

import hashlib
from typing import Any, Mapping, Sequence

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError, of_system
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.tls import Trust
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere import hostnames, inventory, readiness, tagging
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.connection import Endpoint, session
from ansible_collections.hyper2kvm.migration.plugins.module_utils.vsphere.describe import described, family
from ansible_collections.hyper2kvm.migration.plugins.plugin_utils.outside import as_data


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    NAME = "hyper2kvm.migration.vsphere"

    def verify_file(self, path: str) -> bool:
        return super().verify_file(path) and path.endswith(("vsphere.yml", "vsphere.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        # The cache holds what was asked for; another question has another answer.
        asked = repr([self.get_option(name) for name in ("hostname", "port", "username", "folders", "tags")])
        key = f"{self.get_cache_key(path)}_{hashlib.sha256(asked.encode()).hexdigest()[:12]}"
        wanted = self.get_option("cache")
        vms = None
        if wanted and cache:
            vms = self._cache.get(key)
        if vms is None:
            try:
                vms = self._ask()
            # Ansible would put the causes of the cause behind it, which say the same again.
            except MigrationError as error:
                raise AnsibleParserError(str(error)) from None
            except OSError as error:
                raise AnsibleParserError(str(of_system(error))) from None
            if wanted:
                self._cache[key] = vms
        # A cache keeps no marks, so what comes from it is marked like an answer.
        vms = as_data(vms)
        groups = [self._groups(vm) for vm in vms]
        for vm, name, own in zip(vms, self._names(vms, groups), groups):
            self._add(vm, name, own)

    def _ask(self) -> list[dict[str, Any]]:
        option = self.get_option
        proxy = (option("proxy_host"), option("proxy_port")) if option("proxy_host") else None
        trust = Trust(option("validate_certs"), option("ca_file") or "", option("thumbprint") or "")
        host, user, password = (str(self.templar.template(option(name) or "")) for name in ("hostname", "username", "password"))
        with session(Endpoint(host, user, password, option("port"), trust, proxy)) as opened:
            below = tuple(folder.strip("/") + "/" for folder in option("folders"))
            vms = [vm for vm in inventory.vms(opened) if not below or vm.path.startswith(below)]
            vms = tagging.tagged(opened, vms) if option("tags") else vms
        wave = readiness.of_wave(vms)
        return [described(vm, (*readiness.concerns(vm), *wave.get(vm.id, ()))) for vm in vms]

    def _groups(self, vm: Mapping[str, Any]) -> list[str]:
        blockers = {concern["code"] for concern in vm["concerns"] if concern["severity"] == "blocker"}
        groups = [f"power_{vm['power']}", f"family_{family(vm['guest_id'])}", "blocked" if blockers else "ready"]
        if blockers == {"vsphere.running"}:
            groups.append("ready_when_off")
        groups += [f"{kind}_{vm[kind]}" for kind in ("folder", "host", "cluster") if vm[kind]]
        groups += [f"tag_{tag}" for tag in vm["tags"]]
        return [self._sanitize_group_name(group) for group in groups]

    def _names(self, vms: Sequence[Mapping[str, Any]], groups: Sequence[Sequence[str]]) -> Sequence[str]:
        """Host names that are no group's, no conversion host's, and no host's of another server."""
        known = {*self.inventory.groups, *(group for own in groups for group in own)}
        workers = self.inventory.groups.get("conversion_hosts")
        known |= {host.name for host in workers.get_hosts()} if workers else set()
        ours = {(vm["instance_uuid"], vm["path"]) for vm in vms}
        others = ((name, host.vars.get("vsphere_vm")) for name, host in self.inventory.hosts.items())
        known |= {name for name, vm in others if vm and (vm["instance_uuid"], vm["path"]) not in ours}
        return hostnames.distinct([(vm["name"], vm["id"]) for vm in vms], known)

    def _add(self, vm: Mapping[str, Any], name: str, groups: Sequence[str]) -> None:
        strict = self.get_option("strict")
        host = self.templar.template(self.get_option("hostname"))
        port = self.get_option("port")
        source = inventory.url_of(host, port, vm["path"])
        variables = as_data({"vsphere_vm": vm, "migrate_source": source, "migrate_name": name})
        self.templar.available_variables = variables
        facts = {**variables, "group_names": groups}
        for condition in self.get_option("filters"):
            if not self._compose(condition, facts):
                return
        self.inventory.add_host(name)
        for key, value in variables.items():
            self.inventory.set_variable(name, key, value)
        for group in groups:
            self.inventory.add_group(group)
            self.inventory.add_host(name, group=group)
        self._set_composite_vars(self.get_option("compose"), variables, name, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, name, strict=strict)
        self._add_host_to_keyed_groups(self.get_option("keyed_groups"), variables, name, strict=strict)
