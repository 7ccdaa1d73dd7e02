# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of vSphere that look like templates, through the inventory plugin into playbooks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator

import peers
import pytest
from expressions import EXPRESSIONS, SECRET
from pyVmomi import vim

# Properties that the simulator sets as they are, and where our record has them.
SET = {
    "guest.hostName": "guest_hostname",
    "config.guestFullName": "guest_name",
    "config.guestId": "guest_id",
    "config.uuid": "uuid",
    "config.files.vmPathName": "files",
}
# What the simulator calls other things around its VMs.
PLACES = {"network": "dvportgroup-13", "datastore": "LocalDS_0", "cluster": "DC0_C0", "label": "disk-202-0", "addresses": "10.0.0."}
PLAY = """
- hosts: all
  gather_facts: false
  tasks:
    - ansible.builtin.debug:
        msg: "{{ migrate_name }} {{ migrate_source }} {{ vsphere_vm.name }} {{ vsphere_vm }} {{ made | default('') }}"
    - ansible.builtin.assert:
        that: vsphere_vm.name | length > 0
        fail_msg: "{{ vsphere_vm.name }}"
        success_msg: "{{ vsphere_vm.name }} {{ vsphere_vm.guest_hostname }}"
    - ansible.builtin.set_fact:
        again: "{{ vsphere_vm }}"
        name: "{{ vsphere_vm.name ~ ' on ' ~ vsphere_vm.cluster }}"
    - ansible.builtin.debug:
        msg: "{{ item }} {{ again.guest_name }} {{ name }}"
      loop: "{{ [vsphere_vm.name] + again.addresses + (again.snapshots | map(attribute='name') | list) }}"
- hosts: localhost
  gather_facts: false
  vars:
    seen: "{{ groups['again'] | map('extract', hostvars) | map(attribute='vsphere_vm') | list }}"
  tasks:
    - ansible.builtin.add_host:
        name: "again-{{ item }}"
        groups: [again]
        vsphere_vm: "{{ hostvars[item].vsphere_vm }}"
        title: "{{ hostvars[item].vsphere_vm.name }}"
      loop: "{{ groups['all'] }}"
    - ansible.builtin.debug:
        msg: "{{ hostvars[item].title }} {{ hostvars[item].vsphere_vm.folder }}"
      loop: "{{ groups['again'] }}"
    - ansible.builtin.copy:
        content: "{{ seen | to_json }}"
        dest: "{{ dest }}"
        mode: "0600"
"""


@pytest.fixture
def vcenter(tmp_path, marked) -> Iterator[peers.VCenter]:
    """A VM for each expression; all that others may write of it is that expression."""
    server = peers.VCenter(tmp_path, "-vms", str(len(EXPRESSIONS) // 2 + 1))
    view = server.content.viewManager.CreateContainerView(server.content.rootFolder, [vim.VirtualMachine], True)
    for number, (name, vm) in enumerate(zip(EXPRESSIONS, list(view.view))):
        options = [vim.option.OptionValue(key=f"SET.{key}", value=marked.text(name, key)) for key in SET]
        server.wait(vm.CreateSnapshot_Task(marked.text(name, "snapshot"), marked.text(name, "description"), False, False))
        server.wait(vm.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=options, annotation=marked.text(name, "annotation"))))
        if number % 8 == 0:
            server.tag(vm, marked.text(name, "category"), marked.text(name, "tag"))
            server.wait(vm.parent.CreateFolder(marked.text(name, "folder")).MoveIntoFolder_Task([vm]))
        server.wait(vm.Rename_Task(marked.text(name, "name")))
    for field, text in PLACES.items():
        server.peer("say", Of=text, For=marked.text("lookup", field))
    yield server
    server.close()


def listed(run: Any, source: Path) -> dict[str, Any]:
    done = run("ansible-inventory", "-i", source, "--list", apart=True)
    assert done.returncode == 0 and "Failed to parse" not in done.stderr, done.stderr
    return json.loads(done.stdout, object_hook=lambda found: found.get("__ansible_unsafe", found))


def test_what_vsphere_says_is_never_a_template(run, vcenter, marked, tmp_path):
    cache = {"cache": True, "cache_plugin": "ansible.builtin.jsonfile", "cache_connection": str(tmp_path / "cache")}
    more = {
        "compose": {
            "made": "vsphere_vm.name ~ vsphere_vm.guest_name",
            "first": "vsphere_vm.snapshots | map(attribute='name') | first | d('')",
        },
        "groups": {"long": "vsphere_vm.name | length > 20"},
        "keyed_groups": [{"key": "vsphere_vm.guest_hostname", "prefix": "guest"}, {"key": "vsphere_vm.tags", "prefix": ""}],
        "filters": ["vsphere_vm.name != 'none'", "vsphere_vm.guest_hostname is not match('none')"],
    }
    play = tmp_path / "play.yml"
    play.write_text(PLAY)
    vms = []
    for source in ("server", "cache"):
        found = listed(run, vcenter.inventory(tmp_path, **cache, **more))["_meta"]["hostvars"]
        by_name = {host["vsphere_vm"]["name"]: host for host in found.values() if "vsphere_vm" in host}
        for name in EXPRESSIONS:
            host = by_name[marked.text(name, "name")]
            vm = host["vsphere_vm"]
            assert {key: vm[ours] for key, ours in SET.items()} == {key: marked.text(name, key) for key in SET}, source
            assert vm["snapshots"][0]["name"] == marked.text(name, "snapshot")
            assert host["made"] == marked.text(name, "name") + marked.text(name, "config.guestFullName")
        vms.append(sorted((host["vsphere_vm"] for host in found.values()), key=lambda vm: vm["id"]))
    assert vms[0] == vms[1]
    done = run(
        "ansible-playbook",
        "-i",
        vcenter.inventory(tmp_path, **cache, **more),
        play,
        "-e",
        f"dest={tmp_path}/seen.json",
        "-e",
        f"kept_secret={SECRET}",
    )
    assert done.returncode == 0 and SECRET not in done.stdout and "root:x:0" not in done.stdout, done.stdout[-4000:]
    seen = {vm["id"]: vm for vm in json.loads((tmp_path / "seen.json").read_text())}
    assert seen == {vm["id"]: vm for vm in vms[0]}
