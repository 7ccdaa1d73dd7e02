# SPDX-License-Identifier: GPL-3.0-or-later
"""`make bench`: the same VMDK through this collection and through virt-v2v, alternating in one run; writes docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import guests
import harness
import sources

ROUNDS = 2


@dataclass(frozen=True)
class Run:
    """One whole run: seconds, MiB."""

    wall: float
    cpu: float
    read: float
    written: float
    memory: float


def measure(argv: list[str], log: Path) -> Run:
    """Run a command and account for it with all its children, as wait4(2) does; storage traffic is the whole machine's meanwhile."""
    environment = {**os.environ, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    before, begin = storage(), time.monotonic()
    with open(log, "wb") as out:
        child = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=harness.ROOT, env=environment)
        status, usage = os.wait4(child.pid, 0)[1:]
    wall = time.monotonic() - begin
    after = storage()
    if status:
        sys.exit(f"{argv[0]} failed:\n{log.read_text()[-3000:]}")
    return Run(wall, usage.ru_utime + usage.ru_stime, after[0] - before[0], after[1] - before[1], usage.ru_maxrss / 1024)


def storage() -> tuple[float, float]:
    """MiB read from and written to the machine's disks so far, after a flush (both tools leave daemons that no wait accounts for)."""
    subprocess.run(["sync"], check=True)
    fields = [line.split() for line in Path("/proc/diskstats").read_text().splitlines()]
    whole = [field for field in fields if Path("/sys/block", field[2], "device").exists()]
    return sum(int(field[5]) for field in whole) / 2048, sum(int(field[9]) for field in whole) / 2048


def source(folder: Path) -> Path:
    """A guest whose fstab virt-v2v can read: it aborts on a root by by-path."""

    def build(disk: guests.Tree) -> None:
        guests.GUESTS["bios"].build(disk)
        disk.write("/etc/fstab", "/dev/sda2 / ext4 errors=remount-ro 0 1\n/dev/sda1 none swap sw 0 0\n")

    guest = guests.Guest("bench", "BIOS, MBR, ext4, by sdX", build, sources.plain, "bios", "", "")
    return guests.build(guest, folder)[0]


def main() -> None:
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=harness.CACHE))
    try:
        run(scratch)
    finally:
        shutil.rmtree(scratch)


def run(scratch: Path) -> None:
    disk = source(scratch / "source")
    data = disk.stat().st_blocks * 512 / (1 << 20)
    runs: dict[str, list[Run]] = {"ours": [], "virt-v2v": [], "again": [], "bare": []}
    report: dict = {}
    for number in range(ROUNDS):
        out = scratch / f"ours{number}"
        hosts = harness.inventory(
            scratch / "vms.json", bench={"migrate_source": str(disk), "migrate_output_dir": str(out), "migrate_boot_test": False}
        )
        runs["ours"].append(measure(harness.playbook_command("migrate", hosts), scratch / "log"))
        runs["again"].append(measure(harness.playbook_command("migrate", hosts), scratch / "log"))
        report = json.loads((out / "bench" / "report.json").read_text())
        shutil.rmtree(out)
        copy = ["qemu-img", "convert", "-W", "-m", "8", "-t", "none", "-f", "vmdk", "-O", "qcow2", str(disk), str(scratch / "bare")]
        runs["bare"].append(measure(_sh(copy, scratch / "bare"), scratch / "log"))
        (scratch / "bare").unlink()
        peer = scratch / f"peer{number}"
        peer.mkdir()
        runs["virt-v2v"].append(
            measure(["virt-v2v", "-i", "disk", str(disk), "-o", "local", "-os", str(peer), "-of", "qcow2"], scratch / "log")
        )
        shutil.rmtree(peer)
    text = page(runs, report, data)
    (harness.ROOT / "docs" / "benchmarks.md").write_text(text)
    print(text)


def _sh(argv: list[str], made: Path) -> list[str]:
    """A copy that is flushed at its end, as a result is."""
    return ["sh", "-c", f"{shlex.join(argv)} && sync {shlex.quote(str(made))}"]


def page(runs: dict[str, list[Run]], report: dict, data: float) -> str:
    mean = {name: {key: statistics.mean(getattr(run, key) for run in items) for key in Run.__annotations__} for name, items in runs.items()}
    ours, peer = mean["ours"], mean["virt-v2v"]
    versions = (
        subprocess.run(["virt-v2v", "--version"], capture_output=True, text=True, check=True).stdout.strip(),
        f"qemu-img {report['tools']['qemu-img']}",
    )
    lines = [
        "# Benchmarks",
        "",
        f"Written by `make bench`. The same VMDK ({data:.0f} MiB allocated) from source to repaired qcow2, without the boot test, {ROUNDS} rounds, the two",
        "alternating in one run, page cache warm; whole processes with all their children, storage traffic of the whole machine meanwhile.",
        "Ansible's own start is part of ours.",
        f"{versions[0]}, {versions[1]}, {os.cpu_count()} CPUs, accelerator: emulation for both.",
        "",
        "| | this collection | virt-v2v | ratio |",
        "| --- | --- | --- | --- |",
    ]
    for key, name in (
        ("wall", "wall seconds"),
        ("cpu", "CPU seconds"),
        ("written", "MiB written"),
        ("read", "MiB read from storage"),
        ("memory", "MiB, largest process"),
    ):
        ratio = f"{ours[key] / peer[key]:.2f}" if peer[key] else "-"
        lines.append(f"| {name} | {ours[key]:.1f} | {peer[key]:.1f} | {ratio} |")
    spread = ", ".join(
        f"{name} {min(run.wall for run in items):.1f}-{max(run.wall for run in items):.1f} s" for name, items in runs.items()
    )
    result, timings = report["disks"][0], report["timings"]
    phases = {"fetch": timings["fetch"], **timings["fix"], "convert": sum(timings["convert"])}
    lines += [
        "",
        f"- Wall seconds from smallest to largest: {spread}.",
        f"- Result: {result['allocated'] / (1 << 20):.0f} MiB written by one full copy of {result['data'] / (1 << 20):.0f} MiB of live data,",
        f"  {result['allocated'] / result['data']:.3f} times the data.",
        f"- CONVERT, with its digest and checks: {sum(timings['convert']):.1f} s, {sum(timings['convert']) / mean['bare']['wall']:.2f} times a flushed"
        f" `qemu-img convert` of the same disk ({mean['bare']['wall']:.1f} s).",
        f"- A second run that changes nothing: {mean['again']['wall']:.1f} s.",
        "",
        "Where our time goes, in seconds (the rest is Ansible):",
        "",
        "| phase | seconds |",
        "| --- | --- |",
    ]
    lines += [f"| {name} | {seconds} |" for name, seconds in phases.items()]
    lines += ["", "Limits: one guest, one machine; ratios, not seconds, are what carries over.", ""]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
