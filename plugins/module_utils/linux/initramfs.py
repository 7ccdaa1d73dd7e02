# SPDX-License-Identifier: GPL-3.0-or-later
"""initramfs: every installed kernel finds its root on the target's disks.

The image is looked into first. What it lacks is appended as one more archive, made of the guest's own modules and module
indexes; nothing of the guest runs. The tool's configuration follows (initramfs_conf), so that the next kernel update keeps it.
Source: initramfs-tools(7), dracut(8), mkinitcpio(8), mkinitfs(1), SUSE's mkinitrd(8), modules.dep(5).
"""

from __future__ import annotations

import hashlib
from typing import Optional

from ..core.concern import BLOCKER, WARNING, Findings
from ..core.errors import InvalidInput
from ..guest.change import Change
from ..guest.changes.run import RunCommand
from ..guest.model import GuestFacts, Kernel
from ..guest.protocol import Guest, exists, text
from . import cmdline, cpio, crypttab, initramfs_conf, lvm, mdadm, mounts
from .entries import boot_entries, images_of
from .extend_initramfs import ExtendInitramfs
from .netconf import links, matches, position
from .netconf import names as netnames

MODES = ("overlay", "regenerate", "skip")
# By the bus of the target's disks: what an image should have, and what it must have to find the root.
DRIVERS = {"virtio": ("virtio_pci", "virtio_blk", "virtio_scsi"), "sata": ("ahci", "sd_mod")}
NEEDED = {"virtio": ("virtio_pci", "virtio_blk"), "sata": ("ahci", "sd_mod")}
# Only an image that drives the old NIC wants the network early and gets the new one's driver too; and wherever it has that, it
# must know the names: systemd before 240 never renames a NIC that the initramfs has named. Source: systemd.net-naming-scheme(7).
_INDEXES = (
    "modules.dep",
    "modules.dep.bin",
    "modules.alias",
    "modules.alias.bin",
    "modules.symbols",
    "modules.symbols.bin",
    "modules.softdep",
    "modules.builtin",
    "modules.builtin.bin",
    "modules.builtin.alias.bin",
    "modules.builtin.modinfo",
    "modules.order",
    "modules.devname",
)


def plan(guest: Guest, facts: GuestFacts, mode: str, findings: Findings) -> list[Change]:
    """Changes that give every kernel's images the drivers of the target and take what was bound to the old hardware out of them."""
    if mode not in MODES:
        raise InvalidInput(f"The initramfs mode {mode!r} is not known.", f"Use one of {', '.join(MODES)}.")
    if mode == "skip":
        return []
    configuration = initramfs_conf.names(guest, findings)
    entries = boot_entries(guest)
    lacking: list[tuple[Kernel, ExtendInitramfs]] = []
    for kernel in facts.kernels:
        images = images_of(guest, entries, kernel, facts.root_subvolume)
        if not images:
            _without_image(guest, kernel, facts, findings)
        for image in images:
            extension = _extension(guest, kernel, image, facts, findings)
            if extension is not None and image not in {known.path for dummy, known in lacking}:
                lacking.append((kernel, extension))
    if lacking:
        configuration += initramfs_conf.drivers(guest, facts.initramfs_tool, facts.disk_bus, DRIVERS[facts.disk_bus])
    if mode == "overlay":
        return [*configuration, *(extension for dummy, extension in lacking)]
    return [*configuration, *(_regenerate(guest, kernel, extension.path, facts) for kernel, extension in lacking)]


def missing_drivers(guest: Guest, kernel: Kernel, image: cpio.Image, bus: str, nic: str) -> list[str]:
    """Modules for the bus, and for the NIC where the network is wanted early, with what they depend on, that the kernel has as modules and the image lacks."""
    depends = dependencies(guest, kernel)
    have = image.modules
    drivers = (*DRIVERS[bus], *((nic,) if have & matches.OLD else ()))
    needed = dict.fromkeys(path for driver in drivers if driver in depends for path in depends[driver])
    return [path for path in needed if cpio.module_name(path) not in have]


def runs_on(guest: Guest, kernel: Kernel, bus: str) -> bool:
    """Whether a kernel can find a disk on the bus, with an initramfs or without; of rescue images only their own modules are known."""
    return kernel.modules is None or all(provided(guest, kernel, driver) for driver in NEEDED[bus])


def provided(guest: Guest, kernel: Kernel, driver: str) -> bool:
    """Whether the kernel has a driver at all: as a module, or built in by its index or its configuration."""
    if driver in dependencies(guest, kernel):
        return True
    builtin = text(guest, f"{kernel.modules}/modules.builtin") if kernel.modules else None
    if builtin is not None and driver in {cpio.module_name(line) for line in builtin.splitlines()}:
        return True
    config = text(guest, f"/boot/config-{kernel.version}") or ""
    return f"CONFIG_{driver.upper()}=y" in config.splitlines()


def dependencies(guest: Guest, kernel: Kernel) -> dict[str, tuple[str, ...]]:
    """Module name to its path and those of everything it needs, relative to the module tree, from modules.dep."""
    found: dict[str, tuple[str, ...]] = {}
    for line in (text(guest, f"{kernel.modules}/modules.dep") or "" if kernel.modules else "").splitlines():
        path, colon, rest = line.partition(":")
        if colon:
            found[cpio.module_name(path)] = (path, *rest.split())
    return found


def _without_image(guest: Guest, kernel: Kernel, facts: GuestFacts, findings: Findings) -> None:
    needed = NEEDED[facts.disk_bus]
    if not _lacks(guest, kernel, set(), facts.disk_bus, findings) and any(driver in dependencies(guest, kernel) for driver in needed):
        findings.add(
            "initramfs.missing",
            WARNING,
            f"The kernel {kernel.version} has its drivers as modules but no initramfs to load them from.",
            "Create its initramfs in the guest before the migration.",
        )


def _extension(guest: Guest, kernel: Kernel, path: str, facts: GuestFacts, findings: Findings) -> Optional[ExtendInitramfs]:
    data = guest.read(path)
    try:
        image = cpio.read(data or b"")
    except InvalidInput as error:
        findings.add("initramfs.unreadable", BLOCKER, f"{path}: {error.msg}", error.hint)
        return None
    if _lacks(guest, kernel, image.modules, facts.disk_bus, findings):
        return None
    nic = matches.driver_of(facts.nic_model)
    modules = missing_drivers(guest, kernel, image, facts.disk_bus, nic)
    texts = _texts(guest, image, facts.disk_bus if modules else "")
    if nic in image.modules | set(map(cpio.module_name, modules)) and links.in_force(guest):
        pins = [links.pin(guest, name, mac, nic) for name, mac in netnames.named(guest, facts.interfaces) if name]
        by_position = text(guest, position.PATH) if _has_shell(image) else None
        if by_position is not None or position.PATH[1:] in image.texts:
            pins.append((position.PATH, by_position or ""))  # nothing is taken out of an image, so a rule that is gone is empty
        texts += [(path[1:], pinned) for path, pinned in pins]
        texts = sorted({name: text for name, text in texts if image.texts.get(name) != text.encode("utf-8", "surrogateescape")}.items())
    if data is None or not (modules or texts):
        return None
    damaged = [name for name in modules if not exists(guest, f"{kernel.modules}/{name}")]
    if damaged:
        findings.add(
            "kernel.damaged",
            BLOCKER,
            f"The kernel {kernel.version} lists {', '.join(damaged)}, which is not there.",
            "Reinstall the kernel package in the guest before the migration, or accept kernel.damaged to leave its initramfs alone.",
        )
        return None
    base = f"{_module_base(image)}/{kernel.version}"
    indexes = [name for name in _INDEXES if modules and exists(guest, f"{kernel.modules}/{name}")]
    return ExtendInitramfs(
        path,
        len(data),
        hashlib.sha256(data).hexdigest(),
        tuple(f"{kernel.modules}/{name} -> {base}/{name}" for name in modules),
        tuple(f"{kernel.modules}/{name} -> {base}/{name}" for name in indexes),
        tuple(texts),
        f"{facts.disk_bus} drivers for {kernel.version}",
    )


def _has_shell(image: cpio.Image) -> bool:
    """Whether the rule by position, which asks a shell, can hold anywhere in an image."""
    return bool({"bin/sh", "usr/bin/sh"} & image.names)


def _lacks(guest: Guest, kernel: Kernel, inside: set[str], bus: str, findings: Findings) -> bool:
    """Whether a kernel can never find a disk on the bus; a rescue image brings modules of its own and no tree beside them."""
    lacking = [driver for driver in NEEDED[bus] if driver not in inside and not provided(guest, kernel, driver)]
    if lacking:
        findings.add(
            "kernel.no-driver",
            WARNING,
            f"The kernel {kernel.version} has no {' and no '.join(lacking)}.",
            "Another installed kernel boots by default where there is one; or install one in the guest before the migration.",
        )
    return bool(lacking)


def _texts(guest: Guest, image: cpio.Image, bus: str) -> list[tuple[str, str]]:
    """Files that steer the image, as they must read: early modules for `bus`, and no devices of the old hardware."""
    texts: dict[str, str] = {}
    for name, content in image.texts.items():
        before = content.decode("utf-8", "surrogateescape")
        after = _steering(name, before, guest)
        if name == "conf/modules" and bus:
            after = before.rstrip("\n") + "\n" + "".join(f"{driver}\n" for driver in DRIVERS[bus])
        if after != before:
            texts[name] = after
    if bus and "conf/modules" not in image.texts:
        texts["etc/modules-load.d/hyper2kvm.conf"] = "".join(f"{driver}\n" for driver in NEEDED[bus])
    return sorted(texts.items())


def _steering(name: str, before: str, guest: Guest) -> str:
    """A file of an image, by stable names, as the tool would copy it from the repaired guest."""
    if initramfs_conf.of_tools(name):
        return initramfs_conf.rewritten(before, name, guest, Findings())
    if name.startswith("etc/cmdline.d/"):
        return cmdline.rewrite(before, guest)
    if name in ("cryptroot/crypttab", "etc/crypttab"):
        return crypttab.rewritten(before, guest)
    if name == "etc/fstab":
        return mounts.rewritten(before, guest)
    if name in ("etc/mdadm/mdadm.conf", "etc/mdadm.conf"):
        return mdadm.rewritten(before)
    if f"/{name}" in lvm.CONFIGS:
        return lvm.conf(before, lvm.new_names(guest))
    if name.startswith("etc/lvm/devices/"):
        return lvm.devices_file(before)
    return before


def _module_base(image: cpio.Image) -> str:
    """Where the image keeps modules: never a path through one of its own links."""
    return (
        "usr/lib/modules"
        if any(name.startswith("usr/lib/modules") for name in image.names)
        or (not any(name.startswith("lib/modules") for name in image.names) and "usr/lib" in image.names)
        else "lib/modules"
    )


def _regenerate(guest: Guest, kernel: Kernel, image: str, facts: GuestFacts) -> RunCommand:
    """The guest's own tool with explicit arguments. In the appliance dracut must not look at the hardware it runs on."""
    dracut = next((path for path in ("/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut") if exists(guest, path)), "/usr/bin/dracut")
    generic = () if facts.live or facts.version.split(".")[0] == "6" else ("--no-hostonly",)
    argv = {
        "initramfs-tools": ("/usr/sbin/update-initramfs", "-u", "-k", kernel.version),
        "dracut": (dracut, "--force", *generic, image, kernel.version),
        "mkinitcpio": ("/usr/bin/mkinitcpio", "-k", kernel.version, "-g", image),
        "mkinitfs": ("/sbin/mkinitfs", "-o", image, kernel.version),
        "mkinitrd": ("/sbin/mkinitrd", "-k", kernel.image, "-i", image, "-m", " ".join(DRIVERS[facts.disk_bus])),
    }.get(facts.initramfs_tool)
    if argv is None:
        raise InvalidInput(
            f"The initramfs of this guest cannot be regenerated: its tool {facts.initramfs_tool or '(none found)'} is not known.",
            "Use migrate_initramfs: overlay.",
        )
    # update-initramfs keeps a checksum of the image it made, and makes no other if it finds a foreign one.
    sums = f"/var/lib/initramfs-tools/{kernel.version}"
    touches = (image, *([sums] if facts.initramfs_tool == "initramfs-tools" and exists(guest, sums) else []))
    return RunCommand(argv, touches, f"{facts.disk_bus} drivers for {kernel.version}")
