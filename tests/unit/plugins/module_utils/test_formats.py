# SPDX-License-Identifier: GPL-3.0-or-later
"""What holds of every format that a VM is described in, and that the documents know each of them."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import macs
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import descriptions
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import formats, libvirt_xml, qemu_arguments
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.domain import Domain
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.format import Said, require_said
from ansible_collections.hyper2kvm.migration.plugins.modules import domain_describe

ROOT = Path(__file__).resolve().parents[4]
ALL = {"libvirt": libvirt_xml.FORMAT, **formats.FORMATS}
DISKS = (("/images/web01-disk0.qcow2", "qcow2"), ("/images/web01-disk1.raw", "raw"), ("rbd:pool/web01-disk2", "raw"))
MACS = ("52:54:00:00:00:01", "52:54:00:00:00:02")
DOMAIN = Domain("web01", DISKS, tuple(Nic(macs.canonical(mac), "bridge:br0") for mac in MACS), memory=3210, cpus=7, boot_disk=1)
MACHINES = [
    replace(DOMAIN, **dict(zip(("disk_bus", "machine", "firmware", "windows", "secure_boot", "tpm"), chosen)))
    for chosen in itertools.product(("virtio", "sata", "ide"), ("q35", "pc"), ("bios", "uefi"), *[(False, True)] * 3)
]
# What a format says of a VM: all of it, but for these.
CLAIMS = tuple(f"web01-disk{number}" for number in range(len(DISKS)))  # whoever has the cluster fills them
SAID = {
    "kubevirt": (*CLAIMS, *MACS, "3210", "7"),
    "openstack": (DISKS[1][0], "3210"),
}  # an image has no cards, no flavour and no other disks
CANNOT_OPEN = {"kubevirt", "openstack", "proxmox"}


@pytest.fixture(autouse=True)
def firmware(monkeypatch, tmp_path):
    for name in ("code", "variables"):
        (tmp_path / name).touch()
    monkeypatch.setattr(qemu_arguments, "_OVMF", ((str(tmp_path / "code"), str(tmp_path / "variables")),))


@pytest.mark.parametrize("name", ALL)
def test_a_vm_is_written_in_the_same_words_each_time_or_refused_by_name(name):
    written = 0
    for machine in MACHINES:
        try:
            text = ALL[name].text(machine)
        except InvalidInput as refused:
            assert machine.name in refused.msg and refused.hint
            continue
        written += 1
        assert text == ALL[name].text(replace(machine)) and text.endswith("\n")
        said = SAID.get(name, (*(path.removeprefix("rbd:") for path, dummy in DISKS), *MACS, "3210", "7"))
        assert all(word in text.lower() for word in said), text
    assert written


@pytest.mark.parametrize("name", ALL)
def test_each_property_of_a_machine_that_is_written_makes_another_text(name):
    texts = [ALL[name].text(replace(DOMAIN, **one)) for one in ({}, {"memory": 1024}, {"disks": DISKS[1:]}, {"firmware": "uefi"})]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ALL)
def test_encrypted_disks_are_opened_or_refused(name):
    locked = replace(DOMAIN, encrypted=frozenset([DISKS[0][0]]), secret="00000000-0000-0000-0000-00000000abcd")
    if name in CANNOT_OPEN:
        with pytest.raises(InvalidInput, match="web01, which are encrypted"):
            ALL[name].text(locked)
    else:
        assert ALL[name].text(locked) != ALL[name].text(DOMAIN)


@pytest.mark.parametrize("name", ALL)
def test_a_description_is_known_again_and_nothing_else_is_taken_for_one(name):
    text, later = ALL[name].text(DOMAIN), replace(DOMAIN, memory=1024, boot_disk=0)
    assert ALL[name].whose(text, later) == "web01"
    for other in ("", "x", "[]", "{}", '{"mine": 1}', "<mine/>", "#!/bin/sh\nrm x\n", "[" * 3000):
        assert ALL[name].whose(other, later) == ""
    assert [one for one in ALL if ALL[one].whose(text, DOMAIN)] == [name]


def test_no_two_formats_have_the_same_file():
    assert len({one.ending for one in ALL.values()}) == len(ALL) and all(name == one.name for name, one in ALL.items())


OTHERS = {
    "a NIC less": ({"nics": DOMAIN.nics[:1]}, "MACs"),
    "NICs in another order": ({"nics": DOMAIN.nics[::-1]}, "MACs"),
    "another MAC": ({"nics": (replace(DOMAIN.nics[0], mac=macs.canonical("52:54:00:00:00:09")), DOMAIN.nics[1])}, "MACs"),
    "another bridge": ({"nics": (DOMAIN.nics[0], replace(DOMAIN.nics[1], network="bridge:br1"))}, "networks"),
    "a disk less": ({"disks": DISKS[:2]}, "disks"),
    "disks in another order": ({"disks": (DISKS[2], *DISKS[:2])}, "disks"),
    "another disk to start from": ({"boot_disk": 2}, "disk to start from"),
}
SAYS_NOTHING = {
    "kubevirt": {"another bridge", "disks in another order", "a disk less"},
    "openstack": {"a NIC less", "NICs in another order", "another MAC", "another bridge", "a disk less"},
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("name", ALL)
def test_a_description_of_another_vm_is_no_description_of_this_one(name, other):
    """What each format says is read again from its text, and compared with the VM."""
    changed, what = OTHERS[other]
    text = ALL[name].text(DOMAIN)
    require_said(DOMAIN, ALL[name], text)
    if other in SAYS_NOTHING.get(name, ()):
        return
    with pytest.raises((MigrationError, ValueError), match=f"has other ({what}|disks)" if name != "openstack" else None):
        require_said(replace(DOMAIN, **changed), ALL[name], text)


@given(
    st.lists(st.tuples(st.sampled_from(["qcow2", "raw"]), st.booleans()), min_size=1, max_size=6),
    st.lists(st.tuples(st.booleans(), st.sampled_from(["default", "bridge:br0", "bridge:vmbr0", "lan, 2", "bridge:a,b"])), max_size=11),
    st.data(),
)
def test_every_description_says_what_the_vm_has(disks, nics, data):
    paths = tuple((f"/images/a, b=%{number}'.{fmt}" if odd else f"/images/d{number}.{fmt}", fmt) for number, (fmt, odd) in enumerate(disks))
    cards = tuple(
        Nic(macs.canonical(f"52:54:00:00:01:{number:02x}") if known else None, network) for number, (known, network) in enumerate(nics)
    )
    domain = Domain("web01", paths, cards, boot_disk=data.draw(st.integers(0, len(paths) - 1)))
    for name, one in ALL.items():
        if name == "proxmox" and any(network == "bridge:a,b" for dummy, network in nics):
            with pytest.raises(InvalidInput, match="commas"):
                one.text(domain)
        else:
            require_said(domain, one, one.text(domain))


@dataclass(frozen=True)
class OneMore:
    name: str = "one-more"
    ending: str = ".one-more"
    program: bool = False

    def text(self, domain: Domain) -> str:
        return f"{domain.name} has {domain.memory} MiB\n"

    def said(self, text: str, domain: Domain) -> Said:
        return Said()

    def whose(self, found: str, domain: Domain) -> str:
        return found.partition(" has ")[0]


def test_one_more_format_is_written_as_the_others_are(tmp_path):
    base = str(tmp_path / "web01")

    def described(domain: Domain) -> list[descriptions.Description]:
        return [one for one in descriptions.of(domain, base, 0o640, [libvirt_xml.FORMAT, OneMore()]) if one.stale]

    for domain in (DOMAIN, replace(DOMAIN, memory=1024)):
        stale = described(domain)
        descriptions.require_ours(stale)
        descriptions.write(stale)
        assert len(stale) == 2 and described(domain) == []
    assert (tmp_path / "web01.one-more").read_text() == "web01 has 1024 MiB\n"
    (tmp_path / "web01.one-more").write_text("db01 has 1 MiB\n")
    with pytest.raises(InvalidInput, match=r"web01\.one-more is the description of db01"):
        descriptions.require_ours(described(DOMAIN))


def test_the_documents_know_every_format():
    documented = yaml.safe_load(domain_describe.DOCUMENTATION)["options"]["formats"]
    role = yaml.safe_load((ROOT / "roles/migrate/meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    for option in (documented, role["migrate_describe_formats"], domain_describe.argument_spec()["formats"]):
        assert option["choices"] == list(formats.FORMATS)
    for name, one in formats.FORMATS.items():
        assert any(line.startswith(f"V({name}) is C(<name>{one.ending})") for line in documented["description"])
        assert name in role["migrate_describe_formats"]["description"]


def test_data_of_a_format_are_read_by_whoever_takes_them():
    for name in CANNOT_OPEN:
        assert isinstance(json.loads(ALL[name].text(DOMAIN)), dict)
