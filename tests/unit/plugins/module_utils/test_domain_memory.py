# SPDX-License-Identifier: GPL-3.0-or-later
"""A domain remembers its VM: libvirt's own test driver holds the domains."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import libvirt
import pytest

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import (
    domain_xml,
    libvirt_xml,
    libvirtd,
    lifecycle,
    placement,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.decision import Unwanted, Wanted
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.domain import Domain
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets.libvirt import Libvirt

ONE = VmId("u1", "/a/web01.vmx", ("/a/web01.vmx",), "web01", "d1")
OTHER = VmId("u2", "/b/web01.vmx", ("/b/web01.vmx",), "web01", "d2")


@pytest.fixture
def host(monkeypatch, tmp_path):
    """libvirt with its test driver, which takes domains of its own type alone."""
    defined = domain_xml.defined
    monkeypatch.setattr(domain_xml, "defined", lambda *given: defined(*given).replace('type="qemu"', 'type="test"', 1))
    # This driver undefines, but knows no variables of firmware.
    monkeypatch.setattr(libvirtd, "undefine", lambda domain: domain.undefine())
    opened = libvirt.open("test:///default")
    yield opened
    for domain in opened.listAllDomains():
        if domain.name() == "web01":
            domain.undefine()
    opened.close()


def described(folder: Path, vm: VmId | None, memory: int = 256) -> str:
    folder.mkdir(exist_ok=True)
    disk = folder / "web01-disk0.qcow2"
    if not disk.exists():
        disk.write_bytes(b"image")
    return libvirt_xml.FORMAT.text(Domain("web01", ((str(disk), "qcow2"),), memory=memory, vm=vm))


def bring(host, description: str, check: bool = False, **more: object) -> lifecycle.Done:
    return lifecycle.bring(Libvirt(host, accelerator="tcg"), Wanted(description, **more), check)


def take_back(host, *source: str, description: str = "") -> lifecycle.Done:
    unwanted = Unwanted("web01", timeout=1, power_off=True, source=source, description=description)
    return lifecycle.take_back(Libvirt(host), unwanted, False)


def whose(host) -> VmId | None:
    return domain_xml.vm_of(libvirtd.mark(host.lookupByName("web01"), domain_xml.OF_VM))


def test_a_domain_remembers_its_vm_and_a_second_run_changes_nothing(host, tmp_path):
    description = described(tmp_path / "a", ONE)
    assert bring(host, description).actions == ("define web01",)
    assert whose(host) == ONE and bring(host, description).actions == ()


def test_another_vm_of_the_name_never_gets_the_domain(host, tmp_path):
    bring(host, described(tmp_path / "a", ONE))
    before = host.lookupByName("web01").XMLDesc(0)
    for check in (True, False):
        with pytest.raises(InvalidInput, match=r"The domain web01 belongs to .*/a/web01\.vmx.*/b/web01\.vmx"):
            bring(host, described(tmp_path / "b", OTHER), check)
    with pytest.raises(InvalidInput, match="belongs to"):
        take_back(host, *OTHER.source)
    with pytest.raises(InvalidInput, match="belongs to"):
        bring(host, described(tmp_path / "a", ONE), source=OTHER.source)
    assert host.lookupByName("web01").XMLDesc(0) == before
    assert take_back(host, *ONE.source).actions == ("undefine web01",)


def test_a_vm_that_moved_keeps_its_domain_on_the_operators_word(host, tmp_path):
    bring(host, described(tmp_path / "a", ONE))
    moved = replace(ONE, place="/c/web01.vmx", source=("/c/web01.vmx",))
    with pytest.raises(InvalidInput, match="migrate_moved"):
        bring(host, described(tmp_path / "a", moved))
    uuid = host.lookupByName("web01").UUIDString()
    assert bring(host, described(tmp_path / "a", moved), moved=True).actions == ("define web01",)
    assert whose(host) == moved and host.lookupByName("web01").UUIDString() == uuid


def test_what_says_whose_a_domain_is_is_no_reason_to_define_it_anew(host, tmp_path):
    """Whoever ran another version before keeps what was changed by hand."""
    marks = [domain_xml.mark_of(domain_xml.defined(described(tmp_path / "a", vm), {}, "tcg", {})) for vm in (None, ONE)]
    assert marks[0]["digest"] and marks[0] == marks[1]
    bring(host, described(tmp_path / "a", ONE))
    assert bring(host, described(tmp_path / "a", replace(ONE, digest="d9"))).actions == ()


def test_a_domain_of_an_earlier_version_is_taken_over_with_its_images_alone(host, tmp_path):
    old = described(tmp_path / "a", None)
    bring(host, old)
    with pytest.raises(InvalidInput, match="does not say which VM it is"):
        bring(host, described(tmp_path / "b", OTHER))
    with pytest.raises(InvalidInput, match="does not say which VM it is"):
        take_back(host, *OTHER.source, description=described(tmp_path / "b", OTHER))
    with pytest.raises(InvalidInput, match="does not say which VM it is"):
        take_back(host, *ONE.source)
    assert bring(host, described(tmp_path / "a", ONE)).actions == ("define web01",) and whose(host) == ONE


def test_a_domain_of_an_earlier_version_is_taken_back_with_its_description(host, tmp_path):
    old = described(tmp_path / "a", None)
    bring(host, old)
    assert take_back(host, *ONE.source, description=old).actions == ("undefine web01",)


HOSTILE = {
    "no JSON": "x",
    "another thing": json.dumps({"uuid": "u1"}),
    "a list": "[]",
    "empty": "",
    "deep": "[" * 3000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_memory_that_somebody_else_has_written_says_nothing(name):
    text = domain_xml.ElementTree.Element("identity")
    text.text = HOSTILE[name]
    assert domain_xml.vm_of(domain_xml.ElementTree.tostring(text, encoding="unicode")) is None


NAMES = ["{{ 7 * 7 }}", "</metadata>", "a\nb", "\x01\x02", "\ud800", "]]>", "&amp;", "é" * 300]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_whatever_a_vm_is_called_its_description_stays_one(tmp_path, name):
    vm = replace(ONE, name=name)
    text = described(tmp_path / "a", vm)
    assert domain_xml.vm_in(domain_xml.parse(text)) == vm
    (tmp_path / "d.xml").write_text(text, encoding="utf-8")
    subprocess.run(["virt-xml-validate", tmp_path / "d.xml", "domain"], check=True, capture_output=True)


def test_a_copy_of_another_image_is_not_taken_for_ones_own(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "web01-disk0.qcow2").write_bytes(name.encode())
    target = str(tmp_path / "pool" / "web01-disk0.qcow2")
    placement.place(str(tmp_path / "a" / "web01-disk0.qcow2"), target, placement.COPY)
    placement.place(str(tmp_path / "a" / "web01-disk0.qcow2"), target, placement.COPY)
    with pytest.raises(InvalidInput, match="is not a copy of"):
        placement.place(str(tmp_path / "b" / "web01-disk0.qcow2"), target, placement.COPY)
    assert Path(target).read_bytes() == b"a"
