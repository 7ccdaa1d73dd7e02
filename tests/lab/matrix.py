# SPDX-License-Identifier: GPL-3.0-or-later
"""`make matrix`: every guest booted unrepaired, migrated, booted; virt-v2v on the same disks; writes docs/guests.md."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import guests
import harness


def overlays(name: str, folder: Path) -> tuple[list[dict], dict]:
    work = str(folder / f"{name}-work")
    vm = harness.module("vmdk_fetch", source=harness.guest(name), work_dir=work)["vm"]
    return [{"path": disk["path"], "format": "qcow2"} for disk in harness.module("disk_flatten", work_dir=work)["disks"]], vm


def boot(disks: list[dict], guest: guests.Guest, folder: Path, **options: object) -> dict:
    answer = harness.module(
        "boot_test",
        disks=disks,
        firmware=guest.firmware,
        cards=[{"mac": mac} for dummy, mac in guest.interfaces],
        dest=str(folder),
        timeout=240,
        **options,
    )
    return answer["details"]["boot"] if answer.get("failed") else answer["boot"]


def peer(name: str, folder: Path) -> str:
    """What virt-v2v makes of the same disks (their first overlay; it takes one disk per -i disk run)."""
    disks, dummy = overlays(name, folder)
    flat = folder / "peer.qcow2"
    subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", disks[0]["path"], flat], check=True)
    done = subprocess.run(
        ["virt-v2v", "-i", "disk", str(flat), "-o", "local", "-os", str(folder), "-of", "qcow2", "-on", "peer-out"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
    )
    flat.unlink()
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if "error:" in line]
        return f"refused: {errors[0][:120] if errors else 'no message'}"
    result = folder / "peer-out-sda"
    seen = boot([{"path": str(result), "format": "qcow2"}], guests.GUESTS[name], folder / "peer")
    result.unlink()
    return f"boots: {seen['verdict']}" + (f" ({seen['cause']})" if seen["cause"] else f", login after {seen['signals'].get('login')} s")


def row(name: str, folder: Path) -> list[str]:
    guest = guests.GUESTS[name]
    disks, dummy = overlays(name, folder)
    before = boot(disks, guest, folder / "before")
    hosts = harness.inventory(
        folder / "vms.json", **{name: {"migrate_source": harness.guest(name), "migrate_output_dir": str(folder / "out")}}
    )
    done = harness.playbook("migrate", hosts)
    if done.returncode:
        sys.exit(done.stdout)
    report = json.loads((folder / "out" / name / "report.json").read_text())
    after = report["boot"]
    seconds = sum(report["timings"]["fix"].values())
    repaired = f"login after {after['signals']['login']} s, network after {after['signals']['ssh']} s"
    return [
        name,
        guest.words,
        f"{before['verdict']}: {before['cause']}",
        f"{len(report['changes'])} changes in {seconds:.0f} s",
        repaired,
        peer(name, folder),
    ]


def in_scratch(name: str) -> list[str]:
    folder = Path(tempfile.mkdtemp(prefix="matrix-", dir=harness.CACHE))
    try:
        cells = row(name, folder)
        print(" | ".join(cells), flush=True)
        return cells
    finally:
        shutil.rmtree(folder)


def main() -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        rows = list(pool.map(in_scratch, guests.GUESTS))
    head = ["guest", "what it is", "unrepaired on virtio", "repair", "repaired on virtio", "virt-v2v"]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in [head, ["---"] * len(head), *rows])
    (harness.ROOT / "docs" / "guests.md").write_text(
        "# Guests that are booted\n\n"
        "Written by `make matrix`: real Debian 12 guests with VMware-shaped faults, each booted on virtio as it is, migrated with the\n"
        "playbook, and booted again; and what virt-v2v makes of the same first disk. Emulation on 2 CPUs, so seconds are long.\n\n"
        + table
        + "\n"
    )


if __name__ == "__main__":
    main()
