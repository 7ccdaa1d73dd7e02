# SPDX-License-Identifier: GPL-3.0-or-later
"""fstab, crypttab, mount units and kernel command lines: only the device of an entry that needs it ever moves."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fixtures import BY_PATH, DATA, DEVICES, ROOT, SWAP
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import BLOCKER, WARNING, Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.protocol import stable_spec
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import bootloader, cmdline, crypttab, mounts

UNSTABLE = [*DEVICES, "/dev/sdz9", "/dev/disk/by-path/pci-0000:0b:00.0-scsi-0:0:9:0-part1"]
STABLE = [
    "UUID=x",
    'UUID="x"',
    "LABEL=a\\040b",
    "PARTUUID=y",
    "/dev/mapper/vg-root",
    "/dev/vg/root",
    "/dev/md0",
    "tmpfs",
    "nas:/x",
    "//cifs/x",
    "/dev/disk/by-uuid/x",
]

field = st.text(st.characters(blacklist_categories=("Z", "C"), blacklist_characters="#"), min_size=1, max_size=12).filter(
    lambda text: not re.match(r"(fuse\.)?vmhgfs|vboxsf|prl_fs", text)  # folders of the old host, whose entries are commented out
)
blank = st.sampled_from([" ", "\t", "   ", " \t "])
entry = st.builds("{}{}{}{}{}{}{}".format, st.sampled_from(UNSTABLE + STABLE), blank, field, blank, field, blank, field)
comment = st.text(st.characters(blacklist_categories=("C", "Zl", "Zp")), max_size=30).map(lambda text: "# " + text)
tables = st.lists(st.one_of(entry, comment, st.just(""), st.just("   ")), max_size=8).map("\n".join)


def guest(text, path=mounts.FSTAB):
    return MemoryGuest({path: text}, DEVICES)


def after(made, path=mounts.FSTAB, mode="stabilize-all"):
    changes = [change for change in mounts.plan(made, Findings(), mode) if change.path == path]
    return changes[0].after if changes else made.files[path].decode("utf-8", "surrogateescape")


@given(tables)
def test_parsing_and_printing_is_nothing(text):
    for position in (0, 1):
        assert "".join(line.text for line in mounts.parse(text, position)) == text


@given(tables)
def test_every_line_that_needs_nothing_stays_to_the_byte(text):
    for old, new in zip(text.splitlines(), after(guest(text)).splitlines()):
        spec = old.split()[0] if old.split() else ""
        if spec in DEVICES:
            assert new == old.replace(spec, stable_spec(guest(text), DEVICES[spec]), 1)
        else:
            assert new == old


@given(tables)
def test_nothing_is_left_to_do(text):
    made = guest(text)
    assert after(guest(after(made))) == after(made)


def test_escapes_comments_and_alignment_stay():
    text = f'\t{BY_PATH}2   /mnt/a\\040b  ext4\tdefaults,x="1 2"  0 1   # the root\r\n'
    assert after(guest(text)) == text.replace(f"{BY_PATH}2", f"UUID={ROOT.uuid}")


@pytest.mark.parametrize(
    ("device", "spec"),
    [
        (BlockDevice("d", uuid="u", partuuid="p", label="l"), "UUID=u"),
        (BlockDevice("d", partuuid="p", label="l"), "PARTUUID=p"),
        (BlockDevice("d", label="l", partlabel="q"), "LABEL=l"),
        (BlockDevice("d", partlabel="q"), "PARTLABEL=q"),
    ],
)
def test_the_best_name_a_device_has(device, spec):
    assert after(MemoryGuest({mounts.FSTAB: "/dev/sda9 /x ext4 defaults 0 0\n"}, {"/dev/sda9": device})) == f"{spec} /x ext4 defaults 0 0\n"


def test_modes():
    text = f"{BY_PATH}2 / ext4 defaults 0 1\n/dev/sda1 none swap sw 0 0\n"
    assert after(guest(text), mode="noop") == text
    assert after(guest(text), mode="bypath-only") == f"UUID={ROOT.uuid} / ext4 defaults 0 1\n/dev/sda1 none swap sw 0 0\n"
    with pytest.raises(InvalidInput):
        mounts.plan(guest(text), Findings(), "all")


@pytest.mark.parametrize(("options", "severity"), [("defaults", BLOCKER), ("defaults,nofail", WARNING)])
def test_what_cannot_be_resolved_is_a_concern_and_never_a_guess(options, severity):
    text = f"/dev/sdq7 /x ext4 {options} 0 0\n"
    findings = Findings()
    assert mounts.plan(guest(text), findings) == []
    assert [(concern.code, concern.severity) for concern in findings.concerns] == [("mounts.unresolved", severity)]


@pytest.mark.parametrize(
    "line", ["/dev/sr0 /cd iso9660 ro,noauto 0 0\n", "/dev/sdq7 /x ext4 noauto 0 0\n", "/dev/fd0 /f vfat noauto 0 0\n"]
)
def test_what_is_not_mounted_at_boot_is_no_concern(line):
    findings = Findings()
    assert mounts.plan(guest(line), findings) == [] and not findings.concerns


def test_crypttab_and_units():
    made = MemoryGuest(
        {mounts.CRYPTTAB: "# x\nvault\t/dev/sda4 none luks\n", "/etc/systemd/system/a.mount": "[Mount]\nWhat = /dev/sdb1\nWhere=/a\n"},
        DEVICES,
    )
    changes = [*mounts.plan(made, Findings()), *crypttab.plan(made, GuestFacts(), "stabilize-all", Findings())]
    assert {change.path: change.after for change in changes} == {
        mounts.CRYPTTAB: "# x\nvault\tUUID=44444444-4444-4444-8444-444444444444 none luks\n",
        "/etc/systemd/system/a.mount": f"[Mount]\nWhat = /dev/disk/by-uuid/{DATA.uuid}\nWhere=/a\n",
    }


def test_a_crypttab_within_an_image_and_a_comment_are_left_alone():
    line = "vault UUID=44444444-4444-4444-8444-444444444444 none luks,discard\n"
    assert crypttab.rewritten(line, GUEST) == line
    findings = Findings()
    assert mounts.plan(guest("#/dev/sdc1 /old xfs logdev=/dev/sdd1,noatime 0 0\n"), findings) == [] and not findings.concerns


GUEST = MemoryGuest({}, DEVICES)
token = st.one_of(
    st.sampled_from(["ro", "quiet", "console=ttyS0,115200", 'dyndbg="file x +p"', "rd.lvm.lv=vg/root", "init=/bin/x", "set"]),
    st.text("abc=.", min_size=1, max_size=8),
)


@given(
    st.lists(token.filter(lambda word: not word.startswith(("root=", "resume="))), max_size=8),
    st.lists(st.sampled_from([" ", "  ", "\t"]), min_size=9, max_size=9),
)
def test_a_command_line_without_devices_stays_to_the_byte(tokens, gaps):
    line = "".join(gap + word for gap, word in zip(gaps, tokens))
    assert cmdline.rewrite(line, GUEST) == line


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("root=/dev/sda2 ro", f"root=UUID={ROOT.uuid} ro"),
        (f"ro  root={BY_PATH}2", f"ro  root=UUID={ROOT.uuid}"),
        ("root=UUID=x ro", "root=UUID=x ro"),
        ("root=/dev/mapper/vg-root ro", "root=/dev/mapper/vg-root ro"),
        ("ro resume=/dev/sda1 quiet", f"ro resume=UUID={SWAP.uuid} quiet"),
        ("ro resume=/dev/sdz9 quiet", "ro quiet"),
        ("resume=UUID=gone", ""),
        ("resume=/dev/sda2 ro", "ro"),
        (f"resume=UUID={SWAP.uuid}", f"resume=UUID={SWAP.uuid}"),
        ("root=/dev/sdz9", "root=/dev/sdz9"),
        ("rootflags=subvol=@ xroot=/dev/sda2", "rootflags=subvol=@ xroot=/dev/sda2"),
        # What else names a device, as its documentation writes it (linux/cmdline says which).
        ("fips=1 boot=/dev/sda2", f"fips=1 boot=UUID={ROOT.uuid}"),
        ("real_root=/dev/sda2 crypt_root=/dev/sda4", f"real_root=UUID={ROOT.uuid} crypt_root=UUID=44444444-4444-4444-8444-444444444444"),
        ("cryptdevice=/dev/sda4:vault:allow-discards", "cryptdevice=UUID=44444444-4444-4444-8444-444444444444:vault:allow-discards"),
        (f"cryptdevice={BY_PATH}2:vault", f"cryptdevice=UUID={ROOT.uuid}:vault"),
        ("cryptkey=rootfs:/key", "cryptkey=rootfs:/key"),
        ("cryptkey=/dev/sda2:ext4:/key", f"cryptkey=UUID={ROOT.uuid}:ext4:/key"),
        ("cryptopts=target=r,source=/dev/sda2,lvm=x", f"cryptopts=target=r,source=UUID={ROOT.uuid},lvm=x"),
        ("cryptroot=/dev/sda2 cryptdm=root", f"cryptroot=UUID={ROOT.uuid} cryptdm=root"),
        ("rd.luks.key=/k:/dev/sda2", f"rd.luks.key=/k:UUID={ROOT.uuid}"),
        ("rd.luks.key=/k:UUID=x", "rd.luks.key=/k:UUID=x"),
        ("rd.luks.key=/k:/dev/sda2:UUID=y", f"rd.luks.key=/k:UUID={ROOT.uuid}:UUID=y"),
        (f"rd.luks.key=/k:{BY_PATH}2:UUID=y", f"rd.luks.key=/k:UUID={ROOT.uuid}:UUID=y"),
        ("cryptroot=source=/dev/sda2,target=x", f"cryptroot=source=UUID={ROOT.uuid},target=x"),
        ("mount.usr=/dev/sda2 mount.usrflags=ro", f"mount.usr=UUID={ROOT.uuid} mount.usrflags=ro"),
        ("systemd.mount-extra=/dev/sda2:/a:ext4", f"systemd.mount-extra=UUID={ROOT.uuid}:/a:ext4"),
        ("rootflags=logdev=/dev/sda2", f"rootflags=logdev=/dev/disk/by-uuid/{ROOT.uuid}"),
        (f"resume=UUID={ROOT.uuid} resume_offset=34816", f"resume=UUID={ROOT.uuid} resume_offset=34816"),
        ("resume=/dev/sda2 resume_offset=34816", f"resume=UUID={ROOT.uuid} resume_offset=34816"),
        ("ro resume=UUID=gone resume_offset=34816 quiet", "ro quiet"),
        ("resume=/dev/sda2 ro resume=/dev/sdz resume_offset=1", "ro"),
        ('dyndbg="file x +p" boot="/dev/sda2"', f'dyndbg="file x +p" boot=UUID={ROOT.uuid}'),
    ],
)
def test_devices_of_a_command_line(before, expected):
    assert cmdline.rewrite(before, GUEST) == expected
    assert cmdline.rewrite(expected, GUEST) == expected


def test_members_of_a_btrfs_are_told_apart_by_their_partitions():
    members = [
        BlockDevice(f"/dev/sd{disk}1", "btrfs", "one-for-all", partuuid=f"part-{disk}", disk=number, part=1)
        for number, disk in enumerate("ab")
    ]
    line = "rootflags=subvol=@,device=/dev/sda1,device=/dev/sdb1,device=/dev/sdz1"
    told = []
    assert cmdline.rewrite(line, MemoryGuest({}, {device.name: device for device in members}), lambda *what: told.append(what)) == (
        "rootflags=subvol=@,device=/dev/disk/by-partuuid/part-a,device=/dev/disk/by-partuuid/part-b,device=/dev/sdz1"
    )
    assert told == [("rootflags", "/dev/sdz1")]


@pytest.mark.parametrize(
    ("line", "left"),
    [
        (
            "ro foo=/dev/sdb1 bar=a,/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0-part1",
            ["/dev/sdb1", "/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:1:0-part1"],
        ),
        ("root=UUID=x resume=/dev/mapper/vg-swap console=ttyS0 x=/dev/sdb1x /dev/disk/by-id/dm-name-a", []),
        ("x=/srv/dev/sda1", []),
    ],
)
def test_names_that_are_left_in_any_word(line, left):
    assert cmdline.leftovers(line) == left


LOADERS = {
    "/etc/default/grub": (
        'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="root=/dev/sda2 resume=/dev/sdz9" # x\n',
        f'GRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="root=UUID={ROOT.uuid}" # x\n',
    ),
    "/etc/default/grub.d/50.cfg": ("GRUB_CMDLINE_LINUX='root=/dev/sda2'\n", f"GRUB_CMDLINE_LINUX='root=UUID={ROOT.uuid}'\n"),
    "/boot/grub/grub.cfg": (
        "set root='hd0,msdos2'\nset root=/dev/sda2\nsearch --set=root x\n\tlinux\t/vmlinuz root=/dev/sda2 ro\n\tlinuxefi /v root=/dev/sda2\n\tinitrd /i\n",
        f"set root='hd0,msdos2'\nset root=/dev/sda2\nsearch --set=root x\n\tlinux\t/vmlinuz root=UUID={ROOT.uuid} ro\n"
        f"\tlinuxefi /v root=UUID={ROOT.uuid}\n\tinitrd /i\n",
    ),
    "/boot/grub2/grub.cfg": ('set kernelopts="root=/dev/sda2 ro "\n', f'set kernelopts="root=UUID={ROOT.uuid} ro "\n'),
    "/boot/grub/menu.lst": (
        "# kopt=root=/dev/sda2 ro\ntitle x\nroot (hd0,1)\nkernel /v root=/dev/sda2 ro\n",
        f"# kopt=root=UUID={ROOT.uuid} ro\ntitle x\nroot (hd0,1)\nkernel /v root=UUID={ROOT.uuid} ro\n",
    ),
    "/boot/loader/entries/a.conf": (
        "title x\noptions root=/dev/sda2 ro\nlinux /v\n",
        f"title x\noptions root=UUID={ROOT.uuid} ro\nlinux /v\n",
    ),
    "/boot/efi/loader/entries/b.conf": ("options  root=/dev/sda2\n", f"options  root=UUID={ROOT.uuid}\n"),
    "/boot/extlinux/extlinux.conf": (
        "LABEL l\n  LINUX /v\n  APPEND root=/dev/sda2 ro\n",
        f"LABEL l\n  LINUX /v\n  APPEND root=UUID={ROOT.uuid} ro\n",
    ),
    "/etc/kernel/cmdline": ("root=/dev/sda2 ro\n", f"root=UUID={ROOT.uuid} ro\n"),
}


@pytest.mark.parametrize("path", LOADERS)
def test_every_boot_loader(path):
    before, expected = LOADERS[path]
    made = MemoryGuest({path: before}, DEVICES)
    assert [change.after for change in bootloader.plan(made, GuestFacts(), Findings())] == [expected]
    assert bootloader.plan(MemoryGuest({path: expected}, DEVICES), GuestFacts(), Findings()) == []


def test_grubenv_keeps_its_size():
    before = "# GRUB Environment Block\nsaved_entry=x\nkernelopts=root=/dev/sda2 ro\n".ljust(1024, "#")
    (change,) = bootloader.plan(MemoryGuest({"/boot/grub2/grubenv": before}, DEVICES), GuestFacts(), Findings())
    assert len(change.after) == 1024 and f"kernelopts=root=UUID={ROOT.uuid} ro\n" in change.after and change.after.endswith("#")


def test_a_grubenv_that_would_overflow_is_a_blocker():
    before = ("# GRUB Environment Block\nkernelopts=root=/dev/sda2 " + "x" * 960 + "\n").ljust(1024, "#")
    findings = Findings()
    assert bootloader.plan(MemoryGuest({"/boot/grub2/grubenv": before}, DEVICES), GuestFacts(), findings) == []
    assert [concern.code for concern in findings.concerns] == ["bootloader.grubenv-full"]


def test_a_root_that_is_not_there_is_a_blocker_and_stays():
    findings = Findings()
    assert bootloader.plan(MemoryGuest({"/etc/kernel/cmdline": "root=/dev/sdz9\n"}, DEVICES), GuestFacts(), findings) == []
    assert [(concern.code, concern.severity) for concern in findings.concerns] == [("bootloader.unresolved-root", BLOCKER)]


def test_a_unified_kernel_is_reported():
    findings = Findings()
    bootloader.plan(MemoryGuest({"/efi/EFI/Linux/a.efi": b"MZ"}), GuestFacts(), findings)
    assert [concern.code for concern in findings.concerns] == ["bootloader.unified-kernel"]


@pytest.mark.parametrize("spec", ["/dev/disk/cloud/azure_resource-part1", "/dev/disk/azure/resource-part1"])
def test_the_temporary_disk_of_azure_is_not_waited_for(spec):
    text = f"UUID=x / ext4 defaults 0 1\n{spec} /mnt auto defaults,nofail,comment=cloudconfig 0 2\n"
    findings = Findings()
    (change,) = mounts.plan(guest(text), findings)
    assert change.after == text.replace(spec, f"# {spec}") and not findings.concerns
    assert mounts.plan(guest(change.after), findings) == []
    # Other disks of Azure are the VM's own.
    assert mounts.plan(guest("/dev/disk/azure/scsi1/lun0-part1 /data ext4 defaults 0 2\n"), findings) == []
    assert [concern.code for concern in findings.concerns] == ["mounts.unresolved"]


@pytest.mark.parametrize(
    ("fstype", "partuuid", "named"),
    [("ext4", "copy-02", "PARTUUID=copy-02"), ("ext4", "first-02", None), ("btrfs", "copy-02", f"UUID={ROOT.uuid}")],
)
def test_a_copy_of_a_file_system_is_not_named_by_what_both_have(fstype, partuuid, named):
    """A copied partition table has the identifiers of the first too; members of one btrfs are mounted by what they share."""
    copy = replace(ROOT, name="/dev/sdb2", disk=1, fstype=fstype, partuuid=partuuid)
    made = MemoryGuest({}, {"/dev/sda2": replace(ROOT, fstype=fstype, partuuid="first-02"), "/dev/sdb2": copy})
    assert stable_spec(made, copy, ("UUID", "PARTUUID")) == named
