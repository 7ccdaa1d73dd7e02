# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows-shaped disks: the guests of the unit tests on real partitions, NTFS and FAT, with a .vmx beside them."""

from __future__ import annotations

import struct
import sys
import uuid
from pathlib import Path

from disk import MIB, run

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import winlab

_FIRST, _SYSTEM = 2048, 206848  # sectors; the second is winlab.START
_SIZE = 700 * MIB


def build(releases: list[winlab.Release], folder: Path, files: dict[str, dict[str, bytes]] | None = None) -> list[Path]:
    """A .vmx for each release, with its disk as VMDK; all disks are filled in one appliance. `files` adds to a release's files."""
    import guestfs

    images = [folder / f"{release.name}.raw" for release in releases]
    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"])
    for release, image in zip(releases, images):
        image.parent.mkdir(parents=True, exist_ok=True)
        with open(image, "wb") as raw:
            raw.truncate(_SIZE)
        _partition(release, image)
        handle.add_drive_opts(str(image), format="raw", cachemode="unsafe")
    handle.launch()
    for index, release in enumerate(releases):
        _fill(handle, f"/dev/sd{'abcdefgh'[index]}", release, {**winlab.files(release), **((files or {}).get(release.name) or {})})
    handle.shutdown()
    return [_package(release, image) for release, image in zip(releases, images)]


def _partition(release: winlab.Release, image: Path) -> None:
    end = _SIZE // 512 - 2048
    first = f"start={_FIRST}, size={_SYSTEM - _FIRST}"
    second = f"start={_SYSTEM}, size={end - _SYSTEM}"
    if release.firmware == "uefi":
        script = f"label: gpt\nlabel-id: {winlab.DISK_GUID}\n{first}, type=U\n{second}, type=EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
        run("sfdisk", "-q", image, input=f"{script}, uuid={winlab.PART_GUID}\n")
        return
    active = ("", ", bootable") if release.nt < (6, 0) else (", bootable", "")
    run(
        "sfdisk",
        "-q",
        image,
        input=f"label: dos\nlabel-id: {winlab.SIGNATURE:#x}\n{first}, type=7{active[0]}\n{second}, type=7{active[1]}\n",
    )
    with open(image, "r+b") as raw:
        raw.write(b"\xfa\x33\xc0")


def _fill(handle, device: str, release: winlab.Release, files: dict[str, bytes]) -> None:
    handle.mkfs("vfat" if release.firmware == "uefi" else "ntfs", f"{device}1")
    handle.mkfs("ntfs", f"{device}2")
    for name, number in (("/c", 2), ("/efi" if release.firmware == "uefi" else "/boot", 1)):
        handle.mkmountpoint(name)
        handle.mount(f"{device}{number}", name)
        for path, data in files.items():
            if path.startswith(f"{name}/"):
                handle.mkdir_p(path.rpartition("/")[0])
                handle.write(path, data)
        if name == "/c":
            handle.mkdir_p(f"/c/{release.root}/Temp")
        handle.umount(name)
        handle.rmmountpoint(name)


def _package(release: winlab.Release, image: Path) -> Path:
    disk = image.with_suffix(".vmdk")
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicSparse", image, disk)
    image.unlink()
    lines = {
        ".encoding": "UTF-8", "displayName": image.stem, "guestOS": "windows9-64", "memSize": "2048", "numvcpus": "2",
        "firmware": "efi" if release.firmware == "uefi" else "bios", "scsi0.present": "TRUE", "scsi0.virtualDev": "lsisas1068",
        "scsi0:0.present": "TRUE", "scsi0:0.fileName": disk.name, "ethernet0.present": "TRUE", "ethernet0.virtualDev": "vmxnet3",
        "ethernet0.networkName": "VM Network", "ethernet0.addressType": "static", "ethernet0.address": winlab.MAC,
        "ethernet0.pciSlotNumber": "192",
    }  # fmt: skip
    vmx = image.with_suffix(".vmx")
    vmx.write_text("".join(f'{key} = "{value}"\n' for key, value in lines.items()))
    return vmx


def iso(tree: Path, image: Path) -> Path:
    """A driver tree as an ISO, as virtio-win is."""
    run("genisoimage", "-quiet", "-o", image, "-V", "virtio-win", "-R", "-J", tree)
    return image


def encrypted(image: Path) -> None:
    """Make the system partition look as BitLocker does: its boot sector says -FVE-FS-."""
    sector = bytearray(512)
    sector[:11] = b"\xeb\x58\x90-FVE-FS-"
    sector[0x0B:0x0E] = struct.pack("<HB", 512, 8)
    sector[0xA0:0xB0] = uuid.UUID("4967d63b-2e29-4ad8-8399-f6a339e3d001").bytes_le
    sector[510:] = b"\x55\xaa"
    with open(image, "r+b") as raw:
        raw.seek(winlab.START)
        raw.write(sector)
