# SPDX-License-Identifier: GPL-3.0-or-later
"""Windows-shaped disks beside virt-v2v: what each writes, and the boot-readiness proof of both results; writes docs/windows-peer.md."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "lab")]
import harness
import windows_disks
import winlab

from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.family import GuestRequest
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.offline import Attached
from ansible_collections.hyper2kvm.migration.plugins.module_utils.guest.protocol import glob, text
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline import families
from ansible_collections.hyper2kvm.migration.plugins.module_utils.pipeline.repair import Timer, opened
from ansible_collections.hyper2kvm.migration.plugins.module_utils.windows import hives, paths

KEY = f"{winlab.CS}\\Services\\viostor"
GUESTS = {
    **{name: winlab.RELEASES[name] for name in ("xp", "w7", "w10", "w11", "2k22")},
    # The driver was installed once, for a device that left again: Windows then overrides its start type.
    "w10 with viostor installed before": replace(
        winlab.RELEASES["w10"], name="w10-before", extra={KEY: {"Start": 3, "Type": 1}, f"{KEY}\\StartOverride": {"0": 3}}
    ),
}
DOC = ROOT / "docs" / "windows-peer.md"
HEAD = """# Windows beside virt-v2v

Written by `make matrix`: Windows-shaped disks, as the tests make them from facts, given to this collection and to virt-v2v 2.2.0 with the same
drivers. No Windows is started: the table says what each wrote, and what our boot-readiness proof, asked for a system disk on virtio, says of both results.
"""


def main() -> None:
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        folder = Path(scratch)
        windows_disks.build(list(GUESTS.values()), folder)
        drivers = winlab.driver_tree(folder / "drivers", dict.fromkeys(("xp", "w7", "w10", "w11", "2k22"), ("x86_64", "i686")))
        rows = [
            {"guest": title, **made}
            for title, release in GUESTS.items()
            for made in (ours(release.name, folder, drivers), theirs(release.name, folder, drivers))
        ]
    columns = list(dict.fromkeys(key for row in rows for key in row))
    lines = [f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
    lines += [f"| {' | '.join(row.get(column, '') for column in columns)} |" for row in rows]
    DOC.write_text(HEAD + "\n" + "\n".join(lines) + "\n")
    print(DOC.read_text())


def ours(name: str, folder: Path, drivers: Path) -> dict[str, str]:
    work, begin = str(folder / f"work-{name}"), time.monotonic()
    harness.module("vmdk_fetch", source=[str(folder / f"{name}.vmx")], work_dir=work)
    disk = harness.module("disk_flatten", work_dir=work)["disks"][0]["path"]
    done = harness.module("guest_fix", work_dir=work, virtio_win=str(drivers), accept=["windows.driver-signature"])
    if done.get("failed"):
        raise SystemExit(done["msg"])
    seconds = time.monotonic() - begin
    return {"by": "this collection", "repair": f"{seconds:.0f} s", **written(disk)}


def theirs(name: str, folder: Path, drivers: Path) -> dict[str, str]:
    row = {"by": "virt-v2v"}
    tools, out = folder / "virt-tools", folder / f"v2v-{name}"
    tools.mkdir(exist_ok=True)
    out.mkdir()
    for program in ("rhsrvany.exe", "pnp_wait.exe"):
        (tools / program).write_bytes(winlab.program("i686", 3))
    raw = out / "disk.raw"
    subprocess.run(["qemu-img", "convert", "-f", "vmdk", "-O", "raw", folder / f"{name}.vmdk", raw], check=True)
    begin = time.monotonic()
    done = subprocess.run(
        ["virt-v2v", "-i", "disk", raw, "-o", "local", "-os", out, "-of", "qcow2", "-on", "result"],
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "LIBGUESTFS_BACKEND": "direct",
            "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg",
            "VIRTIO_WIN": str(drivers),
            "VIRT_TOOLS_DATA_DIR": str(tools),
        },
    )
    raw.unlink()
    row["repair"] = f"{time.monotonic() - begin:.0f} s"
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if "error:" in line]
        return {**row, "proof": f"refused: {errors[0][:100] if errors else 'no message'}"}
    xml = (out / "result.xml").read_text()
    bus = "virtio" if "bus='virtio'" in xml or 'bus="virtio"' in xml else "another bus"
    found = written(str(next(out.glob("result-sd?"))))
    shutil.rmtree(out)
    return {**row, **found, "disk bus": bus}


def written(disk: str) -> dict[str, str]:
    """What is in a result, and what the proof says of it on virtio."""
    with opened(GuestRequest((Attached(disk, "qcow2"),)), False, Timer()) as (guest, facts, dummy):
        windows = facts.windows
        system, software = hives.open_hives(guest, windows.system_root)
        services = f"{windows.control_set}\\Services"
        boot = [name for name in ("viostor", "vioscsi") if system.number(f"{services}\\{name}", "Start") == 0]
        base = (
            "DriverDatabase\\DeviceIds\\PCI" if system.has("DriverDatabase") else f"{windows.control_set}\\Control\\CriticalDeviceDatabase"
        )
        ids = [name for name in system.keys(base) if "VEN_1AF4" in name.upper()]
        package = [
            system.text(f"DriverDatabase\\DriverInfFiles\\{name}", "Active") for name in system.keys("DriverDatabase\\DriverInfFiles")
        ]
        package = [name for name in package if "mshdc" not in name]
        disabled = [name for name in ("VMTools", "VMMemCtl", "vmmouse", "vmhgfs") if system.number(f"{services}\\{name}", "Start") == 4]
        scripts = [
            text(guest, path) or "" for path in glob(guest, paths.find(guest, f"{windows.system_root}/hyper2kvm") or "/none", ".cmd")
        ]
        starts = "Setup command" if system.text("Setup", "CmdLine") else "service" if system.has(f"{services}\\firstboot") else "none"
        proof = families.of(facts).prove(guest, replace(facts, disk_bus="virtio"), guest.tables)
        return {
            "disk bus": facts.disk_bus,
            "boot drivers": ", ".join(boot) or "none",
            "ids": str(len(ids)),
            "package": ", ".join(name.partition("_")[0] + "_" + name.partition("_")[2][:14] for name in package) or "-",
            "Parameters": "yes" if system.number(f"{services}\\viostor\\Parameters", "BusType") == 1 else "no",
            "AHCI ready": "yes" if _ahci(system, services) else "no",
            "tools disabled": str(len(disabled)),
            "first boot": starts,
            "address kept": "yes" if any("192.168.10.5" in script for script in scripts) else "no",
            "DevicePath": "extended" if ";" in software.text("Microsoft\\Windows\\CurrentVersion", "DevicePath") else "as before",
            "proof": "ready"
            if proof.holds
            else "not ready: " + "; ".join(sorted({f"{check.name} ({check.detail})" for check in proof.failures()})),
        }


def _ahci(system, services: str) -> bool:
    """Whether the bootstrap bus could start: AHCI, or IDE where there is none."""
    name = next((name for name in ("storahci", "msahci", "intelide") if system.has(f"{services}\\{name}")), "storahci")
    return system.number(f"{services}\\{name}", "Start") == 0 and not system.has(f"{services}\\{name}\\StartOverride")


if __name__ == "__main__":
    main()
