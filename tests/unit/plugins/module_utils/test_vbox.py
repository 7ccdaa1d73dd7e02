# SPDX-License-Identifier: GPL-3.0-or-later
"""Folders of VirtualBox: what the settings say, and what is refused."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

CONTROLLERS = """<StorageControllers>
  <StorageController name="IDE" type="PIIX4" PortCount="2">
    <AttachedDevice passthrough="false" type="DVD" port="1" device="0"/>
    <AttachedDevice type="HardDisk" hotpluggable="false" port="1" device="1"><Image uuid="{c}"/></AttachedDevice>
  </StorageController>
  <StorageController name="SATA" type="AHCI" PortCount="2">
    <AttachedDevice type="HardDisk" port="1" device="0"><Image uuid="{b}"/></AttachedDevice>
    <AttachedDevice type="HardDisk" port="0" device="0"><Image uuid="{a}"/></AttachedDevice>
  </StorageController>
</StorageControllers>"""
HARDWARE = """<CPU count="4"/><Memory RAMSize="2048"/><Firmware type="EFI"/>
<Network>
  <Adapter slot="1" enabled="true" MACAddress="0800270000BB" type="virtio"><InternalNetwork name="lab"/></Adapter>
  <Adapter slot="0" enabled="true" MACAddress="0800270000AA" type="82540EM"><BridgedInterface name="eth0"/></Adapter>
  <Adapter slot="2" MACAddress="0800270000CC"><NAT/></Adapter>
</Network>"""
MEDIA = (
    '<HardDisk uuid="{a}" location="a.vdi" format="VDI" type="Normal"><HardDisk uuid="{s}" location="Snapshots/{s}.vdi"/></HardDisk>'
    '<HardDisk uuid="{b}" location="b.vmdk" format="VMDK"/><HardDisk uuid="{c}" location="c.vhd" format="VHD"/>'
)


def box(inside: str, beside: str = "", media: str = MEDIA) -> str:
    return (
        '<?xml version="1.0"?><VirtualBox xmlns="http://www.virtualbox.org/" version="1.16-linux">'
        f'<Machine uuid="{{m}}" name="web01" OSType="Debian_64"><MediaRegistry><HardDisks>{media}</HardDisks></MediaRegistry>'
        f"<Hardware>{HARDWARE}{inside}</Hardware>{beside}</Machine></VirtualBox>"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("web01")
    for name, fmt, options in (("a.vdi", "vdi", ""), ("b.vmdk", "vmdk", "subformat=monolithicSparse"), ("c.vhd", "vpc", "force_size=on")):
        subprocess.run(["qemu-img", "create", "-q", "-f", fmt, *(["-o", options] if options else []), made / name, "8M"], check=True)
    return made


def opened(folder, text):
    (folder / "web01.vbox").write_text(text)
    return open_source([str(folder / "web01.vbox")])


@pytest.mark.parametrize("new", [True, False])
def test_a_folder_gives_disks_in_bus_order_and_cards_with_macs(folder, new):
    vm = opened(folder, box(CONTROLLERS) if new else box("", CONTROLLERS))
    assert (vm.name, vm.kind, vm.memory, vm.cpus, vm.firmware, vm.guest_os) == ("web01", "vbox", 2048, 4, "uefi", "Debian_64")
    assert [disk.place.at for disk in vm.disks] == [("sata", 0, 0), ("sata", 0, 1), ("ide", 0, 3)]
    assert [disk.chain.links[0].path.rsplit("/", 1)[1] for disk in vm.disks] == ["a.vdi", "b.vmdk", "c.vhd"]
    assert all(disk.chain.virtual_size == 8 << 20 for disk in vm.disks)
    assert [(nic.mac, nic.network) for nic in vm.nics] == [("08:00:27:00:00:aa", "eth0"), ("08:00:27:00:00:bb", "lab")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (box(CONTROLLERS.replace("{a}", "{s}")), "runs on a snapshot"),
        (box(CONTROLLERS, media=MEDIA.replace("a.vdi", "/etc/a.vdi")), "plain"),
        (box(CONTROLLERS, media=MEDIA.replace("a.vdi", "../a.vdi")), "plain"),
        (box(CONTROLLERS, media=MEDIA.replace("a.vdi", "gone.vdi")), "gone.vdi of .* is missing"),
        (box(CONTROLLERS, media=MEDIA.replace("a.vdi", "web01.vbox")), "an unknown kind"),
        (
            box(CONTROLLERS, media=MEDIA.replace('"VMDK"/>', '"VMDK"><Property name="CRYPT/KeyId" value="k"/></HardDisk>')),
            "b.vmdk of .* is encrypted",
        ),
        ("<VirtualBox><MachineEncrypted/></VirtualBox>", "is encrypted"),
        (box(""), "no disks of its own"),
        ("<VirtualBox/>", "no machine"),
        ("<VirtualBox><Machine/></VirtualBox>", "no machine"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><VirtualBox/>', "entities"),
        ("VirtualBox", "not well-formed"),
    ],
)
def test_what_cannot_be_read_is_refused(folder, text, words):
    with pytest.raises(MigrationError, match=words) as caught:
        opened(folder, text)
    assert caught.value.hint


def test_a_link_is_no_disk(folder, tmp_path):
    (tmp_path / "a.vdi").symlink_to(folder / "a.vdi")
    with pytest.raises(MigrationError, match="missing"):
        opened(tmp_path, box(CONTROLLERS))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(box(CONTROLLERS)) - 1), put=st.text(max_size=3))
def test_damage_is_an_error_or_a_vm(folder, at, put):
    text = box(CONTROLLERS)
    try:
        opened(folder, text[:at] + put + text[at + 1 :])
    except (MigrationError, UnicodeEncodeError):
        pass
