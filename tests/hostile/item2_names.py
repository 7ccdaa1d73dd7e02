# SPDX-License-Identifier: GPL-3.0-or-later
"""Names that mean something to a file system, a shell, a template or an inventory: of VMs, of files in packages, of entries of a drop folder."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator

from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, migrated, refused, tiny
from test_names import HOSTILE, UNNAMEABLE


def of_a_vm(name: str):
    """A disk is published under this name, or refused; nothing lies elsewhere."""

    def run(place: Place) -> Outcome:
        path, digest = tiny(place)
        return migrated(place, [str(path)], name, digest, {"HOME": str(place.folder / "in")})

    return run


def described(name: str):
    """The description of a VM of this name lies in its directory and holds the name as text."""

    def run(place: Place) -> Outcome:
        out = place.work / "out"
        answer = answered("domain_describe", dest=str(out), name=name, disks=[{"path": "/images/a.qcow2", "format": "qcow2"}])
        if answer.get("failed"):
            return refused(answer["msg"], answer.get("hint", ""))
        made = [path for path in place.work.rglob("*") if path.is_file()]
        return Outcome(USED if made and all(path.parent == out for path in made) else WRONG, str(made))

    return run


def in_a_vmx(name: str):
    """A .vmx that names this as its disk."""

    def run(place: Place) -> Outcome:
        tiny(place, "disk-flat.vmdk")
        vmx = place.write(
            "vm.vmx",
            f'displayName = "vm"\nscsi0.present = "TRUE"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "{name}"\n'.replace(
                "CANARY", str(place.canary)
            ),
        )
        return migrated(place, [str(vmx)], env={"HOME": str(place.canary.parent), "SECRET": str(place.canary)})

    return run


def in_a_descriptor(name: str):
    """A VMDK descriptor that names this as its extent."""

    def run(place: Place) -> Outcome:
        text = f'# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="vmfs"\nRW 4 VMFS "{name}"\n'
        path = place.write("disk.vmdk", text.replace("CANARY", str(place.canary)))
        return migrated(place, [str(path)], env={"HOME": str(place.canary.parent), "SECRET": str(place.canary)})

    return run


def in_an_archive(kind: str, name: str):
    """An archive with a disk under this name."""

    def run(place: Place) -> Outcome:
        data, path = b"x" * 4096, place.inputs / f"vm.{kind}"
        if kind == "tar":
            with tarfile.open(path, "w") as made:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                made.addfile(info, io.BytesIO(data))
        else:
            with zipfile.ZipFile(path, "w") as made:
                made.writestr(zipfile.ZipInfo(name), data)
        return migrated(place, [str(path)])

    return run


def dropped(name: str):
    """A file of this name in a drop folder gets a name that an inventory takes."""

    def run(place: Place) -> Outcome:
        place.write(f"{name}.raw", b"x" * 4096)
        answer = answered("drop_folder", path=str(place.inputs), settle=0, wait=1)
        if answer.get("failed"):
            return refused(answer["msg"], answer.get("hint", ""))
        names = [item["name"] for item in answer["vms"]]
        good = names and all(one and not set(one) & set("/\0\n,:*$~{}") and one not in ("all", ".", "..") for one in names)
        return Outcome(USED if good else WRONG, str(names))

    return run


def cases() -> Iterator[Case]:
    for key, name in HOSTILE.items():
        yield Case(f"vm {key}", "the name of a VM", of_a_vm(name))
    for key, name in UNNAMEABLE.items():
        yield Case(f"nameless {key}", "a name that shows nothing", of_a_vm(name), expect=(REFUSED,))
    for key in ("parent", "absolute", "nul", "newline", "markup", "template", "long", "right-to-left", "option", "command"):
        yield Case(f"described {key}", "the name in a description", described(HOSTILE[key]))
    reaching = {
        "parent": "../host/secret.vmdk", "absolute": "CANARY", "variable": "$SECRET", "home": "~/secret", "protocol": "nbd:localhost:1",
        "json": "json:{}", "backslash": "..\\\\x.vmdk", "newline": "a\nb.vmdk", "nul": "a\0b.vmdk", "url": "file:///CANARY",
    }  # fmt: skip
    for key, name in reaching.items():
        yield Case(
            f"vmx {key}",
            "a file that a .vmx names",
            in_a_vmx(name if key == "absolute" else f"{name}.vmdk".replace(".vmdk.vmdk", ".vmdk")),
            expect=(REFUSED,),
        )
        yield Case(f"extent {key}", "a file that a descriptor names", in_a_descriptor(name), expect=(REFUSED,))
    members = {
        "parent": "../../disk.raw", "absolute": "/tmp/hyper2kvm-hostile/disk.raw", "inner parent": "a/../../../disk.raw", "backslash": "..\\..\\disk.raw",
        "newline": "a\nb.raw", "long": "x" * 300 + ".raw", "deep": "d/" * 3000 + "disk.raw", "option": "-rf.raw",
        "undecodable": "web\udce4.raw", "bell": "a\x07.raw",
    }  # fmt: skip
    for key, name in members.items():
        for kind in ("tar", "zip"):
            if not (kind == "zip" and key == "undecodable"):
                yield Case(f"{kind} {key}", f"a member of a {kind}", in_an_archive(kind, name))
    for key in (
        "template",
        "comma",
        "newline",
        "option",
        "variable",
        "wildcard",
        "quotes",
        "right-to-left",
        "reserved-all",
        "raw",
        "command",
        "range",
    ):
        yield Case(f"dropped {key}", "an entry of a drop folder", dropped(HOSTILE[key].replace("/", "_")))
