# SPDX-License-Identifier: GPL-3.0-or-later
"""What a .vmx and a VMDK descriptor say is used, or refused with a remedy; no disk of theirs disappears, and none is read as what it is not."""

from __future__ import annotations

import pytest
from test_vmdk_chain import descriptor, flat

from ansible_collections.hyper2kvm.migration.plugins.module_utils.core import macs
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.errors import Blocked, Busy, InvalidInput, UnsafeInput
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.progress import Silent
from ansible_collections.hyper2kvm.migration.plugins.module_utils.core.vm import VmId
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import vbox, vmdk, vmx
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import fetch
from ansible_collections.hyper2kvm.migration.plugins.module_utils.sources.source import Access

DISK = 'scsi0:0.present = "TRUE"\nscsi0:0.fileName = "a.vmdk"\n'


@pytest.fixture
def folder(tmp_path):
    for name in "ab":
        flat(tmp_path, name)
    (tmp_path / "data.img").write_bytes(bytes(512))
    return tmp_path


def opened(folder, text):
    (folder / "vm.vmx").write_bytes(text if isinstance(text, bytes) else text.encode())
    return open_source([str(folder / "vm.vmx")])


def refused(folder, text):
    with pytest.raises(InvalidInput) as caught:
        opened(folder, text)
    assert caught.value.hint
    return caught.value.msg


def second(device, file="b.vmdk", kind="", present="TRUE"):
    kind = f'{device}.deviceType = "{kind}"\n' if kind else ""
    file = f'{device}.fileName = "{file}"\n' if file else ""
    return f'{DISK}{device}.present = "{present}"\n{kind}{file}'


@pytest.mark.parametrize("kind", ["disk", "plainDisk", "rawDisk", "scsi-hardDisk", "ata-hardDisk", "sata-hardDisk", "nvme-hardDisk"])
@pytest.mark.parametrize("bus", ["scsi", "sata", "ide", "nvme"])
def test_every_kind_of_disk_is_taken(folder, bus, kind):
    assert len(opened(folder, second(f"{bus}0:1", kind=kind)).disks) == 2


@pytest.mark.parametrize("present", ["TRUE", "true", "yes", "1", "on", "T", " True "])
def test_whatever_says_yes_does(folder, present):
    assert len(opened(folder, second("scsi0:1", present=present)).disks) == 2


@pytest.mark.parametrize(
    ("device", "file", "kind"),
    [
        ("sata0:1", "b.vmdk", "scsi-passthru-rdm"),
        ("scsi0:1", "/vmfs/devices/genscsi/naa.1", "scsi-passthru"),
        ("scsi0:1", "/vmfs/devices/genscsi/mpx.vmhba1:C0:T0:L0", "scsi-passthru"),
        ("scsi0:1", "/vmfs/devices/genscsi/vml.0000000000766d686261343a303a30", "scsi-passthru"),
        ("scsi0:1", "/vmfs/devices/cdrom/../disks/naa.1", "scsi-passthru"),
        ("scsi0:1", "/vmfs/devices/disks/naa.1", "scsi-passthru"),
        ("ide0:1", "/dev/sdb", ""),
        ("ide0:1", "/dev/cdrom/../sda", ""),
        ("scsi0:1", "b.vmdk", "something-new"),
        ("scsi0:1", "data.img", "rawDisk"),
        ("scsi0:1", "data.img", ""),
        ("ide0:1", "/dev/sdb", "rawDisk"),
        ("scsi0:1", "b", "scsi-hardDisk"),
        ("scsi0:1", "", "scsi-hardDisk"),
        ("scsi0:1", "", ""),
        ("nvdimm0:0", "b.vmdk", ""),
        ("usb:1", "b.vmdk", "disk"),
        ("scsi00001:0", "b.vmdk", ""),
    ],
)
def test_what_is_there_and_no_disk_is_refused_by_name(folder, device, file, kind):
    said = refused(folder, second(device, file, kind))
    assert f"device {device} " in said and file in said and kind in said.replace("rawdisk", "rawDisk").replace("hardd", "hardD")


def test_a_word_that_is_neither_yes_nor_no_is_refused(folder):
    assert "'perhaps' for scsi0:1.present" in refused(folder, second("scsi0:1", present="perhaps"))


@pytest.mark.parametrize(
    ("device", "file", "kind", "present"),
    [
        ("ide1:0", "cd.iso", "cdrom-image", "TRUE"),
        ("ide1:0", "auto detect", "cdrom-raw", "TRUE"),
        ("sata0:1", "emptyBackingString", "atapi-cdrom", "TRUE"),
        ("sata0:1", "", "cdrom-raw", "TRUE"),
        ("ide1:0", "cd.iso", "", "TRUE"),
        ("ide1:0", "auto detect", "", "TRUE"),
        ("scsi0:1", "/vmfs/devices/cdrom/mpx.vmhba32:C0:T0:L0", "scsi-passthru", "TRUE"),
        ("scsi0:1", "/vmfs/devices/genscsi/vml.0005000000766d686261343a303a30", "SCSI-passthru", "TRUE"),
        ("ide1:0", "/vmfs/devices/cdrom/vmhba0:0:0", "", "TRUE"),
        ("ide1:0", "/dev/cdrom", "", "TRUE"),
        ("sata0:1", "/dev/sr0", "cdrom-raw", "TRUE"),
        ("ide1:0", "/usr/lib/vmware/isoimages/linux.iso", "cdrom-image", "TRUE"),
        ("ide1:0", "D:", "ATAPI-cdrom", "TRUE"),
        ("floppy0", "/vmfs/volumes/x/a.flp", "file", "TRUE"),
        ("floppy0", "/dev/fd0", "device", "TRUE"),
        ("floppy0", "a.flp", "file", "TRUE"),
        ("serial0", "out.txt", "", "TRUE"),
        ("scsi0:1", "data.img", "rawDisk", "FALSE"),
        ("scsi0:1", "b.vmdk", "scsi-passthru-rdm", "no"),
        ("scsi0:1", "", "scsi-hardDisk", ""),
    ],
)
def test_drives_and_what_is_not_there_are_left_out(folder, device, file, kind, present):
    assert len(opened(folder, second(device, file, kind, present)).disks) == 1


def test_a_drive_of_a_client_is_left_out_and_a_disk_of_one_is_none(folder):
    client = 'ide1:0.clientDevice = "TRUE"\n'
    assert len(opened(folder, second("ide1:0", file="") + client).disks) == 1
    assert len(opened(folder, second("ide1:0") + client).disks) == 2


@pytest.mark.parametrize("name", ["./b.vmdk", "././b.vmdk", ".//b.vmdk", ".\\b.vmdk"])
def test_a_dot_before_the_name_of_a_disk_is_its_own_directory(folder, name):
    assert [disk.chain.files()[0] for disk in opened(folder, second("scsi0:1", name)).disks] == [
        str(folder / "a.vmdk"),
        str(folder / "b.vmdk"),
    ]


@pytest.mark.parametrize("name", ["./../b.vmdk", "../b.vmdk", "./x/b.vmdk", "/b.vmdk", "x/./b.vmdk", ".\\..\\b.vmdk", "./nbd:b.vmdk"])
def test_a_dot_leads_nowhere_else(folder, name):
    with pytest.raises(UnsafeInput, match="plain file name"):
        opened(folder, second("scsi0:1", name))


def test_a_disk_with_and_without_a_dot_is_one(folder):
    assert "has one disk twice" in refused(folder, second("scsi0:1", "./a.vmdk"))


@pytest.mark.parametrize("said", ["FALSE", "no", "0", ""])
@pytest.mark.parametrize("bus", ["scsi", "sata", "ide", "nvme"])
def test_a_disk_on_a_controller_that_is_absent_is_neither_taken_nor_left_out(folder, bus, said):
    absent = f'{bus}1.present = "{said}"\n'
    assert f"device {bus}1:0 with the file 'b.vmdk', but says that its controller {bus}1 is not present" in refused(
        folder, second(f"{bus}1:0") + absent
    )
    assert len(opened(folder, second(f"{bus}1:0", present="FALSE") + absent).disks) == 1
    assert len(opened(folder, second(f"{bus}1:0", "", "cdrom-raw") + absent).disks) == 1
    assert len(opened(folder, second(f"{bus}1:0") + absent.replace(f'"{said}"', '"TRUE"')).disks) == 2
    assert len(opened(folder, second(f"{bus}1:0")).disks) == 2


ENCRYPTED = [
    'encryptionKeys="vmware:key/list/(pair/(fqid/x))"',
    'keyID="0123"',
    'KeyID = "0123"',
    'encryption.data="0123"',
    'encryption.keySafe="vmware:key/x"',
    'isEncrypted="TRUE"',
    'ddb.iofilters = "vmwarevmcrypt"',
    'ddb.ioFilters = "cache,VMW_vmwarevmcrypt_1.0.0"',
    'ddb.sidecars = "vmwarevmcrypt_1,a.vmfd;"',
    'ddb.encryption = "AES-256"',
    'encryptionKeys=""\nencryptionKeys="vmware:key/x"',
]
PLAIN = [
    'encryptionKeys=""',
    'isEncrypted="FALSE"',
    'ddb.iofilters = ""',
    'ddb.iofilters = "replicator"',
    'ddb.comment = "decrypted in 2024"',
    'isNativeSnapshot="no"',
]


@pytest.mark.parametrize("line", ENCRYPTED)
def test_an_encrypted_disk_is_refused(folder, line):
    flat(folder, "b", extra=line)
    assert "b.vmdk is encrypted" in refused(folder, second("scsi0:1"))


@pytest.mark.parametrize("line", PLAIN)
def test_a_disk_that_is_not_encrypted_is_taken(folder, line):
    flat(folder, "b", extra=line)
    assert len(opened(folder, second("scsi0:1")).disks) == 2


def test_a_vm_that_is_encrypted_is_told_and_one_whose_tpm_alone_is_is_taken(folder):
    keys = 'encryption.keySafe = "vmware:key/list/x"\nencryption.data = "0123=="\n'
    assert "is encrypted" in refused(folder, keys)
    assert len(opened(folder, f'{keys}vmx.encryptionType = "partial"\n{DISK}').disks) == 1


def dry(folder, source, accept=()):
    access = Access(accept=tuple(accept), verify=True)
    more = {"check": True, "stay": False, "expected": VmId("", ""), "admit": lambda dummy: None}
    return fetch.fetch([source], access, str(folder / "work"), {"source": [source]}, Silent(), **more)[0]


def test_a_suspended_vm_is_refused_unless_that_is_accepted(folder):
    opened(folder, f'{DISK}checkpoint.vmState = "vm-0a1b.vmss"\n')
    with pytest.raises(Blocked, match="suspended") as caught:
        dry(folder, str(folder / "vm.vmx"))
    assert "shut its guest down" in caught.value.hint and caught.value.details["concerns"] == ["source.suspended"]
    with pytest.raises(Blocked):
        dry(folder, str(folder / "vm.vmx"), ["source.busy"])
    assert dry(folder, str(folder / "vm.vmx"), ["source.suspended"]).disks
    opened(folder, f'{DISK}checkpoint.vmState = ""\nscsi0:0.redo = ""\n')
    assert dry(folder, str(folder / "vm.vmx")).disks


def test_a_suspended_vm_may_be_busy_too(folder):
    vm = opened(folder, f'{DISK}checkpoint.vmState = "vm.vmss"\n')
    with open(folder / "a-flat.vmdk", "r+b"), pytest.raises(Busy):
        vm.check_idle(["source.suspended"])


def test_a_saved_state_of_virtualbox_is_the_same(folder):
    box = '<VirtualBox><Machine uuid="{1}" name="x" stateFile="Snapshots/x.sav"><MediaRegistry><HardDisks><HardDisk uuid="{2}" location="a.vmdk"/>'
    box += '</HardDisks></MediaRegistry><Hardware><Network><Adapter slot="0" enabled="true" MACAddress="08002ZZZZZZZ"/></Network><StorageControllers>'
    box += (
        '<StorageController type="AHCI"><AttachedDevice type="HardDisk" port="0"><Image uuid="{2}"/></AttachedDevice></StorageController>'
    )
    (folder / "x.vbox").write_text(f"{box}</StorageControllers></Hardware></Machine></VirtualBox>")
    vm = open_source([str(folder / "x.vbox")])
    assert vm.suspended and vm.kind == "vbox" and vm.nics[0].mac is None and vbox.read


def test_a_log_of_writes_is_refused(folder):
    assert "a.vmdk.REDO" in refused(folder, f'{DISK}scsi0:0.redo = "./a.vmdk.REDO_x"\n')


@pytest.mark.parametrize(
    "line",
    [
        'memsize = "4096"', "memsize = 4096", 'memsize="4096"   # MB', "memsize = 4096 # MB", "MEMSIZE=4096",
        ' memSize\t=\t"4096"#x', 'memsize = "4096" # a "b"',
        'memsize = "4096"\nmemSize = "4096"', 'memsize = "4096"\ngarbage without a sign', '# memsize = "1"\nmemsize = "4096"', '\nmemsize = "4096"\n#',
        'memsize = "4096"\nguestinfo.a b/c = "{"a": 1}"', 'memsize = "4096"\rguestinfo.x = ""',
    ],
)  # fmt: skip
def test_lines_are_read_as_people_write_them(folder, line):
    assert opened(folder, f"{DISK}{line}\n").memory == 4096
    assert opened(folder, f"{DISK}{line}\n".replace("\n", "\r\n")).memory == 4096


@pytest.mark.parametrize("line", ['memsize = "4096', 'memsize = "4096" MB', ' = "x"', 'scsi0:1.fileName = "b.vmdk'])
def test_a_line_that_cannot_be_read_is_refused(folder, line):
    assert "line 3 cannot be read" in refused(folder, f"{DISK}{line}\n")


@pytest.mark.parametrize(
    "text",
    [
        f'{DISK}scsi0:0.fileName = "b.vmdk"\n',
        f'{DISK}SCSI0:0.FILENAME = "b.vmdk"\n',
        f'{DISK}scsi0:0.present = "FALSE"\n',
        f'{DISK}memsize = "2048"\nmemSize = "4096"\n',
        f"{DISK}memsize = 2048\nmemSize = 4096\n",
    ],
)
def test_a_key_with_two_values_is_refused(folder, text):
    assert " twice, as " in refused(folder, text)


def test_a_firmware_that_is_none_is_refused(folder):
    assert "'uefi2' for firmware" in refused(folder, f'{DISK}firmware = "uefi2"\n')
    assert opened(folder, f'{DISK}firmware = "EFI "\n').firmware == "uefi"


@pytest.mark.parametrize("text", ["005056112234", "00:50:56:11:22:34", "00-50-56-11-22-34", "0050.5611.2234", " 00:50:56:11:22:34 "])
def test_a_mac_address_is_known_in_any_spelling(folder, text):
    vm = opened(folder, f'{DISK}ethernet0.present = "TRUE"\nethernet0.addressType = "static"\nethernet0.address = "{text}"\n')
    assert [nic.mac for nic in vm.nics] == ["00:50:56:11:22:34"]


@pytest.mark.parametrize(
    "text",
    ["00:50:56:XX:YY:ZZ", "", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "00:50:56:11:22", "0:50:56:11:22:34", "00:50-56:11:22:34",
     "00505611223٤"],
)  # fmt: skip
def test_what_is_no_mac_address_of_a_card_is_none(folder, text):
    vm = opened(folder, f'{DISK}ethernet0.present = "TRUE"\nethernet0.addressType = "static"\nethernet0.address = "{text}"\n')
    assert [nic.mac for nic in vm.nics] == [None]
    assert macs.of_nic(text) is None


NAMES = {
    "windows-1252": "Bücher…", "GBK": "服务器", "UTF-8": "服务器", "Shift_JIS": "表示サーバ①", "windows-932": "表示", "windows-1251": "сервер",
    "Big5": "伺服器",
    "EUC-KR": "서버", "ISO-8859-15": "Büro€", "windows-949": "서버", "ibm-943_P15A-2003": "表示", "macintosh": "Bücher", "GB18030": "服务器",
    "KOI8-R": "сервер",
}  # fmt: skip
PYTHON = {"Shift_JIS": "cp932", "windows-932": "cp932", "ibm-943_P15A-2003": "cp932", "windows-949": "cp949", "macintosh": "mac_roman"}


@pytest.mark.parametrize("encoding", NAMES)
def test_a_description_is_read_in_its_encoding(folder, encoding):
    name = NAMES[encoding]
    flat(folder, name)
    text = f'.encoding = "{encoding}"\ndisplayName = "{name}"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{name}.vmdk"\n'
    assert opened(folder, text.encode(PYTHON.get(encoding, encoding))).name == name
    assert opened(folder, b"\xef\xbb\xbf" + text.encode("utf-8")).name == name
    line = f'encoding="{encoding}"'
    data = descriptor(f'RW 2048 FLAT "{name}-flat.vmdk" 0', extra=line).encode(PYTHON.get(encoding, encoding))
    (folder / f"{name}.vmdk").write_bytes(data)
    assert opened(folder, text.encode(PYTHON.get(encoding, encoding))).disks[0].chain.files()[1].endswith(f"{name}-flat.vmdk")


@pytest.mark.parametrize(
    "encoding", ["klingon", "rot13", "hex", "UTF-7", "UTF-16", "unicode_escape", "undefined", "cp037", "ISO-2022-JP", "x" * 300, "a\0b"]
)
@pytest.mark.parametrize("rest", ["", "\xfc"])
def test_an_unknown_encoding_is_refused_by_name(folder, encoding, rest):
    said = refused(folder, f'.encoding = "{encoding}"\ndisplayName = "{rest}"\n{DISK}'.encode("latin-1"))
    assert encoding.partition("\0")[0][:40] in said
    text = descriptor('RW 2048 FLAT "b-flat.vmdk" 0', extra=f'encoding="{encoding}"\n# {rest}')
    if "\0" not in encoding:
        (folder / "b.vmdk").write_bytes(text.encode("latin-1"))
        assert encoding[:40] in refused(folder, second("scsi0:1"))


def test_what_is_not_in_its_encoding_is_refused(folder):
    assert "not written in the encoding 'UTF-8'" in refused(
        folder, f'.encoding = "UTF-8"\ndisplayName = "B\xfccher"\n{DISK}'.encode("latin-1")
    )


def test_long_lines_take_no_time(folder):
    for text in ("a" + " " * 400_000 + "x=1", 'a = "' + " " * 400_000 + "x", "a = x" + " #" * 200_000, "a = x" + " " * 400_000 + "y"):
        try:
            vmx.parse(text.encode(), "x")
        except InvalidInput:
            continue
    assert vmdk.plain_name("a.vmdk", "it")
