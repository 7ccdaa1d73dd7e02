# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever stands in a guest's files: no reader fails, and no line is changed that is not meant."""

from __future__ import annotations

import pytest
from fixtures import DEVICES, INITRD, MAC, guest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import (
    bootloader,
    crypttab,
    modules,
    mounts,
    network,
    newc,
    storage,
    tools,
)
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.default import default_entry
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.entries import boot_entries
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import names

WORDS = [
    "/dev/sda2", "/dev/sda1", "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part2", "/dev/mapper/vg-root", "UUID=x", "/", "swap", "ext4", "none",
    "luks", "defaults", "0", "#", "linux", "initrd", "menuentry", "'a'", '"b"', "{", "}", "submenu", "set", "default=", "default", "title", "root=/dev/sda2",
    "root=", "resume=/dev/sda1", "options", "kernel", "append", "label", "network:", "ethernets:", "  ens192:", "addresses:", "[10.0.0.1/24]", "dhcp4:",
    "true", "match:", "macaddress:", MAC, "[connection]", "[ipv4]", "type=ethernet", "interface-name=ens192", "address1=1.2.3.4/24,1.2.3.1", "[Match]",
    "Name=ens192", "[Network]", "DHCP=no", "DEVICE=ens192", "IPADDR=1.2.3.4", "NETMASK=255.255.255.0", "iface", "ens192", "inet", "static", "address",
    "bond-slaves", "vlan-raw-device", "DEVICE", "/dev/sd[a-z]", "filter", "=", "[", "]", '"a|/dev/sda|"', "alias", "eth0", "vmxnet3", "- !!python/x y", "\\",
    "&a", "*a", "GRUB_CMDLINE_LINUX=", "GRUB_DEFAULT=0", "saved_entry=a>b>c", "kernelopts=root=/dev/sda2", "\x00", "é", "\udcff",
    "²", "٣", "9" * 5000, f"/dev/sda{'9' * 5000}", "/dev/sda²", "address=10.0.0.²/²", "PREFIX=²", "GRUB_DEFAULT=²", f"GRUB_DEFAULT={'7' * 5000}",
]  # fmt: skip
line = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=6).map(" ".join),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\n\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=20),
)
content = st.lists(line, max_size=12).map("\n".join)
# The file, and what of it may change: a line is meant when it names one of these.
FILES = {
    "/etc/fstab": ("/dev/",), "/etc/crypttab": ("/dev/",), "/etc/default/grub": ("/dev/", "GRUB_DEFAULT"),
    "/boot/grub/grub.cfg": ("/dev/", "resume=", "default"),
    "/boot/grub/grub.conf": ("/dev/", "resume=", "default"), "/boot/loader/entries/a.conf": ("/dev/", "resume="), "/boot/loader/loader.conf": (),
    "/boot/extlinux.conf": ("/dev/", "resume="), "/etc/kernel/cmdline": ("/dev/", "resume="), "/etc/mdadm.conf": ("DEVICE",), "/etc/lvm/lvm.conf": ("filter",),
    "/etc/modprobe.d/a.conf": ("alias", "options"), "/etc/systemd/system/a.mount": ("What",), "/etc/auto.x": ("/dev/",), "/etc/kdump.conf": ("/dev/",),
    "/etc/netplan/a.yaml": (), "/etc/systemd/network/a.network": (), "/etc/systemd/network/a.netdev": (), "/etc/network/interfaces": (),
    "/etc/NetworkManager/system-connections/a": (), "/etc/sysconfig/network-scripts/ifcfg-a": (), "/etc/sysconfig/network/ifcfg-a": (), "/etc/dhcpcd.conf": (),
    "/etc/yum.repos.d/a.repo": ("enabled", "["), "/etc/vmware-tools/locations": (),
}  # fmt: skip


def plans(made):
    findings = Findings()
    facts = GuestFacts(initramfs_tool="initramfs-tools")
    yield from mounts.plan(made, findings)
    yield from crypttab.plan(made, facts, "stabilize-all", findings)
    yield from storage.plan(made, findings)
    yield from bootloader.plan(made, facts, findings)
    yield from network.plan(made, [], {}, findings)
    yield from modules.plan(made)
    yield from tools.plan(made, findings)


@pytest.mark.parametrize("path", FILES)
@given(content)
def test_a_line_that_is_not_meant_stays(path, body):
    made = MemoryGuest({path: body, "/boot/grub/grubenv": "# GRUB Environment Block\n".ljust(1024, "#")}, DEVICES)
    default_entry(made, boot_entries(made))
    for change in plans(made):
        if isinstance(change, WriteFile) and change.path == path:
            before, after = (change.before or "").split("\n"), change.after.split("\n")
            meant = [text for text in before if any(word in text for word in FILES[path])]
            assert [text for text in before if text not in meant] == [text for text in after if text in before and text not in meant], (
                before,
                after,
            )


@given(st.fixed_dictionaries({path: content for path in FILES if "etwork" in path or path in ("/etc/netplan/a.yaml", "/etc/dhcpcd.conf")}))
def test_network_files_together_say_how_a_card_comes_up(files):
    made = MemoryGuest(files)
    found = names.profiles(made, [])
    (nic,) = names.nics(found, [("ens192", MAC)], "virtio_net")
    assert nic.method in ("static", "dhcp", "none") and (nic.method != "static" or nic.addresses)
    names.nic_names(found)


@given(
    st.dictionaries(
        st.sampled_from(["conf/modules", "conf/conf.d/resume", "etc/crypttab", "etc/lvm/lvm.conf", "etc/mdadm.conf", "init", "x/y"]),
        st.binary(max_size=60),
    )
)
def test_any_initramfs_with_any_texts_is_extended_or_refused(files):
    from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import initramfs
    from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.inspect import kernels

    image = newc.write(sorted(files.items()))
    made = guest(**{INITRD: image})
    try:
        changes = initramfs.plan(made, GuestFacts(kernels=kernels(made), initramfs_tool="dracut"), "overlay", Findings())
    except InvalidInput as error:
        assert error.hint
    else:
        assert [change.path for change in changes if change.path == INITRD]
