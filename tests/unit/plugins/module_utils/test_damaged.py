# SPDX-License-Identifier: GPL-3.0-or-later
"""Damaged and forged inputs: every reader gives what it can, or an error with a remedy, and never an exception of a library."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import winlab
from fixtures import facts, guest
from imagelab import KINDS

from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot import checks, monitor
from ansible_collections.hyper2kvm.migration.plugins.module_utils.boot.model import Check
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import InvalidInput, MigrationError
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.manifest import Manifest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import chain, image, machine, ovf, vbox, vmx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest import first_code, live, offline, parttable
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.plan import Plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux import cpio, newc
from ansible_collections.hyper2kvm.migration.plugins.module_utils.linux.plan import Options, make_plan
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import kinds, power, recorded
from ansible_collections.hyper2kvm.migration.plugins.module_utils.targets import domain_xml
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import inf, logs, pe

TRIES = 120
VMX = b"""displayName = "web01"
numvcpus = "2"
cpuid.coresPerSocket = "1"
memSize = "2048"
firmware = "efi"
scsi0:0.present = "TRUE"
scsi0:0.fileName = "disk.vmdk"
ethernet0.present = "TRUE"
ethernet0.generatedAddress = "00:50:56:11:22:33"
ethernet0.pciSlotNumber = "192"
"""
VMDK = b"""# Disk DescriptorFile
version=1
CID=12345678
parentCID=ffffffff
createType="monolithicFlat"
RW 2048 FLAT "disk-flat.vmdk" 0
ddb.geometry.cylinders = "130"
ddb.longContentID = "0123456789abcdef0123456789abcdef"
"""
OVF = b"""<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References><File id="f" href="disk.vmdk"/></References>
<DiskSection><Disk diskId="d" fileRef="f" capacity="1048576"/></DiskSection><VirtualSystem id="web01"><Name>web01</Name><VirtualHardwareSection>
<Item><InstanceID>1</InstanceID><ResourceType>3</ResourceType><VirtualQuantity>2</VirtualQuantity><CoresPerSocket>1</CoresPerSocket></Item>
<Item><InstanceID>2</InstanceID><ResourceType>4</ResourceType><VirtualQuantity>2048</VirtualQuantity><AllocationUnits>byte * 2^20</AllocationUnits></Item>
<Item><InstanceID>3</InstanceID><ResourceType>6</ResourceType><Address>0</Address></Item>
<Item><InstanceID>4</InstanceID><ResourceType>17</ResourceType><Parent>3</Parent><AddressOnParent>0</AddressOnParent><HostResource>ovf:/disk/d</HostResource></Item>
</VirtualHardwareSection></VirtualSystem></Envelope>"""
VBOX = b"""<?xml version="1.0"?><VirtualBox version="1.16-linux"><Machine uuid="{m}" name="web01" OSType="Debian_64"><MediaRegistry><HardDisks>
<HardDisk uuid="{1}" location="disk.vmdk" format="VMDK"/></HardDisks></MediaRegistry><Hardware><CPU count="2"/><Memory RAMSize="1024"/>
<Network><Adapter slot="0" enabled="true" MACAddress="080027112233" type="82540EM"><NAT/></Adapter></Network>
<StorageControllers><StorageController name="IDE" type="PIIX4"><AttachedDevice type="HardDisk" port="0" device="1"><Image uuid="{1}"/></AttachedDevice>
</StorageController></StorageControllers></Hardware></Machine></VirtualBox>"""
INF = b"""[Version]
Signature="$Windows NT$"
Class=SCSIAdapter
CatalogFile=viostor.cat
DriverVer=01/02/2024,100.94.104.24800
[Manufacturer]
%VENDOR%=RHEL,NTamd64.10.0...16299
[RHEL.NTamd64.10.0...16299]
%DESC%=inst, PCI\\VEN_1AF4&DEV_1001&SUBSYS_00021AF4&REV_00
[inst.NT.Services]
AddService=viostor, 0x00000002, svc
[svc]
ServiceType=1
StartType=0
ErrorControl=1
ServiceBinary=%12%\\viostor.sys
LoadOrderGroup=SCSI miniport
[Strings]
VENDOR="Red Hat"
DESC="VirtIO"
"""
DOMAIN = b"<domain type='kvm'><name>web01</name><devices><disk type='file'><source file='/x'/><target dev='vda'/></disk></devices></domain>"
CHANGE = {"change": "write", "path": "/etc/fstab", "before": "a", "after": "b", "reason": "r", "mode": 420}
PLAN = json.dumps({"format": 1, "changes": [CHANGE], "concerns": [{"code": "a.b", "severity": "info", "cause": "c", "remedy": "r"}]})
MADE_FROM = {"path": "/x", "size": 1, "mtime_ns": 1, "inode": 1}
MANIFEST = json.dumps({"format": 1, "stage": "fetch", "inputs": [MADE_FROM], "options": {}, "outputs": [], "result": {}})
REPORT = json.dumps({"format": 1, "vm": "web01", "source": {}, "facts": {}, "disks": [{"path": "/x", "format": "qcow2"}]})
MBR = bytes(446) + struct.pack("<B3sB3sII", 0x80, bytes(3), 0x83, bytes(3), 2048, 4096) + bytes(48) + b"\x55\xaa" + bytes(64 * 512)
PE = b"MZ" + bytes(58) + struct.pack("<I", 64) + b"PE\0\0" + struct.pack("<HH", 0x8664, 1) + bytes(400)
CPIO = newc.write([("init", b"#!/bin/sh\n"), ("conf/modules", b"virtio_blk\n")])
HOSTILE_NUMBERS = ("²", "٣", "9" * 5000, "-1", "1e400", "0x", "1_0", " 7 ", "18446744073709551616", "", "NaN", "\uff11\uff12")


def read_vmx(path: Path) -> object:
    return vmx.read(str(path))


def read_vbox(path: Path) -> object:
    return vbox.read(str(path), lambda dummy: chain.Chain(()))


def read_ovf(path: Path) -> object:
    return ovf.read(str(path))


def read_vmdk(path: Path) -> object:
    return chain.resolve(str(path))


def read_domain(path: Path) -> object:
    root = domain_xml.parse(path.read_bytes().decode("utf-8", "surrogateescape"))
    return list(domain_xml.disks(root)), domain_xml.networks(root)


def read_inf(path: Path) -> object:
    found = inf.Inf("viostor.inf", path.read_bytes())
    return [found.driver(architecture, nt, 19041) for architecture in ("x86_64", "x86") for nt in ((6, 1), (10, 0))]


def read_plan(path: Path) -> object:
    try:
        data = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    return Plan.from_data(data, kinds.KINDS)


def read_note(path: Path) -> object:
    path.rename(path.with_name("source-stopped.json"))
    return power.noted(str(path.parent))


def read_table(path: Path) -> object:
    data = path.read_bytes()
    return parttable.parse(lambda offset, size: data[offset : offset + size])


TEXTS: dict[str, tuple[str, bytes, Callable[[Path], object]]] = {
    "vmx": ("web01.vmx", VMX, read_vmx),
    "vbox": ("web01.vbox", VBOX, read_vbox),
    "ovf": ("web01.ovf", OVF, read_ovf),
    "vmdk": ("disk.vmdk", VMDK, read_vmdk),
    "inf": ("viostor.inf", INF, read_inf),
    "libvirt": ("web01.xml", DOMAIN, read_domain),
    "plan": ("plan.json", PLAN.encode(), read_plan),
    "report": ("report.json", REPORT.encode(), lambda path: recorded.read(str(path))),
    "manifest": ("fetch.json", MANIFEST.encode(), lambda path: Manifest.load(str(path))),
    "note": ("note.json", b'{"source": "vsphere://vc/x"}', read_note),
    "partition table": ("disk.raw", MBR, read_table),
    "cpio": ("initrd", CPIO, lambda path: cpio.read(path.read_bytes())),
    "pe": ("viostor.sys", PE, lambda path: pe.parse(path.read_bytes())),
    "hive": ("SYSTEM", winlab.minimal(), lambda path: logs.replay(path.read_bytes(), [])),
}  # fmt: skip


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One of the ways in which a file is damaged or forged."""
    kind, at = rng.randrange(10), rng.randrange(max(1, len(data)))
    if kind == 0:
        return data[:at]
    if kind == 1:
        return data[:at] + rng.randbytes(rng.randrange(1, 9)) + data[at + rng.randrange(9) :]
    if kind == 2:
        return bytes(byte ^ (1 << rng.randrange(8)) if rng.random() < 0.01 else byte for byte in data)
    if kind == 3:  # a number
        numbers = list(re.finditer(rb"\d+", data))
        found = rng.choice(numbers) if numbers else None
        return data[: found.start()] + rng.choice(HOSTILE_NUMBERS).encode() + data[found.end() :] if found else data
    if kind == 4:
        return data.decode("latin-1").encode(rng.choice(["utf-16", "utf-32", "utf-8-sig"]))
    if kind == 5:
        lines = data.split(b"\n")
        rng.shuffle(lines)
        return b"\n".join(lines)
    if kind == 6:
        return (
            data[:at]
            + rng.choice([b"\0", b"\xff\xfe", b"\xed\xb2\x80", b"\r", b"\x1b[2J", "\u2028".encode(), b'"', b"<", b"{", b"]"])
            + data[at:]
        )
    if kind == 7:
        return data[:at] + rng.choice([b"[" * 100_000, b'{"a":' * 100_000, b"(" * 5000, b"a" * 100_000])
    if kind == 8:
        return data[:at] + data[: rng.randrange(len(data) + 1)] + data[at:]
    return rng.randbytes(rng.randrange(2000))


def tolerates(read: Callable[[], object]) -> None:
    try:
        read()
    except MigrationError as error:
        assert error.msg and error.hint, error
        str(error).encode("utf-8", "surrogateescape")
    except OSError as error:  # runtime.run knows what to say of these
        assert error.errno


def beside(folder: Path) -> None:
    """A disk for what is described."""
    (folder / "disk-flat.vmdk").write_bytes(bytes(1 << 20))
    (folder / "disk.vmdk").write_bytes(VMDK)


@pytest.mark.parametrize("name", TEXTS)
def test_the_whole_one_is_read(name, tmp_path):
    file, data, read = TEXTS[name]
    beside(tmp_path)
    (tmp_path / file).write_bytes(data)
    read(tmp_path / file)


@pytest.mark.parametrize("name", TEXTS)
def test_a_damaged_one_is_read_or_refused(name, tmp_path):
    file, data, read = TEXTS[name]
    rng = random.Random(name)
    beside(tmp_path)
    for dummy in range(TRIES):
        (tmp_path / file).write_bytes(mutated(data, rng))
        tolerates(lambda: read(tmp_path / file))


@pytest.mark.parametrize("number", HOSTILE_NUMBERS)
@pytest.mark.parametrize(
    "name", [name for name, (dummy, data, read) in TEXTS.items() if name not in ("pe", "hive", "partition table", "cpio")]
)
def test_a_number_that_is_none_in_every_place_where_one_stands(name, number, tmp_path):
    file, data, read = TEXTS[name]
    beside(tmp_path)
    for found in re.finditer(rb"\d+", data):
        (tmp_path / file).write_bytes(data[: found.start()] + number.encode() + data[found.end() :])
        tolerates(lambda: read(tmp_path / file))


@pytest.mark.parametrize(
    ("file", "data", "read", "what"),
    [
        ("a.vmx", VMX.replace(b'memSize = "2048"', 'memSize = "²"'.encode()), read_vmx, "memSize"),
        ("a.vmx", VMX.replace(b'numvcpus = "2"', b'numvcpus = "two"'), read_vmx, "numvcpus"),
        ("a.ovf", OVF.replace(b"<VirtualQuantity>2048", "<VirtualQuantity>²".encode()), read_ovf, "the memory"),
        ("a.ovf", OVF.replace(b"byte * 2^20", b"byte * 2^999999999"), read_ovf, "AllocationUnits"),
        ("a.ovf", OVF.replace(b"byte * 2^20", b"furlongs"), read_ovf, "furlongs"),
        ("a.vbox", VBOX.replace(b'RAMSize="1024"', 'RAMSize="١٠٢٤"'.encode()), read_vbox, "RAMSize"),
    ],
)
def test_a_size_that_is_no_number_is_refused_by_name_and_not_left_out(file, data, read, what, tmp_path):
    beside(tmp_path)
    (tmp_path / file).write_bytes(data)
    with pytest.raises(MigrationError) as refused:
        read(tmp_path / file)
    assert what in str(refused.value)


def test_numbers_that_are_right_are_read(tmp_path):
    beside(tmp_path)
    (tmp_path / "a.vmx").write_bytes(VMX.replace(b'"2048"', b'" 2048 "'))
    found: machine.SourceVm = vmx.read(str(tmp_path / "a.vmx"))
    assert (found.memory, found.cpus, found.nics[0].slot) == (2048, 2, 192)


@pytest.mark.parametrize("name", [name for name, (fmt, dummy) in KINDS.items() if fmt != "raw"])
def test_a_damaged_image_is_read_or_refused(name, images, tmp_path):
    whole = (images / name).read_bytes()
    rng, path = random.Random(name), tmp_path / name
    path.write_bytes(whole)
    for dummy in range(60):
        with open(path, "r+b") as file:
            at, kind = rng.choice([rng.randrange(512), rng.randrange(65536), len(whole) - 512 + rng.randrange(500)]), rng.randrange(3)
            if kind == 2:
                file.truncate(rng.choice([0, 3, 511, 512, 513, 1024, 65536, len(whole) - 1, rng.randrange(len(whole))]))
            else:
                file.seek(at)
                file.write(rng.randbytes(8) if kind else b"\xff" * 8)
        tolerates(lambda: image.resolve(str(path)).allocated())
        path.write_bytes(whole) if kind == 2 else _restored(path, whole, at)


def _restored(path: Path, whole: bytes, at: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(whole[at : at + 8])
        file.truncate(len(whole))


GUEST_FILES = {
    "a partition of 5000 digits": {"/etc/fstab": f"/dev/sda{'9' * 5000} / ext4 defaults 0 1\n"},
    "a path of 5000 digits": {"/etc/fstab": f"/dev/disk/by-path/pci-0000:03:00.0-scsi-0:0:{'9' * 5000}:0-part2 / ext4 defaults 0 1\n"},
    "an NVMe disk of 5000 digits": {"/etc/fstab": f"/dev/nvme{'1' * 5000}n1p1 / ext4 defaults 0 1\n"},
    "a partition of another script": {"/etc/fstab": "/dev/sda٢ / ext4 defaults 0 1\n/dev/sda² /srv ext4 defaults 0 2\n"},
    "an entry of 5000 digits": {"/etc/default/grub": f"GRUB_DEFAULT={'7' * 5000}\n", "/boot/grub/grubenv": f"saved_entry={'7' * 5000}\n"},
    "an entry of another script": {"/etc/default/grub": "GRUB_DEFAULT=²\n"},
    "a loader's entry": {"/boot/loader/entries/a.conf": f"title a\nversion {'5' * 5000}\nlinux /vmlinuz\n", "/boot/loader/loader.conf": "default ²\n"},
    "netplan of brackets": {"/etc/netplan/a.yaml": "network: " + "[" * 20_000},
    "netplan of anchors": {"/etc/netplan/a.yaml": "a: &a [x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(200))},
    "netplan in UTF-16": {"/etc/netplan/a.yaml": "network: {}".encode("utf-16")},
    "netplan with a date": {"/etc/netplan/a.yaml": "network: {ethernets: {2024-13-45: {dhcp4: 9999-99-99}}}\n"},
    "networkd": {"/etc/systemd/network/a.network": "[Match]\nName=ens192\n[Network]\nAddress=10.0.0.²/٢٤\nGateway=²\n"},
    "a VLAN of 5000 digits": {"/etc/sysconfig/network-scripts/ifcfg-eth0." + "1" * 200: "DEVICE=eth0." + "9" * 5000 + "\nIPADDR=1.2.3.4\nPREFIX=²\n"},
    "crypttab of quotes": {"/etc/crypttab": "a /dev/sda2 '" + "\\" * 10_000 + "\n"},
    "interfaces": {"/etc/network/interfaces": "iface ens192 inet static\n address 10.0.0.²\n netmask ²\n gateway ²\n"},
    "keyfile": {"/etc/NetworkManager/system-connections/a": "[connection]\ntype=ethernet\n[ipv4]\naddress1=1.2.3.4/²,1.2.3.1\nmethod=manual\n"},
    "a kernel of digits": {f"/boot/vmlinuz-{'9' * 200}": b"x", f"/lib/modules/{'9' * 200}/modules.dep": ""},
}  # fmt: skip


@pytest.mark.parametrize("name", GUEST_FILES)
def test_a_guest_with_forged_numbers_and_nesting_is_planned_or_refused(name):
    made = guest(**GUEST_FILES[name])
    tolerates(lambda: make_plan(made, facts(made), Options()))


SHORT = {
    "a program of four bytes": {"/bin/sh": b"\x7fELF", "/usr/bin/bash": b"\x7fELF\x02"},
    "a kernel of two bytes": {"/boot/vmlinuz-6.1.0-18-amd64": b"MZ"},
    "a kernel that ends in its header": {"/boot/vmlinuz-6.1.0-18-amd64": bytes(0x202) + b"HdrS"},
    "a passwd of commas": {"/etc/passwd": ",,,:::\nroot\n:::::::\n"},
    "an os-release of quotes": {"/etc/os-release": 'ID="\nVERSION_ID=\x00\nPRETTY_NAME=' + "'" * 1000},
}  # fmt: skip


@pytest.mark.parametrize("name", SHORT)
def test_a_guest_of_short_files_is_inspected(name):
    made = guest(**SHORT[name])
    tolerates(lambda: make_plan(made, facts(made), Options()))


@pytest.mark.parametrize("code", [b"GRUB", b"GRUB" + bytes(80), b"\xeb\x63" + b"GRUB".ljust(0x5F, b"\xff")])
def test_boot_code_that_ends_early_leads_nowhere(code):
    assert not first_code.leads_on(guest(), "disk0", parttable.Table("mbr", (), code))


@pytest.mark.parametrize("offset", [-512, 1 << 62, 1 << 63, 1 << 73])
def test_a_place_that_no_disk_has_holds_nothing(offset, tmp_path):
    (tmp_path / "disk").write_bytes(bytes(4096))
    assert live._pread(str(tmp_path / "disk"), offset, 512) == b""
    assert offline.OfflineGuest(None, ()).read_device("disk0", offset, 512) == b""


@pytest.mark.parametrize(
    "kept",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b'{"format": 1, "changes": 7}',
        b'{"format": 1, "changes": [[]], "concerns": []}',
        b"[" * 100_000,
    ],
)
def test_the_plan_that_a_guest_keeps_is_the_guests_to_forge(kept):
    with pytest.raises(InvalidInput) as refused:
        Plan.from_json(kept, kinds.KINDS)
    assert refused.value.hint


@pytest.mark.parametrize("images", ["{", "[]", "7", '{"a": 1}', "[" * 100_000])
def test_a_mark_that_was_changed_is_refused(images):
    text = f"<domain><metadata><m:migration xmlns:m='{domain_xml.MARK}' images='{images.replace(chr(34), '&quot;')}'/></metadata></domain>"
    with pytest.raises(InvalidInput, match="metadata"):
        domain_xml.images_of(text)


ANSWERS = [b"", b"7", b"null", b"[]", b"{", b'"return"', b"\xff\xff", b"[" * 100_000, b'{"a":' * 100_000]


@pytest.mark.parametrize("answer", ANSWERS)
def test_what_a_guest_agent_answers_is_an_object_or_a_refusal(answer):
    with pytest.raises(ValueError):
        monitor.answer_of(answer)


@pytest.mark.parametrize(
    "returned", [None, 7, [], "x", {}, {"pid": 1}, {"pid": {}, "exited": True, "out-data": 7}, {"pid": 1, "exited": 1, "out-data": "%%%"}]
)
def test_a_check_by_a_guest_agent_that_answers_nonsense_does_not_hold(returned, monkeypatch):
    monkeypatch.setattr(checks, "_COMMAND", 0.3)

    class Machine:
        def agent(self, dummy):
            return returned

    assert checks.fault(Check(command=("true",)), Machine())


def test_nobody_asks_a_text_from_outside_whether_it_is_a_number_but_one():
    plugins = Path(__file__).resolve().parents[4] / "plugins"
    asked = re.compile(r"\bis(?:digit|decimal|numeric)\b")
    found = {str(path.relative_to(plugins)) for path in plugins.rglob("*.py") if asked.search(path.read_text())}
    assert found <= {"module_utils/core/numbers.py", "module_utils/core/deadline.py"}  # the second one: names of /proc
