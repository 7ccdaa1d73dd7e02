# SPDX-License-Identifier: GPL-3.0-or-later
"""Trees of other families as real disks: the appliance finds, repairs and proves what the memory guest does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "lab"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import families
import harness
import parts
from disk import data_disk

GRUB_BOOT = b"\xeb\x63" + bytes(0x5A) + (1).to_bytes(8, "little") + bytes(0x11C - 0x64) + b"GRUB \0" + bytes(440 - 0x122)


def rhel(image: Path, handle) -> dict[str, str]:
    """GPT with an ESP, ext4 /boot, root and swap as XFS on LVM."""
    subprocess.run(
        ["sfdisk", "-q", image],
        input="label: gpt\n2048,262144,U\n,524288,L\n,,E6D6D379-F507-44C2-A23C-238F2A3DF928\n",
        text=True,
        check=True,
    )
    with handle() as guest:
        guest.mkfs("vfat", "/dev/sda1")
        guest.mkfs("ext4", "/dev/sda2")
        guest.pvcreate("/dev/sda3")
        guest.vgcreate("rhel", ["/dev/sda3"])
        guest.lvcreate("root", "rhel", 800)
        guest.lvcreate("swap", "rhel", 64)
        guest.mkfs("xfs", "/dev/rhel/root")
        guest.mkswap("/dev/rhel/swap")
        uuids = {families.UUIDS["/dev/sda1"]: guest.vfs_uuid("/dev/sda2"), families.UUIDS["/dev/sda4"]: guest.vfs_uuid("/dev/sda1")}
        fill(
            guest,
            "rhel9",
            [("/dev/rhel/root", "/"), ("/dev/sda2", "/boot"), ("/dev/sda1", "/boot/efi")],
            {**uuids, "/dev/sda1 ": "/dev/sda2 "},
        )
    return uuids


def ubuntu(image: Path, handle) -> dict[str, str]:
    """MBR with everything on one ext4."""
    subprocess.run(["sfdisk", "-q", image], input="label: dos\n2048,131072,L\n,131072,S\n,,L,*\n", text=True, check=True)
    with open(image, "r+b") as file:
        file.write(GRUB_BOOT)
        file.seek(512)
        file.write(b"core" * 128)
    with handle() as guest:
        guest.mkfs("ext4", "/dev/sda1")
        guest.mkswap("/dev/sda2")
        guest.mkfs("ext4", "/dev/sda3")
        uuids = {families.UUIDS["/dev/sda3"]: guest.vfs_uuid("/dev/sda3")}
        fill(guest, "ubuntu2204", [("/dev/sda3", "/")], uuids)
    return uuids


def fill(guest, name: str, mounts: list[tuple[str, str]], replaced: dict[str, str]) -> None:
    """The tree, with the identifiers that the new file systems really have."""
    system = families.load(name)
    for device, path in mounts:
        guest.mkdir_p(path) if path != "/" else None
        guest.mount(device, path)
    files: dict[str, bytes] = {**system.binaries(), **{path: text.encode() for path, text in families._UDEV[system.head["udev"]].items()}}
    for path, text in system.text.items():
        for old, new in replaced.items():
            text = text.replace(old, new)
        files[path] = text.encode()
    for path, data in files.items():
        guest.mkdir_p(path.rsplit("/", 1)[0] or "/")
        guest.write(path, data)
    for directory in ("/proc", "/sys", "/dev", "/usr/sbin", "/data"):
        guest.mkdir_p(directory)
    guest.ln_s("usr/sbin", "/sbin")


@pytest.mark.rotates("guests", 80)
@pytest.mark.parametrize(("name", "build", "firmware"), [("rhel9", rhel, "uefi"), ("ubuntu2204", ubuntu, "bios")])
def test_a_family_on_a_disk(name, build, firmware, tmp_path):
    image = tmp_path / "raw"
    subprocess.run(["truncate", "-s", "1400M", image], check=True)
    build(image, lambda: parts.appliance(image))
    data_disk(tmp_path / "data", "data")
    sources = []
    for raw in (image, tmp_path / "data"):
        sources.append(str(raw.with_suffix(".vmdk")))
        subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", raw, sources[-1]], check=True)
    # The data disk of the lab is ext4, the trees say xfs: an entry that fits no disk is not guessed.
    refused = harness.module("guest_plan", source=sources)
    codes = {concern["code"] for concern in refused["concerns"]}
    assert "mounts.unresolved" in codes, refused
    work = str(tmp_path / "work")
    harness.module("vmdk_fetch", source=sources, work_dir=work)
    harness.module("disk_flatten", work_dir=work)
    done = harness.module("guest_fix", work_dir=work, accept=["mounts.unresolved", "proof.failed"])
    assert done.get("changed"), done
    facts = done["facts"]
    assert (facts["firmware"], facts["boot_disk"], facts["disk_bus"]) == (firmware, 0, "virtio") and facts["kernels"][0][
        "version"
    ] == families.load(name).head["kernel"]
    failed = [check["detail"] for check in done["proof"]["checks"] if not check["passed"]]
    # In RHEL's tree the entry has nofail, so its boot does not need it.
    assert failed == ([] if name == "rhel9" else ["/etc/fstab: /dev/sdb1 for /data"]), failed
    golden = (ROOT / "tests" / "unit" / "plugins" / "module_utils" / "golden" / f"{name}.txt").read_text()
    expected = {line[3:].split(": ")[0] for line in golden.splitlines() if line.startswith("== ")} - {"/usr/bin/rpm"}
    assert expected - {"/etc/kdump.conf"} <= {change["path"] for change in done["changes"]}
    assert [nic for nic in facts["nics"] if nic["addresses"] and nic["gateway"] == "192.0.2.1"]
    assert harness.module("guest_fix_bootloader", work_dir=work, accept=["mounts.unresolved"])["changed"] is False


@pytest.mark.rotates("guests", 95)
def test_of_two_systems_the_named_one_is_migrated(tmp_path):
    image = tmp_path / "raw"
    subprocess.run(["truncate", "-s", "600M", image], check=True)
    subprocess.run(["sfdisk", "-q", image], input="label: dos\n2048,524288,L,*\n,,L\n", text=True, check=True)
    with parts.appliance(image) as guest:
        for number, name in ((1, "old"), (2, "new")):
            guest.mkfs("ext4", f"/dev/sda{number}")
            guest.mount(f"/dev/sda{number}", "/")
            for path in ("/etc", "/usr/bin"):
                guest.mkdir_p(path)
            guest.write("/etc/os-release", f"ID=debian\nPRETTY_NAME={name}\n".encode())
            guest.umount("/")
        uuid = guest.vfs_uuid("/dev/sda2")
    source = tmp_path / "two.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", image, source], check=True)
    refused = harness.module("guest_inspect", source=[str(source)])
    assert (
        refused["error_code"] == "unsupported_guest"
        and "/dev/sda1" in refused["msg"]
        and uuid in refused["msg"]
        and "migrate_root" in refused["msg"]
    )
    assert harness.module("guest_inspect", source=[str(source)], root=f"UUID={uuid}")["facts"]["product"] == "new"
    assert harness.module("guest_inspect", source=[str(source)], root="/dev/sda1")["facts"]["product"] == "old"
    hosts = harness.inventory(tmp_path / "vms.json", two={"migrate_source": str(source), "migrate_root": f"UUID={uuid}"})
    looked = harness.playbook("inventory", hosts)
    assert looked.returncode == 0 and "two: new, bios, 0 kernel(s)" in looked.stdout and '"inspected": 1' in looked.stdout, looked.stdout


def test_a_system_that_is_not_known_is_copied_for_sata(tmp_path):
    """No Linux root: no refusal, no repair, the report says what the VM needs."""
    subprocess.run(["truncate", "-s", "64M", tmp_path / "raw"], check=True)
    subprocess.run(["mkfs.ext4", "-q", tmp_path / "raw"], check=True)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", tmp_path / "raw", tmp_path / "bsd01.vmdk"], check=True)
    hosts = harness.inventory(
        tmp_path / "vms.json", bsd01={"migrate_source": str(tmp_path / "bsd01.vmdk"), "migrate_output_dir": str(tmp_path / "out")}
    )
    done = harness.playbook("migrate", hosts)
    assert done.returncode == 0 and "guest.unknown" in done.stdout, done.stdout
    report = (tmp_path / "out" / "bsd01" / "report.md").read_text()
    assert "e1000e" in report and "not proved" in report and (tmp_path / "out" / "bsd01" / "bsd01-disk0.qcow2").exists()
