# SPDX-License-Identifier: GPL-3.0-or-later
"""One content in every format that is no VMDK, written by qemu; and snapshots of VHD and VHDX as Hyper-V lays them out, which qemu cannot write."""

from __future__ import annotations

import random
import struct
import subprocess
import uuid
from pathlib import Path

from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import image, qemu_img, vhdx

MIB = 1 << 20
SIZE = 37 * MIB + 512 * 5  # no whole number of blocks, and no size that a geometry has
KINDS = {
    "disk.raw": ("raw", ""),
    "disk.img": ("raw", ""),
    "cloud.img": ("qcow2", ""),
    "disk.qcow2": ("qcow2", "compat=1.1"),
    "old.qcow2": ("qcow2", "compat=0.10"),
    "small.qcow2": ("qcow2", "extended_l2=on,cluster_size=128k"),
    "dynamic.vhd": ("vpc", "force_size=on"),
    "fixed.vhd": ("vpc", "subformat=fixed,force_size=on"),
    "dynamic.vhdx": ("vhdx", ""),
    "fixed.vhdx": ("vhdx", "subformat=fixed"),
    "dynamic.vdi": ("vdi", ""),
    "static.vdi": ("vdi", "static=on"),
}


def run(*argv: object) -> None:
    subprocess.run(["qemu-img", *map(str, argv)], check=True, capture_output=True)


def seen(path: Path, work: Path) -> bytes:
    """What a guest would read, through an overlay over what was staged."""
    work.mkdir(exist_ok=True)
    found = image.resolve(str(path))
    top, fmt = found.stage(str(work), "disk0")
    qemu_img.create_overlay(str(work / "overlay.qcow2"), top, fmt, found.virtual_size)
    run("convert", "-f", "qcow2", "-O", "raw", work / "overlay.qcow2", work / "seen")
    return (work / "seen").read_bytes()


def sum_of(data: bytes, at: int) -> bytes:
    return struct.pack(">I", ~(sum(data) - sum(data[at : at + 4])) & 0xFFFFFFFF)


class Snapshot:
    """A differencing VHDX as Hyper-V lays it out: blocks of 1 MiB that are absent, zeros, whole, or partly there by the bitmap of their sectors."""

    def __init__(self, parent: Path, parent_id: str, seed: int, name: str = "") -> None:
        rng = random.Random(seed)
        self.id = str(uuid.UUID(int=rng.getrandbits(128)))
        self.states = [rng.choice([0, 0, 2, 3, 6, 7, 7]) for dummy in range(-(-SIZE // MIB))]
        self.bits = [rng.getrandbits(2048) & rng.getrandbits(2048) if state == 7 else 0 for state in self.states]
        self.data = [rng.randbytes(MIB) if state > 5 else b"" for state in self.states]
        self.locator = {
            "parent_linkage": f"{{{parent_id}}}".upper(),
            "relative_path": name or f".\\{parent.name}",
            "absolute_win32_path": f"C:\\VMs\\{parent.name}",
        }

    def over(self, below: bytes) -> bytes:
        """What the guest sees."""
        seen = bytearray(below)
        for number, (state, bits, data) in enumerate(zip(self.states, self.bits, self.data)):
            at = number * MIB
            if state in (2, 3):
                seen[at : at + MIB] = bytes(MIB)
            if state == 6:
                seen[at : at + MIB] = data
            for sector in range(2048) if bits else ():
                if bits >> sector & 1:
                    seen[at + sector * 512 : at + sector * 512 + 512] = data[sector * 512 : sector * 512 + 512]
        return bytes(seen[:SIZE])

    def bytes(self) -> bytes:
        out = bytearray(5 * MIB)
        out[:8] = b"vhdxfile"
        payload, table, bitmap = 5 * MIB, bytearray(4097 * 8), bytearray(MIB)
        for number, (state, bits, data) in enumerate(zip(self.states, self.bits, self.data)):
            table[number * 8 : number * 8 + 8] = struct.pack("<Q", state | (payload // MIB << 20 if data else 0))
            bitmap[number * 256 : number * 256 + 256] = bits.to_bytes(256, "little")
            out += data
            payload += len(data)
        table[4096 * 8 :] = struct.pack("<Q", 6 | 4 << 20)
        out[4 * MIB : 5 * MIB] = bitmap
        out[2 * MIB : 2 * MIB + len(table)] = table
        pairs, texts = b"", b""
        for key, value in self.locator.items():
            words = key.encode("utf-16-le"), value.encode("utf-16-le")
            at = 20 + 12 * len(self.locator) + len(texts)
            pairs += struct.pack("<IIHH", at, at + len(words[0]), len(words[0]), len(words[1]))
            texts += b"".join(words)
        locator = vhdx._LOCATOR_KIND.bytes_le + struct.pack("<HH", 0, len(self.locator)) + pairs + texts
        items = {
            vhdx._PARAMETERS: struct.pack("<II", MIB, 2),
            vhdx._SIZE: struct.pack("<Q", SIZE),
            vhdx._SECTOR: struct.pack("<I", 512),
            uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556"): struct.pack("<I", 4096),
            uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746"): uuid.UUID(self.id).bytes_le,
            vhdx._LOCATOR: locator,
        }
        metadata, values = bytearray(b"metadata" + struct.pack("<HH", 0, len(items)) + bytes(20)), b""
        for kind, value in items.items():
            metadata += kind.bytes_le + struct.pack("<IIII", 65536 + len(values), len(value), 6, 0)
            values += value
        out[3 * MIB : 3 * MIB + len(metadata)] = metadata
        out[3 * MIB + 65536 : 3 * MIB + 65536 + len(values)] = values
        regions = b"regi" + bytes(4) + struct.pack("<II", 2, 0)
        regions += (
            vhdx._BAT.bytes_le + struct.pack("<QII", 2 * MIB, MIB, 1) + vhdx._METADATA.bytes_le + struct.pack("<QII", 3 * MIB, MIB, 1)
        )
        ids = uuid.UUID(int=1).bytes_le + uuid.UUID(self.id).bytes_le + bytes(16)
        head = b"head" + bytes(4) + struct.pack("<Q", 1) + ids + struct.pack("<HHIQ", 0, 1, MIB, MIB)
        for at, part, length in ((65536, head, 4096), (131072, head, 4096), (196608, regions, 65536), (262144, regions, 65536)):
            part = bytearray(part.ljust(length, b"\0"))
            part[4:8] = struct.pack("<I", vhdx._crc32c(bytes(part)))
            out[at : at + length] = part
        return bytes(out)


class Older:
    """A differencing VHD: before each block a bitmap, whose highest bit is the first sector, so that every block begins elsewhere in a cluster."""

    BLOCK = 4 * MIB

    def __init__(self, parent: Path, parent_id: str, seed: int, located: bool) -> None:
        rng = random.Random(seed)
        self.parent, self.parent_id, self.located = parent, uuid.UUID(parent_id), located
        self.id = uuid.UUID(int=rng.getrandbits(128))
        self.blocks = [
            (rng.getrandbits(8192), rng.randbytes(self.BLOCK)) if rng.random() < 0.7 else None for dummy in range(-(-SIZE // self.BLOCK))
        ]
        self.order = rng.sample(range(len(self.blocks)), len(self.blocks))

    def over(self, below: bytes) -> bytes:
        seen = bytearray(below)
        for number, block in enumerate(self.blocks):
            for sector in range(8192) if block else ():
                if block[0] >> sector & 1:
                    at = number * self.BLOCK + sector * 512
                    seen[at : at + 512] = block[1][sector * 512 : sector * 512 + 512]
        return bytes(seen[:SIZE])

    def bytes(self) -> bytes:
        foot = bytearray(struct.pack(">8sIIQI4sI4sQQ", b"conectix", 2, 1 << 16, 512, 0, b"win ", 0, b"Wi2k", SIZE, SIZE).ljust(512, b"\0"))
        foot[60:64], foot[68:84] = struct.pack(">I", 4), self.id.bytes
        foot[64:68] = sum_of(foot, 64)
        name = f".\\{self.parent.name}".encode("utf-16-le")
        head = bytearray(
            struct.pack(">8sQQIII", b"cxsparse", 0xFFFFFFFFFFFFFFFF, 2048, 1 << 16, len(self.blocks), self.BLOCK).ljust(1024, b"\0")
        )
        head[40:56] = self.parent_id.bytes
        if self.located:
            head[576:600] = struct.pack(">4sIIIQ", b"W2ru", 512, len(name), 0, 1536)
        else:
            text = f"C:\\VMs\\{self.parent.name}".encode("utf-16-be")
            head[64 : 64 + len(text)] = text
        head[36:40] = sum_of(head, 36)
        places, data = [0xFFFFFFFF] * len(self.blocks), b""
        start = 2048 + -(-len(places) * 4 // 512) * 512
        for number in self.order:
            if self.blocks[number]:
                bits, content = self.blocks[number]
                places[number] = (start + len(data)) // 512
                data += bytes(int(f"{byte:08b}"[::-1], 2) for byte in bits.to_bytes(1024, "little")) + content
        table = struct.pack(f">{len(places)}I", *places).ljust(start - 2048, b"\xff")
        return bytes(foot) + bytes(head) + name.ljust(512, b"\0") + table + data + bytes(foot)
