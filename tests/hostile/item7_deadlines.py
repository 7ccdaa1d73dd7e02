# SPDX-License-Identifier: GPL-3.0-or-later
"""What never answers, never ends, or waits when it is opened."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import test_hostile_drop
from case import REFUSED, USED, WRONG, Case, Outcome, Place, answered, migrated, module, tiny

VMX = 'displayName = "vm"\nscsi0.present = "TRUE"\nscsi0:0.present = "TRUE"\nscsi0:0.fileName = "disk.vmdk"\n'
FLAT = '# Disk DescriptorFile\nversion=1\nCID=0000000a\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 2048 FLAT "disk-flat.vmdk" 0\n'
OVF = (
    '<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1"><References><File id="f" href="disk.vmdk"/></References><DiskSection><Disk diskId="d" '
    'fileRef="f" capacity="1"/></DiskSection><VirtualSystem id="v"><VirtualHardwareSection><Item><ResourceType>17</ResourceType><HostResource>ovf:/disk/d'
    "</HostResource></Item></VirtualHardwareSection></VirtualSystem></Envelope>"
)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def endpoint(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.getcwd()
        os.chdir(path.parent)  # its name has 107 bytes at most
        made.bind(path.name)
        os.chdir(here)


def zero(path: Path) -> None:
    os.mknod(path, 0o20666, os.makedev(1, 5))


def terminal(path: Path) -> None:
    path.symlink_to("/dev/tty")


def itself(path: Path) -> None:
    path.symlink_to(path.name)


def folder(path: Path) -> None:
    path.mkdir()


def written_pipe(path: Path) -> None:
    """Somebody holds it open for writing and writes a byte a second."""
    os.mkfifo(path)

    def drip() -> None:
        with open(path, "wb", buffering=0) as file:
            while True:
                file.write(b"x")
                time.sleep(1)

    threading.Thread(target=drip, daemon=True).start()


ODD: dict[str, Callable[[Path], None]] = {
    "pipe": pipe, "dripping pipe": written_pipe, "socket": endpoint, "endless device": zero, "terminal": terminal, "link to itself": itself,
    "directory": folder,
}  # fmt: skip


def at(name: str, make: Callable[[Path], None], source: str, *beside: tuple[str, str]):
    """A source in which `name` is no file."""

    def run(place: Place) -> Outcome:
        for other, text in beside:
            place.write(other, text)
        make(place.inputs / name)
        return migrated(place, [str(place.inputs / source)])

    return run


def found_good(place: Place, bad: Path) -> Outcome:
    """Whether the drop folder gives what is good in it, and not what is bad."""
    tiny(place, "good.raw")
    answer = answered("drop_folder", path=str(place.inputs), settle=0, wait=5)
    if answer.get("failed"):
        return Outcome(WRONG, f"one bad entry stops the folder: {answer['msg']}")
    sources = [item["source"] for item in answer["vms"]]
    return Outcome(USED if str(place.inputs / "good.raw") in sources and str(bad) not in sources else WRONG, str(answer["vms"])[:300])


def dropped(make: Callable[[Path], None], inside: str):
    """A drop folder with one bad entry and a good one, which must be found."""

    def run(place: Place) -> Outcome:
        bad = place.inputs / inside
        bad.parent.mkdir(exist_ok=True)
        make(bad)
        return found_good(place, bad)

    return run


class Server:
    """A listener that treats every caller in one way."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._answer = answer
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            caller, dummy = self._listener.accept()
            threading.Thread(target=self._one, args=(caller,), daemon=True).start()

    def _one(self, caller: socket.socket) -> None:
        try:
            self._answer(caller)
        except OSError:
            pass


def silent(caller: socket.socket) -> None:
    time.sleep(3600)


def dripping(caller: socket.socket) -> None:
    for letter in b"SSH-2.0-x" + b"x" * 3600:
        caller.sendall(bytes([letter]))
        time.sleep(1)


def endless(caller: socket.socket) -> None:
    while True:
        caller.sendall(b"a line before the version\r\n" * 1000)


def closing(caller: socket.socket) -> None:
    caller.close()


def half_banner(caller: socket.socket) -> None:
    caller.sendall(b"SSH-2.0-half\r\n")
    time.sleep(3600)


SERVERS = {"silent": silent, "dripping": dripping, "endless": endless, "closing": closing, "silent after its name": half_banner}


def server(scheme: str, answer: Callable[[socket.socket], None]):
    """A source behind a server that is none."""

    def run(place: Place) -> Outcome:
        port = Server(answer).port
        access = {
            "ssh": {"known_hosts": str(place.write("hosts", "")), "port": port},
            "vsphere": {"username": "x", "password": "y", "validate_certs": False},
        }
        source = "ssh://root@127.0.0.1/vmfs/volumes/ds/a/a.vmx" if scheme == "ssh" else f"vsphere://127.0.0.1:{port}/DC/vm/a"
        return module("vmdk_fetch", source=[source], work_dir=str(place.work / "state"), access={scheme: access[scheme]})

    return run


def entry(name: str):
    """An entry of a drop folder of the unit tests, and a good one."""

    def run(place: Place) -> Outcome:
        where, make = test_hostile_drop.ENTRIES[name]
        path = place.inputs / where
        path.parent.mkdir(exist_ok=True)
        make(path)
        return found_good(place, path)

    return run


def cases() -> Iterator[Case]:
    for name in test_hostile_drop.ENTRIES:
        yield Case(f"dropped: {name}", "an entry of a drop folder", entry(name), seconds=120)
    for key, make in ODD.items():
        yield Case(f"disk is a {key}", "a disk that is no file", at("disk.raw", make, "disk.raw"), expect=(REFUSED,))
        yield Case(f"qcow2 is a {key}", "a disk that is no file", at("disk.qcow2", make, "disk.qcow2"), expect=(REFUSED,))
        yield Case(f"vmx is a {key}", "a description that is no file", at("vm.vmx", make, "vm.vmx"), expect=(REFUSED,))
        yield Case(f"ovf is a {key}", "a description that is no file", at("vm.ovf", make, "vm.ovf"), expect=(REFUSED,))
        yield Case(f"ova is a {key}", "an archive that is no file", at("vm.ova", make, "vm.ova"), expect=(REFUSED,))
        yield Case(f"archive is a {key}", "an archive that is no file", at("vm.tar.gz", make, "vm.tar.gz"), expect=(REFUSED,))
        yield Case(
            f"extent is a {key}", "a part that is no file", at("disk-flat.vmdk", make, "disk.vmdk", ("disk.vmdk", FLAT)), expect=(REFUSED,)
        )
        yield Case(
            f"disk of a vmx is a {key}", "a part that is no file", at("disk.vmdk", make, "vm.vmx", ("vm.vmx", VMX)), expect=(REFUSED,)
        )
        yield Case(
            f"disk of an ovf is a {key}", "a part that is no file", at("disk.vmdk", make, "vm.ovf", ("vm.ovf", OVF)), expect=(REFUSED,)
        )
        yield Case(f"manifest is a {key}", "a part that is no file", at("vm.mf", make, "vm.ovf", ("vm.ovf", OVF)), expect=(REFUSED,))
        if key != "directory":
            yield Case(f"dropped {key}", "an entry of a drop folder", dropped(make, "bad.raw"))
            yield Case(f"dropped directory with a {key}", "an entry of a drop folder", dropped(make, "bad/vm.vmx"))
    for key, answer in SERVERS.items():
        yield Case(f"ssh {key}", "a server that is none", server("ssh", answer), seconds=900, waits=True, expect=(REFUSED,))
        yield Case(f"vsphere {key}", "a server that is none", server("vsphere", answer), seconds=420, waits=True, expect=(REFUSED,))
