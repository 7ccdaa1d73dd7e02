# SPDX-License-Identifier: GPL-3.0-or-later
"""initramfs: every installed kernel finds its root on virtio.

The image is looked into first. What it lacks is appended as one more archive, made of the guest's own modules and module
indexes; nothing of the guest runs. The tool's configuration follows, so that the next kernel update keeps it.
Source: initramfs-tools(7), initramfs.conf(5), dracut.conf(5), mkinitcpio.conf(5), modules.dep(5).
"""

from __future__ import annotations

import hashlib
import re
from typing import Optional, Sequence

from ..core.errors import InvalidInput
from ..guest.changes import Change, ExtendInitramfs, RunCommand, edit
from ..guest.model import BLOCKER, WARNING, Findings, Kernel
from ..guest.protocol import Guest, exists, glob, text
from . import cmdline, cpio

MODES = ("overlay", "regenerate", "skip")
DRIVERS = ("virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net")
NEEDED = ("virtio_pci", "virtio_blk")
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
_RESUME = "conf/conf.d/resume"
_TOOLS_MODULES = "/etc/initramfs-tools/modules"
_TOOLS_RESUME = "/etc/initramfs-tools/conf.d/resume"
_DRACUT = "/etc/dracut.conf.d/90-hyper2kvm.conf"
_MKINITCPIO = "/etc/mkinitcpio.conf"


def plan(guest: Guest, kernels: Sequence[Kernel], tool: str, mode: str, findings: Findings) -> list[Change]:
    """Changes that give every kernel's initramfs the virtio drivers and take dead resume devices out of it."""
    if mode not in MODES:
        raise InvalidInput(f"The initramfs mode {mode!r} is not known.", f"Use one of {', '.join(MODES)}.")
    if mode == "skip":
        return []
    configuration = _resume_configuration(guest)
    lacking: list[tuple[Kernel, ExtendInitramfs]] = []
    for kernel in kernels:
        extension = _extension(guest, kernel, findings)
        if extension is not None:
            lacking.append((kernel, extension))
    if lacking:
        configuration += _permanent(guest, tool)
    if mode == "overlay":
        return [*configuration, *(extension for dummy, extension in lacking)]
    return [*configuration, *(_regenerate(guest, kernel, extension.path, tool) for kernel, extension in lacking)]


def missing_drivers(guest: Guest, kernel: Kernel, image: cpio.Image) -> list[str]:
    """Modules of `DRIVERS`, with what they depend on, that the kernel has as modules and the image lacks."""
    depends = dependencies(guest, kernel)
    needed = dict.fromkeys(path for driver in DRIVERS if driver in depends for path in depends[driver])
    have = image.modules
    return [path for path in needed if cpio.module_name(path) not in have]


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


def build(guest: Guest, change: ExtendInitramfs) -> bytes:
    """The archive of a planned extension, read from the guest; the same guest gives the same bytes."""
    members: list[tuple[str, Optional[bytes]]] = [(name, content.encode("utf-8", "surrogateescape")) for name, content in change.texts]
    for entry in (*change.modules, *change.indexes):
        path, dummy, inside = entry.partition(" -> ")
        data = guest.read(path)
        if data is None:
            raise InvalidInput(
                f"{path}, which the initramfs needs, cannot be read.",
                "The kernel package is damaged; reinstall it in the guest before the migration.",
            )
        members.append((inside, data))
    return b"\0" * cpio.padding(change.size) + cpio.write(members)


def _extension(guest: Guest, kernel: Kernel, findings: Findings) -> Optional[ExtendInitramfs]:
    if kernel.initramfs is None:
        if not _lacks_virtio(guest, kernel, set(), findings) and any(driver in dependencies(guest, kernel) for driver in NEEDED):
            findings.add(
                "initramfs.missing",
                WARNING,
                f"The kernel {kernel.version} has its virtio drivers as modules but no initramfs to load them from.",
                "Create its initramfs in the guest before the migration.",
            )
        return None
    data = guest.read(kernel.initramfs)
    try:
        image = cpio.read(data or b"")
    except InvalidInput as error:
        findings.add("initramfs.unreadable", BLOCKER, f"{kernel.initramfs}: {error.msg}", error.hint)
        return None
    if _lacks_virtio(guest, kernel, image.modules, findings):
        return None
    modules = missing_drivers(guest, kernel, image)
    texts = _texts(guest, image, bool(modules))
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
    base = _module_base(image) + f"/{kernel.version}"
    indexes = [name for name in _INDEXES if modules and exists(guest, f"{kernel.modules}/{name}")]
    return ExtendInitramfs(
        kernel.initramfs,
        len(data),
        hashlib.sha256(data).hexdigest(),
        tuple(f"{kernel.modules}/{name} -> {base}/{name}" for name in modules),
        tuple(f"{kernel.modules}/{name} -> {base}/{name}" for name in indexes),
        tuple(texts),
        f"virtio drivers for {kernel.version}",
    )


def _lacks_virtio(guest: Guest, kernel: Kernel, inside: set[str], findings: Findings) -> bool:
    """Whether a kernel can never find a virtio disk; a rescue image brings modules of its own and no tree beside them."""
    lacking = [driver for driver in NEEDED if driver not in inside and not provided(guest, kernel, driver)]
    if lacking:
        findings.add(
            "kernel.no-virtio",
            WARNING,
            f"The kernel {kernel.version} has no {' and no '.join(lacking)}.",
            "Boot another installed kernel by default, or attach the disk by SATA in the target's definition.",
        )
    return bool(lacking)


def _texts(guest: Guest, image: cpio.Image, drivers: bool) -> list[tuple[str, str]]:
    """Files that steer the image, as they must read: early modules, and no devices of the old hardware."""
    texts: dict[str, str] = {}
    for name, content in image.texts.items():
        before = content.decode("utf-8", "surrogateescape")
        if name == _RESUME:
            after = _resume_line(before, guest)
        elif name.startswith("etc/cmdline.d/"):
            after = cmdline.rewrite(before, guest)
        elif name == "conf/modules" and drivers:
            after = before.rstrip("\n") + "\n" + "".join(f"{driver}\n" for driver in DRIVERS)
        else:
            continue
        if after != before:
            texts[name] = after
    if drivers and "conf/modules" not in image.texts:
        texts["etc/modules-load.d/hyper2kvm.conf"] = "".join(f"{driver}\n" for driver in NEEDED)
    return sorted(texts.items())


def _module_base(image: cpio.Image) -> str:
    """Where the image keeps modules: never a path through one of its own links."""
    return (
        "usr/lib/modules"
        if any(name.startswith("usr/lib/modules") for name in image.names)
        or (not any(name.startswith("lib/modules") for name in image.names) and "usr/lib" in image.names)
        else "lib/modules"
    )


def _resume_line(line: str, guest: Guest) -> str:
    match = re.match(r"^(\s*(?:export\s+)?RESUME=)(\S*)(.*)$", line, re.DOTALL)
    if match is None or match[2].strip("\"'") in ("", "none", "auto"):
        return line
    spec = match[2].strip("\"'")
    device = guest.device(spec)
    if device is None or device.fstype not in ("swap", "swsuspend"):
        return f"{match[1]}none{match[3]}"
    return f"{match[1]}UUID={device.uuid}{match[3]}" if cmdline.unstable(spec) and device.uuid else line


def _resume_configuration(guest: Guest) -> list[Change]:
    before = text(guest, _TOOLS_RESUME)
    if before is None:
        return []
    return list(
        edit(
            _TOOLS_RESUME,
            before,
            "".join(_resume_line(line, guest) for line in before.splitlines(keepends=True)),
            "resume device by a stable name",
        )
    )


def _permanent(guest: Guest, tool: str) -> list[Change]:
    """Configuration of the guest's tool, so that the next kernel update builds the drivers in again."""
    reason = "virtio drivers also after the next kernel update"
    changes: list[Change] = []
    if tool == "initramfs-tools":
        before = text(guest, _TOOLS_MODULES)
        present = {line.split()[0] for line in (before or "").splitlines() if line.split()}
        added = "".join(f"{driver}\n" for driver in DRIVERS if driver not in present)
        start = before if before is None or before.endswith("\n") or not before else before + "\n"
        changes += edit(_TOOLS_MODULES, before, (start or "") + added, reason)
    elif tool == "dracut":
        changes += edit(_DRACUT, text(guest, _DRACUT), f'add_drivers+=" {" ".join(DRIVERS)} "\n', reason)
        for path in ("/etc/dracut.conf", *glob(guest, "/etc/dracut.conf.d", ".conf")):
            before = text(guest, path)
            if before is not None and path != _DRACUT:
                changes += edit(path, before, _OMIT.sub(_keep_virtio, before), reason)
    elif tool == "mkinitcpio":
        before = text(guest, _MKINITCPIO) or ""
        match = re.search(r"^MODULES=\(([^)]*)\)", before, re.MULTILINE)
        if match is not None:
            names = [*match[1].split(), *(driver for driver in DRIVERS if driver not in match[1].split())]
            changes += edit(_MKINITCPIO, before, before[: match.start(1)] + " ".join(names) + before[match.end(1) :], reason)
    return changes


_OMIT = re.compile(r'^(\s*omit_drivers\+?=")([^"\n]*)', re.MULTILINE)


def _keep_virtio(match: re.Match[str]) -> str:
    return match[1] + re.sub(r"[ \t]*\bvirtio(?:_\w+)?\b", "", match[2])


def _regenerate(guest: Guest, kernel: Kernel, image: str, tool: str) -> RunCommand:
    argv = {
        "initramfs-tools": ("/usr/sbin/update-initramfs", "-u", "-k", kernel.version),
        "dracut": (
            next((path for path in ("/usr/bin/dracut", "/usr/sbin/dracut", "/sbin/dracut") if exists(guest, path)), "/usr/bin/dracut"),
            "--force",
            "--no-hostonly",
            "--kver",
            kernel.version,
            image,
        ),
        "mkinitcpio": ("/usr/bin/mkinitcpio", "-k", kernel.version, "-g", image),
    }.get(tool)
    if argv is None:
        raise InvalidInput(
            f"The initramfs of this guest cannot be regenerated: its tool {tool or '(none found)'} is not known.",
            "Use migrate_initramfs: overlay.",
        )
    return RunCommand(argv, (image,), f"virtio drivers for {kernel.version}")
