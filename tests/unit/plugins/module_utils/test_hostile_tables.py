# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of disk images, registry hives and YAML that say more than there is: refused, or read, in little memory and time."""

from __future__ import annotations

import os
import struct

import pytest
from imagelab import run, sum_of
from promptly import PEAK, alone
from winlab import minimal

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import image, qcow2_map, vhd
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import yamlfile
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.netconf import netplan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import regf

MIB, GIB, TIB = 1 << 20, 1 << 30, 1 << 40


def vhd_of(path, block: int, entries: int, kind: int = 3) -> None:
    """A dynamic VHD of 2040 GiB whose table is a hole of as many entries as it says."""
    footer = bytearray(512)
    footer[:8] = b"conectix"
    struct.pack_into(">IIQ", footer, 8, 2, 0x10000, 512)
    struct.pack_into(">QQII", footer, 40, 2040 * GIB, 2040 * GIB, 0, kind)
    footer[64:68] = sum_of(bytes(footer), 64)
    header = bytearray(1024)
    header[:8] = b"cxsparse"
    struct.pack_into(">QQIII", header, 8, 0xFFFFFFFFFFFFFFFF, 2048, 0x10000, entries, block)
    header[36:40] = sum_of(bytes(header), 36)
    with open(path, "wb") as file:
        file.write(bytes(footer) + bytes(header))
        file.truncate(2048 + entries * 4 + 5 * GIB)
        file.seek(0, 2)
        file.write(footer)


def vdi_of(path, blocks: int, capacity: int, fill: bytes = b"") -> None:
    head = bytearray(512)
    struct.pack_into("<IIII", head, 64, 0xBEDA107F, 0x10001, 400, 1)
    struct.pack_into("<II", head, 340, 512, 512)
    struct.pack_into("<QIIII", head, 368, capacity, MIB, 0, blocks, 1)
    with open(path, "wb") as file:
        file.write(head + fill)
        file.truncate(512 + blocks * 4 + MIB)


def vhdx_of(path, size: int) -> None:
    run("create", "-q", "-f", "vhdx", path, size)


def vmdk_of(path, capacity: int, grain: int = 128, entries: int = 512) -> None:
    text = b'# Disk DescriptorFile\nCID=1\nparentCID=ffffffff\ncreateType="monolithicSparse"\nRW %d SPARSE "x.vmdk"\n' % capacity
    head = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, capacity, grain, 1, 20, entries, 21, 26, 128)
    with open(path, "wb") as file:
        file.write(head.ljust(512, b"\0") + text.ljust(20 * 512, b"\0"))
        file.truncate(200 * GIB)


# What is made, and whether it may be read.
IMAGES = {
    "a VHD of the smallest blocks": ("x.vhd", lambda path: vhd_of(path, 512, 0xFFFFFF00), False),
    "a VHD of small blocks": ("x.vhd", lambda path: vhd_of(path, 64 << 10, 0x4000000), False),
    "a VHD with a table that is too long": ("x.vhd", lambda path: vhd_of(path, 2 * MIB, 0xFFFFFF00), True),
    "a VHD with blocks of 512 KiB": ("x.vhd", lambda path: vhd_of(path, 512 << 10, 4 << 20), True),
    "a VDI of 512 TiB": ("x.vdi", lambda path: vdi_of(path, 1 << 29, 512 * TIB), False),
    "a VDI whose table is full of others": ("x.vdi", lambda path: vdi_of(path, 1 << 26, 50 * TIB, b"\7" * 64 * MIB), False),
    "a VDI of 64 TiB": ("x.vdi", lambda path: vdi_of(path, 1 << 26, 64 * TIB), True),
    "a VDI of 2**32 blocks": ("x.vdi", lambda path: vdi_of(path, (1 << 32) - 1, TIB), False),
    "a VHDX of 64 TiB": ("x.vhdx", lambda path: vhdx_of(path, 64 * TIB), True),
    "a VMDK of exabytes": ("x.vmdk", lambda path: vmdk_of(path, 1 << 60), False),
    "a VMDK with a grain of one sector": ("x.vmdk", lambda path: vmdk_of(path, 1 << 37, 1), True),
    "a qcow2 of 64 PiB": ("x.qcow2", lambda path: run("create", "-q", "-f", "qcow2", "-o", "cluster_size=2M", path, 63 << 50), True),
    "a raw disk of exabytes": ("x.raw", lambda path: (open(path, "w").close(), os.truncate(path, 15 * TIB)), True),
    "a descriptor of one long line": ("x.vmdk", lambda path: path.write_bytes(b"# Disk DescriptorFile\n" + b"A" * MIB), False),
    "a descriptor of a gigabyte": ("x.vmdk", lambda path: (path.write_bytes(b"# Disk DescriptorFile\n"), os.truncate(path, GIB)), False),
    "a VMX of a gigabyte": ("x.vmx", lambda path: (path.write_bytes(b'displayName = "x"\n'), os.truncate(path, GIB)), False),
    "an OVF of a gigabyte": ("x.ovf", lambda path: (path.write_bytes(b"<Envelope>"), os.truncate(path, GIB)), False),
    "a VBOX of a gigabyte": ("x.vbox", lambda path: (path.write_bytes(b"<VirtualBox>"), os.truncate(path, GIB)), False),
}


@pytest.mark.parametrize("name", IMAGES)
def test_what_a_header_claims_takes_no_memory(tmp_path, name):
    file, make, fine = IMAGES[name]
    make(tmp_path / file)
    said, memory = alone(lambda: open_source([str(tmp_path / file)]))
    assert memory < PEAK, memory >> 20
    assert said == "" if fine else said.startswith(("InvalidInput", "UnsafeInput")), said


def test_the_layers_of_a_snapshot_with_millions_of_blocks_take_no_memory(tmp_path):
    vhd_of(tmp_path / "x.avhd", 512 << 10, 4 << 20)

    def work():
        with open(tmp_path / "x.avhd", "rb") as file:
            for dummy, pieces in vhd.layers(file, "x.avhd"):
                next(iter(pieces), None)

    said, memory = alone(work)
    assert memory < PEAK and said == "", (said, memory >> 20)
    assert image and qcow2_map


class Cells:
    """A hive made of cells; offsets are counted from the first bin."""

    def __init__(self) -> None:
        self.data = bytearray(32)

    def add(self, content: bytes) -> int:
        at = len(self.data)
        size = 4 + len(content) + -(4 + len(content)) % 8
        self.data += struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
        return at

    def key(self, name: bytes, lists: int = 0xFFFFFFFF, subkeys: int = 0, values: int = 0xFFFFFFFF, count: int = 0) -> int:
        body = bytearray(76)
        body[:4] = b"nk\x20\0"
        struct.pack_into("<I4xI", body, 20, subkeys, lists)
        struct.pack_into("<II", body, 36, count, values)
        struct.pack_into("<H", body, 72, len(name))
        return self.add(bytes(body) + name)

    def hive(self, root: int) -> bytes:
        head = bytearray(minimal()[:4096])
        struct.pack_into("<II", head, 36, root, len(self.data))
        return bytes(head) + bytes(self.data)


def many_values(hive: Cells, size: int, count: int, name: bytes = b"v") -> int:
    """A key that lists one value so often."""
    data = hive.add(b"d" * size) if size else 0
    value = hive.add(struct.pack("<2sHIIIHH", b"vk", len(name), size, data, 3, 1, 0) + name)
    return hive.key(b"k", values=hive.add(struct.pack("<I", value) * count), count=count)


def same_child(count: int, lists: int):
    def make(hive: Cells) -> int:
        child = hive.key(b"child")
        leaf = hive.add(b"li" + struct.pack("<H", count) + struct.pack("<I", child) * count)
        return hive.key(b"root", hive.add(b"ri" + struct.pack("<H", lists) + struct.pack("<I", leaf) * lists), count * lists)

    return make


def blocks(hive: Cells) -> int:
    """A value of 65535 blocks that are all the same one."""
    block = hive.add(b"b" * 16344)
    listed = hive.add(struct.pack("<I", block) * 65535)
    data = hive.add(struct.pack("<2sHI", b"db", 65535, listed))
    value = hive.add(struct.pack("<2sHIIIHH", b"vk", 1, 65535 * 16344, data, 3, 1, 0) + b"v")
    return hive.key(b"k", values=hive.add(struct.pack("<I", value)), count=1)


def long_paths(hive: Cells) -> int:
    """Keys in keys, with long names, and at the end a hundred thousand."""
    leaves = [hive.key(b"%06d" % n) for n in range(60_000)]
    at, count = hive.add(b"li" + struct.pack("<H", len(leaves)) + struct.pack(f"<{len(leaves)}I", *leaves)), len(leaves)
    for dummy in range(400):
        below = hive.key(b"n" * 255, at, count)
        at, count = hive.add(b"li" + struct.pack("<HI", 1, below)), 1
    return hive.key(b"root", at, count)


def circle(hive: Cells) -> int:
    at = len(hive.data)
    key = hive.key(b"root", at + 92, 1)
    hive.add(b"li" + struct.pack("<HI", 1, key))
    return key


HIVES = {
    "one value a million times": lambda hive: many_values(hive, 100_000, 1_000_000),
    "one name a million times": lambda hive: many_values(hive, 0, 1_000_000, b"n" * 60_000),
    "a block 65535 times": blocks,
    "one key four billion times": same_child(65535, 65535),
    "one key ten million times": same_child(65535, 150),
    "long paths": long_paths,
    "a circle": circle,
    "a key of a long name": lambda hive: hive.key(b"n" * 60_000, hive.add(b"li" + struct.pack("<HI", 1, hive.key(b"n" * 60_000))), 1),
}


@pytest.mark.parametrize("name", HIVES)
def test_a_hive_that_lists_the_same_again_and_again_is_damaged(name):
    made = Cells()
    data = made.hive(HIVES[name](made))

    def work():
        with pytest.raises(InvalidInput, match="damaged") as caught:
            for dummy in regf.Hive(data).walk():
                pass
        assert caught.value.hint

    said, memory = alone(work, 300)
    assert said == "" and memory < PEAK, (said, memory >> 20)


def test_looking_for_a_key_again_and_again_has_an_end(monkeypatch):
    monkeypatch.setattr(regf.limits, "HIVE_KEYS", 50_000)
    made = Cells()
    keys = [made.key(b"%06d" % n) for n in range(20_000)]
    root = made.key(b"root", made.add(b"li" + struct.pack("<H", len(keys)) + struct.pack(f"<{len(keys)}I", *keys)), len(keys))
    hive = regf.Hive(made.hive(root))
    assert hive.find("019999") is not None and hive.find("none") is None and hive.find("none") is None  # what was found is kept
    with pytest.raises(InvalidInput, match="again and again"):
        hive.find("another")


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
NETWORK = "network:\n  version: 2\n  ethernets:\n    ens192:\n      "
YAMLS = {
    "laughs": LAUGHS + "network: {ethernets: {ens192: {addresses: *a39}}}\n",
    "laughs in names": LAUGHS + "network: {ethernets: {ens192: {interfaces: [*a39, *a39]}}}\n",
    "laughs by merging": "a0: &a0 {k0: v}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}], k{n}: v}}\n" for n in range(1, 40))
    + "network: *a39\n",
    "a long text again and again": f"x: &x {'y' * 100_000}\nl: &l [{', '.join(['*x'] * 5000)}]\nnetwork: {{ethernets: {{e: {{addresses: *l}}}}}}",
    "one that contains itself": "network: &n {ethernets: {ens192: {addresses: [*n]}}}",
    "a list that contains itself": "network: {ethernets: {ens192: {addresses: &a [*a]}}}",
    "brackets": NETWORK + "addresses: " + "[" * 100_000,
    "braces": NETWORK + "addresses: " + "{" * 100_000,
    "levels": NETWORK + "".join(f"{'  ' * n}a:\n" for n in range(3, 700)),
    "dashes": "network: \n" + "- " * 120_000 + "x",
    "too long": NETWORK + "addresses: [" + "1.2.3.4/24, " * 100_000 + "]",
    "two documents": "network: {}\n---\nnetwork: {}\n",
    "a tag that runs code": "network: !!python/object/apply:os.system ['touch /tmp/x']\n",
    "an alias of nothing": "network: *none\n",
    "a number of many digits": NETWORK + f"mtu: {'9' * 100_000}\n",
    "sixties": NETWORK + f"mtu: {'1:' * 50_000}1\n",
    "a list as a key": "network: {ethernets: {? [a, b] : {dhcp4: true}}}",
    "bytes": "network: \0\x01",
}


@pytest.mark.parametrize("name", YAMLS)
def test_yaml_that_becomes_too_much_is_a_problem_that_is_named(name):
    guest = MemoryGuest({"/etc/netplan/50.yaml": YAMLS[name], "/etc/netplan/60.yaml": NETWORK + "dhcp4: true\n"})

    def work():
        problems: list[str] = []
        profiles = list(netplan.read(guest, problems))
        assert "ens192" in [profile.name for profile in profiles], profiles
        assert sum(len(str(profile)) for profile in profiles) < MIB
        raise KeyError(problems)

    said, memory = alone(work, 60)
    assert said.startswith("KeyError") and memory < PEAK, (said[:500], memory >> 20)
    if name not in ("a list as a key", "sixties", "a number of many digits"):
        assert "/etc/netplan/50.yaml: " in said, said[:500]


def test_many_files_are_too_much_together(monkeypatch):
    guest = MemoryGuest({f"/etc/netplan/{n:03}.yaml": "# " + "x" * 60_000 + "\n" + NETWORK + "dhcp4: true\n" for n in range(40)})
    problems: list[str] = []
    list(netplan.read(guest, problems))
    assert len(problems) > 10 and all("KiB" in problem for problem in problems)


def test_honest_aliases_are_read():
    data = yamlfile.load("a: &a {x: 1, y: [1, 2]}\nb: *a\nc: {<<: *a, z: 3}\n", "It")
    assert data["b"] == {"x": 1, "y": [1, 2]} and data["c"] == {"x": 1, "y": [1, 2], "z": 3}
    assert yamlfile.load("", "It") is None
