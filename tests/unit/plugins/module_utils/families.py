# SPDX-License-Identifier: GPL-3.0-or-later
"""Systems of every family as small text trees with VMware-shaped faults, written from their conventions; the memory guest runs them all.

A tree starts with a JSON head (kernel, images, tool, devices, ...), then holds files as `=== PATH` and links as `=== PATH -> TARGET`.
What is no text (kernel image, modules, initramfs, boot loader programs) is made here.
"""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import zstandard
from fixtures import EFI_IMAGE, GRUB_MBR

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Mount, Stat
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import ESP, Partition, Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import newc
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.inspect import inspect
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import complete

TREES = Path(__file__).parent / "trees"
MAC = "00:50:56:8a:00:01"
WWN = "6000c29d8f1b2c0aa1b2c3d4e5f60718"
UUIDS = {
    "/dev/sda1": "b0000000-0000-4000-8000-000000000001",
    "/dev/sda2": "50000000-0000-4000-8000-000000000002",
    "/dev/sda3": "a0000000-0000-4000-8000-000000000003",
    "/dev/sda4": "7A3B-19C2",
    "/dev/sdb1": "d0000000-0000-4000-8000-000000000005",
    "/dev/rhel/root": "c0000000-0000-4000-8000-000000000001",
    "/dev/rhel/swap": "c0000000-0000-4000-8000-000000000002",
}
_MODULES = {
    "virtio": "drivers/virtio/virtio", "virtio_ring": "drivers/virtio/virtio_ring", "virtio_pci": "drivers/virtio/virtio_pci",
    "virtio_blk": "drivers/block/virtio_blk", "virtio_scsi": "drivers/scsi/virtio_scsi", "virtio_net": "drivers/net/virtio_net",
    "vmw_pvscsi": "drivers/scsi/vmw_pvscsi", "ext4": "fs/ext4/ext4", "xfs": "fs/xfs/xfs", "btrfs": "fs/btrfs/btrfs", "dm_mod": "drivers/md/dm-mod",
}  # fmt: skip
_UDEV = {
    "systemd": {"/usr/lib/systemd/network/99-default.link": "[Match]\nOriginalName=*\n"},
    "old": {"/etc/udev/rules.d/60-raw.rules": "# raw\n"},
    "none": {},
}


@dataclass(frozen=True)
class System:
    """A tree: its head, its text files, its links."""

    name: str
    head: dict[str, Any]
    text: dict[str, str]
    links: dict[str, str]

    @property
    def devices(self) -> tuple[BlockDevice, ...]:
        return tuple(_device(*line.split()) for line in self.head["devices"])

    def binaries(self) -> dict[str, bytes]:
        """Kernel image, modules with their index, initramfs with VMware's drivers only, programs."""
        head, kernel = self.head, self.head["kernel"]
        paths = {name: f"kernel/{path}.ko{head['suffix']}" for name, path in _MODULES.items()}
        needs = dict.fromkeys(("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net"), f" {paths['virtio_ring']} {paths['virtio']}")
        base = f"{head['modules']}/{kernel}"
        inside = [name for name in ("vmw_pvscsi", head["fstype"], "dm_mod") if name in paths]
        members = [("init", b"#!/bin/sh\n"), (f"{base}/modules.dep", "".join(f"{paths[name]}:\n" for name in inside).encode())]
        if head["root"].startswith("/dev/rhel/"):
            members.append(("usr/sbin/lvm", b"\x7fELF"))
        image = newc.write([*members, *((f"{base}/{paths[name]}", b"\x7fELF") for name in inside)])
        files = {
            "/bin/sh": b"\x7fELF" + bytes(14) + struct.pack("<H", 0x3E) + bytes(40),
            "/usr/bin/vmtoolsd": b"tools",
            head["tool"]: b"#!/bin/sh\n",
            head["image"]: bzimage(kernel),
            head["initrd"]: {"gzip": lambda: gzip.compress(image, mtime=0), "zstd": lambda: zstandard.ZstdCompressor().compress(image)}[
                head["compress"]
            ](),
            f"/{base}/modules.dep": "".join(f"{path}:{needs.get(name, '')}\n" for name, path in paths.items()).encode(),
            **{f"/{base}/{path}": b"\x7fELF" + name.encode() for name, path in paths.items()},
        }
        if head["rpm"]:
            files["/usr/bin/rpm"] = b"rpm"
        if head["firmware"] == "uefi":
            files |= {f"/boot/efi/EFI/{head['vendor']}/{loader}x64.efi": EFI_IMAGE for loader in ("shim", "grub")}
        return files


def _device(name: str, fstype: str) -> BlockDevice:
    if name.startswith("/dev/rhel/"):
        return BlockDevice(
            name, fstype, UUIDS[name], aliases=(name, name.replace("/rhel/", "/mapper/rhel-")), kind="lvm", parents=("/dev/sda3",)
        )
    return BlockDevice(name, fstype, UUIDS[name], partuuid=f"p-0{name[-1]}", disk=int(name[7] == "b"), part=int(name[-1]))


def bzimage(version: str) -> bytes:
    """A kernel image that says its release where the boot protocol puts it."""
    image = bytearray(0x400)
    image[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", image, 0x20E, 0x100)
    image[0x300 : 0x300 + len(version) + 7] = f"{version} (made)".encode()
    return bytes(image)


def load(name: str) -> System:
    head, *parts = ("\n" + (TREES / f"{name}.tree").read_text()).split("\n=== ")
    text: dict[str, str] = {}
    links: dict[str, str] = {}
    for part in parts:
        title, dummy, body = part.partition("\n")
        path, arrow, target = title.partition(" -> ")
        if arrow:
            links[path] = target
        else:
            # Splitting took the last line's end, except at the end of the file.
            body = body if part is parts[-1] else body + "\n"
            text[path] = body.ljust(1024, "#") if path.endswith("/grubenv") else body
    return System(name, json.loads(head), text, links)


def guest(system: System) -> MemoryGuest:
    """The whole tree in memory, under the names that the guest itself uses for its devices."""
    files: dict[str, str | bytes | Stat] = {
        "/etc/machine-id": "0123456789abcdef0123456789abcdef\n",
        **system.binaries(),
        **_UDEV[system.head["udev"]],
        **system.text,
        **{path: Stat("link", len(target), target=target) for path, target in system.links.items()},
    }
    names = {device.name: device for device in system.devices} | {alias: device for device in system.devices for alias in device.aliases}
    for device in system.devices:
        if device.disk == 0:
            names[f"/dev/disk/by-id/scsi-3{WWN}-part{device.part}"] = device
            names[f"/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:0:0-part{device.part}"] = device
    return MemoryGuest(files, names, {"disk0": bytes(512) + b"core" * 128})


def facts(system: System, made: MemoryGuest) -> GuestFacts:
    root = next(device for device in made.devices() if device.name == system.head["root"])
    mounts = (Mount(root.name, "/"), *(Mount(device, path) for device, path in system.head["mounts"]))
    found = inspect(made, root, "", mounts, system.head["firmware"], ())
    return complete(found, made, (Nic(MAC, slot=system.head["slot"]),), {})[0]


def tables(system: System) -> dict[str, Table]:
    if system.head["firmware"] == "uefi":
        return {"disk0": Table("gpt", (Partition(4, 1 << 20, 1 << 30, ESP, "aa-04"),), bytes(440))}
    return {"disk0": Table("mbr", (Partition(1, 1 << 20, 1 << 30, "83", "aa-01"),), GRUB_MBR)}


SYSTEMS = {path.stem: load(path.stem) for path in sorted(TREES.glob("*.tree"))}
