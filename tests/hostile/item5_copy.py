# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that is another between two stages: a file of the host under its name, another disk, less, more, or nothing that can be read."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, content, refused

SIZE = 1 << 20


def raw(place: Place) -> tuple[Path, Path]:
    path = place.write("disk.raw", os.urandom(SIZE))
    return path, path


def flat(place: Place) -> tuple[Path, Path]:
    part = place.write("disk-flat.vmdk", os.urandom(SIZE))
    return place.write(
        "disk.vmdk",
        '# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "disk-flat.vmdk"\n',
    ), part


def sparse(place: Place) -> tuple[Path, Path]:
    plain = place.write("plain", os.urandom(SIZE))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", plain, place.inputs / "disk.vmdk"], check=True)
    return place.inputs / "disk.vmdk", place.inputs / "disk.vmdk"


def snapshot(place: Place) -> tuple[Path, Path]:
    """A qcow2 whose parent is what changes."""
    plain = place.write("plain", os.urandom(SIZE))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", plain, place.inputs / "base.qcow2"], check=True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "base.qcow2", "top.qcow2"]
    subprocess.run(command, cwd=place.inputs, check=True)
    return place.inputs / "top.qcow2", place.inputs / "base.qcow2"


def link_to_the_host(place: Place, path: Path) -> None:
    path.unlink()
    path.symlink_to(place.canary)


def hard_link_to_the_host(place: Place, path: Path) -> None:
    path.unlink()
    os.link(place.canary, path)


def another(place: Place, path: Path) -> None:
    new = path.with_suffix(".new")
    new.write_bytes(os.urandom(path.stat().st_size))
    new.rename(path)


def another_with_its_times(place: Place, path: Path) -> None:
    stamp = path.stat()
    another(place, path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def written(place: Place, path: Path) -> None:
    with open(path, "r+b") as file:
        file.seek(-4096, 2)
        file.write(os.urandom(4096))


def written_with_its_times(place: Place, path: Path) -> None:
    stamp = path.stat()
    written(place, path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def shorter(place: Place, path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def longer(place: Place, path: Path) -> None:
    os.truncate(path, path.stat().st_size * 2)


def names_the_host(place: Place, path: Path) -> None:
    """An image whose header names a file of the host."""
    path.unlink()
    subprocess.run(["qemu-img", "create", "-q", "-u", "-f", "qcow2", "-F", "raw", "-b", place.canary, path, str(SIZE)], check=True)


def gone(place: Place, path: Path) -> None:
    path.unlink()


def pipe(place: Place, path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(place: Place, path: Path) -> None:
    path.unlink()
    path.mkdir()


def folder_elsewhere(place: Place, path: Path) -> None:
    """The folder itself is swapped: all names are there, all files are others."""
    shutil.copytree(place.inputs, place.folder / "tmp" / "copy")
    place.inputs.rename(place.folder / "tmp" / "gone")
    (place.folder / "tmp" / "copy").rename(place.inputs)
    written(place, path)


SOURCES = {"raw": raw, "flat VMDK": flat, "sparse VMDK": sparse, "parent of a qcow2": snapshot}
CHANGES: dict[str, Callable[[Place, Path], None]] = {
    "a link to a file of the host": link_to_the_host,
    "a hard link to a file of the host": hard_link_to_the_host,
    "another file": another,
    "another file with its times": another_with_its_times,
    "other bytes": written,
    "other bytes with its times": written_with_its_times,
    "a shorter file": shorter,
    "a longer file": longer,
    "an image that names a file of the host": names_the_host,
    "nothing": gone,
    "a pipe": pipe,
    "a directory": folder,
    "another folder": folder_elsewhere,
}


def between(make: Callable[[Place], tuple[Path, Path]], change: Callable[[Place, Path], None], stage: str):
    """The change happens before a stage. The result is what the source held when it was fetched, or there is none."""

    def run(place: Place) -> Outcome:
        source, part = make(place)
        work = str(place.work / "state")
        seen = place.folder / "tmp" / "seen"
        kind = {".raw": "raw", ".vmdk": "vmdk", ".qcow2": "qcow2"}[source.suffix]
        subprocess.run(["qemu-img", "convert", "-f", kind, "-O", "raw", source, seen], check=True)
        expected = hashlib.sha256(seen.read_bytes()).hexdigest()
        for name, arguments in (
            ("vmdk_fetch", {"source": [str(source)], "work_dir": work}),
            ("disk_flatten", {"work_dir": work}),
            ("qemu_convert", {"work_dir": work, "name": "vm", "dest": str(place.work / "out")}),
        ):
            if name == stage:
                change(place, part)
            answer = answered(name, **arguments)
            if answer.get("failed"):
                published = list((place.work / "out").glob("*.qcow2"))
                return Outcome(WRONG, f"refused, and left {published}") if published else refused(answer["msg"], answer.get("hint", ""))
        return content(answer["disks"][0], expected)

    return run


# What a part of a disk may be called, by where the source lies: in the work directory, or where the results go.
AS_RECORDS = {
    "the work directory": ("lock", "vm.json", "fetch.json", "disk0-overlay.qcow2"),
    "the destination": (
        ".vm.vm.json",
        ".vm.made",
        "report.json",
        "report.md",
        "plan.json.partial",
        "vm.xml",
        "vm-disk0.qcow2",
        "vm-disk0.qcow2.manifest.json",
    ),
}


def called(name: str, where: str):
    """All stages that write, on a source with a part of this name. It is refused or migrated, and not a byte of it is another one."""

    def run(place: Place) -> Outcome:
        place.write(name, b"\n" + os.urandom(SIZE - 1))
        source = place.write(
            "disk.vmdk",
            f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "{name}"\n',
        )
        before = {path: path.read_bytes() for path in place.inputs.iterdir()}
        work = str(place.inputs if where == "the work directory" else place.work / "state")
        dest = str(place.inputs if where == "the destination" else place.work / "out")
        disks = [{"path": "/srv/vm-disk0.qcow2", "format": "qcow2"}]
        said = []
        for stage, arguments in (
            ("vmdk_fetch", {"source": [str(source)], "work_dir": work}),
            ("disk_flatten", {"work_dir": work}),
            ("qemu_convert", {"work_dir": work, "name": "vm", "dest": dest}),
            ("domain_describe", {"work_dir": work, "name": "vm", "dest": dest, "disks": disks, "formats": ["qemu"]}),
            ("migration_report", {"work_dir": work, "name": "vm", "dest": dest}),
        ):
            answer = answered(stage, **arguments)
            if answer.get("failed"):
                said.append(f"{stage}: {answer['msg']}")
                refused(answer["msg"], answer.get("hint", ""))
            changed = [path.name for path, data in before.items() if not path.exists() or path.read_bytes() != data]
            if changed:
                return Outcome(WRONG, f"{stage} wrote to {changed}, which the VM comes from")
        return Outcome(REFUSED if said else USED, "; ".join(said)[:300])

    return run


def cases() -> Iterator[Case]:
    for where, names in AS_RECORDS.items():
        for name in names:
            yield Case(
                f"a part called {name} in {where}",
                "a part called as a record",
                called(name, where),
                varied=name != names[0],
                expect=(REFUSED,),
            )
    for kind, make in SOURCES.items():
        for name, change in CHANGES.items():
            yield Case(f"{name} for the {kind} before CONVERT", name, between(make, change, "qemu_convert"), expect=(REFUSED, USED))
    for name, change in CHANGES.items():
        yield Case(f"{name} for the raw before FLATTEN", name, between(raw, change, "disk_flatten"), expect=(REFUSED, USED))
