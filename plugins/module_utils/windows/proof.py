# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot readiness of Windows, shown from the bytes: firmware, boot files, hives, services, programs, and the way from the disk's
controller to its driver. One check per link, each by the same rules that Windows follows; what is missing fails.

Windows itself is not started for it: the proof is about what is on the disks.
"""

from __future__ import annotations

from typing import Iterator, Mapping, Optional

from ..core.errors import MigrationError
from ..guest.model import BOOTSTRAP, FINAL, GuestFacts, WindowsFacts
from ..guest.parttable import Table
from ..guest.proof import Check, Proof
from ..guest.protocol import Guest, text
from . import bcd, devices, drivers, edit_hive, identity, logs, paths, pe, pnp, regf, reparse, signing_policy
from .hives import Draft, open_hives
from .paths import VOLUME

_DRIVER_TYPES = (1, 2)  # kernel driver, file system driver
_BELOW_DISK = ("pci", "partmgr", "volmgr", "mountmgr", "disk", "volsnap", "fvevol")
_ALWAYS = ("pci", "mountmgr", "disk")
_NAMES_BEFORE_VISTA = ("pci", "partmgr", "ftdisk", "mountmgr", "disk", "volsnap")
_CLASSES = {
    "disk": "{4d36e967-e325-11ce-bfc1-08002be10318}",
    "controller": "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "volume": "{71a27cdd-812a-11d0-bec7-08002be2092f}",
    "ide": "{4d36e96a-e325-11ce-bfc1-08002be10318}",
    "bus": "{4d36e97d-e325-11ce-bfc1-08002be10318}",
    "network": "{4d36e972-e325-11ce-bfc1-08002be10318}",
}
_IMPORTS = ("storport.sys", "scsiport.sys", "ataport.sys", "storahci.sys", "pciidex.sys")


def prove(guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Proof:
    """Every check, for each set of devices that the guest is to start on."""
    if facts.windows is None:
        return Proof(())
    windows = facts.windows
    return Proof((*_firmware(guest, facts, tables), *_registry(guest, facts, windows)))


def _firmware(guest: Guest, facts: GuestFacts, tables: Mapping[str, Table]) -> Iterator[Check]:
    windows = facts.windows
    if windows is None:
        return
    if windows.nt < (6, 0):
        yield from _before_vista(guest, windows, tables)
        return
    if facts.firmware == "uefi":
        name = bcd.FALLBACKS.get(facts.architecture, "bootx64.efi")
        esps = [volume for volume in bcd.volumes(guest) if volume.startswith("/efi")]
        manager = _first(guest, [f"{volume}/EFI/Microsoft/Boot/bootmgfw.efi" for volume in esps])
        fallback = _first(guest, [f"{volume}/EFI/Boot/{name}" for volume in esps])
        yield _program(guest, "firmware.manager", manager, facts.architecture, "EFI\\Microsoft\\Boot\\bootmgfw.efi")
        yield _program(guest, "firmware.fallback", fallback, facts.architecture, f"EFI\\Boot\\{name}")
    else:
        active = [(name, part.number) for name, table in tables.items() for part in table.partitions if part.active]
        code = any(table.boot_code.strip(b"\0") for table in tables.values())
        yield Check("firmware.active", bool(active) and code, f"{len(active)} active partitions, boot code {'' if code else 'not '}there")
        manager = _first(guest, [f"{volume}/bootmgr" for volume in bcd.volumes(guest)])
        yield Check("firmware.manager", manager is not None, f"the boot sector starts {manager or 'nothing: bootmgr is missing'}")
    stores = bcd.stores(guest)
    wanted = [store for store in stores if store.startswith("/efi") == (facts.firmware == "uefi")]
    yield Check("bcd.store", bool(wanted), f"boot configuration in {', '.join(wanted) or 'no place that the firmware looks at'}")
    for store in wanted:
        yield from _store(guest, facts, windows, store, tables)


def _first(guest: Guest, candidates: list[str]) -> Optional[str]:
    return next((found for found in (paths.find(guest, path) for path in candidates) if found is not None), None)


def _program(guest: Guest, name: str, path: Optional[str], architecture: str, what: str) -> Check:
    machine = pe.machine(guest.read(path)) if path is not None else ""
    return Check(name, bool(machine) and machine == architecture, f"{path or what + ' is missing'}{': ' + machine if machine else ''}")


def _before_vista(guest: Guest, windows: WindowsFacts, tables: Mapping[str, Table]) -> Iterator[Check]:
    active = any(part.active for table in tables.values() for part in table.partitions)
    yield Check("firmware.active", active, "there is an active partition" if active else "no partition is active")
    for name in ("ntldr", "NTDETECT.COM"):
        found = _first(guest, [f"{volume}/{name}" for volume in bcd.volumes(guest)])
        yield Check(f"firmware.{name.lower()}", found is not None, found or f"{name} is missing")
    menu = _first(guest, [f"{volume}/boot.ini" for volume in bcd.volumes(guest)])
    content = (text(guest, menu) or "").lower() if menu is not None else ""
    directory = windows.system_root.rsplit("/", 1)[-1].lower()
    default = next((line.partition("=")[2].strip() for line in content.splitlines() if line.strip().startswith("default")), "")
    right = default.endswith(f"\\{directory}") and "multi(0)disk(0)" in default
    yield Check("bcd.default", right, f"boot.ini starts {default or 'nothing'} by default")


def _store(guest: Guest, facts: GuestFacts, windows: WindowsFacts, path: str, tables: Mapping[str, Table]) -> Iterator[Check]:
    try:
        store = Draft.of(guest, path)
    except MigrationError as error:
        yield Check("bcd.hive", False, error.msg)
        return
    loader = bcd.default_loader(store)
    yield Check("bcd.default", bool(loader), f"{path} starts {loader or 'no existing entry'} by default")
    value = bcd.element(store, loader, bcd.PATH) if loader else None
    program = value.text if value is not None else ""
    ending = ".efi" if facts.firmware == "uefi" else ".exe"
    found = paths.find(guest, VOLUME + program.replace("\\", "/")) if program else None
    machine = pe.machine(guest.read(found)) if found is not None else ""
    shut = reparse.held(guest, found, windows.nt) if found is not None else None
    right = (machine == facts.architecture or (shut is not None and shut.starts)) and program.lower().endswith(ending)
    lost = f", which {shut.why}" if shut is not None else "" if found else ", which does not exist"
    yield Check("bcd.loader", right, f"the entry starts {program or 'nothing'}{lost}")
    for kind, name in ((bcd.DEVICE, "loader"), (bcd.OS_DEVICE, "system")):
        device = bcd.device(bcd.element(store, loader, kind)) if loader else None
        place = _place(device, facts, guest, tables)
        yield Check(f"bcd.{name}-device", place, f"the {name} lies on {'the system volume' if place else f'another partition ({device})'}")


def _place(device: Optional[bcd.Device], facts: GuestFacts, guest: Guest, tables: Mapping[str, Table]) -> bool:
    """Whether a device element means the system volume."""
    root = next((one for one in guest.devices() if one.name == facts.root), None)
    table = tables.get(f"disk{root.disk}") if root is not None else None
    part = table.get(root.part) if table is not None and root is not None and root.part is not None else None
    if device is None or table is None or part is None:
        return False
    if table.scheme == "gpt":
        return device.partition == part.uuid and device.disk == table.id
    return device.offset == part.start and f"{device.signature:08x}" == table.id


def _registry(guest: Guest, facts: GuestFacts, windows: WindowsFacts) -> Iterator[Check]:
    data = guest.read(windows.system_hive) or b""
    state = logs.replay(data, ()).state
    yield Check(
        "hive.clean", state == logs.CLEAN, f"{windows.system_hive} is {'clean' if state == logs.CLEAN else 'not written to its end'}"
    )
    try:
        system, software = open_hives(guest, windows.system_root)
        walked = sum(1 for dummy in regf.Hive(data, windows.system_hive).walk())
        current = identity.control_set(system)
    except MigrationError as error:
        yield Check("hive.readable", False, error.msg)
        return
    yield Check("hive.readable", walked > 1 and edit_hive.opens(data), f"{walked} keys, read by two parsers; control set {current}")
    yield Check(
        "guest.release", software is not None and bool(facts.architecture), f"{facts.product}, build {windows.build}, {facts.architecture}"
    )
    buses = {BOOTSTRAP: devices.fallback_bus(windows.nt), FINAL: facts.disk_bus}
    for phase in facts.phases:
        for device in devices.storage(buses[phase], facts.machine):
            yield from _controller(guest, facts, windows, system, phase, device)
    yield from _chain(guest, windows, system, "ide" in {buses[phase] for phase in facts.phases})
    for name, guid in _CLASSES.items():
        yield from _filters(guest, windows, system, name, guid)
    yield from _started_once(system)


def _controller(
    guest: Guest, facts: GuestFacts, windows: WindowsFacts, system: Draft, phase: str, device: devices.PciDevice
) -> Iterator[Check]:
    """From the PCI device of the system disk to a driver that starts with Windows."""
    match = pnp.match(system, windows, device)
    if match.fault:
        yield Check(f"{phase}.device", False, f"{device.name}: {match.fault}")
        return
    by = f" by {match.inf}" if match.inf else ""
    yield Check(f"{phase}.device", True, f"{device.name} ({match.identifier}) is driven{by} with the service {match.service}")
    key = f"{pnp.services(windows)}\\{match.service}"
    start = pnp.effective_start(system, windows, match.service)
    kind = system.number(key, "Type")
    starts = start == pnp.BOOT_START and kind in _DRIVER_TYPES
    overridden = " by StartOverride" if start != system.number(key, "Start") else ""
    yield Check(f"{phase}.start", starts, f"{match.service} has start type {start}{overridden} and type {kind} (0 and 1 are wanted)")
    yield _order(windows, system, phase, match.service)
    yield from _image(guest, facts, windows, system, phase, match.service)


def _order(windows: WindowsFacts, system: Draft, phase: str, service: str) -> Check:
    """Groups start in the order of ServiceGroupOrder: after the buses, before the classes that sit on top."""
    order = [name.lower() for name in system.texts(f"{windows.control_set}\\Control\\ServiceGroupOrder", "List")]
    group = system.text(f"{pnp.services(windows)}\\{service}", "Group")

    def rank(name: str) -> int:
        return order.index(name.lower()) if name.lower() in order else len(order)

    right: bool = rank("Boot Bus Extender") < rank(group) < rank("SCSI Class") or (bool(order) and group.lower() == "system bus extender")
    return Check(f"{phase}.order", right, f"{service} starts in the group {group or '(none)'}")


def _image(guest: Guest, facts: GuestFacts, windows: WindowsFacts, system: Draft, phase: str, service: str) -> Iterator[Check]:
    value = system.text(f"{pnp.services(windows)}\\{service}", "ImagePath")
    path = paths.image(windows.system_root, value, service, windows.drive)
    found = paths.find(guest, path) if path is not None else None
    shut = reparse.held(guest, found, windows.nt) if found is not None else None
    if shut is not None:  # what is in it is no link of the chain, for nobody can read it here; a concern tells of it
        yield Check(f"{phase}.file", shut.starts, f"{service} is {found}, which {shut.why}")
        return
    data = guest.read(found) if found is not None else None
    yield Check(f"{phase}.file", bool(data), f"{service} is {found or (value or 'its file') + ', which does not exist'}")
    program = pe.parse(data)
    if program is None:
        yield Check(f"{phase}.program", False, f"{found or service} is not a driver")
        return
    faults = []
    if program.machine != facts.architecture:
        faults.append(f"it is for {program.machine}, the guest is {facts.architecture}")
    if program.subsystem != pe.NATIVE:
        faults.append("it is not a kernel driver")
    if program.checksum is False:
        faults.append("its checksum is wrong")
    lost = [name for name in program.imports if name in _IMPORTS and _below(guest, windows, name) is None]
    if lost:
        faults.append(f"it needs {', '.join(lost)}, which is missing")
    yield Check(f"{phase}.program", not faults, f"{found}: {'; '.join(faults) or f'{program.machine}, kernel driver'}")
    if service in drivers.STORAGE:  # Windows' own are in catalogues of its own
        yield from _signature(windows, facts.architecture, phase, service, data or b"")


def _signature(windows: WindowsFacts, architecture: str, phase: str, service: str, data: bytes) -> Iterator[Check]:
    """This kernel accepts this signature. What could not be judged is no link of the chain; a concern of the plan tells of it."""
    verdict = signing_policy.judge(windows, architecture, data)
    if verdict.state != signing_policy.UNKNOWN:
        yield Check(f"{phase}.signature", verdict.state != signing_policy.NO, f"{service}: {verdict.why}")


def _below(guest: Guest, windows: WindowsFacts, name: str) -> Optional[str]:
    return paths.find(guest, f"{windows.system_root}/System32/drivers/{name}")


def _chain(guest: Guest, windows: WindowsFacts, system: Draft, ide: bool) -> Iterator[Check]:
    """What lies between the controller and a mounted volume must start with Windows, as far as it is there; with IDE its channels too."""
    names = (*(("atapi",) if ide else ()), *(_BELOW_DISK if windows.nt >= (6, 0) else _NAMES_BEFORE_VISTA))
    faults = []
    for name in names:
        start = pnp.effective_start(system, windows, name)
        if start is None:
            faults += [f"{name} is missing"] if name in (*_ALWAYS, "atapi") else []
            continue
        if start != pnp.BOOT_START:
            faults.append(f"{name} has start type {start}")
        path = paths.image(windows.system_root, system.text(f"{pnp.services(windows)}\\{name}", "ImagePath"), name, windows.drive)
        if path is None or paths.find(guest, path) is None:
            faults.append(f"the file of {name} is missing")
    yield Check("chain.drivers", not faults, "; ".join(faults) or "buses, disks and volumes start with Windows")


def _filters(guest: Guest, windows: WindowsFacts, system: Draft, name: str, guid: str) -> Iterator[Check]:
    """A filter that cannot be loaded stops every device of its class."""
    key = f"{windows.control_set}\\Control\\Class\\{guid}"
    faults, known = [], []
    for where in ("UpperFilters", "LowerFilters"):
        for service in system.texts(key, where):
            known.append(service)
            start = pnp.effective_start(system, windows, service)
            path = paths.image(windows.system_root, system.text(f"{pnp.services(windows)}\\{service}", "ImagePath"), service, windows.drive)
            if start is None or start == pnp.DISABLED:
                faults.append(f"{service} is {'no service' if start is None else 'disabled'}")
            elif path is None or paths.find(guest, path) is None:
                faults.append(f"the file of {service} is missing")
    yield Check(f"filters.{name}", not faults, "; ".join(faults) or f"{', '.join(known) or 'none'}")


def _started_once(system: Draft) -> Iterator[Check]:
    """A Setup command line that is armed must have something to run."""
    command, kind = system.text("Setup", "CmdLine"), system.number("Setup", "SetupType") or 0
    yield Check("setup.command", kind == 0 or bool(command), f"Setup runs {command}" if kind else "Windows starts normally")
