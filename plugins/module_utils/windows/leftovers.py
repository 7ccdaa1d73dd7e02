# SPDX-License-Identifier: GPL-3.0-or-later
"""What the first start deletes of the old tools after their uninstaller, whether that has worked or not: found while the machine is off.

Every name and path stands in the script as it was found: nothing is computed in Windows. A folder is one of toolsdata's below where Windows
itself says that programs and their data lie, or it is not deleted. What is gone counts as done, and what is still there is tried again.
A service that a disk, a bus or a card may start from goes only where Windows lists no device of it (Services\\NAME\\Enum, Count), after the
step with the new drivers is done; so does a package of drivers. An INF is known by the name of its catalogue, for its number is given again;
TYPE makes readable what is UTF-16 (practice), and where it does not, the package stays.
Source of the packed product code: Microsoft, "Installer\\Products"; compared with the pair that the gist of toolsdata has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Iterator, Optional, Sequence

from ..core.concern import INFO, listed
from ..core.errors import MigrationError
from ..guest.model import WindowsFacts
from ..guest.protocol import Guest
from . import identity, paths, pnp, startscript, tools, toolsdata
from .hives import Draft
from .inf import Inf
from .toolsdata import HYPERVISORS, SERVICES, SOFTWARE, Hypervisor, Place, Service
from .work import Work

_LOG = ' >>"%LOG%" 2>&1'
_OEM = re.compile(r"^oem\d{1,5}\.inf$", re.IGNORECASE)
_CATALOG = re.compile(r"^[A-Za-z0-9_-]+\.cat$", re.IGNORECASE)
_FOLDER = re.compile(r"^[A-Za-z]:(?:\\[A-Za-z0-9][A-Za-z0-9 ._-]*){2,}$")  # never a drive, nor a folder right below one
_PRODUCTS = (
    "Classes\\Installer\\Products",
    "Classes\\Installer\\Features",
    "Microsoft\\Windows\\CurrentVersion\\Installer\\UserData\\S-1-5-18\\Products",
)
_MAX_INF = 4 << 20
_REGISTRY, _SYSTEM = '"%NATIVE%\\reg.exe"', "%NATIVE%"


@dataclass(frozen=True)
class Package:
    """A driver package: the INF under the name that Windows gave it, its catalogue, and the services of it that a device may be using."""

    inf: str
    catalog: str
    services: tuple[str, ...]
    kept: bool


@dataclass(frozen=True)
class Leftovers:
    """What is there to be deleted. `kept`: services with those whose devices decide; `drivers`: there is a step that installs new ones."""

    services: tuple[str, ...] = ()
    kept: tuple[tuple[str, str], ...] = ()
    packages: tuple[Package, ...] = ()
    keys: tuple[str, ...] = ()
    values: tuple[tuple[str, str], ...] = ()
    folders: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        return self == Leftovers()


def find(work: Work) -> Leftovers:
    """What is left of the tools that the operator named."""
    found = [_of(work, HYPERVISORS[name]) for name in work.options.remove_tools if name in HYPERVISORS and HYPERVISORS[name].removed]
    names = Leftovers.__dataclass_fields__
    return Leftovers(**{name: tuple(dict.fromkeys(entry for one in found for entry in getattr(one, name))) for name in names})


def _of(work: Work, one: Hypervisor) -> Leftovers:
    system, facts = work.system, work.windows
    there = [service for service in one.services if system.has(f"{pnp.services(facts)}\\{service.name}")]
    starts = {service.name: system.number(f"{pnp.services(facts)}\\{service.name}", "Start") for service in there}
    off = [service for service in there if not service.kept and starts[service.name] in (None, pnp.DISABLED)]
    kept = [service for service in there if service.kept]
    if len(off) + len(kept) < len(there):
        # What runs on needs its folder and its keys.
        return Leftovers(tuple(service.name for service in off), files=tuple(_drivers(work, off)))
    keys, values = _registry(work, one)
    folders = [folder for folder in _folders(work, one) if not _said_to_run(work, one, folder)]
    return Leftovers(
        tuple(service.name for service in off),
        tuple((service.name, service.devices or service.name) for service in kept),
        tuple(_packages(work.guest, facts, one)) if there else (),
        keys,
        values,
        tuple(folders),
        (*(place.path for place in one.files if _in_system(work, place.path)), *_drivers(work, off)),
    )


def _packages(guest: Guest, facts: WindowsFacts, one: Hypervisor) -> Iterator[Package]:
    """Packages of the vendor whose name is that of a service of the tools, or all of whose services are the tools'."""
    if not startscript.has(facts, "pnputil"):
        return
    folder = paths.find(guest, f"{facts.system_root}/inf")
    for name in sorted(guest.listdir(folder)) if folder is not None else ():
        if not _OEM.match(name):
            continue
        data = guest.read(f"{folder}/{name}") or b""
        try:
            read = Inf(name, data) if 0 < len(data) <= _MAX_INF else None
        except MigrationError:
            continue
        if read is not None and read.provider.startswith(one.providers) and _CATALOG.match(read.catalog):
            known = [service for service in map(one.service, read.services) if service is not None]
            stem = read.catalog[:-4].lower()
            named = one.service(stem) is not None or stem in {package.path.lower() for package in one.packages}
            if named or (known and len(known) == len(read.services)):
                kept = any(service.kept for service in known)
                yield Package(name.lower(), read.catalog, tuple(service.devices or service.name for service in known), kept)


def _registry(work: Work, one: Hypervisor) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Keys and values that are there, those of the installer among them."""
    keys = [key for place in one.keys if not place.value for key in _keys(work, place)]
    values = [(key, place.value) for place in one.keys if place.value for key in _keys(work, place)]
    titles = [name for name, other in HYPERVISORS.items() if other is one]
    for code in tools.products(work.software, titles) if work.software is not None else ():
        places = [*(f"{root}\\{code}" for root in tools.UNINSTALL), *(f"{root}\\{packed(code)}" for root in _PRODUCTS)]
        keys += [f"{SOFTWARE}\\{place}" for place in places if work.software is not None and work.software.has(place)]
    return tuple(keys), tuple(values)


def _keys(work: Work, place: Place) -> Iterator[str]:
    below = f"{pnp.services(work.windows)}\\" if place.root == SERVICES else ""
    draft: Optional[Draft] = work.system if below else work.software
    for path in (place.path, *(() if below else (f"Wow6432Node\\{place.path}",))):
        if draft is None or not draft.has(f"{below}{path}"):
            continue
        if not place.value or draft.value(f"{below}{path}", place.value) is not None:
            yield f"{place.root}\\{path}"


def packed(code: str) -> str:
    """A product code as the installer names keys: the digits of the first three groups backwards, those of the others by pairs."""
    first, second, third, fourth, fifth = code.strip("{}").upper().split("-")
    rest = fourth + fifth
    return first[::-1] + second[::-1] + third[::-1] + "".join(rest[at + 1] + rest[at] for at in range(0, len(rest), 2))


def _roots(work: Work) -> dict[str, str]:
    """Where Windows says that programs and data lie, on the drive of the system."""
    programs = identity.directory(work.software, "ProgramFilesDir", f"{work.windows.drive}:\\Program Files")
    return {
        toolsdata.PROGRAMS: programs,
        toolsdata.COMMON: identity.directory(work.software, "CommonFilesDir", f"{programs}\\Common Files"),
        toolsdata.DATA: f"{work.windows.drive}:\\ProgramData",
    }


def _folders(work: Work, one: Hypervisor) -> Iterator[str]:
    """Folders of the tools that are there. Where they were installed elsewhere, it must be a folder of that name below Program Files."""
    roots = _roots(work)
    wanted = [f"{roots[place.root]}\\{place.path}" for place in one.folders]
    said = work.software.text(*one.install).rstrip("\\") if work.software is not None else ""
    names = {place.path.rpartition("\\")[2].lower() for place in one.folders if place.root == toolsdata.PROGRAMS}
    below = said.lower().startswith(f"{roots[toolsdata.PROGRAMS]}\\".lower())
    if below and said.rpartition("\\")[2].lower() in names and said.lower() not in {path.lower() for path in wanted}:
        wanted.append(said)
    for path in wanted:
        found = _there(work, path)
        if _FOLDER.match(path) and ".." not in path and found is not None:
            yield path


def _said_to_run(work: Work, one: Hypervisor, folder: str) -> bool:
    """Whether services that are not known run from a folder, which therefore stays; a concern names them."""
    found = []
    for name in work.system.keys(pnp.services(work.windows)):
        key = f"{pnp.services(work.windows)}\\{name}"
        program = work.system.text(key, "ImagePath").lstrip('"').lower()
        if program.startswith(f"{folder}\\".lower()) and one.service(name) is None and work.system.number(key, "Start") != pnp.DISABLED:
            found.append(name)
    if found:
        work.findings.add(
            "windows.tools-left",
            INFO,
            f"The folder {folder} stays, for these services run from it: {listed(found)}.",
            "Remove them in Windows, if nothing needs them, and then the folder.",
        )
    return bool(found)


def _there(work: Work, path: str) -> Optional[str]:
    place = paths.image(work.windows.system_root, path, "", work.windows.drive)
    return paths.find(work.guest, place) if place is not None else None


def _drivers(work: Work, off: Sequence[Service]) -> Iterator[str]:
    """The programs of drivers that are disabled."""
    wanted = [f"drivers\\{service.name}.sys" for service in off]
    return (path for path in wanted if _in_system(work, path))


def _in_system(work: Work, path: str) -> bool:
    return paths.find(work.guest, f"{work.windows.system_root}/System32/{path}".replace("\\", "/")) is not None


def lines(left: Leftovers, drivers: bool) -> list[str]:
    """Commands that delete it and leave in WORST whether something is still there; `drivers`: a step before this one installs new ones."""
    if left.empty:
        return []
    first = [
        "set NATIVE=%SystemRoot%\\System32",
        'if exist "%SystemRoot%\\Sysnative\\reg.exe" set NATIVE=%SystemRoot%\\Sysnative',
        f"{_REGISTRY} query {startscript.SETUP} >nul 2>&1",  # a reg that does nothing would find nothing left
        "if errorlevel 1 set WORST=1",
    ]
    always = [
        *(f'call :tools_key "{SERVICES}\\{name}"' for name in left.services),
        *_packages_go([package for package in left.packages if not package.kept], 0),
        *(f'call :tools_value "{key}" "{value}"' for key, value in left.values),
        *(f'call :tools_key "{key}"' for key in left.keys),
        *(f'call :tools_folder "{path}"' for path in left.folders),
        *(f'call :tools_file "{path}"' for path in left.files),
    ]
    later = _packages_go([package for package in left.packages if package.kept], len(left.packages))
    for name, devices in left.kept:
        later += [
            f"call :tools_bound {devices}",
            f'if defined BOUND call :say "{name} stays, a device uses {devices}"',
            f'if not defined BOUND call :tools_key "{SERVICES}\\{name}"',
        ]
    return [*first, *always, *(_when_ready(later) if drivers and later else later)]


def _when_ready(later: Sequence[str]) -> list[str]:
    done = f'"%S%\\{startscript.DRIVERS}'
    return [
        f'if exist {done}.done" goto :tools_ready',
        'call :say "what a disk or a card may start from stays, for the new drivers are not installed"',
        f'if not exist {done}.failed" set WORST=1',
        "goto :ended",
        ":tools_ready",
        *later,
    ]


def _packages_go(packages: Sequence[Package], start: int) -> list[str]:
    found = []
    for number, package in enumerate(packages, start):
        label = f":tools_package_{number}"
        for service in package.services:
            found += [f"call :tools_bound {service}", f"if defined BOUND goto {label}"]
        found += [f"call :tools_package {package.inf} {package.catalog}", label]
    return found


def subroutines() -> list[str]:
    """What the lines call."""
    look = 'type "%SystemRoot%\\inf\\%~1" 2>nul | ' + f'{startscript.FIND} "%~2" >nul'
    return [
        ":tools_key",
        f'{_REGISTRY} query "%~1" >nul 2>&1',
        "if errorlevel 1 goto :eof",
        f'{_REGISTRY} delete "%~1" /f{_LOG}',
        f'{_REGISTRY} query "%~1" >nul 2>&1',
        "if not errorlevel 1 set WORST=1",
        "goto :eof",
        ":tools_value",
        f'{_REGISTRY} query "%~1" /v "%~2" >nul 2>&1',
        "if errorlevel 1 goto :eof",
        f'{_REGISTRY} delete "%~1" /v "%~2" /f{_LOG}',
        f'{_REGISTRY} query "%~1" /v "%~2" >nul 2>&1',
        "if not errorlevel 1 set WORST=1",
        "goto :eof",
        ":tools_bound",
        "set BOUND=",
        f'{_REGISTRY} query "{SERVICES}\\%~1\\Enum" /v Count >nul 2>&1',
        "if errorlevel 1 goto :eof",
        f'{_REGISTRY} query "{SERVICES}\\%~1\\Enum" /v Count 2>nul | {startscript.FIND} "0x0" >nul',
        "if errorlevel 1 set BOUND=1",
        "goto :eof",
        ":tools_package",
        look,
        "if errorlevel 1 goto :eof",
        f'"%PNPUTIL%" -f -d %~1{_LOG}',
        "set CODE=%ERRORLEVEL%",
        'call :say "package %~1: %CODE%"',
        look,
        "if not errorlevel 1 set WORST=1",
        "goto :eof",
        ":tools_file",
        f'if not exist "{_SYSTEM}\\%~1" goto :eof',
        f'del /f /q "{_SYSTEM}\\%~1"{_LOG}',
        f'if exist "{_SYSTEM}\\%~1" set WORST=1',
        "goto :eof",
        ":tools_folder",
        'if not exist "%~1" goto :eof',
        f'rmdir /s /q "%~1"{_LOG}',
        'if exist "%~1" set WORST=1',
        "goto :eof",
    ]
