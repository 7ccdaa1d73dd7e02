# SPDX-License-Identifier: GPL-3.0-or-later
"""Tools to fill a disk image without booting it: loop devices at offsets, a chroot, GRUB without grub-install."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20
CHROOT_ENV = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def run(*argv: str | Path, **options: object) -> str:
    """Run a program; its output is shown only when it fails."""
    done = subprocess.run([str(word) for word in argv], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{argv}: status {done.returncode}\n{done.stdout}")
    return done.stdout


class Tree:
    """A disk image being filled; everything mounted or attached is undone at the end."""

    def __init__(self, image: Path, size: str) -> None:
        self.image = image
        self.root = Path(tempfile.mkdtemp(prefix="lab."))
        self._stack = contextlib.ExitStack()
        self._stack.callback(self.root.rmdir)
        image.unlink(missing_ok=True)
        run("truncate", "-s", size, image)

    def partition(self, script: str) -> None:
        run("sfdisk", "-q", self.image, input=script)

    def place(self, number: int) -> tuple[int, int]:
        """Start and size of a partition in bytes."""
        part = json.loads(run("sfdisk", "-J", self.image))["partitiontable"]["partitions"][number - 1]
        return part["start"] * 512, part["size"] * 512

    def loop(self, offset: int, size: int, image: Path | None = None) -> str:
        device = run("losetup", "-f", "--show", "-o", str(offset), "--sizelimit", str(size), image or self.image).strip()
        self._stack.callback(run, "losetup", "-d", device)
        return device

    def mkfs(self, place: tuple[int, int], *command: str) -> str:
        device = self.loop(*place)
        run(*command, device)
        return device

    def mount(self, what: str, where: str, *options: str) -> None:
        path = self.root / where.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", *options, what, path)
        self._stack.callback(run, "umount", path)

    def write(self, path: str, content: str, mode: int = 0o644) -> None:
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        target.chmod(mode)

    def sh(self, script: str) -> str:
        return run("chroot", self.root, "/bin/sh", "-ec", script, env=CHROOT_ENV)

    def close(self) -> None:
        self._stack.close()


@contextlib.contextmanager
def tree(image: Path, size: str) -> Iterator[Tree]:
    made = Tree(image, size)
    try:
        yield made
    finally:
        made.close()


def grub_bios(disk: Tree, prefix: str, modules: str, core_at: int, options: str = "") -> None:
    """boot.img into the MBR, core.img at sector `core_at`, as grub-install would do."""
    lib = disk.root / "usr/lib/grub/i386-pc"
    shutil.copytree(lib, disk.root / "boot/grub/i386-pc", dirs_exist_ok=True)
    disk.sh(f"grub-mkimage -O i386-pc {options} -p '{prefix}' -o /boot/grub/i386-pc/core.img biosdisk {modules} normal configfile")
    core = bytearray((disk.root / "boot/grub/i386-pc/core.img").read_bytes())
    boot = bytearray((lib / "boot.img").read_bytes())
    boot[0x66:0x68] = b"\x90\x90"
    boot[0x5C:0x64] = struct.pack("<Q", core_at)
    core[500:508] = struct.pack("<Q", core_at + 1)
    with open(disk.image, "r+b") as file:
        file.write(boot[:440])
        file.seek(core_at * 512)
        file.write(core)


def fill_esp(disk: Tree, number: int, source: Path) -> None:
    """Copy a folder to a FAT partition with mtools; the host kernel need not know FAT."""
    entries = [str(path) for path in source.iterdir()]
    run("mcopy", "-s", "-i", f"{disk.image}@@{disk.place(number)[0]}", *entries, "::")
    for path in source.iterdir():
        shutil.rmtree(path)


def data_disk(image: Path, label: str, size: str = "128M") -> str:
    """A second disk with one ext4 partition; returns its UUID."""
    with tree(image, size) as disk:
        disk.partition("label: gpt\n2048,,L\n")
        device = disk.mkfs(disk.place(1), "mkfs.ext4", "-q", "-L", label)
        disk.mount(device, "/")
        disk.write("/proof", f"{label}\n")
        os.sync()
        return run("blkid", "-s", "UUID", "-o", "value", device).strip()


def cpio_archive(name: str, data: bytes) -> bytes:
    """One file in a newc archive, as the kernel's own format document has it."""
    out = b""
    for entry, content, mode in ((name, data, 0o100644), ("TRAILER!!!", b"", 0)):
        raw = entry.encode() + b"\0"
        out += b"070701" + b"".join(b"%08x" % value for value in (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(raw), 0)) + raw
        out += b"\0" * (-len(out) % 4) + content
        out += b"\0" * (-len(out) % 4)
    return out
