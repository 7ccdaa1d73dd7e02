# SPDX-License-Identifier: GPL-3.0-or-later
"""The boot entries of a VM's firmware: which comes first, in VMware's file and in VirtualBox's. Both are written here by what describes them."""

from __future__ import annotations

import io
import struct
import tarfile
import uuid

import pytest
from descriptions_ovf import DISK, FILE, ovf
from hypothesis import given
from hypothesis import strategies as st
from promptly import within
from test_vmdk_chain import sparse

from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk import nvram
from ansible_collections.hyper2kvm.migration.plugins.module_utils.disk.source import open_source

GLOBAL = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le  # EFI_GLOBAL_VARIABLE
END = b"\x7f\xff\4\0"
SCSI = bytes.fromhex("03020800" + "00000000")
MAC = bytes.fromhex("030b2500" + "000c29367125" + "00" * 26 + "01")
PARTITION = bytes.fromhex("04012a00") + bytes(38)


def file_path(name: str) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    return struct.pack("<BBH", 4, 4, 4 + len(text)) + text


def option(name: str, path: bytes, attributes: int = 1) -> bytes:
    """EFI_LOAD_OPTION. UEFI Specification 2.10, 3.1.3."""
    return struct.pack("<IH", attributes, len(path + END)) + name.encode("utf-16-le") + b"\0\0" + path + END


def variables(*options: bytes, order: tuple[int, ...] = ()) -> list[tuple[str, bytes]]:
    made = [(f"Boot{number:04X}", data) for number, data in enumerate(options)]
    return [("Lang", b"eng"), *made, ("BootOrder", struct.pack(f"<{len(order or options)}H", *(order or range(len(options)))))]


def of_vmware(found: list[tuple[str, bytes]]) -> bytes:
    """A file of VMware's: records, of which the last holds each variable as GUID, attributes, sizes, name and data."""
    body = b""
    for name, data in found:
        text = name.encode("utf-16-le") + b"\0\0"
        body += GLOBAL + struct.pack("<III", 7, len(text) + len(data), len(text)) + text + data
    return b"MRVN" + bytes(60) + b"EFI_NV\0\0\0\0\4\0VMWNVRAM" + struct.pack("<II", 0, 16 + len(body)) + body + bytes(512)


def of_edk2(found: list[tuple[str, bytes]]) -> bytes:
    """A firmware volume with a store of authenticated variables. edk2: VariableFormat.h."""
    body = b""
    for name, data in [("Gone", b"x"), *found]:
        text = name.encode("utf-16-le") + b"\0\0"
        state = 0x3C if name == "Gone" else 0x3F
        body += struct.pack("<HBBIQ16sIII", 0x55AA, state, 0, 7, 0, bytes(16), 0, len(text), len(data)) + GLOBAL + text + data
        body += b"\xff" * (-len(body) % 4)
    store = uuid.UUID("aaf32c78-947b-439a-a180-2e144ec37792").bytes_le + struct.pack("<IBBHI", 28 + len(body) + 64, 0x5A, 0xFE, 0, 0)
    volume = (
        bytes(16)
        + uuid.UUID("fff12b8d-7696-4c8b-a985-2747075b4f50").bytes_le
        + struct.pack("<Q4sIHHHBB", 1 << 16, b"_FVH", 0, 72, 0, 0, 0, 2)
    )
    return volume.ljust(72, b"\0") + store + body + b"\xff" * 512


def in_tar(found: list[tuple[str, bytes]]) -> bytes:
    """As VirtualBox 7 keeps it, beside the state of a TPM."""
    out, data = io.BytesIO(), of_edk2(found)
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, held in (("TpmEmuTpms/permall", b"x" * 700), ("efi/nvram", data)):
            info = tarfile.TarInfo(name)
            info.size = len(held)
            tar.addfile(info, io.BytesIO(held))
    return out.getvalue()


DISK_ENTRY = option("EFI Virtual disk (0.0)", SCSI)
CD, NETWORK = option("EFI VMware Virtual SATA CDROM Drive (0.0)", SCSI), option("EFI Network", MAC)
DEBIAN = option("debian", PARTITION + file_path("\\EFI\\debian\\shimx64.efi"))
FALLBACK = option("UEFI OS", PARTITION + file_path("\\EFI\\BOOT\\BOOTX64.EFI"))
OFF = option("old", PARTITION + file_path("\\EFI\\old\\x.efi"), attributes=0)
CASES = [
    (variables(DISK_ENTRY, CD, NETWORK), ""),
    (variables(CD, DISK_ENTRY), ""),
    (variables(CD, NETWORK, DISK_ENTRY), "tries the network"),
    (variables(NETWORK, DISK_ENTRY), "tries the network"),
    (variables(DEBIAN, DISK_ENTRY), r"EFI\debian\shimx64.efi first (debian)"),
    (variables(DISK_ENTRY, DEBIAN), ""),
    (variables(DISK_ENTRY, DEBIAN, order=(1, 0)), r"EFI\debian\shimx64.efi"),
    (variables(FALLBACK, DEBIAN), ""),
    (variables(OFF, FALLBACK), ""),
    (variables(DISK_ENTRY, order=(7, 0)), ""),
    ([("Lang", b"x")], ""),
]
WRITERS = {"vmware": of_vmware, "edk2": of_edk2, "tar": in_tar}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(("found", "words"), CASES)
def test_what_comes_first_is_told_where_the_target_starts_something_else(kind, found, words):
    told = nvram.concerns("web01", WRITERS[kind](found))
    assert [concern.code for concern in told] == (["source.boot-order"] if words else []) and all(
        words in concern.cause for concern in told
    )


def test_an_entry_of_another_owner_and_a_signature_are_no_boot_entry():
    data = of_vmware(variables(DEBIAN))
    assert nvram.first(data.replace(GLOBAL, bytes(16))) is None
    signed = data.replace(struct.pack("<I", 7), struct.pack("<I", 7 | 1 << 5))  # 40 bytes before what a signed variable holds
    assert nvram.first(signed) is None


@pytest.mark.parametrize("firmware", ["efi", "bios"])
@pytest.mark.parametrize("kind", [".vmx", ".vbox", ".ovf"])
def test_every_description_with_a_file_of_variables_tells_it(tmp_path, kind, firmware):
    (tmp_path / "c.vmdk").write_bytes(sparse())
    (tmp_path / "web.nvram").write_bytes(WRITERS["tar" if kind == ".vbox" else "vmware"](variables(DEBIAN)))
    file = '<File ovf:id="f8" ovf:href="web.nvram"/>'
    texts = {
        ".vmx": f'firmware = "{firmware}"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "c.vmdk"\n',
        ".vbox": '<VirtualBox><Machine name="a"><MediaRegistry><HardDisks><HardDisk uuid="{a}" location="c.vmdk"/></HardDisks></MediaRegistry><Hardware>'
        f'<Firmware type="{firmware.upper()}"/><StorageControllers><StorageController name="S" type="AHCI"><AttachedDevice type="HardDisk" port="0">'
        '<Image uuid="{a}"/></AttachedDevice></StorageController></StorageControllers></Hardware></Machine></VirtualBox>',
        ".ovf": ovf(files=FILE + file, disks=DISK).replace(
            "</VirtualHardwareSection>", f'<vmw:Config vmw:key="firmware" vmw:value="{firmware}"/></VirtualHardwareSection>'
        ),
    }
    (tmp_path / f"web{kind}").write_text(texts[kind])
    codes = [concern.code for concern in open_source([str(tmp_path / f"web{kind}")]).concerns if concern.code != "source.file"]
    assert codes == (["source.boot-order"] if firmware == "efi" else [])


@pytest.mark.parametrize("made", ["", "../web.nvram", "/etc/passwd", "a/b.nvram"])
def test_a_file_that_is_not_there_or_lies_elsewhere_is_not_read(tmp_path, made):
    (tmp_path / "vm").mkdir()
    (tmp_path / "web.nvram").write_bytes(of_vmware(variables(DEBIAN)))
    (tmp_path / "vm" / "c.vmdk").write_bytes(sparse())
    (tmp_path / "vm" / "web.vmx").write_text(f'firmware = "efi"\nnvram = "{made}"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "c.vmdk"\n')
    assert open_source([str(tmp_path / "vm" / "web.vmx")]).concerns == ()


def test_an_order_of_millions_of_names_takes_bounded_time():
    data = of_vmware([("Boot0000", option("CD" * (1 << 18), SCSI)), ("BootOrder", bytes(1 << 20))])
    with within(5):
        assert nvram.first(data) is None


@given(st.sampled_from(sorted(WRITERS)), st.data())
def test_whatever_is_damaged_is_read_as_far_as_it_goes(kind, data):
    made = bytearray(WRITERS[kind](variables(DEBIAN, NETWORK)))
    for at in data.draw(st.lists(st.integers(0, len(made) - 1), max_size=8)):
        made[at] = data.draw(st.integers(0, 255))
    nvram.concerns("web01", bytes(made[: data.draw(st.integers(0, len(made)))]))
