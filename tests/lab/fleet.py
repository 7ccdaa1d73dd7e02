# SPDX-License-Identifier: GPL-3.0-or-later
"""`make fleet`: many small VMs in one run, from linked clones to repaired results; what it costs the controller, and what AWX would keep.

Each VM has a system disk of its own over one base, as VMs from a template have, a second disk, a card and a UUID; every two share a folder's
name and a display name. Afterwards every result is compared with its own source. Figures go to build/fleet/results.json, with --write into docs/scale.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))
import ansible_runner
import harness
import parts
from disk import MIB, data_disk, run

OUT = harness.ROOT / "build" / "fleet"
PAGE, BEGIN, END = harness.ROOT / "docs" / "scale.md", "<!-- written by make fleet -->", "<!-- end -->"
MARKER, LINK = "/var/lib/lab-marker", f"/etc/systemd/network/10-hyper2kvm-{parts.NIC}.link"
RULES = "/etc/udev/rules.d/70-persistent-net.rules"
NAME, CARD = "the-name-that-each-vm-has-instead", "the-card-of-a-vm."  # as long as what replaces them
EVERY = 1.0  # seconds between two looks at memory


@dataclass(frozen=True)
class Vm:
    """A VM of the fleet: its host of the inventory, its .vmx, and what nobody else has: its guest's name, its card, a file of 1 MiB."""

    name: str
    vmx: Path
    hostname: str
    mac: str
    marker: bytes


def made(count: int, folder: Path) -> list[Vm]:
    """The VMs' sources, from the lab's BIOS guest."""
    description = harness.CACHE / "guests" / "bios" / Path(harness.guest("bios")[0]).name
    folder.mkdir()
    places = based(description.with_name("web01-000002.vmdk"), folder)
    vms = []
    for number in range(count):
        place = folder / f"site-{'ab'[number % 2]}" / f"web{number // 2:03}"
        place.mkdir(parents=True)
        name = f"{place.name}-{place.parent.name}"
        mac = f"00:50:56:3a:{number // 256:02x}:{number % 256:02x}"
        vm = Vm(name, place / "web.vmx", f"{name}-{os.urandom(16).hex()}"[: len(NAME)], mac, os.urandom(MIB))
        os.link(folder / "base.vmdk", place / "web01.vmdk")
        run("qemu-img", "create", "-q", "-f", "vmdk", "-F", "vmdk", "-b", "web01.vmdk", "web01-000002.vmdk", cwd=place)
        own(vm, place / "web01-000002.vmdk", places)
        data_disk(place / "raw", vm.name, "32M")
        run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", place / "raw", place / "web01_1.vmdk")
        (place / "raw").unlink()
        text = description.read_text().replace(parts.MAC, vm.mac).replace('displayName = "web01"', f'displayName = "{place.name}"')
        vm.vmx.write_text(f'{text}uuid.bios = "{_vmware(uuid.uuid4())}"\n')
        vms.append(vm)
    return vms


def based(disk: Path, folder: Path) -> dict[bytes, int]:
    """The base of every system disk; and where in it the VMs differ: what stands there to be replaced, and its place in bytes."""
    raw, marker = folder / "raw", os.urandom(MIB)
    run("qemu-img", "convert", "-O", "raw", disk, raw)
    part = json.loads(run("sfdisk", "-J", raw))["partitiontable"]["partitions"][1]
    with tempfile.TemporaryDirectory() as root:
        run("mount", "-o", f"loop,offset={part['start'] * 512},sizelimit={part['size'] * 512}", raw, root)
        try:
            rules = Path(root + RULES)
            rules.write_text(rules.read_text().replace(parts.MAC, CARD))
            Path(root, "etc/hostname").write_text(f"{NAME}\n")
            Path(root + MARKER).write_bytes(marker)
        finally:
            run("umount", root)
    with open(raw, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        places = {what: held.find(what) for what in (NAME.encode(), CARD.encode(), marker)}
    run("qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=monolithicSparse", raw, folder / "base.vmdk")
    raw.unlink()
    return places


def own(vm: Vm, disk: Path, places: dict[bytes, int]) -> None:
    """Write into a VM's disk what nobody else has, in the places of what the base has there."""
    with tempfile.NamedTemporaryFile() as file:
        for what, data in zip(places, (vm.hostname.encode(), vm.mac.encode(), vm.marker)):
            Path(file.name).write_bytes(data)
            run("qemu-io", "-f", "vmdk", "-c", f"write -q -s {file.name} {places[what]} {len(data)}", disk)


def _vmware(identity: uuid.UUID) -> str:
    """As a .vmx has it: bytes apart, halves joined by a dash."""
    text = identity.bytes.hex(" ")
    return f"{text[:23]}-{text[24:]}"


@contextlib.contextmanager
def _appliance(images: list[Path]) -> Iterator[tuple[Any, list[str]]]:
    """One appliance over qcow2 images, to read them, and the names that they have there."""
    import guestfs

    handle = guestfs.GuestFS(python_return_dict=True)
    handle.set_backend("direct")
    handle.set_backend_settings(["force_tcg"])
    for image in images:
        handle.add_drive_opts(str(image), format="qcow2", readonly=True)
    handle.launch()
    yield handle, handle.list_devices()
    handle.shutdown()
    handle.close()


def wrong(vm: Vm, out: Path, found: dict[str, bytes]) -> list[str]:
    """What of a VM's result is another's, or is not repaired; `found` is what its disks hold."""
    report = json.loads((out / vm.name / "report.json").read_text())
    table = found["/etc/fstab"]
    held = {
        "the name of its host": found["/etc/hostname"] == f"{vm.hostname}\n".encode(),
        "the content of its system disk": found[MARKER] == vm.marker,
        "the content of its second disk": found["/proof"] == f"{vm.name}\n".encode(),
        "the card in its guest": vm.mac.encode() in found[LINK],
        "its card in the description": f'<mac address="{vm.mac}"' in (out / vm.name / f"{vm.name}.xml").read_text(),
        "a repaired fstab": b"by-path" not in table and b"/dev/sd" not in table and table.count(b"UUID=") == 3,
        "no tools of VMware": found["tools"] == b"no",
        "a proof": report["proof"]["verdict"] == "passed",
        "its source in the report": str(vm.vmx) in json.dumps(report),
    }
    return [f"{vm.name} has not {what}" for what, right in held.items() if not right]


def results(vms: list[Vm], out: Path) -> list[tuple[Vm, dict[str, bytes]]]:
    """What the disks of each result hold."""
    every = []
    images = [out / vm.name / f"{vm.name}-disk{number}.qcow2" for vm in vms for number in (0, 1)]
    with _appliance(images) as (guest, devices):
        for vm, system, second in zip(vms, devices[::2], devices[1::2]):
            guest.mount_ro(f"{system}2", "/")
            found = {path: guest.read_file(path) for path in ("/etc/hostname", "/etc/fstab", MARKER, LINK)}
            found["tools"] = b"yes" if guest.exists("/usr/bin/vmtoolsd") else b"no"
            guest.umount("/")
            guest.mount_ro(f"{second}1", "/")
            found["/proof"] = guest.read_file("/proof")
            guest.umount("/")
            every.append((vm, found))
    return every


@dataclass(frozen=True)
class Sample:
    """Memory at one moment, in KiB of PSS (what processes share is counted once): ansible-playbook, its forks, everything that they have started.

    `whole` is what ansible-playbook has, also what it shares with forks.
    """

    seconds: float
    main: int
    whole: int
    forks: int
    modules: int
    workers: int
    appliances: int


def sample(seconds: float, root: int) -> Sample:
    """Of this process's children; processes that end meanwhile are left out."""
    parents: dict[int, int] = {}
    words: dict[int, list[bytes]] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            words[int(entry.name)] = (entry / "cmdline").read_bytes().split(b"\0")[:2]
            parents[int(entry.name)] = parent
    ours, more = set(), {root}
    while more:
        more = {pid for pid, parent in parents.items() if parent in more}
        ours |= more
    controller = {pid for pid in ours if any(word.endswith(b"/ansible-playbook") for word in words[pid])}
    main = {pid for pid in controller if parents[pid] not in controller}
    others = ours - controller
    return Sample(
        round(seconds, 1), _held(main, "Pss"), _held(main, "Rss"), _held(controller - main, "Pss"), _held(others, "Pss"),
        len(controller - main), sum(b"qemu-system" in words[pid][0] for pid in others),
    )  # fmt: skip


def _held(pids: Iterable[int], what: str) -> int:
    """KiB of processes; those that have ended have none."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(rf"^{what}:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) if found else 0
    return total


def events(folder: Path) -> dict[str, Any]:
    """Sizes in bytes of the events of a run, each as ansible-runner writes it and AWX takes it, and as a module's result alone."""
    sizes: list[tuple[int, str]] = []
    of_result: list[tuple[int, str]] = []
    hosts: dict[str, int] = {}
    kinds: dict[str, int] = {}
    for path in folder.glob("*.json"):
        event = json.loads(path.read_text())
        data = event.get("event_data") or {}
        what = f"{event['event']} {data.get('task_action', '')}".strip()
        size = path.stat().st_size
        sizes.append((size, what))
        if data.get("res"):
            of_result.append((len(json.dumps(data["res"])), what))
        line = re.match(r"\[([\w-]+)\] ", event.get("stdout", ""))
        host = data.get("host") or (line[1] if line else "")
        hosts[host] = hosts.get(host, 0) + size
        kinds[what] = kinds.get(what, 0) + size
    single = {host: size for host, size in hosts.items() if host}
    return {
        "count": len(sizes), "total": sum(hosts.values()), "largest": max(sizes), "largest_result": max(of_result),
        "per_vm": round(sum(single.values()) / len(single)), "largest_vm": max(single.values()), "of_no_vm": hosts.get("", 0),
        "kinds": dict(sorted(kinds.items(), key=lambda item: -item[1])),
    }  # fmt: skip


def ran(name: str, hosts: Path, forks: int) -> dict[str, Any]:
    """One run of the playbook by ansible-runner, as AWX has it run, and what it has cost."""
    private = OUT / name
    shutil.rmtree(private, ignore_errors=True)
    private.mkdir(parents=True)
    done = threading.Event()
    begin = time.monotonic()

    def watch() -> list[Sample]:
        samples = []
        with open(private / "memory.jsonl", "w", buffering=1, encoding="ascii") as file:
            while not done.wait(EVERY):
                samples.append(sample(time.monotonic() - begin, os.getpid()))
                file.write(f"{json.dumps(asdict(samples[-1]))}\n")
        return samples

    with ThreadPoolExecutor(1) as beside:
        watching = beside.submit(watch)
        try:
            finished = ansible_runner.run(
                private_data_dir=str(private), project_dir=str(harness.ROOT), playbook=str(harness.ROOT / "playbooks" / "migrate.yml"),
                inventory=str(hosts), forks=forks, ident="run", quiet=True,
                envvars={"PATH": f"{harness.BIN}:{os.environ['PATH']}", "ANSIBLE_COLLECTIONS_PATH": str(harness.ROOT / ".venv" / "collections")},
            )  # fmt: skip
        finally:
            done.set()
        samples = watching.result()
    seconds = time.monotonic() - begin
    kept = private / "artifacts" / "run"
    if finished.rc:
        sys.exit(f"The run failed; {kept / 'stdout'} ends with:\n{(kept / 'stdout').read_text()[-3000:]}")
    main = [one.whole for one in samples if one.workers]
    return {
        "seconds": round(seconds),
        "changed": finished.stats["changed"],
        "controller_mib": round(max(one.main + one.forks for one in samples) / 1024),
        "main_mib": [round(main[0] / 1024), round(max(main) / 1024)],
        "forks_mib": round(max(one.forks for one in samples) / 1024),
        "workers": max(one.workers for one in samples),
        "modules_mib": round(max(one.modules for one in samples) / 1024),
        "appliances": max(one.appliances for one in samples),
        "events": events(kept / "job_events"),
    }


def digest(paths: Iterable[Path]) -> str:
    whole = hashlib.sha256()
    for path in sorted(paths):
        with open(path, "rb") as file:
            whole.update(f"{path} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


def fleet(count: int, forks: int, scratch: Path) -> dict[str, Any]:
    begin = time.monotonic()
    vms = made(count, scratch / "sources")
    print(f"{count} VMs made in {time.monotonic() - begin:.0f} s", flush=True)
    out = scratch / "out"
    hosts = harness.inventory(
        scratch / "vms.json",
        **{vm.name: {"migrate_source": str(vm.vmx), "migrate_output_dir": str(out), "migrate_boot_test": False} for vm in vms},
    )
    files = [path for path in (scratch / "sources").rglob("*") if path.is_file() and path.name != "web01.vmdk"]
    before = digest(files)
    found = {"vms": count, "forks": forks, "cpus": os.cpu_count(), "first": ran("first", hosts, forks)}
    print(json.dumps(found["first"]), flush=True)
    content = {vm.name: digest((out / vm.name).glob("*.qcow2")) for vm in vms}
    found["second"] = ran("second", hosts, forks)
    print(json.dumps(found["second"]), flush=True)
    faults = [fault for vm, held in results(vms, out) for fault in wrong(vm, out, held)]
    faults += [f"{name} was changed by the second run" for name in found["second"]["changed"]]
    faults += [
        f"the result of {vm.name} is another one after the second run"
        for vm in vms
        if digest((out / vm.name).glob("*.qcow2")) != content[vm.name]
    ]
    faults += [] if digest(files) == before else ["a source was written"]
    return {**found, "faults": faults}


def page(found: dict[str, Any]) -> str:
    """The figures as a table of Markdown."""
    first, second = found["first"], found["second"]

    def kb(size: float) -> str:
        return f"{size / 1000:.1f}"

    words = {
        "seconds": "seconds",
        "workers": "forks of Ansible at once",
        "appliances": "appliances at once",
        "controller_mib": "MiB of the controller",
        "forks_mib": "of these its forks",
        "modules_mib": "MiB of what it has started: modules, appliances, qemu-img",
    }
    rows: list[tuple[str, Any, Any]] = [(said, first[key], second[key]) for key, said in words.items()]
    rows.insert(
        4,
        (
            "of the main process alone, also what it shares, at its first task and at most",
            *(" to ".join(map(str, run["main_mib"])) for run in (first, second)),
        ),
    )
    rows += [
        ("VMs that were changed", *(len(run["changed"]) for run in (first, second))),
        ("events", *(run["events"]["count"] for run in (first, second))),
    ]
    rows += [
        (f"kB of {words}", *(kb(run["events"][key]) for run in (first, second)))
        for words, key in (
            ("all events", "total"),
            ("the events of a VM, on average", "per_vm"),
            ("the events of a VM, at most", "largest_vm"),
        )
    ]
    rows += [
        (f"kB of the largest {words}", *(f"{kb(size)} ({what})" for size, what in (run["events"][key] for run in (first, second))))
        for words, key in (("event", "largest"), ("result", "largest_result"))
    ]
    lines = [
        f"{found['vms']} VMs, {found['forks']} forks, {found['cpus']} processors without KVM, results that were wrong: {len(found['faults'])}.",
        "",
    ]
    lines += ["| | first run | second run |", "| --- | --- | --- |", *(f"| {words} | {one} | {two} |" for words, one, two in rows)]
    return "\n".join(lines)


def written(text: str) -> None:
    """The figures into the page, between its marks."""
    before, dummy, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vms", type=int, default=20)
    parser.add_argument("--forks", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="put the figures into docs/scale.md")
    arguments = parser.parse_args()
    scratch = OUT / "vms"  # stays where something is wrong
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    found = fleet(arguments.vms, arguments.forks, scratch)
    (OUT / "results.json").write_text(json.dumps(found, indent=1))
    if not found["faults"]:
        shutil.rmtree(scratch)
    text = page(found)
    print(f"\n{text}\n" + "\n".join(found["faults"]))
    if arguments.write:
        written(text)
    return int(bool(found["faults"]))


if __name__ == "__main__":
    sys.exit(main())
