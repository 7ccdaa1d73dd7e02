# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT: the facts of a Linux guest, from its files. Kernels are found in /boot and in the module trees; packages are only a hint.

Source: os-release(5), kernel-install(8), Filesystem Hierarchy Standard 3.0.
"""

from __future__ import annotations

import re
import struct
from typing import Optional

from ..guest.model import BlockDevice, GuestFacts, Kernel, Mount
from ..guest.protocol import Guest, exists, glob, text
from . import netconfig

ESP_MOUNTS = ("/boot/efi", "/efi", "/boot")
GRUB_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
GRUB_LEGACY_CONFIGS = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
EXTLINUX_CONFIGS = ("/boot/extlinux/extlinux.conf", "/boot/extlinux.conf", "/boot/syslinux/syslinux.cfg")
_FAMILIES = {
    "debian": "debian",
    "ubuntu": "debian",
    "linuxmint": "debian",
    "kali": "debian",
    "rhel": "redhat",
    "fedora": "redhat",
    "centos": "redhat",
    "rocky": "redhat",
    "almalinux": "redhat",
    "ol": "redhat",
    "amzn": "redhat",
    "sles": "suse",
    "opensuse-leap": "suse",
    "suse": "suse",
    "arch": "arch",
    "alpine": "alpine",
    "photon": "photon",
    "gentoo": "gentoo",
}
_MACHINES = {0x3E: "x86_64", 0x03: "i686", 0xB7: "aarch64", 0xF3: "riscv64", 0x15: "ppc64le", 0x16: "s390x"}
_INITRAMFS_TOOLS = (
    ("/usr/sbin/update-initramfs", "initramfs-tools"),
    ("/usr/bin/dracut", "dracut"),
    ("/usr/sbin/dracut", "dracut"),
    ("/sbin/dracut", "dracut"),
    ("/usr/bin/mkinitcpio", "mkinitcpio"),
    ("/sbin/mkinitfs", "mkinitfs"),
    ("/sbin/mkinitrd", "mkinitrd"),
)
_TOOLS = (("/usr/bin/vmtoolsd", "open-vm-tools"), ("/etc/vmware-tools/locations", "vmware-tools"))


def inspect(
    guest: Guest, root: BlockDevice, subvolume: str, mounts: tuple[Mount, ...], firmware: str, encrypted: tuple[str, ...]
) -> GuestFacts:
    """Gather the facts; the guest is only read."""
    release = _os_release(guest)
    name = release.get("ID", "")
    likes = [name, *release.get("ID_LIKE", "").split()]
    tool = next((kind for path, kind in _INITRAMFS_TOOLS if exists(guest, path)), "")
    return GuestFacts(
        distribution=name,
        version=release.get("VERSION_ID", ""),
        product=release.get("PRETTY_NAME", ""),
        family=next((_FAMILIES[like] for like in likes if like in _FAMILIES), "unknown"),
        architecture=_architecture(guest),
        hostname=(text(guest, "/etc/hostname") or "").strip(),
        machine_id=(text(guest, "/etc/machine-id") or "").strip(),
        firmware=firmware,
        root=root.name,
        root_subvolume=subvolume,
        mounts=mounts,
        kernels=kernels(guest),
        boot_loaders=boot_loaders(guest),
        initramfs_tool=tool,
        network=netconfig.backends(guest),
        interfaces=(),
        tools=tuple(kind for path, kind in _TOOLS if exists(guest, path)),
        selinux=_selinux(guest),
        encrypted=encrypted,
    )


def kernels(guest: Guest) -> tuple[Kernel, ...]:
    """Every bootable kernel, oldest version first."""
    found: dict[str, Kernel] = {}
    for image in glob(guest, "/boot", prefix="vmlinuz-") + glob(guest, "/boot", prefix="kernel-"):
        version = image.split("-", 1)[1]
        found[image] = Kernel(version, image, _initramfs(guest, version), module_tree(guest, version))
    for entry in bls_entries(guest):
        fields = dict(line.split(None, 1) for line in (text(guest, entry) or "").splitlines() if len(line.split(None, 1)) == 2)
        base = entry.rsplit("/loader/", 1)[0]
        version, image, initrd = fields.get("version", "").strip(), fields.get("linux", "").strip(), fields.get("initrd", "").split()
        if version and image.startswith("/") and exists(guest, base + image):
            found[base + image] = Kernel(
                version, base + image, base + initrd[0] if initrd and exists(guest, base + initrd[0]) else None, module_tree(guest, version)
            )
    return tuple(sorted(found.values(), key=lambda kernel: version_key(kernel.version)))


def module_tree(guest: Guest, version: str) -> Optional[str]:
    """The directory with a kernel's modules; None for a kernel without any."""
    return next(
        (f"{base}/{version}" for base in ("/usr/lib/modules", "/lib/modules") if exists(guest, f"{base}/{version}/modules.dep")), None
    )


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Sort key that orders 5.14.0-427 after 5.14.0-70."""
    return tuple((int(part), "") if part.isdigit() else (-1, part) for part in re.findall(r"\d+|[^\d]+", version))


def bls_entries(guest: Guest) -> list[str]:
    """Boot Loader Specification type 1 entries, on the ESP or in /boot."""
    return [entry for base in ESP_MOUNTS for entry in glob(guest, f"{base}/loader/entries", ".conf")]


def vendor_configs(guest: Guest) -> list[str]:
    """GRUB's configuration files on the ESP: stubs, and whole menus on older RHEL."""
    found = (find_ci(guest, f"{base}/EFI/{vendor}", "grub.cfg") for base in ESP_MOUNTS for vendor in guest.listdir(f"{base}/EFI"))
    return [path for path in found if path is not None]


def boot_loaders(guest: Guest) -> tuple[str, ...]:
    """The boot loaders whose configuration is present."""
    found = []
    if any(exists(guest, path) for path in GRUB_CONFIGS):
        found.append("grub2")
    if any(exists(guest, path) for path in GRUB_LEGACY_CONFIGS):
        found.append("grub-legacy")
    if any(exists(guest, f"{base}/loader/loader.conf") for base in ESP_MOUNTS):
        found.append("systemd-boot")
    if any(exists(guest, path) for path in EXTLINUX_CONFIGS):
        found.append("extlinux")
    return tuple(found)


def esp(guest: Guest) -> Optional[str]:
    """Where the EFI system partition is mounted in the guest."""
    return next((base for base in ESP_MOUNTS if find_ci(guest, base, "EFI")), None)


def find_ci(guest: Guest, directory: str, *names: str) -> Optional[str]:
    """A path on FAT, whose names ignore case; None when a component is missing."""
    for name in names:
        match = next((entry for entry in guest.listdir(directory) if entry.lower() == name.lower()), None)
        if match is None:
            return None
        directory = f"{directory.rstrip('/')}/{match}"
    return directory


def _initramfs(guest: Guest, version: str) -> Optional[str]:
    names = (
        f"/boot/initrd.img-{version}",
        f"/boot/initramfs-{version}.img",
        f"/boot/initrd-{version}",
        f"/boot/initramfs-{version}",
        f"/boot/initrd-{version}.img",
    )
    return next((name for name in names if exists(guest, name)), None)


def _os_release(guest: Guest) -> dict[str, str]:
    content = text(guest, "/etc/os-release") or text(guest, "/usr/lib/os-release") or ""
    return {key: value.strip("\"'") for key, equals, value in (line.partition("=") for line in content.splitlines()) if equals}


def _architecture(guest: Guest) -> str:
    for path in ("/bin/sh", "/usr/bin/bash", "/sbin/init", "/usr/bin/env"):
        head = guest.read(path)
        if head is not None and head[:4] == b"\x7fELF":
            return _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "unknown")
    return "unknown"


def _selinux(guest: Guest) -> bool:
    config = text(guest, "/etc/selinux/config") or ""
    return bool(re.search(r"^SELINUX=(enforcing|permissive)", config, re.MULTILINE))
