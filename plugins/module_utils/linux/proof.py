# SPDX-License-Identifier: GPL-3.0-or-later
"""The static proof of a Linux guest: firmware -> boot loader -> kernel -> initramfs -> root -> mounts -> network, from the bytes.

Every check reads what the boot itself would read. A check that finds nothing to look at fails: absence proves nothing.
"""

from __future__ import annotations

import re
import struct
from typing import Iterator, Mapping, Optional

from ..core.errors import MigrationError
from ..guest.apply import BACKUPS
from ..guest.first_code import leads_on
from ..guest.model import BlockDevice, GuestFacts, Kernel
from ..guest.parttable import Table
from ..guest.proof import Check, Proof
from ..guest.protocol import Guest, glob, resolve_link, text
from . import boot_cards, cmdline, cpio, efi, initramfs, initramfs_conf, lvm, mdadm, mounts
from .default import default_entry
from .entries import BootEntry, boot_entries, kernel_of, locate, microcode
from .inspect import esp, find_ci, vendor_configs
from .netconf import matches, position
from .netconf import names as netnames
from .netconf.model import ini
from .rootdev import root_of

_PE_MACHINES = {"x86_64": 0x8664, "i686": 0x14C, "aarch64": 0xAA64, "riscv64": 0x5064}
_LONGEST_LINE = 1000  # characters
_SEARCH = re.compile(r"^[ \t]*search(?:\.fs_uuid\s+|\s.*--fs-uuid\s.*?)([0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}|[0-9a-f-]{36})\b", re.MULTILINE)
# What must be in the initramfs beside virtio, by the root's file system, one of them; a kernel may have it built in.
_FS_DRIVERS = {
    "ext2": ("ext4", "ext2"), "ext3": ("ext4", "ext3"), "ext4": ("ext4",), "xfs": ("xfs",), "btrfs": ("btrfs",), "f2fs": ("f2fs",)
}  # fmt: skip
# And by what lies beneath it.
_KIND_DRIVERS = {
    "lvm": ("dm_mod",),
    "crypt": ("dm_mod", "dm_crypt"),
    "raid0": ("raid0",),
    "raid1": ("raid1",),
    "raid4": ("raid456",),
    "raid5": ("raid456",),
    "raid6": ("raid456",),
    "raid10": ("raid10",),
}
_PROGRAMS = re.compile(r"(^|/)(s?bin|systemd|rules\.d)/[^/]+$")
# And the programs that put it together, any one of them, by name. Arrays of raid=autodetect need none, but nobody makes such any more.
_KIND_TOOLS = {
    "lvm": ("lvm", "vgchange"),
    "crypt": ("cryptsetup", "systemd-cryptsetup"),
    **dict.fromkeys(("raid0", "raid1", "raid4", "raid5", "raid6", "raid10"), ("mdadm", "nash")),
    "btrfs": ("btrfs", "64-btrfs.rules"),  # udev knows it too
}


def prove(guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Proof:
    """Walk the whole chain; `tables` are the partition tables by disk ("disk0", ...)."""
    return Proof((*_firmware(guest, facts, tables), *_boot(guest, facts), *_tables(guest), *_network(guest, facts)))


def _firmware(guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Iterator[Check]:
    if facts.firmware == "uefi":
        path = efi.fallback(guest, facts.architecture)
        image = guest.read(path) if path else None
        yield Check(
            "firmware.loader",
            _pe_machine(image) == _PE_MACHINES.get(facts.architecture, 0x8664),
            f"UEFI starts {path or 'nothing: EFI/BOOT has no loader'}",
        )
        yield from _grub_stub(guest)
        return
    name, table = (list(tables.items()) + [("", Table("", (), b""))])[min(facts.boot_disk, len(tables))]
    works = leads_on(guest, name, table)
    yield Check(
        "firmware.loader",
        works,
        f"BIOS starts the boot code of {name}" if works else f"the boot code of {name or 'no disk'} does not lead to a boot loader",
    )


def _pe_machine(image: Optional[bytes]) -> Optional[int]:
    if image is None or image[:2] != b"MZ" or len(image) < 0x40:
        return None
    at = struct.unpack_from("<I", image, 0x3C)[0]
    return struct.unpack_from("<H", image, at + 4)[0] if image[at : at + 4] == b"PE\0\0" and len(image) >= at + 6 else None


def _grub_stub(guest: Guest) -> Iterator[Check]:
    """GRUB on the ESP reads a stub that searches the file system with the real menu: that of the directory which its image names."""
    stubs = vendor_configs(guest)
    base = esp(guest)
    fallback = find_ci(guest, base, "EFI", "BOOT") if base else None
    images = b"".join(guest.read(path) or b"" for path in glob(guest, fallback or "/nowhere") if path.lower().endswith(".efi"))
    named = [path for path in stubs if f"/EFI/{path.rsplit('/', 2)[-2]}\0".encode() in images]
    checks = [list(_searches(guest, path, text(guest, path) or "")) for path in named or stubs]
    # Where no image tells, one that is left of an earlier system says nothing, as long as another works.
    working = [found for found in checks if all(check.passed for check in found)]
    for found in (working or checks) if not named else checks:
        yield from found


def _searches(guest: Guest, path: str, content: str) -> Iterator[Check]:
    lines = "\n".join(line for line in content.splitlines() if len(line) <= _LONGEST_LINE)
    for uuid in dict.fromkeys(_SEARCH.findall(lines)):
        yield Check("bootloader.search", guest.device(f"UUID={uuid}") is not None, f"{path} searches the file system {uuid}")


def _boot(guest: Guest, facts: GuestFacts) -> Iterator[Check]:
    entries = boot_entries(guest)
    yield Check(
        "bootloader.entries", bool(entries), f"{len(entries)} boot {'entry starts' if len(entries) == 1 else 'entries start'} a kernel"
    )
    chosen = default_entry(guest, entries)
    for config in dict.fromkeys(entry.config for entry in entries if entry is chosen):
        yield from _searches(guest, config, _passed(text(guest, config) or "", chosen))
    images: dict[str, list[Check]] = {}
    for entry in entries:
        if entry is not chosen and not _of_this_system(guest, facts, entry):
            continue  # of another system, or of a kernel that is gone: it does not start by itself, and a concern says so
        kernel = locate(guest, entry, entry.kernel, facts.root_subvolume)
        known = kernel_of(guest, entry, facts.kernels, facts.root_subvolume)
        if entry is not chosen and known is not None and not initramfs.runs_on(guest, known, facts.disk_bus):
            continue  # it can never run here, and it does not start by itself; a concern says so
        head = guest.read(kernel) if kernel else None
        yield Check(
            "kernel.image",
            head is not None and (head[0x202:0x206] == b"HdrS" or facts.architecture not in ("x86_64", "i686")),
            f"{entry.config} starts {entry.kernel}" + (" by default" if entry is chosen else ""),
        )
        yield from _initramfs(guest, facts, entry, known, images)
        yield from _root(guest, facts, entry)


def _of_this_system(guest: Guest, facts: GuestFacts, entry: BootEntry) -> bool:
    """Whether an entry starts an installed kernel with the root that is repaired."""
    spec, device = root_of(guest, facts, entry)
    own = cmdline.unstable(spec) if device is None and spec else device is None or device.name == facts.root
    return own and kernel_of(guest, entry, facts.kernels, facts.root_subvolume) is not None


def _passed(menu: str, chosen: Optional[BootEntry]) -> str:
    """What GRUB carries out of a menu before the chosen entry has started: all outside of entries, and that entry."""
    parts = re.split(r"^(?=[ \t]*(?:menuentry|submenu)\b)", menu, flags=re.MULTILINE)
    titles = [
        f"{quote}{title}{quote}" for names in (chosen.names[-1:] if chosen is not None else ()) for title in names[1:2] for quote in "'\""
    ]
    return parts[0] + "".join(part for part in parts[1:] if any(title in part.split("{", 1)[0] for title in titles))


def _initramfs(
    guest: Guest, facts: GuestFacts, entry: BootEntry, kernel: Optional[Kernel], images: dict[str, list[Check]]
) -> Iterator[Check]:
    if kernel is None:
        yield Check("initramfs.kernel", False, f"{entry.kernel} of {entry.config} is none of the installed kernels")
        return
    needed = initramfs.NEEDED[facts.disk_bus]
    builtin = all(
        initramfs.provided(guest, kernel, driver) and driver not in initramfs.dependencies(guest, kernel) for driver in needed
    )  # fmt: skip
    whole = builtin or kernel.modules is not None or "rescue" in kernel.image
    yield Check("kernel.modules", whole, f"{kernel.version} has {'its modules' if whole else 'no module index'}")
    if not entry.initrds:
        yield Check(
            "initramfs.image",
            builtin,
            f"{entry.kernel} starts without an initramfs; its drivers are {'built in' if builtin else 'modules'}",
        )
        return
    for name in entry.initrds:
        path = locate(guest, entry, name, facts.root_subvolume)
        if path is None:
            yield Check("initramfs.image", False, f"{name} of {entry.config} does not exist")
            continue
        real = resolve_link(guest, path)
        if microcode(real):
            continue
        if real not in images:
            images[real] = list(_initramfs_content(guest, facts, kernel, real))
        yield from images[real]


def _initramfs_content(guest: Guest, facts: GuestFacts, kernel: Kernel, path: str) -> Iterator[Check]:
    try:
        image = cpio.read(guest.read(path) or b"")
    except MigrationError as error:
        yield Check("initramfs.image", False, f"{path}: {error.msg}")
        return
    yield Check(
        "initramfs.image", any(name.rsplit("/", 1)[-1] in ("init", "linuxrc") for name in image.names), f"{path} unpacks and has an init"
    )
    root = guest.device(_root_device(guest, facts))
    needed = [
        *initramfs.NEEDED[facts.disk_bus],
        *_of_root(guest, kernel, root, image),
        *dict.fromkeys(driver for kind in facts.root_stack for driver in _KIND_DRIVERS.get(kind, ())),
    ]
    depends = initramfs.dependencies(guest, kernel)
    index = b"".join(text_ for name, text_ in image.texts.items() if name.endswith("/modules.dep")).decode("utf-8", "replace")
    for driver in needed:
        closure = depends.get(driver)
        if closure is None:
            there = driver in image.modules or initramfs.provided(guest, kernel, driver)
            yield Check("initramfs.driver", there, f"{driver} is {'' if there else 'not '}built into {kernel.version} or in {path}")
            continue
        lacking = [module for module in closure if cpio.module_name(module) not in image.modules]
        indexed = f"/{closure[0].rsplit('/', 1)[-1]}:" in index
        yield Check(
            "initramfs.driver",
            not lacking and indexed,
            f"{path} has {driver}" if not lacking and indexed else f"{path} lacks {', '.join(lacking) or f'{driver} in its module index'}",
        )
    yield from _tools(guest, facts, root, image, path)
    inside = image.texts.get(position.PATH[1:])
    if inside:
        same = inside == (guest.read(position.PATH) or b"")
        yield Check("initramfs.position", same, f"{path} names cards by position{' as' if same else ', other than'} the system does")
    for name, content in image.texts.items():
        said = content.decode("utf-8", "replace")
        for dead in _dead_resume(name, said, guest):
            yield Check("initramfs.resume", False, f"{path} waits for {dead}")
        yield from _steering(guest, path, name, said)


def _of_root(guest: Guest, kernel: Kernel, root: Optional[BlockDevice], image: cpio.Image) -> tuple[str, ...]:
    """The driver of the root's file system: that of several which the image has, or the kernel."""
    drivers = _FS_DRIVERS.get(root.fstype if root is not None else "", ())
    depends = initramfs.dependencies(guest, kernel)
    there = (one for one in drivers if one in image.modules or (one not in depends and initramfs.provided(guest, kernel, one)))
    return tuple(filter(None, [next(there, next(iter(drivers), None))]))


def _tools(guest: Guest, facts: GuestFacts, root: Optional[BlockDevice], image: cpio.Image, path: str) -> Iterator[Check]:
    """What the image must run before there is a root: drivers alone put no volume group together."""
    kinds = list(dict.fromkeys(facts.root_stack))
    if root is not None and root.fstype == "btrfs" and len([device for device in guest.devices() if device.uuid == root.uuid]) > 1:
        kinds.append("btrfs")
    programs = {name.rsplit("/", 1)[-1] for name in image.names if _PROGRAMS.search(name)}
    for kind in kinds:
        tools = _KIND_TOOLS.get(kind, ())
        if tools:
            there = next((tool for tool in tools if tool in programs), "")
            yield Check(
                "initramfs.tool", bool(there), f"{path} has {there}" if there else f"{path} lacks {' and '.join(tools)}, for {kind}"
            )


def _steering(guest: Guest, path: str, name: str, content: str) -> Iterator[Check]:
    """What the image itself looks for: headers to unlock, disks to scan."""
    if name in ("cryptroot/crypttab", "etc/crypttab"):
        for line in mounts.parse(content, 1):
            if line.device is not None and line.device.startswith(("/dev/", "UUID=")):
                found = guest.device(line.device) is not None and not cmdline.unstable(line.device)
                yield Check("initramfs.crypttab", found, f"{path} unlocks {line.device} as {line.other}")
    if name in ("etc/mdadm/mdadm.conf", "etc/mdadm.conf"):
        every = mdadm.rewritten(content) == content
        yield Check("initramfs.mdadm", every, f"{path} looks for arrays on {_EVERY[every]}, by {name}")
    if f"/{name}" in lvm.CONFIGS:
        every = lvm.conf(content, lvm.new_names(guest)) == content
        yield Check("initramfs.lvm", every, f"{path} looks for volume groups on {_EVERY[every]}, by {name}")


_EVERY = {True: "every device", False: "some devices only"}
_RESUMED = re.compile(r"^(?!(?:none|auto)$).")  # what names a device, and does not say that there is none


def _dead_resume(name: str, content: str, guest: Guest) -> Iterator[str]:
    waits = (
        re.findall(r"^RESUME=(\S+)", content, re.MULTILINE)
        if initramfs_conf.of_tools(name)
        else cmdline.values(content, "resume")
        if name.startswith("etc/cmdline.d/")
        else []
    )
    yield from (spec for spec in waits if _RESUMED.match(spec) and (guest.device(spec) is None or cmdline.unstable(spec)))


def _root_device(guest: Guest, facts: GuestFacts) -> str:
    device = next((device for device in guest.devices() if device.name == facts.root), None)
    return f"UUID={device.uuid}" if device is not None and device.uuid else facts.root


def _root(guest: Guest, facts: GuestFacts, entry: BootEntry) -> Iterator[Check]:
    spec, device = root_of(guest, facts, entry)
    yield Check(
        "cmdline.root",
        device is not None and device.name == facts.root and not cmdline.unstable(spec),
        f"{entry.config} boots root={spec or '(none)'}",
    )
    if facts.root_subvolume:
        flags = ",".join(cmdline.values(entry.cmdline, "rootflags"))
        yield Check(
            "cmdline.subvolume",
            f"subvol={facts.root_subvolume}" in flags.replace("subvol=/", "subvol="),
            f"{entry.config} boots with rootflags={flags or '(none)'}",
        )
    for resume in filter(_RESUMED.match, cmdline.values(entry.cmdline, "resume")):
        yield Check(
            "cmdline.resume", guest.device(resume) is not None and not cmdline.unstable(resume), f"{entry.config} resumes from {resume}"
        )

    for name, spec in cmdline.devices(entry.cmdline):
        if spec.startswith("/dev/") or "UUID=" in spec:
            yield Check(
                "cmdline.device", guest.device(spec) is not None and not cmdline.unstable(spec), f"{entry.config} boots with {name}={spec}"
            )


def _tables(guest: Guest) -> Iterator[Check]:
    """Every table entry that stops a boot finds its device. What is network storage, made at boot, or waits for nothing is not asked for."""
    content = text(guest, mounts.FSTAB)
    named = any(line.other == "/" for line in mounts.parse(content or "", 0))
    yield _fstab(guest, content, named)
    made = {line.other for line in mounts.parse(text(guest, mounts.CRYPTTAB) or "", 1)}
    for path, field in ((mounts.FSTAB, 0), (mounts.CRYPTTAB, 1)):
        for line in mounts.parse(text(guest, path) or "", field):
            spec = (line.device or "").strip('"').replace("\\040", " ")
            if {"noauto", "nofail", "_netdev", "x-systemd.automount"} & set(",".join(line.fields[3:4]).split(",")):
                continue
            if not field and not mounts.placed(line):
                continue
            if not field and mounts.shared(line):
                yield Check("fstab.shared-folder", False, f"{path}: {spec} for {line.other} is of the old host")
            if not spec.startswith(("/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=")) or _MADE_AT_BOOT.match(spec):
                continue
            if not field and spec.startswith("/dev/mapper/") and spec[len("/dev/mapper/") :] in made:
                continue  # crypttab's own entry is asked
            device = guest.device(spec)
            yield Check(
                "crypttab.device" if field else "fstab.device",
                device is not None and not cmdline.unstable(spec) and (field == 1 or _type_fits(line.fields, device)),
                f"{path}: {spec} for {line.other}",
            )
    for path in mounts.units(guest):
        spec = ini(text(guest, path) or "").get((path.rsplit(".", 1)[1], "what"), "")
        if spec.startswith("/dev/") and not _MADE_AT_BOOT.match(spec):
            yield Check("unit.device", guest.device(spec) is not None and not cmdline.unstable(spec), f"{path}: {spec}")


def _fstab(guest: Guest, content: Optional[str], named: bool) -> Check:
    """A guest may do without fstab (systemd-fstab-generator(8)), unless a repair has changed one that is gone since."""
    if content is not None:
        return Check("fstab.root", True, "fstab has an entry for /" if named else "fstab leaves / to the kernel's command line")
    plans = (text(guest, f"{BACKUPS}/{name}/plan.json") or "" for name in guest.listdir(BACKUPS))
    if any(f'"{mounts.FSTAB}"' in plan for plan in plans):
        return Check("fstab.root", False, f"{mounts.FSTAB}, which the repair has changed, is gone")
    return Check("fstab.root", True, "the guest has no fstab, and mounts / as the kernel's command line says")


# Drives, memory, and volumes of programs that no appliance knows; all keep their names.
_MADE_AT_BOOT = re.compile(r"^/dev/(sr\d|fd\d|cdrom|shm\b|u?random$|zero$|zram\d|loop\d|stratis/|zvol/|zd\d|drbd|mapper/vdo|nbd\d)")
# What mounts a file system, where it has another name than blkid gives it.
_TYPES = {
    "ntfs": ("ntfs-3g", "ntfs3", "fuseblk"), "vfat": ("msdos", "umsdos"), "exfat": ("exfat-fuse",), "iso9660": ("udf",), "swap": ("none",),
    "swsuspend": ("swap", "none"), "btrfs": (), "ext4": ("ext2", "ext3"), "ext3": ("ext2", "ext4"), "ext2": ("ext3", "ext4"),
}  # fmt: skip


def _type_fits(fields: list[str], device: BlockDevice) -> bool:
    wanted = (fields[2] if len(fields) > 2 else "auto").split(",")
    return bool({"auto", device.fstype, *_TYPES.get(device.fstype, ())} & set(wanted)) or wanted[0].startswith("fuse")


def _network(guest: Guest, facts: GuestFacts) -> Iterator[Check]:
    """Every NIC of the VM comes up as the guest has configured it, by a name that is pinned or by its MAC.

    A profile for a NIC that the VM does not have proves nothing, unless one of its NICs is left without any.
    """
    interfaces = netnames.named(guest, facts.interfaces)
    macs, here = {mac for dummy, mac in interfaces}, {name for name, dummy in interfaces}
    driver = matches.driver_of(facts.nic_model)
    pinned = {name: mac for mac, name in netnames.persistent_names(guest).items() if mac in macs}
    if not netnames.has_udev(guest) and len(interfaces) == 1:  # which the kernel alone names
        interfaces = (("eth0", interfaces[0][1]),)
        here, pinned = {"eth0"}, dict(interfaces)
    problems: list[str] = []
    places = position.names(guest)
    profiles = boot_cards.profiles(guest, problems)
    for problem in problems:
        yield Check("network.readable", False, f"{problem}")
    stale: list[str] = []
    for profile in profiles:
        if netnames.unbound(profile) and matches.is_old(profile.driver, driver):
            yield Check("network.profile", False, f"{profile.path}: {profile.driver} is a driver of the old hardware")
    for profile in netnames.physical(profiles):
        if (profile.mac is not None and profile.mac not in macs) or (profile.mac is None and profile.name not in here):
            stale += [profile.path] if profile.active and profile.method != "none" else []
            continue
        works = (profile.name is None or profile.name in pinned) and not matches.is_old(profile.driver, driver)
        yield Check(
            "network.profile",
            works,
            f"{profile.path}: {profile.name or profile.mac} is {profile.mac or pinned.get(profile.name or '', 'not pinned')}"
            f"{', by its MAC alone' if profile.mac and places else ''}",
        )
    for name in netnames.nic_names(profiles, netnames.given_names(guest)):
        if name in here:
            yield Check(
                "network.name", name in pinned, f"{name} is {pinned.get(name, 'not pinned')}{', or by position' if name in places else ''}"
            )
    known = {mac: name for name, mac in interfaces}
    by_mac = {(profile.path, profile.mac) for profile in profiles if profile.mac}
    served = {one.mac for one in facts.nics if one.backend}
    for nic in netnames.nics(
        profiles, [(known.get(one.mac, one.name), one.mac) for one in facts.nics] or interfaces, driver, boot_cards.fresh(guest)
    ):
        how = ", ".join(nic.addresses) or {"dhcp": "an address by DHCP"}.get(nic.method, "no address")
        by = f" by {nic.backend} ({nic.path})" if nic.backend else ""
        lost = f"; {', '.join(dict.fromkeys(stale))} applies to no NIC" if stale and not nic.backend else ""
        lost = lost or ("; what configured it applies to it no more" if nic.mac in served and not nic.backend else "")
        known_by = f"{nic.mac}, or by position" if nic.name in places and (nic.path, nic.mac) not in by_mac else nic.mac
        yield Check(
            "network.card", not lost, f"{nic.name or 'a card'} ({known_by}){f' carries {nic.on} with' if nic.on else ' comes up with'} {how}"
            f"{f' and the gateway {nic.gateway}' if nic.gateway else ''}{by}{lost}",
        )  # fmt: skip
