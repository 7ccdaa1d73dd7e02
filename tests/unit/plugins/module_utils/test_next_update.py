# SPDX-License-Identifier: GPL-3.0-or-later
"""What the next update of the kernel or of the boot loader reads, and what stands beside a device in tables: no name of the old hardware is left in force."""

from __future__ import annotations

import subprocess

import pytest
from fixtures import DATA, DEVICES, ROOT, SWAP
from promptly import within

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.view import PendingView
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import (
    bootloader,
    entries,
    initramfs,
    initramfs_conf,
    mounts,
    network,
    proof,
    storage,
    swap_units,
)

STABLE = f"root=UUID={ROOT.uuid}"
BOOT = {
    "quotes in quotes": (
        "/etc/default/grub",
        'GRUB_CMDLINE_LINUX="dyndbg=\\"file x +p\\" root=/dev/sda2 quiet"\n',
        f'GRUB_CMDLINE_LINUX="dyndbg=\\"file x +p\\" {STABLE} quiet"\n',
    ),
    "a line that goes on": (
        "/etc/default/grub",
        'GRUB_CMDLINE_LINUX="quiet \\\nroot=/dev/sda2"\n',
        f'GRUB_CMDLINE_LINUX="quiet \\\n{STABLE}"\n',
    ),
    "a value that is added to": (
        "/etc/default/grub",
        'GRUB_CMDLINE_LINUX="quiet"\nGRUB_CMDLINE_LINUX+=" root=/dev/sda2"\n',
        f'GRUB_CMDLINE_LINUX="quiet"\nGRUB_CMDLINE_LINUX+=" {STABLE}"\n',
    ),
    "single quotes": ("/etc/default/grub", "GRUB_CMDLINE_LINUX='root=/dev/sda2'\n", f"GRUB_CMDLINE_LINUX='{STABLE}'\n"),
    "no quotes": ("/etc/default/grub", "GRUB_CMDLINE_LINUX=root=/dev/sda2\n", f"GRUB_CMDLINE_LINUX={STABLE}\n"),
    "Xen": ("/etc/default/grub", 'GRUB_CMDLINE_LINUX_XEN_REPLACE="root=/dev/sda2"\n', f'GRUB_CMDLINE_LINUX_XEN_REPLACE="{STABLE}"\n'),
    "Alpine": (
        "/etc/update-extlinux.conf",
        'default_kernel_opts="quiet"\nroot=/dev/sda2\nmodules=ext4\n',
        f'default_kernel_opts="quiet"\n{STABLE}\nmodules=ext4\n',
    ),
    "dracut": ("/etc/dracut.conf.d/x.conf", 'kernel_cmdline="root=/dev/sda2 ro"\n', f'kernel_cmdline="{STABLE} ro"\n'),
    "SUSE": ("/etc/default/grub_installdevice", "/dev/disk/by-id/scsi-36000c29\nactivate\ngeneric_mbr\n", "activate\ngeneric_mbr\n"),
    "SUSE by a name that stays": ("/etc/default/grub_installdevice", "(hd0)\n", "(hd0)\n"),
    "Debian's EFI": (
        "/var/cache/debconf/config.dat",
        "Name: grub-efi/install_devices\nTemplate: x\nValue: /dev/disk/by-id/scsi-1-part1\n\nName: grub-efi/install_devices_empty\nTemplate: y\nValue: false\n",
        "Name: grub-efi/install_devices\nTemplate: x\nValue: \n\nName: grub-efi/install_devices_empty\nTemplate: y\nValue: true\n",
    ),
}


def test_of_two_packages_of_grub_each_forgets_its_disks():
    stanza = "Name: {0}/install_devices\nTemplate: x\nValue: {1}\n\nName: {0}/install_devices_empty\nTemplate: y\nValue: {2}\n"
    before = stanza.format("grub-efi", "", "false") + "\n" + stanza.format("grub-pc", "/dev/sda, /dev/sdb", "false")
    (change,) = bootloader.plan(MemoryGuest({"/var/cache/debconf/config.dat": before}, DEVICES), GuestFacts(), Findings())
    assert change.after == stanza.format("grub-efi", "", "false") + "\n" + stanza.format("grub-pc", "", "true")


LONG = {
    "/etc/udev/rules.d/a.rules": 'SUBSYSTEM=="net" ' + "A" * 30000 + "{" * 30000,
    "/etc/default/grub": "\n" * 30000 + " " * 30000,
    "/boot/grub/grub.cfg": "\n" * 30000 + "search " + "--fs-uuid " * 4000,
    "/var/cache/debconf/config.dat": "Name: grub-pc/install_devices\n" * 20000,
    "/etc/dracut.conf.d/x.conf": 'omit_drivers="' + " " * 30000,
    "/etc/mdadm.conf": "ARRAY uuid=" + " " * 30000,
    "/etc/mdadm/mdadm.conf": "DEVICE /dev/sda\n" + " devices=\n" * 30000,
    "/boot/extlinux.conf": "default x\n" + "label a\n" * 30000 + " menu\n" * 30000,
    "/etc/mkinitcpio.conf": "MODULES=(\n" * 20000,
    "/etc/dracut.conf": "add_device=(\n" * 20000,
    "/etc/kernel/cmdline": "\\\n" * 30000,
    "/etc/systemd/system/a.service": "dev-" + "." * 60000,
    "/etc/fstab": "/dev/sda1" + ":/dev/sda1" * 3000 + " /x ext4 " + "logdev=" * 20000,
    "/etc/lvm/lvm.conf": '\\"' * 20000,
}


@pytest.mark.parametrize("path", LONG)
def test_long_texts_are_read_in_time(path):
    made = MemoryGuest({path: LONG[path], "/usr/lib/systemd/systemd-networkd": "x"}, DEVICES)
    with within(20):
        bootloader.plan(made, GuestFacts(), Findings())
        mounts.plan(made, Findings())
        storage.plan(made, Findings())
        network.plan(made, (), {}, Findings())
        initramfs_conf.names(made, Findings())
        for tool in ("dracut", "mkinitcpio"):
            initramfs_conf.drivers(made, tool, "virtio", initramfs.DRIVERS["virtio"])
        list(proof._searches(made, path, LONG[path]))


@pytest.mark.parametrize("case", BOOT)
def test_the_next_update_writes_no_old_name(case):
    path, before, after = BOOT[case]
    made, findings = MemoryGuest({path: before}, DEVICES), Findings()
    assert [change.after for change in bootloader.plan(made, GuestFacts(), findings) if change.path == path] == (
        [after] if after != before else []
    )
    assert bootloader.plan(MemoryGuest({path: after}, DEVICES), GuestFacts(), findings) == [] and not findings.concerns


@pytest.mark.parametrize("line", [before for path, before, dummy in BOOT.values() if path == "/etc/default/grub"])
def test_a_shell_reads_the_same_words_but_for_the_devices(line):
    def words(text):
        script = f"{text}\nprintf '%s\\n' $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_XEN_REPLACE"
        return subprocess.run(["bash", "-c", script], text=True, stdout=subprocess.PIPE, check=True).stdout.split()

    made = MemoryGuest({"/etc/default/grub": line}, DEVICES)
    (change,) = bootloader.plan(made, GuestFacts(), Findings())
    assert words(change.after) == [word.replace("/dev/sda2", f"UUID={ROOT.uuid}") for word in words(line)]


LOG = BlockDevice("/dev/sdb2", "", "", partuuid="log-id", disk=1, part=2)
OPTIONS = {
    "a log of XFS": (
        "/dev/sdb1 /d xfs logdev=/dev/sdb2,noatime 0 0\n",
        f"UUID={DATA.uuid} /d xfs logdev=/dev/disk/by-partuuid/log-id,noatime 0 0\n",
    ),
    "a stable device with a log": (
        f"UUID={DATA.uuid} /d xfs noatime,logdev=/dev/sdb2 0 0\n",
        f"UUID={DATA.uuid} /d xfs noatime,logdev=/dev/disk/by-partuuid/log-id 0 0\n",
    ),
    "a dependency of systemd": (
        "/x /y none bind,x-systemd.requires=/dev/sdb1 0 0\n",
        f"/x /y none bind,x-systemd.requires=/dev/disk/by-uuid/{DATA.uuid} 0 0\n",
    ),
    "a dependency on a unit": ("/x /y none bind,x-systemd.requires=a.service 0 0\n", None),
    "a path that looks like one": ("/x /y none bind,x=/dev/sdb1 0 0\n", None),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_name_devices(case):
    before, after = OPTIONS[case]
    made, findings = MemoryGuest({"/etc/fstab": before}, {**DEVICES, LOG.name: LOG}), Findings()
    assert [change.after for change in mounts.plan(made, findings)] == ([after] if after else []) and not findings.concerns


def test_an_option_that_cannot_be_assigned_is_a_blocker():
    findings = Findings()
    assert mounts.plan(MemoryGuest({"/etc/fstab": f"UUID={DATA.uuid} /d xfs logdev=/dev/sdz9 0 0\n"}, DEVICES), findings) == []
    assert [(concern.code, concern.severity) for concern in findings.concerns] == [("mounts.unresolved", "blocker")]


def test_a_dump_to_a_raw_partition_is_by_a_path():
    made = MemoryGuest({"/etc/kdump.conf": "raw /dev/sdb2\next4 /dev/sdb1\n"}, {**DEVICES, LOG.name: LOG})
    (change,) = mounts.plan(made, Findings())
    assert change.after == f"raw /dev/disk/by-partuuid/log-id\next4 UUID={DATA.uuid}\n"


@pytest.mark.parametrize("device", ["/dev/sda2", "/dev/disk/by-uuid/a-b", "/dev/mapper/vg-swap.x", "/dev//x/", "/dev/ä", "/.hidden/é"])
def test_the_name_of_a_unit_is_that_of_systemd(device):
    said = subprocess.run(
        ["systemd-escape", "--path", "--suffix=swap", device], text=True, stdout=subprocess.PIPE, check=True
    ).stdout.strip()
    assert swap_units.unit_name(device) == said


def test_what_belongs_to_a_swap_unit_follows_its_name():
    old, system = "dev-sda1.swap", "/etc/systemd/system"
    new = swap_units.unit_name(f"/dev/disk/by-uuid/{SWAP.uuid}")
    files = {
        f"{system}/{old}": "[Swap]\nWhat=/dev/sda1\n",
        f"{system}/{old}.d/a.conf": "[Swap]\nPriority=9\n",
        f"{system}/x.service": f"[Unit]\nRequires={old}\n",
    }
    made = MemoryGuest(files, DEVICES)
    after = PendingView(made, mounts.plan(made, Findings()))
    assert after.read(f"{system}/{new}.d/a.conf") == b"[Swap]\nPriority=9\n" and after.stat(f"{system}/{old}.d") is None
    assert after.read(f"{system}/x.service") == f"[Unit]\nRequires={new}\n".encode()


def test_a_swap_unit_is_called_after_its_new_device():
    old, system = "dev-sda1.swap", "/etc/systemd/system"
    made = MemoryGuest({f"{system}/{old}": "[Swap]\nWhat=/dev/sda1\n"}, DEVICES)
    made.links = {f"{system}/swap.target.wants/{old}": f"{system}/{old}"}
    stat, listdir = made.stat, made.listdir
    made.stat = lambda path: Stat("link", target=made.links[path]) if path in made.links else stat(path)
    made.listdir = lambda path: ["swap.target.wants", old] if path == system else listdir(path)
    changes = mounts.plan(made, Findings())
    new = swap_units.unit_name(f"/dev/disk/by-uuid/{SWAP.uuid}")
    assert [(type(change).__name__, change.path) for change in changes] == [
        ("RemoveFile", f"{system}/{old}"),
        ("WriteFile", f"{system}/{new}"),
        ("RemoveFile", f"{system}/swap.target.wants/{old}"),
        ("MakeLink", f"{system}/swap.target.wants/{new}"),
    ]
    assert PendingView(made, changes).read(f"{system}/{new}") == f"[Swap]\nWhat=/dev/disk/by-uuid/{SWAP.uuid}\n".encode()


@pytest.mark.parametrize(
    ("name", "is_microcode"),
    [
        ("intel-ucode.img", True), ("amd-ucode.img", True), ("intel-uc.img", True), ("amd-uc.img", True), ("microcode.cpio", True),
        ("early_ucode.cpio", True), ("ucode.cpio", True), ("initrd.img", False), ("initramfs-linux.img", False), ("my-truc.img", False),
    ],
)  # fmt: skip
def test_microcode_is_no_initramfs(name, is_microcode):
    assert entries.microcode(f"/boot/{name}") == is_microcode


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('omit_drivers+=" virtio_blk nouveau "', 'omit_drivers+=" nouveau "'),
        ("omit_drivers+=' virtio-blk virtio_net nouveau '", "omit_drivers+=' nouveau '"),
        ('omit_drivers="virtio"', 'omit_drivers=""'),
        ('omit_drivers+=" virtiofs my-virtio_blk "', 'omit_drivers+=" virtiofs my-virtio_blk "'),
    ],
)
def test_drivers_that_are_needed_are_not_left_out(before, after):
    path = "/etc/dracut.conf.d/x.conf"
    changes = initramfs_conf.drivers(MemoryGuest({path: before + "\n"}), "dracut", "virtio", initramfs.DRIVERS["virtio"])
    assert [change.after for change in changes if change.path == path] == ([after + "\n"] if after != before else [])


@pytest.mark.parametrize("more", ["# a comment of some length, as people write them\n" * 40, "(" * 40, "# (a\n" * 400])
def test_a_list_that_does_not_end_takes_no_time(more):
    with within(5):
        initramfs_conf.drivers(
            MemoryGuest({"/etc/mkinitcpio.conf": f"MODULES=(\n{more}$(x)\n)\n"}), "mkinitcpio", "virtio", ("virtio_blk",)
        )
