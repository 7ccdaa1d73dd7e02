# SPDX-License-Identifier: GPL-3.0-or-later
"""A migration in check mode of a small VM, which says texts that look like templates wherever a guest, its files and its description can."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import harness
import pytest
from expressions import SECRET

sys.path.insert(0, str(harness.ROOT / "tests" / "unit" / "plugins" / "module_utils"))
import families

SYSTEM = "ubuntu2204"
START, SIZE = 1 << 20, 62 << 20  # of its partition


@pytest.fixture
def source(tmp_path, marked) -> Path:
    """A VMX with one disk: MBR, GRUB, and a small tree on ext4, made as mke2fs does."""
    system = families.load(SYSTEM)
    tree, folder = tmp_path / "tree", tmp_path / "source"
    folder.mkdir()
    text = {**system.text, **families._UDEV[system.head["udev"]]}
    text["/etc/os-release"] = text["/etc/os-release"].replace(
        'PRETTY_NAME="Ubuntu 22.04"', f"PRETTY_NAME='{said(marked, 'default', 'product')}'"
    )
    text["/etc/hostname"] = said(marked, "lookup", "hostname") + "\n"
    text["/etc/fstab"] = (
        "\n".join(line for line in text["/etc/fstab"].splitlines() if "/data" not in line) + f"\n# {said(marked, 'set', 'fstab')}\n"
    )
    text["/boot/grub/grub.cfg"] = text["/boot/grub/grub.cfg"].replace("'System'", f'"{said(marked, "tight", "menu")}"')
    text["/etc/netplan/00-installer-config.yaml"] += f"# {said(marked, 'sum', 'netplan')}\n"
    for path, data in {**{path: text.encode() for path, text in text.items()}, **system.binaries()}.items():
        file = tree / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.replace(b"/dev/sda3", b"/dev/sda1").replace(b"-part3", b"-part1"))
    for directory in ("proc", "sys", "dev", "usr/sbin"):
        (tree / directory).mkdir(parents=True, exist_ok=True)
    (tree / "sbin").is_dir() or (tree / "sbin").symlink_to("usr/sbin")
    image = tmp_path / "raw"
    subprocess.run(["truncate", "-s", str(START + SIZE), image], check=True)
    subprocess.run(["sfdisk", "-q", image], input="label: dos\n2048,,L,*\n", text=True, check=True)
    options = ["-t", "ext4", "-q", "-U", families.UUIDS["/dev/sda3"], "-d", tree, "-E", f"offset={START}"]
    subprocess.run(["mke2fs", *options, image, f"{SIZE >> 10}k"], check=True)
    with open(image, "r+b") as file:
        file.write(families.GRUB_MBR[:440])
        file.seek(512)
        file.write(b"core" * 128)
    disk = f"{said(marked, 'lookup', 'disk')}.vmdk"
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", image, folder / disk], check=True)
    os.unlink(image)
    (folder / "small.vmx").write_text(
        f'config.version = "8"\nvirtualHW.version = "13"\ndisplayName = "{said(marked, "lookup", "displayName")}"\n'
        f'annotation = "{said(marked, "default", "annotation")}"\nguestOS = "{said(marked, "tight", "guestOS")}"\nmemsize = "512"\nnumvcpus = "1"\n'
        f'scsi0.present = "TRUE"\nscsi0.virtualDev = "pvscsi"\nscsi0.pciSlotNumber = "160"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{disk}"\n'
        f'ethernet0.present = "TRUE"\nethernet0.virtualDev = "vmxnet3"\nethernet0.networkName = "{said(marked, "set", "network")}"\n'
        f'ethernet0.addressType = "static"\nethernet0.address = "{families.MAC}"\nethernet0.pciSlotNumber = "160"\n'
    )
    return folder / "small.vmx"


def said(marked, name: str, field: str) -> str:
    """An expression without the quotes that its place takes for itself."""
    return marked.text(name, field).replace("'", "" if field == "product" else "'")


def test_a_migration_in_check_mode(run, marked, source, tmp_path):
    before = {path.name: path.read_bytes() for path in source.parent.iterdir()}
    output = tmp_path / "out"
    output.mkdir()
    hosts = harness.inventory(tmp_path / "vms.json", small={"migrate_source": str(source), "migrate_output_dir": str(output)})
    done = run(
        "ansible-playbook", harness.ROOT / "playbooks" / "migrate.yml", "-i", hosts, "--check", "--diff", "-e", f"kept_secret={SECRET}"
    )
    print(done.stdout)
    assert done.returncode == 0 and "failed=0" in done.stdout and "Traceback" not in done.stdout, done.stdout[-6000:]
    assert SECRET not in done.stdout and "[WARNING]" not in done.stdout and "DEPRECATION" not in done.stdout, done.stdout
    assert "-/dev/disk/by-path" in done.stdout and f" # {said(marked, 'set', 'fstab')}" in done.stdout, done.stdout
    assert before == {path.name: path.read_bytes() for path in source.parent.iterdir()} and not list(output.iterdir())
