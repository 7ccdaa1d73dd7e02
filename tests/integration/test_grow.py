# SPDX-License-Identifier: GPL-3.0-or-later
"""A guest on disks of every layout gets the space of larger disks: partitions, encryption, LVM and file systems, with nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import guestfs
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.accel import accelerator
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import qemu_img, sizes
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.staging import StagedDisk
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import Attached
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import repair

MIB = 1 << 20
OLD, NEW = 400 * MIB, 900 * MIB
KEY = "correct horse"
RECOVERY = "de94bba4-06d1-4d40-a16a-bfd50179d6ac"
SWAP_GPT = "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"


def sector(mib: int) -> int:
    return mib * 2048


def started(disks, fmt="raw", readonly=False):
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    if accelerator() == "tcg":
        handle.set_backend_settings(["force_tcg"])
    for disk in disks:
        handle.add_drive_opts(str(disk), format=fmt, readonly=readonly, cachemode="unsafe")
    handle.launch()
    return handle


def debian(handle, disk):
    """As Debian's installer does it: the root, and behind it swap in an extended partition."""
    handle.part_init(disk, "mbr")
    handle.part_add(disk, "p", sector(1), sector(300) - 1)
    handle.part_add(disk, "e", sector(300), sector(399) - 1)
    handle.part_add(disk, "l", sector(301), sector(399) - 1)
    handle.part_set_mbr_id(disk, 5, 0x82)
    handle.mkswap(f"{disk}5", label="rest", uuid="11111111-2222-4333-8444-555555555555")
    return f"{disk}1", "ext4"


def last_on_gpt(handle, disk):
    handle.part_init(disk, "gpt")
    handle.part_add(disk, "p", sector(1), sector(50) - 1)
    handle.part_add(disk, "p", sector(50), sector(399) - 1)
    return f"{disk}2", "xfs"


def swap_on_gpt(handle, disk):
    handle.part_init(disk, "gpt")
    handle.part_add(disk, "p", sector(1), sector(330) - 1)
    handle.part_add(disk, "p", sector(330), sector(399) - 1)
    handle.part_set_gpt_type(disk, 2, SWAP_GPT)
    handle.part_set_name(disk, 2, "more swap")
    handle.mkswap(f"{disk}2")
    return f"{disk}1", "btrfs"


def lvm_in_logical(handle, disk):
    handle.part_init(disk, "mbr")
    handle.part_add(disk, "e", sector(1), sector(400) - 1)
    handle.part_add(disk, "l", sector(2), sector(400) - 1)
    handle.pvcreate(f"{disk}5")
    handle.vgcreate("data", [f"{disk}5"])
    handle.lvcreate("swap", "data", 60)
    handle.lvcreate("files", "data", 200)
    handle.mkswap("/dev/data/swap")
    return "/dev/data/files", "ext4"


def lvm_in_luks(handle, disk):
    handle.part_init(disk, "gpt")
    handle.part_add(disk, "p", sector(1), sector(399) - 1)
    # With few iterations, which is seconds under emulation.
    handle.debug(
        "sh", [f"udevadm settle; printf %s '{KEY}' | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 {disk}1 -"]
    )
    handle.cryptsetup_open(f"{disk}1", KEY, "shut")
    handle.pvcreate("/dev/mapper/shut")
    handle.vgcreate("vault", ["/dev/mapper/shut"])
    handle.lvcreate_free("all", "vault", 100)
    return "/dev/vault/all", "xfs"


def whole(handle, disk):
    return disk, "ext3"


def windows(handle, disk):
    handle.part_init(disk, "gpt")
    handle.part_add(disk, "p", sector(1), sector(399) - 1)
    return f"{disk}1", "ntfs"


def with_recovery(handle, disk):
    handle.part_init(disk, "gpt")
    handle.part_add(disk, "p", sector(1), sector(300) - 1)
    handle.part_add(disk, "p", sector(300), sector(399) - 1)
    handle.part_set_gpt_type(disk, 2, RECOVERY.upper())
    handle.mkfs("ntfs", f"{disk}2")
    return f"{disk}1", "ntfs"


LAYOUTS = (debian, last_on_gpt, swap_on_gpt, lvm_in_logical, lvm_in_luks, whole, windows, with_recovery)
MOUNTED = {1: "/gpt", 2: "/btrfs", 3: "/lvm", 4: "/vault"}


def fill(handle, path, number):
    """Something of 8 MiB that cannot come from anywhere else."""
    handle.write(f"{path}/marker", hashlib.sha256(str(number).encode()).digest() * (8 * MIB // 32))


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    disks = [folder / f"{number}.raw" for number in range(len(LAYOUTS))]
    for disk in disks:
        disk.touch()
        os.truncate(disk, OLD)
    handle = started(disks)
    try:
        places = []
        for number, layout in enumerate(LAYOUTS):
            device, kind = layout(handle, f"/dev/sd{'abcdefgh'[number]}")
            handle.mkfs(kind, device)
            places.append(device)
        handle.mount(places[0], "/")
        for folder_ in ("/etc", "/usr/sbin", "/usr/bin", "/boot", *MOUNTED.values(), "/hand"):
            handle.mkdir_p(folder_)
        fill(handle, "", 0)
        table = [f"UUID={handle.blkid(places[0])['UUID']} / ext4 defaults 0 1"]
        for number in range(1, len(LAYOUTS)):
            path = MOUNTED.get(number, "/hand")
            handle.mount(places[number], path)
            fill(handle, path, number)
            handle.umount(path)
            if number in MOUNTED:
                tags = handle.blkid(places[number])
                table.append(f"UUID={tags['UUID']} {path} {tags['TYPE']} defaults 0 2")
        handle.write("/etc/fstab", "\n".join(table) + "\n")
        handle.write("/etc/os-release", "ID=debian\nVERSION_ID=12\n")
        handle.shutdown()
    finally:
        handle.close()
    return disks


def partition_table(image: Path) -> dict:
    return json.loads(subprocess.run(["sfdisk", "--json", image], check=True, capture_output=True, text=True).stdout)["partitiontable"]


def names(image: Path) -> tuple:
    table = partition_table(image)
    return table["id"], [(part.get("uuid"), part.get("name"), part["type"]) for part in table["partitions"]]


def places_of(image: Path) -> list:
    return [(part["start"], part["size"]) for part in partition_table(image)["partitions"]]


@pytest.mark.rotates("guests", 180)
def test_every_layout_takes_the_space_and_loses_nothing(sources, tmp_path):
    before = [disk.stat().st_mtime_ns for disk in sources]
    staged = [StagedDisk(str(disk), str(tmp_path / f"{disk.stem}.qcow2"), OLD, "raw") for disk in sources]
    for disk in staged:
        qemu_img.create_overlay(disk.overlay, disk.top, "raw", OLD)
    grow = sizes.enlarge(staged, [str(NEW)] * len(staged))
    assert grow == tuple(range(len(LAYOUTS)))
    attached = tuple(Attached(disk.overlay, "qcow2") for disk in staged)
    request = GuestRequest(attached, luks_keys={"all": KEY}, grow=grow)
    with repair.opened(request, True, repair.Timer()) as (guest, dummy, concerns):
        said = "\n".join(guest.grown)
    refused = [concern.cause for concern in concerns if concern.code == "grow.refused"]
    assert len(refused) == 1 and "disk 7" in refused[0] and "recovery" in refused[0], refused
    for words in (
        "partition 1 of disk 0",
        "ext4 of /:",
        "xfs of /gpt",
        "btrfs of /btrfs",
        "volume /dev/data/files",
        "xfs of /vault",
        "ntfs of disk 6",
    ):
        assert words in said, said
    assert "swap area of partition 5" in said and "swap area of partition 2" in said and "disk 7" not in said
    assert [disk.stat().st_mtime_ns for disk in sources] == before

    grown = [tmp_path / f"{disk.stem}.raw" for disk in sources]
    for disk, image in zip(staged, grown):
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "raw", disk.overlay, image], check=True)
        if LAYOUTS[int(image.stem)] is not whole:
            checked = subprocess.run(["sfdisk", "--verify", image], check=True, capture_output=True, text=True)
            assert "No errors detected" in checked.stdout and not checked.stderr, checked
            # What firmware and guest know partitions by, in the order of their numbers.
            assert names(image) == names(sources[int(image.stem)])
    assert places_of(grown[7]) == places_of(sources[7])

    handle = started(grown)
    try:
        handle.cryptsetup_open("/dev/sde1", KEY, "shut")
        handle.vg_activate_all(True)
        assert handle.blkid("/dev/sda5") == {**handle.blkid("/dev/sda5"), "UUID": "11111111-2222-4333-8444-555555555555", "LABEL": "rest"}
        places = ["/dev/sda1", "/dev/sdb2", "/dev/sdc1", "/dev/data/files", "/dev/vault/all", "/dev/sdf", "/dev/sdg1", "/dev/sdh1"]
        least = [700, 780, 780, 550, 780, 780, 880, 0]  # MiB of each file system; XFS has its log, ext3 its tables
        for number, device in enumerate(places):
            kind = handle.vfs_type(device)
            if kind.startswith("ext"):
                handle.debug("sh", [f"e2fsck -fn {device}"])
            elif kind == "xfs":
                assert handle.xfs_repair(device, nomodify=True) == 0
            handle.mount_ro(device, "/")
            info = handle.statvfs("/")
            assert info["blocks"] * info["frsize"] > least[number] * MIB, (device, info)
            assert (
                handle.checksum("sha256", "/marker")
                == hashlib.sha256(hashlib.sha256(str(number).encode()).digest() * (8 * MIB // 32)).hexdigest()
            )
            handle.umount("/")
        handle.shutdown()
    finally:
        handle.close()


def test_sizes_for_disks_that_are_not_there_are_refused():
    with pytest.raises(InvalidInput, match="has 1"):
        sizes.enlarge([StagedDisk("a", "b", OLD)], ["", "+1G"])
