# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts that look like templates in reports, in names of files, and in what VMX and OVF say, through the collection's modules and playbooks."""

from __future__ import annotations

import json

import harness
from expressions import EXPRESSIONS, SECRET

FILE_NAMES = ("lookup", "default", "set", "raw-open", "break-out", "header", "open", "shell", "list")
REPORT = """
- hosts: localhost
  gather_facts: false
  vars:
    migrate_report: "{{ recorded.report }}"
    nested: "{{ migrate_report.facts }}"
  tasks:
    - hyper2kvm.migration.migration_report_info:
        path: "{{ path }}"
      register: recorded
    - ansible.builtin.debug:
        msg: "{{ recorded.report.vm }} {{ nested.product }} {{ item }}"
      loop: "{{ migrate_report.facts.texts | dict2items | map(attribute='value') | list }}"
    - ansible.builtin.assert:
        that: migrate_report.facts.texts['never'] | default('') == ''
        fail_msg: "{{ migrate_report.facts.texts.values() | join('; ') }}"
        success_msg: "{{ migrate_report.facts.texts.values() | join('; ') }}"
    - ansible.builtin.set_fact:
        kept: "{{ nested.texts | combine({'joined': nested.texts.values() | join(' ')}) }}"
    - ansible.builtin.copy:
        content: "{{ [migrate_report, kept] | to_json }}"
        dest: "{{ path }}.seen"
        mode: "0600"
"""


def report(marked, folder, **facts: object) -> dict:
    """The report of a migration, in its place, with every expression in it."""
    texts = {name: marked.text(name, "report") for name in EXPRESSIONS}
    data = {
        "format": 1,
        "vm": texts["lookup"],
        "source": {"name": texts["query"], "nics": [{"network": texts["set"]}], **texts},
        "facts": {"os": "linux", "product": texts["lookup"], "hostname": texts["default"], "texts": texts, **facts},
        "disks": [{"path": str(folder / f"{texts['sum']}.raw"), "format": "raw"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(data))
    return data


def test_a_report_is_read_as_it_is(run, marked, tmp_path):
    written = report(marked, tmp_path / "web01")
    (tmp_path / "play.yml").write_text(REPORT)
    path = tmp_path / "web01" / "report.json"
    done = run("ansible-playbook", tmp_path / "play.yml", "-e", f"path={path}", "-e", f"kept_secret={SECRET}")
    assert done.returncode == 0 and SECRET not in done.stdout and "root:x:0" not in done.stdout, done.stdout[-4000:]
    seen, kept = json.loads((tmp_path / "web01" / "report.json.seen").read_text())
    assert seen == {key: written[key] for key in ("vm", "source", "facts", "disks")}
    assert {key: kept[key] for key in EXPRESSIONS} == written["facts"]["texts"]


def test_the_playbooks_that_read_reports_refuse_what_is_no_choice(run, marked, tmp_path):
    """Each field is met by the record that the report is read into, before anything is called with it."""
    fields = {"firmware": "lookup", "disk_bus": "default", "nic_model": "tight"}
    hosts = {}
    for field, name in fields.items():
        report(marked, tmp_path / field, **{"firmware": "bios", field: marked.text(name, field)})
        hosts[field] = {"migrate_source": str(tmp_path / "web01.vmx"), "migrate_output_dir": str(tmp_path)}
    for playbook, met in (("rehearse", fields), ("windows_finish", {"firmware": "lookup"})):
        inventory = harness.inventory(tmp_path / "vms.json", **{field: hosts[field] for field in met})
        done = run("ansible-playbook", harness.ROOT / "playbooks" / f"{playbook}.yml", "-i", inventory)
        assert done.returncode == 2 and "Traceback" not in done.stdout, done.stdout[-4000:]
        for field in met:
            assert f"cannot be used: facts.{field} is not " in done.stdout, (playbook, field, done.stdout[:3000])


def vmx(folder, marked, name: str) -> None:
    """A VMX that says an expression wherever it takes a text, whose disk is missing."""

    def text(field: str) -> str:
        return marked.text(name, field).replace("|", "|7C").replace('"', "|22").replace("\n", "|0A")

    (folder / f"{name}.vmx").write_text(
        f'.encoding = "UTF-8"\nconfig.version = "8"\nvirtualHW.version = "13"\ndisplayName = "{text("displayName")}"\nannotation = "{text("annotation")}"\n'
        f'guestOS = "{text("guestOS")}"\nfirmware = "{text("firmware")}"\nmemsize = "512"\nnumvcpus = "1"\nscsi0.present = "TRUE"\n'
        f'scsi0.virtualDev = "pvscsi"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{text("fileName")}.vmdk"\n'
        f'ethernet0.present = "TRUE"\nethernet0.networkName = "{text("network")}"\nethernet0.virtualDev = "vmxnet3"\n'
    )


def ovf(folder, marked, name: str) -> None:
    """An OVF of the same kind."""

    def text(field: str) -> str:
        return marked.text(name, field).replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")

    (folder / f"{name}.ovf").write_text(
        '<?xml version="1.0" encoding="UTF-8"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" '
        'xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData">'
        f'<References><File ovf:id="f1" ovf:href="{text("href")}.vmdk"/></References>'
        f'<DiskSection><Info>{text("info")}</Info><Disk ovf:capacity="1048576" ovf:diskId="d1" ovf:fileRef="f1"/></DiskSection>'
        f'<NetworkSection><Info>n</Info><Network ovf:name="{text("network")}"/></NetworkSection>'
        f'<VirtualSystem ovf:id="{text("id")}"><Info>i</Info><Name>{text("name")}</Name>'
        f'<OperatingSystemSection ovf:id="101"><Info>i</Info><Description>{text("os")}</Description></OperatingSystemSection>'
        "<VirtualHardwareSection><Info>h</Info>"
        "<Item><rasd:InstanceID>1</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>"
        f"<Item><rasd:Connection>{text('network')}</rasd:Connection><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>10</rasd:ResourceType></Item>"
        "<Item><rasd:HostResource>ovf:/disk/d1</rasd:HostResource><rasd:InstanceID>2</rasd:InstanceID><rasd:Parent>1</rasd:Parent>"
        "<rasd:ResourceType>17</rasd:ResourceType></Item></VirtualHardwareSection></VirtualSystem></Envelope>"
    )


def test_what_is_dropped_under_any_name_is_put_away_with_the_reason(run, marked, tmp_path):
    """Files that are no disks, descriptions of VMs whose disks are missing, and a directory of two VMs; each reason names what was dropped."""
    drop = tmp_path / "drop"
    drop.mkdir()
    named = {}
    for number, name in enumerate(FILE_NAMES):
        entry = f"{number}{marked.text(name, 'dropped')}.vmdk"
        (drop / entry).write_bytes(b"no disk " + bytes([number]))
        named[entry] = entry.replace("\n", "\\n")
    for write, name in ((vmx, "lookup"), (vmx, "default"), (ovf, "set"), (ovf, "lookup")):
        entry = f"{write.__name__} {marked.text(name, 'directory')}"
        (drop / entry).mkdir()
        write(drop / entry, marked, name)
        named[entry] = entry
    entry = f"two {marked.text('query', 'directory')}"
    (drop / entry).mkdir()
    (drop / entry / f"{marked.text('lookup', 'first')}.vmx").write_text("")
    (drop / entry / f"{marked.text('default', 'second')}.ova").write_bytes(b"")
    named[entry] = marked.text("lookup", "first")
    variables = {"drop_folder_path": str(drop), "drop_folder_settle": 0, "migrate_output_dir": str(tmp_path / "out"), "kept_secret": SECRET}
    done = run("ansible-playbook", harness.ROOT / "playbooks" / "drop_folder.yml", "-e", json.dumps(variables))
    assert done.returncode == 2 and "Traceback" not in done.stdout and SECRET not in done.stdout, done.stdout[-6000:]
    put_away = {}
    for result in (drop / "failed").glob("*/result.txt"):
        put_away.update({entry.name: result.read_text() for entry in result.parent.iterdir() if entry.name in named})
    assert put_away.keys() == named.keys() and not named.keys() & {entry.name for entry in drop.iterdir()}, done.stdout[-6000:]
    for entry, words in named.items():
        assert words in put_away[entry], (entry, put_away[entry])
