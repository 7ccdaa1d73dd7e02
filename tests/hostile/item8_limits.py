# SPDX-License-Identifier: GPL-3.0-or-later
"""What is made to take memory, time or space: archives, tables of disks, descriptions, files of guests."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import hostile_archives
import test_hostile_xml
from case import REFUSED, USED, WRONG, Case, Outcome, Place, asked, migrated

MIB = 1 << 20
DISK = ("qcow2", "vhdx", "vhd", "vdi", "vmdk")


def disk(kind: str, where: Path, size: int = 8 * MIB) -> bytearray:
    fmt, options = {"vhd": ("vpc", ["-o", "force_size=on"])}.get(kind, (kind, []))
    subprocess.run(["qemu-img", "create", "-q", "-f", fmt, *options, where, str(size)], check=True, stdout=subprocess.DEVNULL)
    return bytearray(where.read_bytes())


def patched(kind: str, change: Callable[[bytearray], None], length: int = 0):
    """An image of qemu's with a lie in it; `length` makes the file as long as the lie needs, by a hole."""

    def run(place: Place) -> Outcome:
        path = place.inputs / f"disk.{kind}"
        data = disk(kind, path)
        change(data)
        path.write_bytes(data)
        if length:
            os.truncate(path, length)
        return migrated(place, [str(path)])

    return run


def put(layout: str, at: int, *values: int) -> Callable[[bytearray], None]:
    return lambda data: struct.pack_into(layout, data, at, *values)


def footed(layout: str, at: int, value: int) -> Callable[[bytearray], None]:
    """A value in the footer of a VHD and in its copy, with its sum."""

    def change(data: bytearray) -> None:
        for base in (0, len(data) - 512):
            struct.pack_into(layout, data, base + at, value)
            struct.pack_into(">I", data, base + 64, 0)
            struct.pack_into(">I", data, base + 64, ~sum(data[base : base + 512]) & 0xFFFFFFFF)

    return change


def headed(layout: str, at: int, value: int) -> Callable[[bytearray], None]:
    """A value in the dynamic header of a VHD, with its sum."""

    def change(data: bytearray) -> None:
        struct.pack_into(layout, data, 512 + at, value)
        struct.pack_into(">I", data, 512 + 36, 0)
        struct.pack_into(">I", data, 512 + 36, ~sum(data[512:1536]) & 0xFFFFFFFF)

    return change


TABLES = {
    "qcow2 of 64 PiB": patched("qcow2", put(">Q", 24, 1 << 56), 8 << 40),
    "qcow2 with a table of 4 GiB": patched("qcow2", put(">I", 36, 1 << 29), 5 << 30),
    "qcow2 with clusters of 2 GiB": patched("qcow2", put(">I", 20, 31)),
    "qcow2 with a table behind its end": patched("qcow2", put(">Q", 40, 1 << 40)),
    "qcow2 whose table is its header": patched("qcow2", put(">Q", 40, 0)),
    "qcow2 with a header of 4 GiB": patched("qcow2", put(">I", 100, 0xFFFFFFF8)),
    "qcow2 with 65535 snapshots": patched("qcow2", put(">IQ", 60, 65535, 1 << 16), 4 << 30),
    "qcow2 with unknown features": patched("qcow2", put(">Q", 72, 1 << 63)),
    "vdi with a billion blocks": patched("vdi", put("<I", 384, 1 << 30), 5 << 30),
    "vdi with 2**29 blocks": patched("vdi", lambda data: (put("<I", 384, 1 << 29)(data), put("<Q", 368, 1 << 49)(data)), 3 << 30),
    "vdi with blocks of nothing": patched("vdi", put("<I", 376, 0)),
    "vdi whose table is its header": patched("vdi", put("<I", 340, 0)),
    "vhd of 64 TiB": patched("vhd", footed(">Q", 48, 64 << 40)),
    "vhd with a table of 16 GiB": patched("vhd", headed(">I", 28, 0xFFFFFFFF)),
    "vhd with blocks of one byte": patched("vhd", headed(">I", 32, 1)),
    "vhd with blocks of 2 GiB": patched("vhd", headed(">I", 32, 1 << 31)),
    "vhd with a table behind its end": patched("vhd", headed(">Q", 16, 1 << 60)),
    "vhdx of 64 TiB": patched("vhdx", lambda data: data.__setitem__(slice(0, 8), b"vhdxfile"), 1 << 40),
    "vmdk with tables behind its end": patched("vmdk", put("<Q", 56, 1 << 50)),
    "vmdk with grains of 4 GiB": patched("vmdk", put("<Q", 20, 1 << 40)),
    "vmdk of exabytes": patched("vmdk", put("<Q", 12, 1 << 62)),
    "vmdk with a descriptor of gigabytes": patched("vmdk", put("<QQ", 28, 1, 1 << 22), 3 << 30),
}  # fmt: skip


def text(name: str, data: Callable[[], bytes]):
    def run(place: Place) -> Outcome:
        place.write("disk.vmdk", b"x")
        return migrated(place, [str(place.write(name, data()))])

    return run


HEAD = b'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfs"\n'
LAUGHS = b"<!DOCTYPE a [<!ENTITY x0 'ha'>" + b"".join(b"<!ENTITY x%d '&x%d;&x%d;'>" % (n + 1, n, n) for n in range(40)) + b"]><a>&x40;</a>"
DESCRIPTIONS = {
    "descriptor of extents": text("vm.vmdk", lambda: HEAD + b'RW 1 VMFS "a"\n' * 60_000),
    "descriptor of one line": text("vm.vmdk", lambda: HEAD + b"x" * 900_000),
    "descriptor of 64 MiB": text("vm.vmdk", lambda: HEAD + b"# x\n" * (16 << 20)),
    "descriptor of blanks": text("vm.vmdk", lambda: HEAD + b"RW 1 VMFS " + b" " * 900_000),
    "descriptor that is a snapshot of itself": text(
        "vm.vmdk", lambda: HEAD.replace(b"ffffffff", b"0000000a") + b'parentFileNameHint="vm.vmdk"\nRW 1 VMFS "disk.vmdk"\n'
    ),
    "descriptor of 2**63 sectors": text("vm.vmdk", lambda: HEAD + b'RW 9223372036854775807 VMFS "disk.vmdk"\n'),
    "descriptor with a number of 100000 digits": text("vm.vmdk", lambda: HEAD + b"RW " + b"9" * 100_000 + b' VMFS "disk.vmdk"\n'),
    "vmx of 64 MiB": text("vm.vmx", lambda: b'a = "b"\n' * (8 << 20)),
    "vmx of 100000 disks": text("vm.vmx", lambda: b"".join(b'scsi%d:0.fileName = "disk.vmdk"\n' % n for n in range(30_000))),
    "vmx of 100000 cards": text("vm.vmx", lambda: b"".join(b'ethernet%d.present = "TRUE"\n' % n for n in range(35_000))),
    "vmx with a number of 100000 digits": text("vm.vmx", lambda: b'scsi0:0.fileName = "disk.vmdk"\nmemSize = "' + b"9" * 100_000 + b'"\n'),
    "vmx with a superscript number": text("vm.vmx", lambda: b'scsi0:0.fileName = "disk.vmdk"\nnumvcpus = "\xc2\xb2"\n'),
    "vmx of escapes": text("vm.vmx", lambda: b'displayName = "' + b"|22" * 300_000 + b'"\n'),
    "vbox of entities": text("vm.vbox", lambda: LAUGHS),
    "ovf of entities": text("vm.ovf", lambda: LAUGHS),
    "ovf of entities in UTF-16": text("vm.ovf", lambda: LAUGHS.decode().encode("utf-16")),
    "ovf of levels": text("vm.ovf", lambda: b"<a>" * 1_300_000),
    "ovf of elements": text("vm.ovf", lambda: b"<a>" + b"<b/>" * 1_000_000 + b"</a>"),
    "ovf of attributes": text("vm.ovf", lambda: b"<a " + b" ".join(b'a%d=""' % n for n in range(350_000)) + b"/>"),
    "ovf of 64 MiB": text("vm.ovf", lambda: b"<a>" + b" " * (64 << 20) + b"</a>"),
    "ovf of name spaces": text("vm.ovf", lambda: b"<a " + b" ".join(b'xmlns:a%d="u%d"' % (n, n) for n in range(150_000)) + b"/>"),
    "ovf that is cut off": text("vm.ovf", lambda: b"<Envelope><References>"),
    "ovf in an encoding that is none": text("vm.ovf", lambda: b'<?xml version="1.0" encoding="x-none"?><a/>'),
}


def hole(name: str, start: bytes, size: int):
    """A file of gigabytes that are not there."""

    def run(place: Place) -> Outcome:
        path = place.write(name, start)
        os.truncate(path, size)
        return migrated(place, [str(path)])

    return run


def header(name: str, size: int, kind: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def many_members(place: Place) -> Outcome:
    path, some = place.inputs / "vm.ova", header("x.txt", 0, b"0") * 1000
    with open(path, "wb") as file:
        for dummy in range(400):
            file.write(some)
        file.write(bytes(1024))
    return migrated(place, [str(path)])


def bomb(place: Place) -> Outcome:
    """A zip of kilobytes whose disks are 64 GiB of zeros."""
    squeezed = zlib.compressobj(9, zlib.DEFLATED, -15)
    data = b"".join(squeezed.compress(bytes(MIB)) for dummy in range(64)) + squeezed.flush()
    local = struct.pack("<4s5H3I2H", b"PK\3\4", 20, 0, 8, 0, 0, 0, len(data), 64 * MIB, 8, 0) + b"0000.raw"
    entries = b"".join(
        struct.pack("<4s6H3I5H2I", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(data), 64 * MIB, 8, 0, 0, 0, 0, 0, 0) + b"%04d.raw" % number
        for number in range(1000)
    )
    end = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 1000, 1000, len(entries), len(local) + len(data), 0)
    return migrated(place, [str(place.write("vm.zip", local + data + entries + end))])


def refused_and_gone(make: Callable[[Path], None], name: str):
    """An archive that is refused leaves none of its parts."""

    def run(place: Place) -> Outcome:
        make(place.inputs / name)
        found = migrated(place, [str(place.inputs / name)])
        left = [path for path in place.work.rglob("*") if path.is_file() and path.stat().st_size > 4096]
        return Outcome(WRONG, f"refused, and left {left}") if left else found

    return run


def two_disks(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for name in ("a.raw", "b.raw"):
            made.writestr(name, os.urandom(MIB))


def cut_off(path: Path) -> None:
    with tarfile.open(path, "w:gz") as made:
        info = tarfile.TarInfo("disk.raw")
        info.size = 4 * MIB
        with open("/dev/urandom", "rb") as noise:
            made.addfile(info, noise)
    os.truncate(path, 3 * MIB)


ARCHIVES = {
    "tar whose PAX header is 3 GiB": hole("vm.tar", header("x", 3 << 30, b"x"), 4 << 30),
    "tar whose global header is 3 GiB": hole("vm.tar", header("x", 3 << 30, b"g"), 4 << 30),
    "tar whose long name is 3 GiB": hole("vm.tar", header("x", 3 << 30, b"L"), 4 << 30),
    "tar whose long link is 3 GiB": hole("vm.tar", header("x", 3 << 30, b"K"), 4 << 30),
    "ova whose PAX header is 3 GiB": hole("vm.ova", header("x", 3 << 30, b"x"), 4 << 30),
    "ova whose descriptor is 3 GiB": hole("vm.ova", header("vm.ovf", 3 << 30, b"0"), 4 << 30),
    "ova of 400000 members": many_members,
    "zip of 64 GiB": bomb,
    "zip of two disks": refused_and_gone(two_disks, "vm.zip"),
    "tar that is cut off": refused_and_gone(cut_off, "vm.tar.gz"),
}


def of_a_guest(path: str, data: Callable[[], bytes]):
    """A file of a guest that every repair looks at."""

    def run(place: Place) -> Outcome:
        from test_fuzz import plans

        from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
        from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import names

        guest = MemoryGuest({path: data()})
        return asked(lambda: f"{len(list(plans(guest)))} changes, {len(names.profiles(guest, []))} profiles")

    return run


def yaml_bomb() -> bytes:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 9)}]" for n in range(12)]
    return "\n".join([*lines, "network: {ethernets: {ens192: {addresses: *a12}}}"]).encode()


GUESTS = {
    "netplan of anchors": of_a_guest("/etc/netplan/a.yaml", yaml_bomb),
    "netplan of itself": of_a_guest("/etc/netplan/a.yaml", lambda: b"network: &n\n  ethernets: *n\n"),
    "netplan of levels": of_a_guest("/etc/netplan/a.yaml", lambda: b"[" * 200_000),
    "netplan of mappings": of_a_guest("/etc/netplan/a.yaml", lambda: b"network: {ethernets: {" + b",".join(b"e%d: {}" % n for n in range(20_000)) + b"}}"),
    "netplan that runs python": of_a_guest("/etc/netplan/a.yaml", lambda: b"network: !!python/object/apply:os.system [id]\n"),
    "fstab of a million lines": of_a_guest("/etc/fstab", lambda: b"/dev/sda1 /x ext4 defaults 0 0\n" * 300_000),
    "fstab of one line": of_a_guest("/etc/fstab", lambda: b"/dev/sda1 " * 2_000_000),
    "grub.cfg of menus": of_a_guest("/boot/grub/grub.cfg", lambda: b"submenu 'a' {\n" * 100_000),
    "grub.cfg of quotes": of_a_guest("/boot/grub/grub.cfg", lambda: b"linux '" + b"\\'" * 1_000_000),
    "default of continuations": of_a_guest("/etc/default/grub", lambda: b'GRUB_CMDLINE_LINUX="a' + b"\\\n" * 500_000),
    "lvm.conf of brackets": of_a_guest("/etc/lvm/lvm.conf", lambda: b"devices { filter = " + b"[" * 500_000),
    "interfaces of sources": of_a_guest("/etc/network/interfaces", lambda: b"source /etc/network/interfaces\n" * 100_000),
    "a profile of NetworkManager without end": of_a_guest("/etc/NetworkManager/system-connections/a", lambda: b"[connection]\n" + b"id=" + b"x" * (8 << 20)),
    "ifcfg of quotes": of_a_guest("/etc/sysconfig/network-scripts/ifcfg-a", lambda: b"DEVICE=" + b"'" * 500_000),
    "dhcpcd of words": of_a_guest("/etc/dhcpcd.conf", lambda: b"interface x\nstatic ip_address=" + b"1." * 2_000_000),
    "modprobe of aliases": of_a_guest("/etc/modprobe.d/a.conf", lambda: b"alias eth0 vmxnet3\n" * 300_000),
}  # fmt: skip


def initramfs(data: Callable[[], bytes]):
    def run(place: Place) -> Outcome:
        from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio

        return asked(lambda: f"{len(cpio.read(data()).names)} names")

    return run


def compressed(program: str) -> Callable[[], bytes]:
    """Gigabytes of zeros, packed: 64 MiB as often as it takes, which all three formats allow."""

    def make() -> bytes:
        head = f"head -c 64M /dev/zero | {program}"
        return subprocess.run(["sh", "-c", head], check=True, stdout=subprocess.PIPE).stdout * 96

    return make


INITRAMFS = {
    "initramfs of 6 GiB in gzip": initramfs(compressed("gzip -1")),
    "initramfs of 6 GiB in zstd": initramfs(compressed("zstd -q -1 -c")),
    "initramfs of 6 GiB in xz": initramfs(compressed("xz -0 -c -T2")),
    "initramfs of empty archives": initramfs(lambda: (b"070701" + b"0" * 88 + b"0000000B" + b"0" * 8 + b"TRAILER!!!\0" + bytes(3)) * 200_000),
    "initramfs with a name of 4 GiB": initramfs(lambda: b"070701" + b"0" * 88 + b"FFFFFFFF" + b"0" * 8 + bytes(4096)),
    "initramfs with a file of 4 GiB": initramfs(lambda: b"070701" + b"0" * 48 + b"FFFFFFFF" + b"0" * 32 + b"00000002" + b"0" * 8 + b"a\0" + bytes(4096)),
    "initramfs with a size that is no number": initramfs(lambda: b"070701" + b"-" * 104 + bytes(64)),
}  # fmt: skip


def hive(change: Callable[[bytearray], None]):
    """A registry hive that is walked to its last key."""

    def run(place: Place) -> Outcome:
        import winlab

        from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.regf import Hive

        data = bytearray(winlab.minimal())
        change(data)

        def walk() -> str:
            left, seen = [(Hive(bytes(data)).root, 0)], 0
            while left:
                key, depth = left.pop()
                seen += 1 + len(list(key.values()))
                if depth < 600 and seen < 200_000:
                    left += [(one, depth + 1) for one in key.children()]
            return f"{seen} keys and values"

        return asked(walk)

    return run


def noise(seed: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        rng = random.Random(seed)
        for dummy in range(200):
            data[rng.randrange(4096, len(data))] = rng.randrange(256)

    return change


def packed(make: Callable[[Path], Path]):
    """An archive of the unit tests, through the module."""

    def run(place: Place) -> Outcome:
        found = migrated(place, [str(make(place.inputs))])
        left = [path for path in place.work.rglob("*") if path.is_file() and path.stat().st_size > 65536]
        return Outcome(WRONG, f"refused, and left {left}") if left else found

    return run


def cases() -> Iterator[Case]:
    for name, make in hostile_archives.HOSTILE.items():
        yield Case(f"archive: {name}", "an archive", packed(make), seconds=300, expect=(REFUSED,))
    for name, data in {**test_hostile_xml.DECLARED, **test_hostile_xml.BAD}.items():
        kind = "entities in XML" if name in test_hostile_xml.DECLARED else "XML without end"
        yield Case(f"ovf: {name}", kind, text("vm.ovf", lambda data=data: data), expect=(REFUSED,))
    for kind, group in (
        ("a table of a disk", TABLES), ("a description", DESCRIPTIONS), ("an archive", ARCHIVES), ("a file of a guest", GUESTS), ("an initramfs", INITRAMFS),
    ):  # fmt: skip
        for name, run in group.items():
            yield Case(name, kind, run, seconds=300, expect=(REFUSED,) if kind == "an archive" else (REFUSED, USED))
    for name, change in {
        "hive whose root is itself": put("<I", 36, 32),
        "hive of gigabytes": put("<I", 40, 0xFFFFF000),
        "hive whose root lies outside": put("<I", 36, 0x7FFFFFF8),
    }.items():
        yield Case(name, "a registry hive", hive(change))
    for seed in range(20):
        yield Case(f"hive with noise {seed}", "a registry hive", hive(noise(seed)), varied=True)
