# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows-shaped guests made from facts: hives by hivex, programs as PE stubs, INF files, boot stores. Nothing of Microsoft's is in them."""

from __future__ import annotations

import struct
import tempfile
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path

import hivex
import signlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.concern import Findings
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.machine import Nic
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.memory import MemoryGuest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.model import BlockDevice, GuestFacts, Mount
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.parttable import ESP, Partition, Table
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import bcd, inspect, logs, pe, plan, regf
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows.work import Options

CS = "ControlSet001"
DISK, SCSI, VOLUME, NET = (
    "{4d36e967-e325-11ce-bfc1-08002be10318}",
    "{4d36e97b-e325-11ce-bfc1-08002be10318}",
    "{71a27cdd-812a-11d0-bec7-08002be2092f}",
    "{4D36E972-E325-11CE-BFC1-08002BE10318}",
)
GUID = "{C43669B3-AB3E-4D0E-8FDE-69579925A20F}"
OTHER_GUID = "{698E50A9-4F58-4D86-B61D-F42E58DCACF6}"
MAC, OTHER_MAC = "00:50:56:11:22:33", "00:50:56:11:22:44"
LOADER = "{733b62e5-f608-11eb-825c-c112f60133ab}"
TOOLS_CODE = "{FE2F6A2C-196E-4210-9C04-2B1BC21F07EF}"
DISK_GUID, PART_GUID, SIGNATURE = "97536e37-1f7d-4f4e-a668-5a62c1269e60", "8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b", 0x1234ABCD
START = 206848 * 512
GROUPS = (
    "System Reserved", "EMS", "WdfLoadGroup", "Boot Bus Extender", "System Bus Extender", "SCSI miniport", "Port", "Primary Disk",
    "SCSI Class", "SCSI CDROM Class", "FSFilter Infrastructure", "Filter", "PNP Filter", "Boot File System", "Base", "NDIS",
)  # fmt: skip
GROUP_OF = {
    "pci": "Boot Bus Extender",
    "mountmgr": "System Bus Extender",
    "intelide": "System Bus Extender",
    "pciide": "System Bus Extender",
}


def minimal() -> bytes:
    """The smallest hive: a root key and its security descriptor."""
    descriptor = bytes.fromhex("0100049c1400000024000000000000003400000001020000000000052000000020020000") + bytes(20)
    security = struct.pack("<2sHIIII", b"sk", 0, 0x88, 0x88, 1, len(descriptor)) + descriptor
    name = b"ROOT"
    none = 0xFFFFFFFF
    root = struct.pack("<2sHQII", b"nk", 0x2C, 0, 0, none) + struct.pack("<10I", 0, 0, none, none, 0, none, 0x88, none, 0, 0)
    root += struct.pack("<III", 0, 0, 0) + struct.pack("<HH", len(name), 0) + name

    def cell(data: bytes, size: int) -> bytes:
        return struct.pack("<i", -size) + data.ljust(size - 4, b"\0")

    cells = cell(root, 0x68) + cell(security, 0x80)
    free = 4096 - 32 - len(cells)
    page = struct.pack("<4sIIIIQI", b"hbin", 0, 4096, 0, 0, 0, 0) + cells + struct.pack("<i", free) + bytes(free - 4)
    base = bytearray(struct.pack("<4sIIQIIIIIII", b"regf", 1, 1, 0, 1, 5, 0, 1, 0x20, 4096, 1).ljust(4096, b"\0"))
    struct.pack_into("<I", base, 508, logs.checksum(base))
    return bytes(base) + page


def encoded(value: object) -> tuple[int, bytes]:
    """A registry value from what it is in Python; ("expand", text) for what holds variables."""
    if isinstance(value, tuple):
        return regf.EXPAND_SZ, regf.encode(regf.EXPAND_SZ, value[1])
    kind = {int: regf.DWORD, str: regf.SZ, list: regf.MULTI_SZ, bytes: regf.BINARY}[type(value)]
    return kind, regf.encode(kind, value)


def hive(tree: dict[str, dict[str, object]], start: bytes | None = None) -> bytes:
    """A hive with the keys and values of `tree`, by paths."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "hive")
        path.write_bytes(start or minimal())
        handle = hivex.Hivex(str(path), write=True)
        for key, values in tree.items():
            node = handle.root()
            for part in filter(None, key.split("\\")):
                node = handle.node_get_child(node, part) or handle.node_add_child(node, part)
            for name, value in values.items():
                kind, data = encoded(value)
                handle.node_set_value(node, {"key": name, "t": kind, "value": data})
        handle.commit(None)
        return path.read_bytes()


def sam(accounts: dict[str, int]) -> bytes:
    """A SAM with these accounts and their numbers, which are the kinds of the values below their names."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch, "SAM")
        path.write_bytes(minimal())
        handle = hivex.Hivex(str(path), write=True)
        node = handle.root()
        for part in ("SAM", "Domains", "Account", "Users", "Names"):
            node = handle.node_add_child(node, part)
        for name, number in accounts.items():
            handle.node_set_value(handle.node_add_child(node, name), {"key": "", "t": number, "value": b""})
        handle.commit(None)
        return path.read_bytes()


def program(
    machine: str = "x86_64", subsystem: int = 1, imports: tuple[str, ...] = ("ntoskrnl.exe",), signed: bool = True, pad: int = 0
) -> bytes:
    """A PE stub with a right checksum, an import table and, where `signed`, a certificate that is none."""
    wide = machine != "i686"
    kind = {name: value for value, name in pe.MACHINES.items()}[machine]
    names, table = b"", b""
    start = 0x1000
    for name in imports:
        table += struct.pack("<5I", 0, 0, 0, start + 0x200 + len(names), 0)
        names += name.encode() + b"\0"
    section = (table + bytes(20)).ljust(0x200, b"\0") + names.ljust(0x200 + pad, b"\0")
    certificate = struct.pack("<IHH", 24, 0x200, 2) + b"not a signature!" if signed else b""
    headers = 0x200
    directories = [(0, 0)] * 16
    directories[1] = (start, len(table) + 20)
    directories[4] = (headers + len(section), len(certificate)) if signed else (0, 0)
    optional = struct.pack("<H", 0x20B if wide else 0x10B).ljust(64, b"\0") + struct.pack("<IH", 0, subsystem)
    optional = (
        optional.ljust(108 if wide else 92, b"\0") + struct.pack("<I", 16) + b"".join(struct.pack("<II", *one) for one in directories)
    )
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0"
    head += struct.pack("<HHIIIHH", kind, 1, 0, 0, 0, len(optional), 0x22) + optional
    head += struct.pack("<8s6IHHI", b".text", len(section), start, len(section), headers, 0, 0, 0, 0, 0x60000020)
    image = bytearray(head.ljust(headers, b"\0") + section + certificate)
    field_ = 0x40 + 24 + 64
    struct.pack_into("<I", image, field_, pe.checksum(bytes(image), field_))
    return bytes(image)


STUB_IDS = {
    "viostor": ("SCSIAdapter", SCSI, [("1001", "00021AF4", "00"), ("1042", "11001AF4", "01")], "viostor", 0, "SCSI miniport"),
    "vioscsi": ("SCSIAdapter", SCSI, [("1004", "00081AF4", "00"), ("1048", "11001AF4", "01")], "vioscsi", 0, "SCSI miniport"),
    "netkvm": ("Net", NET, [("1000", "00011AF4", "00"), ("1041", "11001AF4", "01")], "netkvm", 3, "NDIS"),
    "balloon": (
        "System",
        "{4d36e97d-e325-11ce-bfc1-08002be10318}",
        [("1002", "00051AF4", "00"), ("1045", "11001AF4", "01")],
        "BALLOON",
        3,
        "",
    ),
    "vioser": (
        "System",
        "{4d36e97d-e325-11ce-bfc1-08002be10318}",
        [("1003", "00031AF4", "00"), ("1043", "11001AF4", "01")],
        "VirtioSerial",
        3,
        "",
    ),
}
FOLDERS = {"viostor": "viostor", "vioscsi": "vioscsi", "netkvm": "NetKVM", "balloon": "Balloon", "vioser": "vioserial"}


def inf(name: str, arch: str, version: str = "100.93.104.26200", decoration: str = "") -> str:
    """The INF of a driver, in the shape of those of virtio-win: tokens, comments, decorated sections, continued lines."""
    class_name, guid, ids, service, start, group = STUB_IDS[name]
    bus = {"viostor": 1, "vioscsi": 10}.get(name)
    models = f"NT{arch}{decoration}"
    lines = [
        "; a driver for tests",
        "[Version]",
        'Signature="$Windows NT$"',
        f"Class={class_name}",
        f"ClassGUID={guid.upper()}",
        "Provider=%VENDOR%",
        f"DriverVer=01/15/2025,{version}",
        f"CatalogFile={name}.cat ; signed",
        "PnpLockdown = 1",
        "[DestinationDirs]",
        "DefaultDestDir = 12",
        "[SourceDisksFiles]",
        f"{name}.sys = 1,,",
        "[Manufacturer]",
        f"%VENDOR% = Vendor, \\\n  {models}",
        f"[Vendor.{models}]",
    ]
    for device, subsystem, revision in ids:
        full = f"PCI\\VEN_1AF4&DEV_{device}&SUBSYS_{subsystem}&REV_{revision}"
        lines.append(f"%Desc% = {name}_inst, {full}, PCI\\VEN_1AF4&DEV_{device}&SUBSYS_{subsystem}")
        lines.append(f"%Desc% = {name}_inst, PCI\\VEN_1AF4&DEV_{device}")
    lines += [
        f"[{name}_inst.NT{arch}]",
        "CopyFiles = copied",
        "[copied]",
        f"{name}.sys,,,2",
        f"[{name}_inst.NT{arch}.Services]",
        f"AddService = {service}, %SPSVCINST_ASSOCSERVICE%, Service_Inst",
        "[Service_Inst]",
        'DisplayName = "Test; driver"',
        "ServiceType = %SERVICE_KERNEL_DRIVER%",
        f"StartType = {start}",
        "ErrorControl = 1",
        f"ServiceBinary = %12%\\{name}.sys",
        *([f"LoadOrderGroup = {group}"] if group else []),
        "AddReg = params",
        "[params]",
        *([f'HKR, "Parameters", "BusType", 0x00010001, {bus:#x}', 'HKR, "Parameters\\PnpInterface", "5", %REG_DWORD%, 0x1'] if bus else []),
        "[Strings]",
        'VENDOR = "Test Vendor, Inc."',
        'Desc = "Test device"',
        'SPSVCINST_ASSOCSERVICE = "0x00000002"',
        "SERVICE_KERNEL_DRIVER = 1",
        "REG_DWORD = 0x00010001",
    ]
    return "\r\n".join(lines) + "\r\n"


ARCH = {"x86_64": "amd64", "i686": "x86"}


def driver_tree(root: Path, releases: dict[str, tuple[str, ...]], drivers: tuple[str, ...] = tuple(STUB_IDS)) -> Path:
    """A directory as the virtio-win ISO has it, for releases with their architectures; drivers and catalogues are signed by signlab's vendor."""
    for release, architectures in releases.items():
        for machine in architectures:
            for name in drivers:
                if name == "vioscsi" and release in ("xp", "2k3"):
                    continue
                folder = root / FOLDERS[name] / release / ARCH[machine]
                folder.mkdir(parents=True)
                port = "scsiport.sys" if release == "xp" else "ndis.sys" if name == "netkvm" else "storport.sys"
                (folder / f"{name}.inf").write_text(inf(name, ARCH[machine]), "utf-16" if name == "netkvm" else "utf-8", newline="")
                unsigned = program(machine, 1, ("ntoskrnl.exe", port), signed=False)
                (folder / f"{name}.sys").write_bytes(signlab.vouched(unsigned))
                (folder / f"{name}.cat").write_bytes(signlab.vouched(signlab.catalog(unsigned), "cat"))
                (folder / f"{name}.pdb").write_bytes(b"symbols")
                if name == "balloon":
                    (folder / "blnsvr.exe").write_bytes(program(machine, 3))
    (root / "guest-agent").mkdir(exist_ok=True)
    for name in ("qemu-ga-x86_64.msi", "qemu-ga-i386.msi"):
        (root / "guest-agent" / name).write_bytes(b"an installer")
    return root


@dataclass(frozen=True)
class Release:
    """What is to be made: version, firmware, architecture; `extra` and `without` change the SYSTEM hive."""

    name: str
    nt: tuple[int, int]
    build: int
    product: str
    kind: str = "Client"
    machine: str = "x86_64"
    firmware: str = "bios"
    root: str = "Windows"
    extra: dict[str, dict[str, object]] = field(default_factory=dict)


RELEASES = {
    release.name: release
    for release in (
        Release("xp", (5, 1), 2600, "Microsoft Windows XP", "", "i686", root="WINDOWS"),
        Release("w7", (6, 1), 7601, "Windows 7 Professional", machine="i686"),
        Release("w8.1", (6, 3), 9600, "Windows 8.1 Pro"),
        Release("w10", (10, 0), 19045, "Windows 10 Pro", firmware="uefi"),
        Release("w11", (10, 0), 22631, "Windows 10 Pro", firmware="uefi"),
        Release("2k22", (10, 0), 20348, "Windows Server 2022 Standard", "Server", firmware="uefi"),
    )
}


def system(release: Release) -> dict[str, dict[str, object]]:
    """The SYSTEM hive of a VMware guest with a static card."""
    services = f"{CS}\\Services"
    tree: dict[str, dict[str, object]] = {
        "Select": {"Current": 1, "Default": 1, "Failed": 0, "LastKnownGood": 1},
        "Setup": {"CmdLine": "", "SetupType": 0, "SystemSetupInProgress": 0},
        f"{CS}\\Control\\ServiceGroupOrder": {"List": list(GROUPS)},
        f"{CS}\\Control\\ProductOptions": {"ProductType": "ServerNT" if release.kind == "Server" else "WinNT"},
        f"{CS}\\Control\\TimeZoneInformation": {"Bias": 0},
        f"{CS}\\Control\\NetworkProvider\\Order": {"ProviderOrder": "vmhgfs,LanmanWorkstation"},
        f"{CS}\\Control\\Class\\{DISK}": {"Class": "DiskDrive"},
        f"{CS}\\Control\\Class\\{SCSI}": {"Class": "SCSIAdapter"},
        f"{CS}\\Control\\Class\\{VOLUME}": {"Class": "Volume", "UpperFilters": ["volsnap"]},
        f"{CS}\\Control\\Class\\{{4d36e96f-e325-11ce-bfc1-08002be10318}}": {"Class": "Mouse", "UpperFilters": ["vmmouse", "mouclass"]},
        f"{services}\\Tcpip\\Parameters": {"Hostname": "WIN", "Domain": ""},
        f"{services}\\storflt": {"Start": 3, "Type": 1},
        f"{services}\\mouclass": {"Start": 3, "Type": 1},
    }
    for name, values in {
        "VMTools": (2, 0x10),
        "VMMemCtl": (2, 1),
        "vmmouse": (3, 1),
        "vmci": (0, 1),
        "vmhgfs": (1, 2),
        "LSI_SAS": (0, 1),
    }.items():
        tree[f"{services}\\{name}"] = {"Start": values[0], "Type": values[1], "ErrorControl": 1}
    old = release.nt < (6, 0)
    for name in ("pci", "partmgr", "ftdisk" if old else "volmgr", "mountmgr", "disk", "volsnap", *(() if old else ("fvevol",))):
        tree[f"{services}\\{name}"] = {"Start": 0, "Type": 1, "ErrorControl": 3, "Group": GROUP_OF.get(name, "Primary Disk")}
        if name != "mountmgr":
            tree[f"{services}\\{name}"]["ImagePath"] = ("expand", f"System32\\Drivers\\{name.upper()}.sys")
    if release.nt < (6, 0):
        for name in ("atapi", "intelide", "pciide"):
            tree[f"{services}\\{name}"] = {
                "Start": 0 if name == "atapi" else 3,
                "Type": 1,
                "ErrorControl": 1,
                "Group": GROUP_OF.get(name, "SCSI miniport"),
            }
        tree[f"{CS}\\Control\\CriticalDeviceDatabase\\pci#cc_0101"] = {
            "Service": "pciide",
            "ClassGUID": "{4D36E96A-E325-11CE-BFC1-08002BE10318}",
        }
    elif release.nt < (6, 2):
        tree[f"{services}\\msahci"] = {"Start": 3, "Type": 1, "ErrorControl": 3, "Group": "SCSI Miniport"}
        tree[f"{CS}\\Control\\CriticalDeviceDatabase\\PCI#CC_010601"] = {
            "Service": "msahci",
            "ClassGUID": "{4D36E96A-E325-11CE-BFC1-08002BE10318}",
        }
    else:
        tree[f"{services}\\storahci"] = {
            "Start": 0, "Type": 1, "ErrorControl": 3, "Group": "SCSI Miniport", "ImagePath": ("expand", "System32\\drivers\\storahci.sys"),
        }  # fmt: skip
        tree[f"{services}\\storahci\\StartOverride"] = {"0": 3}
        package = "mshdc.inf_amd64_0d06b6638bdb4763"
        database = "DriverDatabase"
        tree[database] = {"Version": 0x0A000000, "Architecture": 9}
        tree[f"{database}\\DeviceIds\\PCI\\CC_010601"] = {"mshdc.inf": b"\1\xff\0\0"}
        tree[f"{database}\\DriverInfFiles\\mshdc.inf"] = {"": [package], "Active": package, "Configurations": ["msahci_Inst"]}
        tree[f"{database}\\DriverPackages\\{package}"] = {"": "mshdc.inf", "Version": bytes(48), "Provider": "Microsoft"}
        tree[f"{database}\\DriverPackages\\{package}\\Configurations\\msahci_Inst"] = {"Service": "storahci", "ConfigFlags": 0}
        tree[f"{database}\\DriverPackages\\{package}\\Descriptors\\PCI\\CC_010601"] = {"Configuration": "msahci_Inst"}
        tree[f"{CS}\\Control\\Session Manager\\Power"] = {"HiberbootEnabled": 1}
    instance = "PCI\\VEN_15AD&DEV_07B0&SUBSYS_07B015AD&REV_01\\" + ("4&b70f118&0&0888" if release.nt < (6, 2) else "005056FFFF11223300")
    tree[f"{CS}\\Control\\Network\\{NET}\\{GUID}\\Connection"] = {"Name": "Ethernet0", "PnpInstanceID": instance}
    tree[f"{CS}\\Enum\\{instance}"] = {"UINumber": 192, "Service": "vmxnet3ndis6"}
    if release.nt >= (10, 0):
        tree[f"{CS}\\Control\\NetworkSetup2\\Interfaces\\{GUID}\\Kernel"] = {"PermanentAddress": bytes.fromhex(MAC.replace(":", ""))}
    tree[f"{services}\\Tcpip\\Parameters\\Interfaces\\{GUID.lower()}"] = {
        "EnableDHCP": 0,
        "IPAddress": ["192.168.10.5", "192.168.10.6"],
        "SubnetMask": ["255.255.255.0", "255.255.255.0"],
        "DefaultGateway": ["192.168.10.1"],
        "DefaultGatewayMetric": ["0"],
        "NameServer": "192.168.10.2,192.168.10.3",
        "Domain": "corp.example",
    }
    tree[f"{services}\\NetBT\\Parameters\\Interfaces\\Tcpip_{GUID}"] = {"NameServerList": ["192.168.10.9"]}
    tree.update(release.extra)
    return tree


def software(release: Release) -> dict[str, dict[str, object]]:
    values: dict[str, object] = {"ProductName": release.product, "CurrentBuild": str(release.build), "SystemRoot": f"C:\\{release.root}"}
    if release.nt >= (10, 0):
        values.update(CurrentMajorVersionNumber=release.nt[0], CurrentMinorVersionNumber=release.nt[1], CurrentVersion="6.3")
    else:
        values["CurrentVersion"] = f"{release.nt[0]}.{release.nt[1]}"
    if release.kind:
        values["InstallationType"] = release.kind
    return {
        "Microsoft\\Windows NT\\CurrentVersion": values,
        "Microsoft\\Windows\\CurrentVersion": {"DevicePath": ("expand", "%SystemRoot%\\inf")},
        f"Microsoft\\Windows\\CurrentVersion\\Uninstall\\{TOOLS_CODE}": {"DisplayName": "VMware Tools"},
        "Microsoft\\Windows\\CurrentVersion\\Uninstall\\Other": {"DisplayName": "Other"},
    }


def device_element(firmware: str) -> bytes:
    head = bytes(16) + struct.pack("<IIII", 6, 0, 72, 0)
    if firmware == "uefi":
        return head + uuid.UUID(PART_GUID).bytes_le + struct.pack("<II", 0, 0) + uuid.UUID(DISK_GUID).bytes_le + bytes(16)
    return head + struct.pack("<Q8xIII12x16x", START, 0, 1, SIGNATURE)


def store(release: Release) -> dict[str, dict[str, object]]:
    """Boot configuration data whose default entry starts the system."""
    ending = "efi" if release.firmware == "uefi" else "exe"
    items: dict[tuple[str, str], object] = {
        (bcd.BOOT_MANAGER, bcd.DEFAULT): LOADER,
        (LOADER, bcd.PATH): f"\\{release.root}\\system32\\winload.{ending}",
        (LOADER, bcd.SYSTEM_ROOT): f"\\{release.root}",
        (LOADER, bcd.DEVICE): device_element(release.firmware),
        (LOADER, bcd.OS_DEVICE): device_element(release.firmware),
        (LOADER, bcd.GRAPHICS_MODE_DISABLED): b"\1",
    }
    tree = {f"Objects\\{item}\\Elements\\{kind}": {"Element": value} for (item, kind), value in items.items()}
    return {"Description": {"KeyName": "BCD00000000"}, f"Objects\\{LOADER}\\Description": {"Type": 0x10200003}, **tree}


def files(release: Release) -> dict[str, bytes]:
    """Every file of the guest by its path: /c is the system volume, /efi the ESP, /boot an active partition of its own."""
    root, machine = f"/c/{release.root}", release.machine
    made = {
        f"{root}/System32/config/SYSTEM": hive(system(release)),
        f"{root}/System32/config/SOFTWARE": hive(software(release)),
        f"{root}/System32/ntoskrnl.exe": program(machine, 1),
        f"{root}/System32/cmd.exe": program(machine, 3),
        f"{root}/inf/setup.inf": b"; nothing",
        "/c/Program Files/readme.txt": b"programs",
    }
    names = [
        "pci",
        "PartMgr",
        "ftdisk",
        "volmgr",
        "mountmgr",
        "DISK",
        "volsnap",
        "fvevol",
        "atapi",
        "intelide",
        "pciide",
        "msahci",
        "storahci",
    ]
    made.update(
        {
            f"{root}/System32/drivers/{name}.sys": program(machine, 1)
            for name in (*names, "storport", "scsiport", "ndis", "mouclass", "vmmouse")
        }
    )
    if release.nt < (6, 0):
        made["/c/ntldr"] = made["/c/NTDETECT.COM"] = b"loader"
        entry = f"multi(0)disk(0)rdisk(0)partition(1)\\{release.root}"
        made["/c/boot.ini"] = (
            f'[boot loader]\r\ntimeout=30\r\ndefault={entry}\r\n[operating systems]\r\n{entry}="{release.product}"\r\n'.encode()
        )
    elif release.firmware == "uefi":
        made["/efi/EFI/Microsoft/Boot/BCD"] = hive(store(release))
        made["/efi/EFI/Microsoft/Boot/bootmgfw.efi"] = program(machine, 10, pad=64)
        made["/efi/EFI/Boot/bootx64.efi"] = program(machine, 10, pad=8)
        made[f"{root}/System32/winload.efi"] = program(machine, 10)
    else:
        made["/boot/bootmgr"] = b"boot manager"
        made["/boot/Boot/BCD"] = hive(store(release))
        made[f"{root}/System32/winload.exe"] = program(machine, 1)
    return made


def tables(release: Release) -> dict[str, Table]:
    if release.firmware == "uefi":
        parts = (
            Partition(1, 2048 * 512, 100 << 20, ESP, str(uuid.uuid5(uuid.NAMESPACE_DNS, "esp"))),
            Partition(2, START, 1 << 30, "ebd0a0a2-b9e5-4433-87c0-68b6b72699c7", PART_GUID),
        )
        return {"disk0": Table("gpt", parts, b"", DISK_GUID)}
    active = release.nt < (6, 0)
    parts = (
        Partition(1, 2048 * 512, 100 << 20, "07", f"{SIGNATURE:08x}-01", active=not active),
        Partition(2, START, 1 << 30, "07", f"{SIGNATURE:08x}-02", active=active),
    )
    return {"disk0": Table("mbr", parts, b"\xfa\x33" + bytes(438), f"{SIGNATURE:08x}")}


SYSTEM_DEVICE = BlockDevice("/dev/sda2", "ntfs", "1122334455667788", disk=0, part=2, size=1 << 30)


def guest(release: Release, change: dict[str, bytes] | None = None) -> MemoryGuest:
    boot = b"\xeb\x52\x90NTFS    " + bytes(15) + struct.pack("<H", 0x10) + bytes(484)
    return MemoryGuest({**files(release), **(change or {})}, {"/dev/sda2": SYSTEM_DEVICE}, {"/dev/sda2": boot})


NICS = (Nic(MAC, slot=192),)


def inspected(made: MemoryGuest, release: Release, options: Options, findings: Findings | None = None) -> GuestFacts:
    root = f"/c/{release.root}"
    mounts = (Mount("/dev/sda2", "/c"),)
    return inspect.inspect(
        made, root, mounts, release.firmware, nics=NICS, options=options, findings=findings if findings is not None else Findings()
    )


def planned(made: MemoryGuest, facts: GuestFacts, options: Options, fixes: tuple[str, ...] = (), installers: tuple[str, ...] = ()):
    return plan.make_plan(made, facts, replace(options, fixes=fixes, agent_packages=installers), NICS)
