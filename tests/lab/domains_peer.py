# SPDX-License-Identifier: GPL-3.0-or-later
"""The domain that this collection describes beside those of virt-v2v and virt-install, for the same VM; writes docs/domains-peer.md."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Callable
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "lab"), str(ROOT / "tests" / "unit" / "plugins" / "module_utils")]
import bench
import harness
import libvirtd
import windows_disks
import winlab

DOC = ROOT / "docs" / "domains-peer.md"
HEAD = """# Domains beside virt-v2v and virt-install

Written by `make matrix`: the same VMs given to this collection, to virt-v2v 2.2.0 (`-o local`), and to virt-install 4.1.0 (`--import`, with the
name of the system; of Debian 11, the newest that it knows), and what each says to libvirt. All pass `virt-xml-validate`. virt-install makes a VM from
what it is told of the system, and looks at no disk. It ran where libvirt has no KVM, for which it names no CPU.
"""


def _all(path: str, *names: str) -> Callable[[ElementTree.Element], str]:
    def found(root: ElementTree.Element) -> str:
        each = [
            " ".join(filter(None, (element.get(name, "") for name in names))) or (element.text or "").strip()
            for element in root.iterfind(path)
        ]
        return ", ".join(filter(None, each)) or "-"

    return found


ROWS: dict[str, Callable[[ElementTree.Element], str]] = {
    "machine": _all("os/type", "machine"),
    "firmware": lambda root: root.find("os").get("firmware") or root.findtext("os/loader") or "bios",
    "Secure Boot": _all("os/firmware/feature", "name", "enabled"),
    "memory, MiB": lambda root: str(int(root.findtext("memory")) >> (10 if root.find("memory").get("unit", "KiB") == "KiB" else 0)),
    "processors": _all("vcpu"),
    "CPU": _all("cpu", "mode", "match"),
    "sockets, cores": _all("cpu/topology", "sockets", "cores"),
    "Hyper-V": lambda root: ", ".join(element.tag for element in root.iterfind("features/hyperv/*")) or "-",
    "clock": _all("clock", "offset"),
    "timers": _all("clock/timer", "name", "tickpolicy", "present"),
    "disks": _all("devices/disk[@device='disk']/target", "bus", "dev"),
    "disk driver": _all("devices/disk[@device='disk']/driver", "type", "cache", "discard"),
    "boot order": _all("devices/disk/boot", "order"),
    "cards": _all("devices/interface/model", "type"),
    "MACs": _all("devices/interface/mac", "address"),
    "video": _all("devices/video/model", "type"),
    "display": _all("devices/graphics", "type"),
    "agent": _all("devices/channel/target", "name"),
    "RNG": _all("devices/rng/backend"),
    "balloon": _all("devices/memballoon", "model"),
    "console": _all("devices/console", "type"),
}


def theirs(folder: Path, name: str, description: str, env: dict[str, str]) -> str:
    out = folder / f"v2v-{name}"
    out.mkdir()
    given = out / "given.xml"
    given.write_text(description)
    backend = {"LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    argv = ["virt-v2v", "-i", "libvirtxml", given, "-o", "local", "-os", out, "-of", "qcow2"]
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **backend, **env})
    return (out / f"{name}.xml").read_text()


def installed(ours: ElementTree.Element, system: str) -> str:
    """What virt-install says of the VM that we have described, for a system of this name."""
    firmware = ["--boot", "uefi"] if ours.find("os").get("firmware") == "efi" else []
    argv = [
        "virt-install", "--connect", libvirtd.URI, "--import", "--dry-run", "--print-xml", "--os-variant", system, *firmware,
        "--name", ours.findtext("name"), "--memory", ours.findtext("memory"), "--vcpus", ours.findtext("vcpu"),
        "--disk", f"{ours.find('devices/disk/source').get('file')},format=qcow2",
        "--network", f"bridge=virbr0,mac={ours.find('devices/interface/mac').get('address')}",
    ]  # fmt: skip
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def described(folder: Path, name: str, system: str, variables: dict[str, object], disk: Path, env: dict[str, str]) -> tuple[str, str, str]:
    """Our description, virt-v2v's and virt-install's. virt-v2v's is made from a raw copy of the source, as a VM with the same memory, processors and card."""
    done = harness.playbook("migrate", harness.inventory(folder / f"{name}.json", **{name: {**variables, "migrate_boot_test": False}}))
    if done.returncode:
        raise SystemExit(done.stdout[-3000:])
    ours = (folder / "out" / name / f"{name}.xml").read_text()
    raw = folder / f"{name}.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", disk, raw], check=True)
    root = ElementTree.fromstring(ours)
    other = installed(root, system)
    root.set("type", "vmware")
    memory = root.find("memory")
    memory.text, memory.attrib["unit"] = str(int(memory.text) << 10), "KiB"  # virt-v2v reads what libvirt says, which is in KiB
    for element in root.iterfind("devices/disk"):
        element.find("source").set("file", str(raw))
        element.find("driver").set("type", "raw")
        element.find("target").attrib.update(dev="sda", bus="scsi")
    made = theirs(folder, name, ElementTree.tostring(root, encoding="unicode"), env)
    raw.unlink()
    return ours, made, other


def main() -> None:
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch, libvirtd.running():
        folder = Path(scratch)
        windows_disks.build([winlab.RELEASES["w11"]], folder)
        drivers = winlab.driver_tree(folder / "drivers", dict.fromkeys(("w10", "w11"), ("x86_64",)))
        (folder / "tools").mkdir()
        for program in ("rhsrvany.exe", "pnp_wait.exe"):
            (folder / "tools" / program).write_bytes(winlab.program("i686", 3))
        tools = {"VIRTIO_WIN": str(drivers), "VIRT_TOOLS_DATA_DIR": str(folder / "tools")}
        out = {"migrate_output_dir": str(folder / "out")}
        disk = bench.source(folder / "bench")
        nics = [{"mac": "00:50:56:3a:bb:cc", "network": "VM Network"}]
        every = [
            described(
                folder,
                "w11",
                "win11",
                {
                    **out,
                    "migrate_source": str(folder / "w11.vmx"),
                    "migrate_virtio_win": str(drivers),
                    "migrate_accept": ["windows.driver-signature"],
                },
                folder / "w11.vmdk",
                tools,
            ),
            described(folder, "debian12", "debian11", {**out, "migrate_source": str(disk), "migrate_nics": nics}, disk, {}),
        ]
        for texts in every:
            for text in texts:
                (folder / "check.xml").write_text(text)
                subprocess.run(["virt-xml-validate", folder / "check.xml", "domain"], check=True, capture_output=True)
    roots = [ElementTree.fromstring(text) for texts in every for text in texts]
    lines = [
        f"| | {' | '.join(f'{vm}: this collection | virt-v2v | virt-install' for vm in ('Windows 11, UEFI', 'Debian 12, BIOS'))} |",
        f"| {' | '.join(['---'] * 7)} |",
    ]
    lines += [f"| {title} | {' | '.join(row(root) for root in roots)} |" for title, row in ROWS.items()]
    DOC.write_text(HEAD + "\n" + "\n".join(lines) + "\n")
    print(DOC.read_text())


if __name__ == "__main__":
    main()
