# SPDX-License-Identifier: GPL-3.0-or-later
"""INSPECT: the facts of a Linux guest, from its files. Kernels are found in /boot and in the module trees; packages are only a hint.

Source: os-release(5), kernel-install(8), Filesystem Hierarchy Standard 3.0.
"""

from __future__ import annotations

import re
import struct
from typing import Mapping, Optional, Sequence

from ..core.numbers import decimal
from ..guest.model import SWAP, BlockDevice, GuestFacts, Kernel, Mount
from ..guest.protocol import Guest, exists, glob, text
from .netconf import names
from .netconf.model import shell

ESP_MOUNTS = ("/boot/efi", "/efi", "/boot")
GRUB_CONFIGS = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
GRUB_LEGACY_CONFIGS = ("/boot/grub/menu.lst", "/boot/grub/grub.conf")
EXTLINUX_CONFIGS = tuple(
    f"{base}/{name}"
    for base in ("/boot", "")
    for name in ("extlinux/extlinux.conf", "extlinux.conf", "syslinux/syslinux.cfg", "syslinux.cfg")
)
_NO_KERNEL = (".old", ".bak", ".dpkg-old", ".dpkg-new", ".rpmsave", ".rpmnew", ".hmac", ".sig", ".efi.signed")
_FAMILIES = {
    "debian": ("debian", "ubuntu", "linuxmint", "kali", "raspbian", "devuan", "pop"),
    "redhat": ("rhel", "fedora", "centos", "rocky", "almalinux", "ol", "scientific", "openEuler", "anolis", "kylin", "circle", "virtuozzo"),
    "amazon": ("amzn",),
    "suse": ("suse", "sles", "sled", "sles_sap", "opensuse", "opensuse-leap", "opensuse-tumbleweed"),
    "photon": ("photon",),
    "arch": ("arch", "archarm", "manjaro"),
    "alpine": ("alpine",),
    "gentoo": ("gentoo",),
}
# Releases that are older than os-release: the file, and what its presence says.
_RELEASE_FILES = (
    ("/etc/oracle-release", "ol"),
    ("/etc/centos-release", "centos"),
    ("/etc/fedora-release", "fedora"),
    ("/etc/redhat-release", "rhel"),
    ("/etc/SuSE-release", "sles"),
    ("/etc/alpine-release", "alpine"),
    ("/etc/gentoo-release", "gentoo"),
    ("/etc/arch-release", "arch"),
    ("/etc/debian_version", "debian"),
)
_MACHINES = {0x3E: "x86_64", 0x03: "i686", 0xB7: "aarch64", 0xF3: "riscv64", 0x15: "ppc64le", 0x16: "s390x"}
# mkinitramfs comes first: newer Debian's dracut brings an update-initramfs of its own.
_INITRAMFS_TOOLS = (
    ("/usr/sbin/mkinitramfs", "initramfs-tools"),
    ("/usr/bin/dracut", "dracut"),
    ("/usr/sbin/dracut", "dracut"),
    ("/sbin/dracut", "dracut"),
    ("/usr/sbin/update-initramfs", "initramfs-tools"),
    ("/usr/bin/mkinitcpio", "mkinitcpio"),
    ("/sbin/mkinitfs", "mkinitfs"),
    ("/sbin/mkinitrd", "mkinitrd"),
)


def inspect(
    guest: Guest, root: BlockDevice, subvolume: str, mounts: tuple[Mount, ...], firmware: str, encrypted: tuple[str, ...]
) -> GuestFacts:
    """Gather the facts; the guest is only read."""
    release = os_release(guest)
    found = kernels(guest)
    below = _below(guest, [root.name, *(mount.device for mount in mounts if mount.path == "/usr"), *_resume(guest)])
    return GuestFacts(
        distribution=release.get("ID", ""),
        version=release.get("VERSION_ID", ""),
        product=release.get("PRETTY_NAME", ""),
        family=family(release),
        architecture=_architecture(guest),
        hostname=(text(guest, "/etc/hostname") or shell(text(guest, "/etc/sysconfig/network") or "").get("HOSTNAME", "")).strip(),
        machine_id=(text(guest, "/etc/machine-id") or "").strip(),
        firmware=firmware,
        root=root.name,
        root_subvolume=subvolume,
        root_stack=tuple(device.kind for device in _below(guest, [root.name])),
        boot_containers=tuple(dict.fromkeys(device.uuid for device in below if device.fstype == "crypto_LUKS")),
        mounts=mounts,
        kernels=found,
        boot_loaders=boot_loaders(guest),
        initramfs_tool=next((kind for path, kind in _INITRAMFS_TOOLS if exists(guest, path)), ""),
        network=names.backends(guest),
        selinux=_selinux(guest),
        encrypted=encrypted,
        console=True,
    )


def family(release: Mapping[str, str]) -> str:
    """The family whose conventions a distribution follows, by its own id before those it is like; unknown for others."""
    likes = [release.get("ID", ""), *release.get("ID_LIKE", "").split()]
    return next((name for like in likes for name, members in _FAMILIES.items() if like in members), "unknown")


def _below(guest: Guest, start: Sequence[str]) -> list[BlockDevice]:
    """The devices of these names and everything they lie on, nearest first."""
    known = {device.name: device for device in guest.devices()}
    todo, found = list(start), dict[str, BlockDevice]()
    while todo:
        device = known.get(todo.pop(0))
        if device is not None and device.name not in found:
            found[device.name] = device
            todo += device.parents
    return list(found.values())


def _resume(guest: Guest) -> list[str]:
    """The swap devices; the initramfs may resume from one, and what it lies on must be open by then."""
    return [device.name for device in guest.devices() if device.fstype in SWAP]


def kernels(guest: Guest) -> tuple[Kernel, ...]:
    """Every bootable kernel, oldest version first; packages are not asked."""
    found: dict[str, Kernel] = {}
    for prefix in ("vmlinuz", "kernel-", "bzImage-"):
        for image in glob(guest, "/boot", prefix=prefix):
            stat = guest.stat(image)
            if stat is None or stat.kind != "file" or image.endswith(_NO_KERNEL):
                continue
            suffix = image[len("/boot/") :].partition("-")[2]
            version = _release(guest, image, suffix)
            found[image] = Kernel(version, image, _initramfs(guest, suffix, version), module_tree(guest, version))
    for entry in bls_entries(guest):
        fields = dict(line.split(None, 1) for line in (text(guest, entry) or "").splitlines() if len(line.split(None, 1)) == 2)
        base = entry.rsplit("/loader/", 1)[0]
        # sdbootutil writes the number of a snapshot before it.
        version, image, initrd = (
            fields.get("version", "").strip().rpartition("@")[2],
            fields.get("linux", "").strip(),
            fields.get("initrd", "").split(),
        )
        if version and image.startswith("/") and exists(guest, base + image) and base + image not in found:
            if module_tree(guest, version) is None:  # ostree counts deployments
                version = image_version(guest.read(base + image) or b"") or version
            found[base + image] = Kernel(
                version, base + image, base + initrd[0] if initrd and exists(guest, base + initrd[0]) else None, module_tree(guest, version)
            )
    return tuple(sorted(found.values(), key=lambda kernel: version_key(kernel.version)))


def _release(guest: Guest, image: str, suffix: str) -> str:
    """The release a kernel reports: its file name's where that has modules, else what the image or its modules say."""
    if module_tree(guest, suffix) is not None:
        return suffix
    said = image_version(guest.read(image) or b"")
    if said:
        return said
    for base in ("/usr/lib/modules", "/lib/modules"):
        for version in guest.listdir(base):
            if (text(guest, f"{base}/{version}/pkgbase") or "").strip() == suffix or (suffix and version.endswith(f"-{suffix}")):
                return version
    return suffix


def image_version(data: bytes) -> str:
    """The release that a bzImage carries; empty for other images. Source: Documentation/arch/x86/boot.rst, kernel_version."""
    if data[0x202:0x206] != b"HdrS" or len(data) < 0x210:
        return ""
    at = int(struct.unpack_from("<H", data, 0x20E)[0])
    words = data[at + 0x200 : at + 0x280].split(b"\0", 1)[0].split() if at else []
    return words[0].decode("ascii", "replace") if words else ""


def module_tree(guest: Guest, version: str) -> Optional[str]:
    """The directory with a kernel's modules; None for a kernel without any."""
    return next(
        (f"{base}/{version}" for base in ("/usr/lib/modules", "/lib/modules") if exists(guest, f"{base}/{version}/modules.dep")), None
    )


def version_key(version: str) -> tuple[tuple[int, str], ...]:
    """Sort key that orders 5.14.0-427 after 5.14.0-70."""
    return tuple((number, "") if (number := decimal(part)) is not None else (-1, part) for part in re.findall(r"[0-9]+|[^0-9]+", version))


def bls_entries(guest: Guest) -> list[str]:
    """Boot Loader Specification type 1 entries, on the ESP or in /boot."""
    return [entry for base in ESP_MOUNTS for entry in glob(guest, f"{base}/loader/entries", ".conf")]


def vendor_configs(guest: Guest) -> list[str]:
    """GRUB's configuration files on the ESP: stubs, and whole menus on older RHEL."""
    found = (find_ci(guest, f"{base}/EFI/{vendor}", "grub.cfg") for base in ESP_MOUNTS for vendor in guest.listdir(f"{base}/EFI"))
    return [path for path in found if path is not None]


def legacy_configs(guest: Guest) -> list[str]:
    """The menus of GRUB 1, which RHEL 6 has on the ESP where it starts by EFI."""
    found = (find_ci(guest, f"{base}/EFI/{vendor}", "grub.conf") for base in ESP_MOUNTS for vendor in guest.listdir(f"{base}/EFI"))
    return [*GRUB_LEGACY_CONFIGS, *(path for path in found if path is not None)]


def boot_loaders(guest: Guest) -> tuple[str, ...]:
    """The boot loaders whose configuration is present."""
    found = []
    if any(exists(guest, path) for path in GRUB_CONFIGS) or vendor_configs(guest):
        found.append("grub2")
    if any(exists(guest, path) for path in legacy_configs(guest)):
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


def _initramfs(guest: Guest, suffix: str, version: str) -> Optional[str]:
    forms = ("initrd.img-{}", "initramfs-{}.img", "initrd-{}", "initramfs-{}", "initrd-{}.img", "initramfs-genkernel-x86_64-{}")
    names = [form.format(part) for part in dict.fromkeys((suffix, version)) if part for form in forms]
    names += [] if suffix else ["initrd.img", "initramfs.img", "initrd"]
    return next((f"/boot/{name}" for name in names if exists(guest, f"/boot/{name}")), None)


def os_release(guest: Guest) -> dict[str, str]:
    """os-release(5), or what the release files from before it say."""
    content = text(guest, "/etc/os-release") or text(guest, "/usr/lib/os-release")
    if content is not None:
        return shell(content)
    for path, name in (*_RELEASE_FILES, ("/etc/system-release", "amzn")):
        line = next(iter((text(guest, path) or "").splitlines()), None)
        if line is not None:
            version = re.search(r"\d+(?:\.\d+)*", line)
            return {"ID": name, "VERSION_ID": version[0] if version else "", "PRETTY_NAME": line.strip()}
    return {}


def _architecture(guest: Guest) -> str:
    for path in ("/bin/sh", "/usr/bin/bash", "/sbin/init", "/usr/bin/env"):
        head = guest.read(path)
        if head is not None and head[:4] == b"\x7fELF" and len(head) >= 20:
            return _MACHINES.get(struct.unpack_from("<H", head, 18)[0], "unknown")
    return "unknown"


def _selinux(guest: Guest) -> bool:
    config = text(guest, "/etc/selinux/config") or ""
    return bool(re.search(r"^SELINUX=(enforcing|permissive)", config, re.MULTILINE))
