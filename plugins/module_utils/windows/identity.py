# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Windows it is, from its registry and its programs. Product names lie (Windows 11 calls itself 10); builds do not.

Sources: Microsoft, "Windows Server release information" and "Windows 11 release information" for the builds; winnt.h for product types.
"""

from __future__ import annotations

from typing import Optional

from ..core.concern import WARNING, Findings
from ..core.errors import UnsupportedGuest
from ..core.numbers import decimal
from ..guest.model import WindowsFacts
from ..guest.protocol import Guest, exists
from . import bcd, editions, hives, logs, paths, pe

VERSION = "Microsoft\\Windows NT\\CurrentVersion"
_BEFORE_10 = {
    (5, 1): ("xp", "xp"),
    (5, 2): ("2k3", "2k3"),
    (6, 0): ("2k8", "2k8"),  # there is no folder for Vista: 2008 is the same kernel
    (6, 1): ("w7", "2k8R2"),
    (6, 2): ("w8", "2k12"),
    (6, 3): ("w8.1", "2k12R2"),
}
_SERVERS = ((26100, "2k25"), (20348, "2k22"), (17763, "2k19"), (14393, "2k16"))
_NAMES = {
    "xp": "Windows XP",
    "2k3": "Windows Server 2003",
    "2k8": "Windows Server 2008",
    "w7": "Windows 7",
    "2k8R2": "Windows Server 2008 R2",
    "w8": "Windows 8",
    "2k12": "Windows Server 2012",
    "w8.1": "Windows 8.1",
    "2k12R2": "Windows Server 2012 R2",
    "w10": "Windows 10",
    "w11": "Windows 11",
    "2k16": "Windows Server 2016",
    "2k19": "Windows Server 2019",
    "2k22": "Windows Server 2022",
    "2k25": "Windows Server 2025",
}
# Services that deserve a look before the machine moves, by what they stand for. Names are exact: prefixes would catch others.
_ROLES = {"NTDS": "domain controller", "ClusSvc": "cluster node", "vmms": "Hyper-V host"}
_ANTIVIRUS = ("SepMasterService", "McShield", "mfefire", "ekrn", "AVP", "ntrtscan", "CSFalconService", "SentinelAgent", "SAVService")
_DISABLED = 4
_PROCESSORS = {"X86": "i686", "AMD64": "x86_64", "ARM64": "aarch64"}  # SYSTEM_INFO of winnt.h, by the names of the environment


def release(nt: tuple[int, int], build: int, server: bool) -> str:
    """The name that driver folders go by."""
    if nt in _BEFORE_10:
        return _BEFORE_10[nt][server]
    if server:
        return next((name for first, name in _SERVERS if build >= first), "2k16")
    return "w11" if build >= 22000 else "w10"


def product_name(facts: WindowsFacts, name: str) -> str:
    """The product name, with the release put right where the registry still says Windows 10."""
    if facts.release == "w11":
        return name.replace("Windows 10", "Windows 11") or _NAMES["w11"]
    return name or _NAMES[facts.release]


def directory(software: Optional[hives.Draft], name: str, default: str) -> str:
    """Where programs of one kind lie in this Windows, by the value that says so (ProgramFilesDir, CommonFilesDir); without one the default."""
    said = software.text("Microsoft\\Windows\\CurrentVersion", name).rstrip("\\") if software is not None else ""
    return said if said[1:3] == ":\\" else default


def control_set(system: hives.Draft) -> str:
    """The control set that Windows starts with. Raises UnsupportedGuest where Select names one that is not there."""
    for name in ("Current", "Default"):
        number = system.number("Select", name)
        if number:
            if system.has(f"ControlSet{number:03d}"):
                return f"ControlSet{number:03d}"
            raise UnsupportedGuest(
                f"The registry says that control set {number} is in use, and it does not exist.",
                "Restore the SYSTEM hive at the source (from its backup in System32\\config\\RegBack or from a snapshot).",
            )
    if system.has("ControlSet001"):
        return "ControlSet001"
    raise UnsupportedGuest("The SYSTEM hive holds no control set.", "Restore the SYSTEM hive at the source.")


def identify(guest: Guest, system: hives.Draft, software: Optional[hives.Draft], root: str) -> WindowsFacts:
    """The facts of the Windows whose directory is `root`."""
    current = control_set(system)
    product = system.text(f"{current}\\Control\\ProductOptions", "ProductType")
    nt, build, kind = _version(software, system)
    server = kind.startswith("Server") or product in ("ServerNT", "LanmanNT")
    drive = (software.text(VERSION, "SystemRoot") if software is not None else "")[:1].upper()
    universal = system.number(f"{current}\\Control\\TimeZoneInformation", "RealTimeIsUniversal")
    states = {draft.file.replay.state for draft in (system, software) if draft is not None}
    state = next((name for name in (logs.UNREPLAYABLE, logs.REPLAYED) if name in states), logs.CLEAN)
    return WindowsFacts(
        release(nt, build, server),
        nt,
        build,
        kind or ("Server" if server else "Client"),
        root,
        current,
        system.file.path,
        software.file.path if software is not None else "",
        drive if drive.isalpha() else "C",
        _roles(system, current, product),
        bcd.stores(guest),
        state,
        "utc" if universal else "localtime",
        sockets=editions.sockets(system, current, nt, server, software.text(VERSION, "EditionID") if software is not None else ""),
    )


def _version(software: Optional[hives.Draft], system: hives.Draft) -> tuple[tuple[int, int], int, str]:
    """Version, build and installation type; where SOFTWARE is missing, what the layout of SYSTEM says."""
    if software is None:
        newer = system.has("DriverDatabase")
        return ((10, 0), 10240, "") if newer else ((6, 1), 7601, "")
    major, minor = (software.number(VERSION, name) for name in ("CurrentMajorVersionNumber", "CurrentMinorVersionNumber"))
    if major is None:
        first, dummy, second = software.text(VERSION, "CurrentVersion").partition(".")
        major, minor = decimal(first), decimal(second)
    build = software.text(VERSION, "CurrentBuild") or software.text(VERSION, "CurrentBuildNumber")
    nt = (major or 0, minor or 0)
    if nt not in _BEFORE_10 and nt != (10, 0):
        raise UnsupportedGuest(
            f"The registry names Windows version {nt[0]}.{nt[1]}, which is not a known version (5.1 to 10.0).",
            "Check Microsoft\\Windows NT\\CurrentVersion in the SOFTWARE hive: CurrentVersion is wrong or the hive is damaged.",
        )
    return nt, decimal(build) or 0, software.text(VERSION, "InstallationType")


def architecture(guest: Guest, root: str, system: hives.Draft, control_set_: str) -> str:
    """From the kernel's own header, else the boot loader's or the command interpreter's; from the registry where none can be read, empty without it."""
    for name in ("ntoskrnl.exe", "winload.exe", "cmd.exe"):
        path = paths.find(guest, f"{root}/System32/{name}")
        found = pe.machine(guest.read(path)) if path is not None else ""
        if found:
            return found
    named = system.text(f"{control_set_}\\Control\\Session Manager\\Environment", "PROCESSOR_ARCHITECTURE")
    return _PROCESSORS.get(named.upper(), "")


def _roles(system: hives.Draft, current: str, product: str) -> tuple[str, ...]:
    def enabled(name: str) -> bool:
        return system.number(f"{current}\\Services\\{name}", "Start") not in (None, _DISABLED)

    roles = [label for name, label in _ROLES.items() if enabled(name)]
    if product == "LanmanNT" and "domain controller" not in roles:
        roles.insert(0, "domain controller")
    return (*roles, *(f"antivirus ({name})" for name in _ANTIVIRUS if enabled(name)))


def concerns(guest: Guest, facts: WindowsFacts, system: hives.Draft, software: Optional[hives.Draft], findings: Findings) -> None:
    """What a person should know of this Windows before it moves."""
    if "domain controller" in facts.roles:
        findings.add(
            "windows.domain-controller",
            WARNING,
            "The guest is a domain controller: two running copies, or an old copy, damage the directory.",
            "Never start source and target together, and never the source again once the target has run. The description has no VM-generation id,"
            " so that Active Directory does not notice an old copy by itself; keep another domain controller running.",
        )
    if "cluster node" in facts.roles:
        findings.add(
            "windows.cluster",
            WARNING,
            "The guest is a node of a failover cluster: shared disks are not part of the VM.",
            "Move one node at a time and give it its shared disks on the target.",
        )
    if any(role.startswith("antivirus") for role in facts.roles):
        findings.add(
            "windows.antivirus",
            WARNING,
            f"Security software may stop new drivers or scripts: {', '.join(role for role in facts.roles if role.startswith('antivirus'))}.",
            "Allow the virtio drivers and the first-boot script in its policy, or pause it for the move.",
        )
    if software is not None and _policies(software):
        findings.add(
            "windows.device-policy",
            WARNING,
            "A policy restricts the installation of devices; the network card may stay without a driver.",
            "Allow the virtio devices in the policy DeviceInstall\\Restrictions for the move.",
        )
    if exists(guest, f"{paths.VOLUME}/hiberfil.sys") and facts.nt >= (6, 2):
        fast = system.number(f"{facts.control_set}\\Control\\Session Manager\\Power", "HiberbootEnabled")
        if fast:
            findings.add(
                "windows.fast-startup",
                WARNING,
                "Fast Startup is on: an ordinary shutdown leaves a saved session behind.",
                "It is switched off in the result. Shut the source down with shutdown /s /t 0 before the last copy.",
            )


_RESTRICTIONS = "Policies\\Microsoft\\Windows\\DeviceInstall\\Restrictions"


def _policies(software: hives.Draft) -> bool:
    return any(software.number(_RESTRICTIONS, value.name) for value in software.values(_RESTRICTIONS) if value.name.startswith("Deny"))
