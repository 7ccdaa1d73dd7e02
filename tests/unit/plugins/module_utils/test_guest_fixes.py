# SPDX-License-Identifier: GPL-3.0-or-later
"""initramfs images, tools removal, network names, EFI fallback, storage caches, inspection."""

from __future__ import annotations

import bz2
import gzip
import lzma

import fixtures
import pytest
from fixtures import DEVICES, INITRD, KVER, MAC, MODULES, facts, guest
from fixtures import initramfs as image
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MissingTool
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.copies import CopyFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.entries import RemoveFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.run import RunCommand
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.changes.write import WriteFile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import GuestFacts, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, efi, initramfs, inspect, network, newc, storage, tools
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import names


def zstd(data):
    import zstandard

    return zstandard.ZstdCompressor().compress(data)


def lz4(data):
    """The kernel's legacy frame, which has no end mark."""
    import lz4.block

    blocks = [lz4.block.compress(data[at : at + (8 << 20)], store_size=False) for at in range(0, len(data), 8 << 20)]
    return b"\x02\x21\x4c\x18" + b"".join(len(block).to_bytes(4, "little") + block for block in blocks)


COMPRESSIONS = {"none": bytes, "gzip": gzip.compress, "xz": lzma.compress, "bzip2": bz2.compress, "zstd": zstd, "lz4": lz4}
member = st.tuples(
    st.text("abc/", min_size=1, max_size=8).map(lambda name: "x" + name.replace("//", "/").strip("/")), st.binary(max_size=64)
)


@given(st.lists(member, max_size=5, unique_by=lambda pair: pair[0]))
def test_an_archive_lists_what_was_written(members):
    names = {name for name, dummy in members if not any(other.startswith(name + "/") for other, dummy in members)}
    assert names <= cpio.read(newc.write(members)).names


@pytest.mark.parametrize("first", COMPRESSIONS)
@pytest.mark.parametrize("early", [False, True])
def test_a_row_of_archives_behind_any_compression(first, early):
    main = COMPRESSIONS[first](newc.write([("init", b"x"), ("conf/modules", b"a\n" * 5000)]))
    data = (newc.write([("kernel/x86/microcode/AuthenticAMD.bin", b"u" * 700)]) + bytes(300) if early else b"") + main
    data += bytes(newc.padding(len(data))) + newc.write([("usr/lib/modules/1/virtio_blk.ko", b"m"), ("conf/modules", b"b\n")])
    read = cpio.read(data)
    assert {"init", "conf/modules"} <= read.names and read.modules == {"virtio_blk"} and read.texts["conf/modules"] == b"b\n"
    assert ("kernel/x86/microcode/AuthenticAMD.bin" in read.names) == early


@pytest.mark.parametrize("first", [name for name in COMPRESSIONS if name != "lz4"])
def test_a_truncated_image_is_damaged(first):
    data = COMPRESSIONS[first](newc.write([("init", bytes(range(256)) * 40)]))
    with pytest.raises(InvalidInput, match="damaged"):
        cpio.read(data[: len(data) // 2])


@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"070701", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh9", b"\x28\xb5\x2f\xfd", b"\x02\x21\x4c\x18"]),
)
def test_any_bytes_are_read_or_refused(data, head):
    try:
        cpio.read(head + data)
    except InvalidInput as error:
        assert error.hint


def test_a_bomb_is_refused(monkeypatch):
    monkeypatch.setattr(cpio, "LIMIT", 1 << 20)
    with pytest.raises(InvalidInput, match="unpacks to more"):
        cpio.read(gzip.compress(bytes(8 << 20)))


def test_a_missing_decompressor_is_named(monkeypatch):
    monkeypatch.setattr(cpio, "zstandard", None)
    with pytest.raises(MissingTool, match="python3-zstandard"):
        cpio.read(b"\x28\xb5\x2f\xfd" + bytes(100))


def plan(made, mode="overlay", tool="initramfs-tools"):
    findings = Findings()
    return initramfs.plan(made, GuestFacts(kernels=inspect.kernels(made), initramfs_tool=tool), mode, findings), findings


def test_a_complete_image_is_left_alone():
    whole = image("ext4", "virtio", "virtio_ring", "virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net")
    made = guest(**{INITRD: whole, "/etc/initramfs-tools/conf.d/resume": "RESUME=none\n"})
    assert plan(made)[0] == []


def test_every_kernel_gets_its_drivers():
    other = "6.2.0-1-amd64"
    extra = {
        path.replace(KVER, other): value for path, value in fixtures.files().items() if KVER in path and isinstance(value, (bytes, str))
    }
    extra[f"/boot/initrd.img-{other}"] = image("ext4").replace(b"", b"")
    made = guest(**extra)
    changes, dummy = plan(made)
    assert [change.path for change in changes if change.path.startswith("/boot")] == [INITRD, f"/boot/initrd.img-{other}"]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({f"{MODULES}/modules.dep": "kernel/fs/ext4/ext4.ko:\n"}, "kernel.no-driver"),
        ({INITRD: b"garbage"}, "initramfs.unreadable"),
        ({f"{MODULES}/{fixtures.DRIVERS['virtio_blk']}": None}, "kernel.damaged"),
        ({INITRD: None}, "initramfs.missing"),
    ],
)
def test_what_cannot_be_repaired_is_a_concern(change, code):
    made = guest(**{path: value for path, value in change.items() if value is not None})
    for path, value in change.items():
        if value is None:
            del made.files[path]
    changes, findings = plan(made)
    assert code in [concern.code for concern in findings.concerns]
    assert not [change for change in changes if change.path == INITRD]


def test_a_rescue_image_with_modules_of_its_own_is_no_concern():
    rescue = {
        "/boot/vmlinuz-0-rescue-abc": fixtures.KERNEL_IMAGE,
        "/boot/initramfs-0-rescue-abc.img": image("ext4", "virtio_pci", "virtio_blk"),
    }
    dummy, findings = plan(guest(**rescue))
    assert not findings.concerns


def test_drivers_that_are_built_in_need_no_module():
    made = guest(
        **{
            f"{MODULES}/modules.dep": "kernel/fs/ext4/ext4.ko:\n",
            f"{MODULES}/modules.builtin": "kernel/virtio/virtio_pci.ko\nkernel/virtio/virtio_blk.ko\n",
        }
    )
    changes, findings = plan(made)
    assert not findings.concerns and all(not change.modules for change in changes if change.path == INITRD)


def test_dracut_is_told_for_the_next_update_and_no_longer_omits():
    made = guest(**{"/etc/dracut.conf.d/lab.conf": 'omit_drivers+=" virtio virtio_blk nfs "\n'})
    after = {change.path: change.after for change in plan(made, tool="dracut")[0] if isinstance(change, WriteFile)}
    assert 'add_drivers+=" virtio_pci virtio_blk' in after["/etc/dracut.conf.d/90-hyper2kvm.conf"]
    assert after["/etc/dracut.conf.d/lab.conf"] == 'omit_drivers+=" nfs "\n'


def test_mkinitcpio_is_told_for_the_next_update():
    made = guest(**{"/etc/mkinitcpio.conf": "# x\nMODULES=(ext4)\nHOOKS=(base)\n"})
    after = {change.path: change.after for change in plan(made, tool="mkinitcpio")[0] if isinstance(change, WriteFile)}
    assert after["/etc/mkinitcpio.conf"] == "# x\nMODULES=(ext4 virtio_pci virtio_blk virtio_scsi)\nHOOKS=(base)\n"


def test_baked_in_command_lines_lose_the_old_devices():
    base = newc.write(
        [("init", b"x"), ("etc/cmdline.d/95resume.conf", b"resume=/dev/sdz1\n"), ("etc/cmdline.d/95root.conf", b"root=/dev/sda2\n")]
    )
    (change,) = [change for change in plan(guest(**{INITRD: base}))[0] if change.path == INITRD]
    assert dict(change.texts)["etc/cmdline.d/95resume.conf"] == "\n" and dict(change.texts)["etc/cmdline.d/95root.conf"].startswith(
        "root=UUID="
    )


def test_a_tool_that_is_not_known_cannot_regenerate():
    with pytest.raises(InvalidInput, match="cannot be regenerated"):
        plan(guest(), "regenerate", "")


def test_the_tools_package_leaves_with_its_database_entry():
    made = guest()
    changes = tools.plan(made, Findings())
    removed = {change.path for change in changes if isinstance(change, RemoveFile)}
    (status,) = [change.after for change in changes if isinstance(change, WriteFile)]
    assert (
        "open-vm-tools" not in status
        and status.count("Package:") == 2
        and "Package: sed\nStatus: install ok installed\nVersion: 4.9\n" in status
    )
    assert removed == {
        "/usr/bin/vmtoolsd", "/lib/systemd/system/open-vm-tools.service", "/etc/vmware-tools",
        "/etc/systemd/system/multi-user.target.wants/open-vm-tools.service",
        "/var/lib/dpkg/info/open-vm-tools.list", "/var/lib/dpkg/info/open-vm-tools.postinst",
    }  # fmt: skip


def test_a_link_that_the_package_calls_a_directory_stays():
    """/lib is a directory to a package and a link to usr/lib in the guest; removing it would end the guest."""
    made = guest()
    assert made.stat("/lib").kind == "link"
    assert not {"/lib", "/usr", "/etc", "/usr/bin"} & {change.path for change in tools.plan(made, Findings())}


def test_a_package_that_others_need_stays():
    status = (
        fixtures.dpkg()["/var/lib/dpkg/status"] + "Package: ubuntu-server\nStatus: install ok installed\nDepends: open-vm-tools, bash\n\n"
    )
    findings = Findings()
    assert tools.plan(guest(**{"/var/lib/dpkg/status": status}), findings) == []
    assert [concern.code for concern in findings.concerns] == ["tools.needed"]


def test_an_alternative_is_no_need():
    status = fixtures.dpkg()["/var/lib/dpkg/status"] + "Package: x\nStatus: install ok installed\nDepends: open-vm-tools | bash\n\n"
    assert tools.plan(guest(**{"/var/lib/dpkg/status": status}), Findings())


def test_rpm_does_it_itself():
    made = MemoryGuest({"/usr/bin/vmtoolsd": b"x", "/usr/bin/rpm": b"x"})
    assert [change.argv for change in tools.plan(made, Findings()) if isinstance(change, RunCommand)] == [
        ("/usr/bin/rpm", "-e", "--noscripts", "open-vm-tools-desktop"),
        ("/usr/bin/rpm", "-e", "--noscripts", "open-vm-tools"),
    ]


def test_a_tarball_leaves_what_it_gave_back():
    made = MemoryGuest({
        "/etc/vmware-tools/locations": "file /usr/bin/vmware-a\nfile /usr/bin/vmware-b 123\nfile /etc/kept\nremove_file /etc/kept\n",
        "/usr/bin/vmware-a": b"a", "/usr/bin/vmware-b": b"b", "/etc/kept": b"k", "/etc/init.d/vmware-tools": b"s",
    })  # fmt: skip
    assert {change.path for change in tools.plan(made, Findings())} == {
        "/usr/bin/vmware-a",
        "/usr/bin/vmware-b",
        "/etc/vmware-tools",
        "/etc/init.d/vmware-tools",
    }


def test_a_guest_without_tools_is_left_alone():
    assert tools.plan(MemoryGuest({"/etc/fstab": ""}), Findings()) == []


PROFILES = {
    "ifupdown": (
        "/etc/network/interfaces",
        "auto lo\niface lo inet loopback\niface ens192 inet static\n address 10.0.0.2/24\n",
        "ens192",
        None,
    ),
    "netplan": ("/etc/netplan/01.yaml", "network:\n  version: 2\n  ethernets:\n    ens192:\n      dhcp4: true\n", "ens192", None),
    "netplan-mac": (
        "/etc/netplan/01.yaml",
        f'network:\n  ethernets:\n    lan:\n      match:\n        macaddress: "{MAC}"\n      set-name: ens192\n',
        "ens192",
        MAC,
    ),
    "netplan-flow": (
        "/etc/netplan/01.yaml",
        f"network:\n  ethernets:\n    ens192:\n      match: {{macaddress: {MAC}}}\n  vlans:\n    v10: {{id: 10}}\n",
        "ens192",
        MAC,
    ),
    "networkd": ("/etc/systemd/network/a.network", "[Match]\nName=ens192\n[Network]\nDHCP=no\n", "ens192", None),
    "networkd-mac": ("/etc/systemd/network/a.network", f"[Match]\nMACAddress={MAC}\n", None, MAC),
    "networkmanager": (
        "/etc/NetworkManager/system-connections/a.nmconnection",
        f"[connection]\ntype=ethernet\ninterface-name=ens192\n[ethernet]\nmac-address={MAC.upper()}\n",
        "ens192",
        MAC,
    ),
    "ifcfg": ("/etc/sysconfig/network-scripts/ifcfg-ens192", f'DEVICE="ens192"\nHWADDR={MAC}\n', "ens192", MAC),
    "ifcfg-suse": ("/etc/sysconfig/network/ifcfg-eth0", "BOOTPROTO='dhcp'\n", "eth0", None),
}


@pytest.mark.parametrize("kind", PROFILES)
def test_a_profile_is_read(kind):
    path, text, name, mac = PROFILES[kind]
    (profile,) = [profile for profile in names.profiles(MemoryGuest({path: text})) if profile.kind == "ethernet"]
    assert (profile.backend, profile.name, profile.mac) == ("wicked" if kind == "ifcfg-suse" else kind.split("-")[0], name, mac)


def nics(made, *given):
    findings = Findings()
    return network.interfaces(made, given, "machine", findings), [concern.code for concern in findings.concerns]


LAN = {"/etc/network/interfaces": "iface ens192 inet dhcp\niface ens224 inet dhcp\n", "/lib/systemd/network/99-default.link": ""}


def test_the_slot_of_a_card_says_its_name():
    found = nics(MemoryGuest(LAN), Nic("00:00:00:00:00:02", slot=224), Nic("00:00:00:00:00:01", slot=192))
    assert found == ((("ens224", "00:00:00:00:00:02"), ("ens192", "00:00:00:00:00:01")), [])


def test_the_guests_own_rule_says_its_name():
    rule = f'ATTR{{address}}=="{MAC}", NAME="ens224"\n'
    made = MemoryGuest({**LAN, names.PERSISTENT_RULES: rule})
    assert nics(made, Nic(MAC), Nic("00:00:00:00:00:01"))[0] == (("ens224", MAC), ("ens192", "00:00:00:00:00:01"))


def test_an_ovf_without_macs_takes_the_guests_own():
    made = MemoryGuest(
        {"/etc/network/interfaces": "iface ens192 inet dhcp\n", names.PERSISTENT_RULES: f'ATTR{{address}}=="{MAC}", NAME="ens192"\n'}
    )
    assert nics(made, Nic(None))[0] == (("ens192", MAC),)


OTHER = "00:00:00:00:00:01"
BY_MAC = {
    "/etc/NetworkManager/system-connections/a.nmconnection": f"[connection]\ntype=ethernet\n[ethernet]\nmac-address={MAC}\n[ipv4]\nmethod=auto\n"
}
LAN_AND_BY_MAC = {"/etc/network/interfaces": "iface ens192 inet dhcp\n", "/lib/systemd/network/99-default.link": "", **BY_MAC}


@pytest.mark.parametrize("given", [(), (Nic(MAC),), (Nic(None),)])
def test_a_profile_that_knows_its_card_by_mac_needs_no_name(given):
    made = MemoryGuest({**BY_MAC, "/lib/systemd/network/99-default.link": ""})
    found = nics(made, *given)
    assert found == ((("", MAC),), []) and network.plan(made, found[0], {}, Findings()) == []
    (nic,) = names.nics(names.profiles(made), found[0], "virtio_net")
    assert (nic.mac, nic.method) == (MAC, "dhcp")


@pytest.mark.parametrize("macs", [(MAC, OTHER), (OTHER, MAC)])
def test_a_card_without_name_leaves_the_name_to_the_other_and_the_order_as_it_is(macs):
    expected = tuple(("" if mac == MAC else "ens192", mac) for mac in macs)
    assert nics(MemoryGuest(LAN_AND_BY_MAC), *map(Nic, macs)) == (expected, [])


def test_a_card_without_mac_takes_a_name_before_an_old_profiles_mac():
    """A profile by MAC may be that of a card which is long gone."""
    ((name, mac),) = nics(MemoryGuest(LAN_AND_BY_MAC), Nic(None))[0]
    assert name == "ens192" and mac != MAC
    assert {name for name, dummy in nics(MemoryGuest(LAN_AND_BY_MAC), Nic(None), Nic(None))[0]} == {"ens192", ""}


def test_bare_disks_get_a_mac_that_stays_the_same():
    made = MemoryGuest(LAN)
    first, second = nics(made)[0], nics(made)[0]
    assert first == second and [name for name, dummy in first] == ["ens192", "ens224"] and len({mac for dummy, mac in first}) == 2


def test_an_assumed_order_and_a_missing_card_are_concerns():
    assert nics(MemoryGuest(LAN), Nic("00:00:00:00:00:01"), Nic("00:00:00:00:00:02"))[1] == ["network.assumed-order"]
    assert nics(MemoryGuest(LAN), Nic("00:00:00:00:00:01"))[1] == ["network.unassigned"]


def test_names_are_pinned_and_no_profile_is_touched():
    changes = network.plan(MemoryGuest(LAN), [("ens192", MAC)], {}, Findings())
    assert [(change.path, change.after) for change in changes] == [
        ("/etc/systemd/network/10-hyper2kvm-ens192.link", f"[Match]\nMACAddress={MAC}\n\n[Link]\nName=ens192\n")
    ]


def test_old_udev_gets_a_rule():
    (change,) = network.plan(
        MemoryGuest({"/etc/network/interfaces": "iface eth0 inet dhcp\n", "/lib/udev/x": ""}), [("eth0", MAC)], {}, Findings()
    )
    assert change.path == names.PERSISTENT_RULES and MAC in change.after and "vmxnet3" not in change.after


@pytest.mark.parametrize(
    ("present", "copies"),
    [
        (["debian/grubx64.efi"], {"BOOTX64.EFI": "debian/grubx64.efi"}),
        (
            ["debian/shimx64.efi", "debian/grubx64.efi", "debian/mmx64.efi"],
            {"BOOTX64.EFI": "debian/shimx64.efi", "grubx64.efi": "debian/grubx64.efi", "mmx64.efi": "debian/mmx64.efi"},
        ),
        (["Fedora/ShimX64.EFI", "Fedora/GRUBX64.EFI"], {"BOOTX64.EFI": "Fedora/ShimX64.EFI", "grubx64.efi": "Fedora/GRUBX64.EFI"}),
        (
            ["sles/shim.efi", "sles/grub.efi", "sles/MokManager.efi"],
            {"BOOTX64.EFI": "sles/shim.efi", "grub.efi": "sles/grub.efi", "MokManager.efi": "sles/MokManager.efi"},
        ),
        (["systemd/systemd-bootx64.efi"], {"BOOTX64.EFI": "systemd/systemd-bootx64.efi"}),
        (["debian/grubx64.efi", "boot/bootx64.efi"], {}),
    ],
)
def test_the_fallback_loader(present, copies):
    made = MemoryGuest({f"/boot/efi/EFI/{path}": b"MZ" for path in present})
    changes = efi.plan(made, "x86_64", Findings())
    assert {change.path: change.source for change in changes if isinstance(change, CopyFile)} == {
        f"/boot/efi/EFI/BOOT/{name}": f"/boot/efi/EFI/{path}" for name, path in copies.items()
    }


@pytest.mark.parametrize(("files", "code"), [({}, "efi.no-system-partition"), ({"/boot/efi/EFI/x/readme": b""}, "efi.no-loader")])
def test_uefi_without_a_loader_is_a_blocker(files, code):
    findings = Findings()
    assert efi.plan(MemoryGuest(files), "x86_64", findings) == [] and [concern.code for concern in findings.concerns] == [code]


def test_caches_of_the_old_hardware_go():
    old = "VERSION=1.1.1\nIDTYPE=sys_wwid IDNAME=naa.6000c29 DEVNAME=/dev/sda3 PVID=x\n"
    assert [
        change.path for change in storage.plan(MemoryGuest({"/etc/lvm/devices/system.devices": old, "/etc/blkid.tab": "x"}), Findings())
    ] == [
        "/etc/blkid.tab",
        "/etc/lvm/devices/system.devices",
    ]
    kept = "IDTYPE=lvmlv_uuid IDNAME=LVM-x DEVNAME=/dev/x PVID=x\n"
    assert storage.plan(MemoryGuest({"/etc/lvm/devices/system.devices": kept}), Findings()) == []


def test_facts():
    found = facts(guest())
    assert (found.distribution, found.version, found.family, found.architecture, found.hostname) == (
        "debian",
        "12",
        "debian",
        "x86_64",
        "web01",
    )
    assert [(kernel.version, kernel.initramfs, kernel.modules) for kernel in found.kernels] == [(KVER, INITRD, MODULES)]
    assert (found.boot_loaders, found.initramfs_tool, found.network, found.tools) == (
        ("grub2",),
        "initramfs-tools",
        ("ifupdown",),
        ("open-vm-tools",),
    )


def test_kernels_are_ordered_by_version():
    made = MemoryGuest({f"/boot/vmlinuz-{version}": b"" for version in ("5.14.0-427.el9", "5.14.0-70.el9", "5.9.0")})
    assert [kernel.version for kernel in inspect.kernels(made)] == ["5.9.0", "5.14.0-70.el9", "5.14.0-427.el9"]


def test_a_kernel_on_the_esp_is_found_by_its_entry():
    made = MemoryGuest(
        {
            "/boot/efi/loader/entries/a.conf": "version 6.1\nlinux /m/6.1/linux\ninitrd /m/6.1/initrd\n",
            "/boot/efi/m/6.1/linux": b"",
            "/boot/efi/m/6.1/initrd": b"",
        }
    )
    assert [(kernel.image, kernel.initramfs) for kernel in inspect.kernels(made)] == [("/boot/efi/m/6.1/linux", "/boot/efi/m/6.1/initrd")]


def test_links_are_followed_inside_the_guest_only():
    made = MemoryGuest(
        {"/a": Stat("link", target="/b/c"), "/b": Stat("link", target="d"), "/d/c": "x", "/l": Stat("link", target="/l")}, DEVICES
    )
    assert made.read("/a") == b"x" and made.read("/l") is None
