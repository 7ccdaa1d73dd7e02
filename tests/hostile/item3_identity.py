# SPDX-License-Identifier: GPL-3.0-or-later
"""A second VM that looks like the first: it gets its own disk, or is refused before anything of the first is touched."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, content

UUID, OTHER = "56 4d 12 34 aa bb cc dd-ee ff 00 11 22 33 44 55", "56 4d 12 34 aa bb cc dd-ee ff 00 11 22 33 44 66"


def vm(folder: Path, name: str = "web01", uuid: str = UUID, key: str = "uuid.bios", cid: str = "0000000a") -> Path:
    """A VM of VMware of one flat disk that is like no other."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "web01-flat.vmdk").write_bytes(os.urandom(1 << 20))
    (folder / "web01.vmdk").write_text(
        f'# Disk DescriptorFile\nversion=1\nCID={cid}\nparentCID=ffffffff\ncreateType="vmfs"\nRW 2048 VMFS "web01-flat.vmdk"\n'
    )
    lines = [f'displayName = "{name}"', 'scsi0.present = "TRUE"', 'scsi0:0.present = "TRUE"', 'scsi0:0.fileName = "web01.vmdk"']
    (folder / "web01.vmx").write_text("\n".join([*lines, *([f'{key} = "{uuid}"'] if uuid else [])]))
    return folder / "web01.vmx"


def disk(folder: Path, name: str = "web01.raw") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(os.urandom(1 << 20))
    return folder / name


def seen(source: Path) -> str:
    flat = source.with_name("web01-flat.vmdk")
    return hashlib.sha256((flat if flat.exists() else source).read_bytes()).hexdigest()


def second(first: Callable[[Place], Path], other: Callable[[Place, Path], Path], shared: str):
    """Migrate one VM, then another; they share the work directory, the destination, or both."""

    def run(place: Place) -> Outcome:
        one = first(place)
        expected = seen(one)
        answer = chain(place, one, "state", "out")
        assert not answer.get("failed"), answer
        (kept,) = answer["disks"]
        two = other(place, one)
        wanted = seen(two)
        answer = chain(place, two, "state" if "work" in shared else "other", "out" if "out" in shared else "elsewhere")
        if answer.get("failed"):
            if not answer.get("hint"):
                raise AssertionError(f"refused without a remedy: {answer['msg']}")
            same = content(kept, expected)
            return Outcome(REFUSED, answer["msg"][:300]) if same.verdict == USED else same
        if answer["disks"][0]["path"] == kept["path"] and two != one:
            return Outcome(WRONG, "the first VM's result was replaced")
        return content(answer["disks"][0], wanted)

    return run


def chain(place: Place, source: Path, work: str, out: str) -> dict:
    work = str(place.work / work)
    for name, arguments in (
        ("vmdk_fetch", {"source": [str(source)], "work_dir": work}),
        ("disk_flatten", {"work_dir": work}),
        ("qemu_convert", {"work_dir": work, "name": "web01", "dest": str(place.work / out)}),
    ):
        answer = answered(name, **arguments)
        if answer.get("failed"):
            return answer
    return answer


def copied(place: Place, one: Path) -> Path:
    shutil.copytree(one.parent, place.inputs / "copy")
    flat = place.inputs / "copy" / "web01-flat.vmdk"
    if flat.exists():
        flat.write_bytes(os.urandom(1 << 20))
    return place.inputs / "copy" / one.name


def rewritten(place: Place, one: Path) -> Path:
    """The same file with other bytes, and the times that it had."""
    target = one.with_name("web01-flat.vmdk") if one.with_name("web01-flat.vmdk").exists() else one
    stamp = target.stat()
    target.write_bytes(os.urandom(1 << 20))
    os.utime(target, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return one


def swapped(place: Place, one: Path) -> Path:
    """Another file under the same path."""
    flat = one.with_name("web01-flat.vmdk")
    target = flat if flat.exists() else one
    new = target.with_suffix(".new")
    new.write_bytes(os.urandom(1 << 20))
    new.rename(target)
    return one


def moved_in(place: Place, one: Path) -> Path:
    """The first VM's folder has gone, and another's stands in its place."""
    one.parent.rename(place.inputs / "gone")
    return vm(one.parent, uuid=OTHER) if one.suffix == ".vmx" else disk(one.parent)


def by_a_link(place: Place, one: Path) -> Path:
    """A link that led to the first VM's folder leads to another's."""
    other = vm(place.inputs / "b", uuid=OTHER)
    one.parent.unlink()
    one.parent.symlink_to(other.parent)
    return one


def linked(place: Place) -> Path:
    made = vm(place.inputs / "really")
    (place.inputs / "a").symlink_to(made.parent)
    return place.inputs / "a" / "web01.vmx"


FIRST: dict[str, Callable[[Place], Path]] = {"vmx": lambda place: vm(place.inputs / "a"), "raw": lambda place: disk(place.inputs / "a")}
SECOND: dict[str, tuple[str, Callable[[Place, Path], Path]]] = {
    "the same UUID elsewhere": ("vmx", copied),
    "the same name, another UUID": ("vmx", lambda place, one: vm(place.inputs / "b", uuid=OTHER)),
    "the same name, no UUID": ("vmx", lambda place, one: vm(place.inputs / "b", uuid="")),
    "the same UUID of another kind": ("vmx", lambda place, one: vm(place.inputs / "b", key="vc.uuid")),
    "another name, the same UUID": ("vmx", lambda place, one: vm(place.inputs / "b", name="db01")),
    "a UUID in other letters": ("vmx", lambda place, one: vm(place.inputs / "b", uuid=UUID.upper().replace(" ", ""))),
    "a UUID of zeros": ("vmx", lambda place, one: vm(place.inputs / "b", uuid="00 " * 7 + "00-" + "00 " * 7 + "00")),
    "another disk with its times": ("vmx", rewritten),
    "another disk under its name": ("vmx", swapped),
    "another VM in its folder": ("vmx", moved_in),
    "the same CID": ("vmx", lambda place, one: vm(place.inputs / "b", uuid="", cid="0000000a")),
    "a raw disk of its name elsewhere": ("raw", lambda place, one: disk(place.inputs / "b")),
    "another raw disk under its path": ("raw", swapped),
    "another raw disk with its times": ("raw", rewritten),
    "another raw disk in its folder": ("raw", moved_in),
    "a raw disk for a VM": ("vmx", lambda place, one: disk(place.inputs / "b")),
    "a VM for a raw disk": ("raw", lambda place, one: vm(place.inputs / "b")),
}


def cases() -> Iterator[Case]:
    for name, (kind, other) in SECOND.items():
        for shared in ("work and out", "out", "work"):
            yield Case(f"{name}, {shared}", f"shared {shared}", second(FIRST[kind], other, shared), seconds=120)
    yield Case("a link that leads elsewhere", "a link", second(linked, by_a_link, "work and out"), seconds=120)
