# SPDX-License-Identifier: GPL-3.0-or-later
"""What the guest tools of each hypervisor leave in Windows: services, filters, folders, files and keys of the registry, each with its source.

What has no source is not here, and what is not here is not removed. Names are exact: storflt is Microsoft's, Horizon and Workstation are
VMware's too and stay. Scheduled tasks are not listed, for no source names one.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Mapping, Optional, Sequence

SOURCES: Mapping[str, str] = MappingProxyType(
    {
        "hives": "hives of Windows 7 and Windows 10 (1709, 19041) guests of VMware",
        "remover": "https://github.com/virtio-win/vmwremover (vmware_components.txt, reg/remove_vmware_registry.bat, binaries/discover_vmware_binaries.ps1)",
        "gist": "https://gist.github.com/broestls/f872872a00acee2fca02017160840624",
        "nsx": "https://docs.vmware.com/en/VMware-NSX-T-Data-Center/3.2/administration/GUID-756EF955-F2C1-47DD-946B-1B5E6DDC7BDA.html",
        "nsx-log": "https://docs.vmware.com/it/VMware-NSX/4.2/administration/GUID-11B3E0CD-E768-4F9E-B8B1-92EA0A52F3AA.html",
        "tdi": "http://pyatilistnik.org/tdi-driver-vnetflt-ne-sertificzirovan-majkrosoft/",
        "al-khaser": "https://github.com/ayoubfaouzi/al-khaser/issues/164",
        "vbox": "https://github.com/VirtualBox/virtualbox/tree/main/src/VBox/Additions/WINNT/Installer (VBoxGuestAdditions.nsi, VBoxGuestAdditionsW2KXP.nsh)",
        "virt-v2v": "https://github.com/libguestfs/virt-v2v/blob/master/convert/convert_windows.ml",
        "xenserver": "https://github.com/xenserver/win-installer/blob/master/src/PVDriversRemoval/PVDriversPurge.cs",
        "xenbus": "https://github.com/xenserver/win-xenbus/blob/master/src/xenbus.inf",
        "kc-utils": "https://github.com/yaacov/kc-utils (conversion paths of Windows guests)",
    }
)

# What a service is. Of the last three a disk, a bus or a card of the VM may start: they stay until nothing does.
PROGRAM, DRIVER, DISPLAY, REDIRECTOR, FILTER, MINIFILTER, NETWORK_FILTER = (
    "program",
    "driver",
    "display driver",
    "network redirector",
    "class filter",
    "file system filter",
    "network filter",
)
BUS, STORAGE, CARD = "bus", "storage driver", "network card"
KEPT = (BUS, STORAGE, CARD)

# Where a folder or a file lies.
PROGRAMS, COMMON, DATA, SYSTEM = "Program Files", "Common Files", "ProgramData", "System32"
SOFTWARE, SERVICES = "HKLM\\SOFTWARE", "HKLM\\SYSTEM\\CurrentControlSet\\Services"


@dataclass(frozen=True)
class Service:
    """A key of Services. `devices`: the service whose devices decide whether this one is used, where that is another."""

    name: str
    kind: str
    source: str
    devices: str = ""

    @property
    def kept(self) -> bool:
        """Whether it stays until nothing starts from it."""
        return self.kind in KEPT


@dataclass(frozen=True)
class Place:
    """A folder or a file by where it lies, or a key of the registry below SOFTWARE or SERVICES; `value` is one of its values."""

    root: str
    path: str
    source: str
    value: str = ""


@dataclass(frozen=True)
class Hypervisor:
    """The tools of one hypervisor. `marks`: services that show that they are installed; `device`: a key of Enum that must be there too.

    Only what `removed` says is deleted at the first start; of the others what is known to be safe is disabled. `clock`: a time provider.
    `providers`: how the Provider of its INF files begins; `install`: key and value of SOFTWARE with the folder of the tools.
    """

    marks: Sequence[str]
    services: Sequence[Service]
    titles: Sequence[str] = ()
    device: str = ""
    removed: bool = False
    clock: str = ""
    providers: tuple[str, ...] = ()
    install: tuple[str, str] = ("", "")
    packages: Sequence[Place] = ()
    folders: Sequence[Place] = ()
    files: Sequence[Place] = ()
    keys: Sequence[Place] = ()
    run: Sequence[Place] = ()

    def service(self, name: str) -> Optional[Service]:
        return next((one for one in self.services if one.name.lower() == name.lower()), None)


def _services(kind: str, source: str, *names: str) -> tuple[Service, ...]:
    return tuple(Service(name, kind, source) for name in names)


def _places(root: str, source: str, *paths: str) -> tuple[Place, ...]:
    return tuple(Place(root, path, source) for path in paths)


_RUN = "Microsoft\\Windows\\CurrentVersion\\Run"
_UNINSTALL = "Microsoft\\Windows\\CurrentVersion\\Uninstall"
_OPEN = "VMwareHostOpen"

VMWARE = Hypervisor(
    marks=("VMTools",),
    services=(
        *_services(PROGRAM, "hives", "VMTools", "VGAuthService", "vm3dservice", "VMUpgradeHelper", "vmvss"),
        *_services(PROGRAM, "gist", "GISvc"),
        *_services(PROGRAM, "remover", "vgauth", "cblauncher"),
        *_services(DRIVER, "hives", "VMMemCtl", "vmrawdsk", "vmmouse", "vmusbmouse", "vmdebug"),
        *_services(DRIVER, "remover", "vmaudio", "efifw", "vmwefifw"),
        *_services(DISPLAY, "hives", "vm3dmp", "vm3dmp-debug", "vm3dmp-stats", "vm3dmp_loader"),
        *_services(DISPLAY, "remover", "svga_wddm"),
        *_services(DISPLAY, "al-khaser", "vmx_svga"),
        *_services(REDIRECTOR, "hives", "vmhgfs"),
        *_services(MINIFILTER, "nsx", "vsepflt"),
        *_services(NETWORK_FILTER, "nsx-log", "vnetWFP"),
        *_services(NETWORK_FILTER, "tdi", "vnetflt"),
        Service("vmci", BUS, "hives"),
        Service("vsock", BUS, "hives", devices="vmci"),
        Service("pvscsi", STORAGE, "hives"),
        *_services(CARD, "hives", "vmxnet3ndis6"),
        *_services(CARD, "remover", "vmxnet3"),
    ),
    titles=("VMware Tools",),
    removed=True,
    clock="vmwTimeProvider",
    providers=("VMware", "Broadcom"),  # remover: the newer ones are Broadcom's
    install=("VMware, Inc.\\VMware Tools", "InstallPath"),
    packages=_places("", "remover", "efifw", "vmwefifw"),
    folders=(
        *_places(PROGRAMS, "kc-utils", "VMware\\VMware Tools"),
        *_places(COMMON, "gist", "VMware\\Drivers"),
        *_places(DATA, "remover", "VMware\\VMware Tools"),
    ),
    files=_places(SYSTEM, "hives", "vm3dservice.exe"),
    keys=(
        *_places(
            SOFTWARE,
            "remover",
            *(f"VMware, Inc.\\{name}" for name in ("CbLauncher", "VMware Drivers", "VMware Tools", "VMware VGAuth", _OPEN)),
        ),
        *_places(SOFTWARE, "remover", f"Clients\\StartmenuInternet\\{_OPEN.upper()}.EXE", f"Classes\\Applications\\{_OPEN}.exe"),
        *_places(SOFTWARE, "remover", f"Classes\\{_OPEN}.AssocFile", f"Classes\\{_OPEN}.AssocURL"),
        *_places(SOFTWARE, "remover", "Classes\\CLSID\\{C73DA087-EDDB-4a7c-B216-8EF8A3B92C7B}"),
        *_places(SOFTWARE, "gist", "Classes\\CLSID\\{D86ADE52-C4D9-4B98-AA0D-9B0C7F1EBBC8}"),
        Place(SOFTWARE, "RegisteredApplications", "remover", "VMware Host Open"),
        *_places(
            SERVICES,
            "remover",
            *(f"Eventlog\\Application\\{name}" for name in ("vmtools", "vmStatsProvider", "VMUpgradeHelper", "VGAuth", "VMware Tools")),
            *(f"Eventlog\\System\\{name}" for name in ("vnetWFP", "vsepflt")),
            "W32Time\\TimeProviders\\vmwTimeProvider",
        ),
    ),
    run=(Place(SOFTWARE, _RUN, "remover", "VMware User Process"),),
)

VIRTUALBOX = Hypervisor(
    marks=("VBoxService", "VBoxGuest"),
    services=(
        *_services(PROGRAM, "vbox", "VBoxService"),
        *_services(DRIVER, "vbox", "VBoxGuest", "VBoxMouse"),
        *_services(REDIRECTOR, "vbox", "VBoxSF"),
        *_services(DISPLAY, "vbox", "VBoxVideo", "VBoxWddm", "VBoxVideoW8", "VBoxVideoWddm"),
    ),
    titles=("Oracle VM VirtualBox Guest Additions",),
    removed=True,
    providers=("Oracle",),
    install=("Oracle\\VirtualBox Guest Additions", "InstallDir"),
    folders=_places(PROGRAMS, "vbox", "Oracle\\VirtualBox Guest Additions"),
    files=_places(SYSTEM, "vbox", "VBoxService.exe", "VBoxTray.exe", "VBoxControl.exe", "VBoxHook.dll", "VBoxMRXNP.dll"),
    keys=_places(SOFTWARE, "vbox", "Oracle\\VirtualBox Guest Additions", f"{_UNINSTALL}\\Oracle VM VirtualBox Guest Additions"),
    run=(Place(SOFTWARE, _RUN, "vbox", "VBoxTray"), Place(SOFTWARE, _RUN, "vbox", "VBoxService")),
)

# The drivers of Citrix, XenServer, XCP-ng and AWS. KVM offers none of their devices, so no disk and no card can start from them.
XEN = Hypervisor(
    marks=("xenbus", "xenevtchn", "rhelscsi"),
    services=(
        *_services(FILTER, "xenbus", "xenfilt"),
        *_services(FILTER, "xenserver", "scsifilt"),
        *_services(DRIVER, "xenserver", "xenbus", "xeniface", "xenlite", "xennet", "xennet6", "xenvbd", "xenvif", "xenutil", "xenevtchn"),
        *_services(DRIVER, "virt-v2v", "rhelscsi"),
        *_services(PROGRAM, "kc-utils", "XenSvc", "xenagent", "xenbus_monitor"),
    ),
)

PARALLELS = Hypervisor(
    marks=("prl_strg", "prl_tg"),
    services=(
        *_services(FILTER, "virt-v2v", "prl_strg"),
        *_services(
            DRIVER, "virt-v2v", "prl_boot", "prl_dd", "prl_eth5", "prl_fs", "prl_memdev", "prl_mouf", "prl_pv32", "prl_pv64", "prl_scsi"
        ),
        *_services(DRIVER, "virt-v2v", "prl_sound", "prl_tg", "prl_time", "prl_uprof", "prl_va"),
        *_services(PROGRAM, "kc-utils", "Parallels Tools Service"),
    ),
)

# The drivers that Nutanix installs are virtio's own: they stay.
NUTANIX = Hypervisor(
    marks=("NutanixGuestTools", "NutanixGuestAgent", "NgtService"),
    services=_services(PROGRAM, "kc-utils", "NutanixGuestTools", "NutanixGuestAgent", "NgtService"),
)

# Part of every Windows since 8, so that only a device on VMBUS shows where it ran. Its drivers (vmbus, storflt, storvsc) stay as Windows has them.
HYPERV = Hypervisor(
    marks=("vmicheartbeat",),
    services=_services(
        PROGRAM,
        "kc-utils",
        "vmicheartbeat",
        "vmicshutdown",
        "vmicvss",
        "vmictimesync",
        "vmicrdv",
        "vmicguestinterface",
        "vmickvpexchange",
        "vmicvmsession",
    ),
    device="VMBUS",
    clock="VMICTimeProvider",
)

HYPERVISORS: Mapping[str, Hypervisor] = MappingProxyType(
    {"vmware": VMWARE, "virtualbox": VIRTUALBOX, "xen": XEN, "parallels": PARALLELS, "nutanix": NUTANIX, "hyperv": HYPERV}
)
