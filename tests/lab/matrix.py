# SPDX-License-Identifier: GPL-3.0-or-later
"""`make matrix`: every guest booted unrepaired, migrated, booted; virt-v2v on the same disks; writes the table of docs/guests.md."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import guests
import harness

PAGE, BEGIN, END = harness.ROOT / "docs" / "guests.md", "<!-- written by tests/lab/matrix.py -->", "<!-- end -->"
HEAD = (
    "guest", "what it is", "unrepaired, the proof", "unrepaired on virtio", "repair", "repaired, the proof", "repaired on virtio", "virt-v2v",
)  # fmt: skip


def overlays(name: str, folder: Path) -> tuple[list[dict], dict]:
    work = str(folder / f"{name}-work")
    vm = harness.module("vmdk_fetch", source=harness.guest(name), work_dir=work)["vm"]
    return [{"path": disk["path"], "format": "qcow2"} for disk in harness.module("disk_flatten", work_dir=work)["disks"]], vm


def boot(disks: list[dict], guest: guests.Guest, folder: Path, **options: object) -> dict:
    answer = harness.module(
        "boot_test",
        disks=disks,
        firmware=guest.firmware,
        nics=[{"mac": mac} for dummy, mac in guest.interfaces],
        dest=str(folder),
        timeout=420,
        **options,
    )
    return answer["details"]["boot"] if answer.get("failed") else answer["boot"]


def peer(name: str, folder: Path) -> str:
    """What virt-v2v makes of the same disks, which it gets flattened, in a domain description."""
    guest = guests.GUESTS[name]
    flat = []
    for number, disk in enumerate(overlays(name, folder)[0]):
        flat.append(folder / f"peer{number}.qcow2")
        subprocess.run(["qemu-img", "convert", "-f", "qcow2", "-O", "qcow2", disk["path"], flat[-1]], check=True)
    described = "".join(
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{path}'/><target dev='sd{'ab'[number]}' bus='scsi'/></disk>"
        for number, path in enumerate(flat)
    )
    described += "".join(
        f"<interface type='network'><mac address='{mac}'/><source network='default'/></interface>" for dummy, mac in guest.interfaces
    )
    loader = "<os firmware='efi'>" if guest.firmware == "uefi" else "<os>"
    (folder / "peer.xml").write_text(
        f"<domain type='kvm'><name>peer-out</name><memory unit='MiB'>1024</memory><vcpu>2</vcpu>{loader}<type>hvm</type></os>"
        f"<features><acpi/></features><devices>{described}</devices></domain>"
    )
    keys = [word for key in guest.variables.get("migrate_luks_keys", {}).values() for word in ("--key", f"/dev/sda2:key:{key}")]
    done = subprocess.run(
        ["virt-v2v", "-i", "libvirtxml", str(folder / "peer.xml"), "-o", "local", "-os", str(folder), "-of", "qcow2", *keys],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"},
    )
    for path in flat:
        path.unlink()
    if done.returncode:
        errors = [line for line in (done.stderr + done.stdout).splitlines() if "error:" in line]
        return f"refused: {errors[0][:120] if errors else 'no message'}"
    results = sorted(folder.glob("peer-out-sd?"))
    seen = boot([{"path": str(path), "format": "qcow2"} for path in results], guest, folder / "peer", **_like(guest, results))
    for path in results:
        path.unlink()
    said = re.search(r"LAB .* END", (folder / "peer" / "console.log").read_text(errors="replace"))
    state = re.search(r"swap=.*tools=\w+", said[0])[0] if said else ""
    return f"{seen['verdict']}" + (f": {seen['cause'].split(': LAB')[0]}" if seen["cause"] else "") + (f"; {state}" if state else "")


def _like(guest: guests.Guest, disks: list[Path]) -> dict[str, object]:
    """What the test of our own result asks of the guest, asked of the peer's."""
    return {
        "expect": [guest.report], "luks_keys": guest.variables.get("migrate_luks_keys", {}),
        "boot_disk": len(disks) - 1 if guest.second_disk == "before" else 0,
    }  # fmt: skip


def proof(name: str) -> str:
    """What the proof says of a guest as it is at the source: the first of what it refuses, and how much more there is."""
    named = harness.variables(name)
    asked = {"source": named["migrate_source"], "root": named.get("migrate_root", ""), "luks_keys": named.get("migrate_luks_keys", {})}
    found = harness.module("guest_validate", accept=["proof.failed"], **asked)
    if found.get("failed"):
        return f"refused: {found['msg']}"
    return said(found["proof"])


def said(proof: dict) -> str:
    """A proof in a cell of the table."""
    refused = [check["detail"] for check in proof["checks"] if not check["passed"]]
    more = f"; and {len(refused) - 1} more" if len(refused) > 1 else ""
    return f"{proof['verdict']}: {refused[0]}{more}" if refused else f"{proof['verdict']}, {len(proof['checks'])} checks"


def row(name: str, folder: Path) -> list[str]:
    guest = guests.GUESTS[name]
    disks, dummy = overlays(name, folder)
    before = boot(disks, guest, folder / "before", **_like(guest, disks))
    hosts = harness.inventory(folder / "vms.json", **{name: {"migrate_output_dir": str(folder / "out"), **harness.variables(name)}})
    done = harness.playbook("migrate", hosts)
    if done.returncode:
        sys.exit(done.stdout)
    report = json.loads((folder / "out" / name / "report.json").read_text())
    after = report["boot"]
    seconds = sum(report["timings"]["fix"].values())
    network = after["signals"].get("ssh") or after["signals"].get("agent")
    cards = "; ".join(f"{card['on'] or card['name']} {', '.join(card['addresses']) or card['method']}" for card in report["facts"]["nics"])
    repaired = f"login after {after['signals']['login']} s, network after {network} s ({cards})"
    return [
        name,
        guest.words,
        proof(name),
        f"{before['verdict']}: {before['cause']}",
        f"{len(report['changes'])} changes in {seconds:.0f} s",
        said(report["proof"]),
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


def page(text: str, rows: list[list[str]]) -> str:
    """docs/guests.md with these rows in the place of those of the same guests; the others stay."""
    before, dummy, rest = text.partition(f"{BEGIN}\n")
    table, dummy, after = rest.partition(f"\n{END}")
    known = {cells[0]: line for line in table.splitlines() if (cells := line.strip("| ").split(" | "))[0] in guests.GUESTS}
    lines = {**known, **{cells[0]: f"| {' | '.join(cells)} |" for cells in rows}}
    whole = [f"| {' | '.join(HEAD)} |", f"| {' | '.join(['---'] * len(HEAD))} |", *(lines[name] for name in guests.GUESTS if name in lines)]
    return before + "\n".join([BEGIN, "", *whole, "", END]) + after


def main() -> None:
    """All guests into the page, or those that are named."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        rows = list(pool.map(in_scratch, sys.argv[1:] or guests.GUESTS))
    PAGE.write_text(page(PAGE.read_text(), rows))


if __name__ == "__main__":
    main()
