# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage drivers that are ready before anything else: files, service, and what leads Windows from the device to the service."""

from __future__ import annotations

import hashlib
from typing import Mapping, Sequence

from ..core.concern import WARNING
from ..guest.change import Change
from ..guest.model import WindowsFacts
from . import devices, paths, pnp, regf, reparse
from .driver_source import Tree
from .drivers import STORAGE, Package
from .hives import Draft
from .pnp import DATABASE
from .work import Work

FOLDER = "hyper2kvm"  # below the Windows directory: everything of ours
_HDC_CLASS = "{4d36e96a-e325-11ce-bfc1-08002be10318}"
_ARCHITECTURES = {"x86_64": "amd64", "i686": "x86", "aarch64": "arm64"}
# What Windows brings along for the fallback bus: service, file, load order group, and the devices of the old database.
_INBOX: Mapping[str, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "storahci": (("storahci", ()),),
    "msahci": (("msahci", ("PCI#CC_010601",)),),
    "ide": (
        ("atapi", ("primary_ide_channel", "secondary_ide_channel", "*pnp0600")),
        ("intelide", ("PCI#VEN_8086&DEV_7010", "PCI#VEN_8086&DEV_7111")),
        ("pciide", ("PCI#CC_0101",)),
    ),
}
_REASON = "storage drivers that are ready before anything else"
_INBOX_REASON = "the disk controller that needs no driver of ours can be started from"


def inject(work: Work, tree: Tree) -> list[Change]:
    """Make viostor and vioscsi start with Windows and lead their devices to them."""
    changes: list[Change] = []
    for name in STORAGE:
        package = work.packages.get(name)
        if package is None or package.driver.service is None:
            continue
        changes += _program(work, tree, package)
        _service(work.windows, work.system, package)
        if pnp.uses_database(work.windows):
            _database(work.system, package, work.facts.architecture)
        else:
            _critical(work.windows, work.system, package)
    return changes


def _program(work: Work, tree: Tree, package: Package) -> list[Change]:
    """The driver's own file, in place of another that may lie there."""
    service = package.driver.service
    if service is None:
        return []
    source = dict(package.files)[service.image.rsplit("\\", 1)[-1].lower()]
    dest = paths.place(work.guest, f"{work.windows.system_root}/{service.image}".replace("\\", "/"))
    shut = reparse.held(work.guest, dest, work.windows.nt)
    if shut is not None:
        work.findings.add(
            "windows.driver-kept",
            WARNING,
            f"{dest} {shut.why}: it cannot be compared with that of the driver source, and stays as it is.",
            shut.remedy,
        )
        return []
    data, there = tree.read(source), work.guest.read(dest)
    if there == data:
        return []
    if there is not None:
        work.findings.add(
            "windows.driver-replaced",
            WARNING,
            f"{dest} is there in another version and is replaced by that of the driver source.",
            "Nothing, unless the source's drivers are older; the old file is kept in the backup.",
        )
    return [tree.change(source, dest, _REASON, hashlib.sha256(there).hexdigest() if there is not None else "")]


def _service(facts: WindowsFacts, system: Draft, package: Package) -> None:
    service = package.driver.service
    if service is None:
        return
    key = f"{pnp.services(facts)}\\{service.name}"
    system.set(key, "Type", regf.DWORD, service.kind, _REASON)
    system.set(key, "Start", regf.DWORD, pnp.BOOT_START, _REASON)
    system.set(key, "ErrorControl", regf.DWORD, service.error, _REASON)
    system.set(key, "Group", regf.SZ, service.group or "SCSI miniport", _REASON)
    system.set(key, "ImagePath", regf.EXPAND_SZ, service.image, _REASON)
    for subkey, name, kind, data in service.values:
        system.set(f"{key}\\{subkey}" if subkey else key, name, kind, data, _REASON)
    system.remove_key(f"{key}\\StartOverride", _REASON)


def identifiers(package: Package) -> list[str]:
    """The PCI ids of a driver, without their bus."""
    return [one[4:] for one in package.driver.ids if one.startswith("PCI\\")]


def _critical(facts: WindowsFacts, system: Draft, package: Package) -> None:
    service = package.driver.service
    for identifier in identifiers(package) if service is not None else ():
        key = f"{pnp.critical(facts)}\\PCI#{identifier}"
        system.set(key, "Service", regf.SZ, service.name if service is not None else "", _REASON)
        system.set(key, "ClassGUID", regf.SZ, package.driver.class_guid, _REASON)


def _database(system: Draft, package: Package, architecture: str) -> None:
    """INF, package, configuration and descriptors; a driver that Windows has already configured for a device stays in charge of it."""
    driver, service = package.driver, package.driver.service
    if service is None:
        return
    ours = f"{driver.inf}_{_ARCHITECTURES.get(architecture, 'amd64')}_{package.digest[:16]}"
    fresh = [identifier for identifier in identifiers(package) if not _driven(system, identifier, driver.inf, service.name)]
    if not fresh:
        return
    configuration = driver.section
    for identifier in fresh:
        system.set(f"{DATABASE}\\DeviceIds\\PCI\\{identifier}", driver.inf, regf.BINARY, pnp.ENABLED, _REASON)
    key = f"{DATABASE}\\DriverInfFiles\\{driver.inf}"
    system.set(key, "", regf.MULTI_SZ, (ours,), _REASON)
    system.set(key, "Active", regf.SZ, ours, _REASON)
    system.set(key, "Configurations", regf.MULTI_SZ, (configuration,), _REASON)
    key = f"{DATABASE}\\DriverPackages\\{ours}"
    system.set(key, "", regf.SZ, driver.inf, _REASON)
    system.set(key, "Version", regf.BINARY, driver.version_blob(), _REASON)
    system.set(key, "Provider", regf.SZ, driver.provider, _REASON)
    system.set(f"{key}\\Configurations\\{configuration}", "ConfigFlags", regf.DWORD, 0, _REASON)
    system.set(f"{key}\\Configurations\\{configuration}", "Service", regf.SZ, service.name, _REASON)
    for identifier in fresh:
        system.set(f"{key}\\Descriptors\\PCI\\{identifier}", "Configuration", regf.SZ, configuration, _REASON)


def _driven(system: Draft, identifier: str, inf: str, service: str) -> bool:
    """Whether another INF already leads this identifier to the service, as after an installation by Windows itself."""
    others = [value.name for value in system.values(f"{DATABASE}\\DeviceIds\\PCI\\{identifier}") if value.name.lower() not in ("", inf)]
    return any(pnp.registered(system, f"PCI\\{identifier}", other).service.lower() == service.lower() for other in others)


def enable_inbox(work: Work) -> None:
    """Make the drivers that Windows brings along usable for its start: AHCI, or IDE before Vista."""
    facts, system = work.windows, work.system
    kind = "ide" if facts.nt < (6, 0) else "storahci" if facts.nt >= (6, 2) else "msahci"
    for service, identifiers_ in _INBOX[kind]:
        key = f"{pnp.services(facts)}\\{service}"
        image = paths.image(facts.system_root, system.text(key, "ImagePath"), service, facts.drive)
        if not system.has(key) or image is None or paths.find(work.guest, image) is None:
            if service != "pciide":
                work.findings.add(
                    "windows.no-inbox-driver",
                    WARNING,
                    f"The driver {service} for {devices.fallback_bus(facts.nt).upper()} disks is missing.",
                    "The VM can only start on virtio; a bootstrap on the fallback bus is not possible.",
                )
            continue
        system.set(key, "Start", regf.DWORD, pnp.BOOT_START, _INBOX_REASON)
        system.remove_key(f"{key}\\StartOverride", _INBOX_REASON)
        for identifier in identifiers_:
            entry = f"{pnp.critical(facts)}\\{identifier}"
            if not system.text(entry, "Service"):
                system.set(entry, "Service", regf.SZ, service, _INBOX_REASON)
                system.set(entry, "ClassGUID", regf.SZ, _HDC_CLASS, _INBOX_REASON)


def stage(work: Work, tree: Tree) -> list[Change]:
    """Every package's files in a folder of its own, and these folders where Windows looks for drivers."""
    changes: list[Change] = []
    for name, package in work.packages.items():
        for file, source in package.files:
            dest = f"{work.windows.system_root}/{FOLDER}/drivers/{name}/{file}"
            if work.guest.stat(dest) is None:
                changes.append(tree.change(source, dest, "drivers that Windows installs at its first start"))
    if work.software is not None:
        _device_path(work.software, [f"%SystemRoot%\\{FOLDER}\\drivers\\{name}" for name in work.packages])
    return changes


def _device_path(software: Draft, folders: Sequence[str]) -> None:
    key = "Microsoft\\Windows\\CurrentVersion"
    value = software.value(key, "DevicePath")
    known = [part for part in (value.text if value is not None else "%SystemRoot%\\inf").split(";") if part]
    low = {part.lower() for part in known}
    known += [folder for folder in folders if folder.lower() not in low]
    software.set(key, "DevicePath", regf.EXPAND_SZ, ";".join(known), "where Windows looks for drivers")
