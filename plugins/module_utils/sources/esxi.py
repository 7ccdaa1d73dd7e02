# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of a host that is reached by SSH alone: ssh://root@host/name where it is an ESXi host, else the path of their configuration or of a disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import posixpath
import re
import shlex
import urllib.parse
from dataclasses import replace
from typing import Iterator, Optional, Sequence

from ..core import atomic
from ..core.concern import Concern
from ..core.errors import InvalidInput, UnsafeInput
from ..core.machine import Disk
from ..core.progress import Progress
from ..core.urls import Form, split
from ..core.vm import MIB, Mark, VmId, place_of
from ..disk import around, below, chain, nvram, unused, vmx
from ..disk.machine import BARE, SourceDisk, SourceVm
from ..transport import esxi, vmdk_chain
from ..transport.download import Arrived
from ..transport.files import beside, patiently, read_piece, read_small
from ..transport.ssh import SshFiles
from ..vsphere import readiness, snapshots
from .files import bring_files, in_place
from .opened import Remote, RemoteDisk
from .source import Access, Can, Folder, Source, independent, refuse, unless_treated, which

_PLACE = "vm"
_HOST = re.compile(r"[\w.:%-]+")  # ssh_config(5) may hand it to a shell


class Esxi:
    """See Source."""

    scheme = "ssh"
    words = "ssh://root@host/path/to/vm.vmx"
    form = Form(user=True)
    libraries = ()
    can = Can(power=True, freeze=True, in_place=True, files=True)

    def identified(self, url: str, access: Access) -> VmId:
        with _reached(url, access) as (files, path, dummy):
            text = None if path.lower().endswith(".vmdk") else read_small(files, path)
            return _which(files, path, text, url)

    @contextlib.contextmanager
    def opened(self, url: str, access: Access, check: bool) -> Iterator[Remote]:
        """A running VM is treated as `access` says, where the host knows of it."""
        with contextlib.ExitStack() as stack:
            files, path, vm = stack.enter_context(_reached(url, access))
            if path.lower().endswith(".vmdk"):
                alone = _remote(files, path, None, access)
                refuse(alone.concerns, access.accept, url)
                yield replace(alone, which=_which(files, path, None, url))
                return
            state = esxi.power(files, vm) if vm is not None else "off"
            if vm is not None and state != "off":
                refuse(unless_treated(readiness.of_power(vm.name, state), access), access.accept, url)
                if access.running == "shutdown" and not check:
                    access.stopping()
                    esxi.shut_down(files, vm, access.shutdown_timeout, access.power_off)
                    state = "off"
            # Read before a snapshot makes it name the disks that the VM writes to from then on.
            text = read_small(files, path)
            if vm is not None and state == "on" and access.running == "snapshot" and not check:
                modes = {key: value.lower() for key, value in vmx.parse(text, path).items() if key.endswith(".mode")}
                independent([key for key, mode in modes.items() if mode.startswith("independent")], vm.name)
                stack.enter_context(esxi.frozen(files, vm, snapshots.new_name(), access.quiesce))
            remote = replace(_remote(files, path, text, access), which=_which(files, path, text, url))
            if vm is None and _read(path, text)[0].suspended:  # no host tells of it
                refuse(tuple(readiness.of_power(os.path.basename(path), "suspended")), access.accept, url)
            yield replace(remote, in_place=None) if state == "on" else remote

    @contextlib.contextmanager
    def folder(self, url: str, access: Access) -> Iterator[Folder]:
        with contextlib.ExitStack() as stack:
            files, path, vm = stack.enter_context(_reached(url, access))
            if vm is not None:
                refuse(tuple(readiness.of_power(vm.name, esxi.power(files, vm))), access.accept, url)
            directory = posixpath.dirname(path)
            listed = files.command(f"cd {shlex.quote(directory)} && find . -type f", directory).splitlines()
            yield Folder(files, directory, tuple(sorted(name[2:] for name in listed if name.count("/") == 1)))

    def clean(self, url: str, access: Access, check: bool) -> tuple[str, ...]:
        with _reached(url, access) as (files, dummy, vm):
            if vm is None:
                return ()
            left = {name: number for name, number in esxi.snapshots(files, vm).items() if name.startswith(snapshots.PREFIX)}
            for number in () if check else left.values():
                esxi.remove(files, vm, number)
            return tuple(left)

    def started(self, url: str, access: Access, check: bool) -> bool:
        with _reached(url, access) as (files, dummy, vm):
            if vm is None or esxi.power(files, vm) == "on":
                return False
            if not check:
                esxi.start(files, vm)
            return True


SOURCE: Source = Esxi()


@contextlib.contextmanager
def _reached(url: str, access: Access) -> Iterator[tuple[SshFiles, str, Optional[esxi.Registered]]]:
    """The host's files, the path of what is named, and the VM if the host has registered it."""
    parts = split(url)
    path = urllib.parse.unquote(parts.path)
    if parts.password:
        raise InvalidInput(f"A password has no place in the URL of {parts.hostname}.", "Use migrate_ssh_password or a key.")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or not path.strip("/"):
        raise InvalidInput(
            f"{url} does not name a VM.",
            "Write ssh://root@host/name, or ssh://root@host/vmfs/volumes/datastore/name/name.vmx (or .vmdk).",
            source=url,
        )
    login = replace(access.ssh, host=parts.hostname, user=parts.username or access.ssh.user, port=parts.port or access.ssh.port)
    with contextlib.closing(SshFiles(login)) as files:
        if path.lower().endswith(".vmdk"):
            yield files, path, None
        elif path.lower().endswith(".vmx"):
            yield files, path, next((vm for vm in esxi.registered(files) or () if esxi.same(files, vm.path, path)), None)
        else:
            vm = esxi.find(files, path.strip("/"))
            yield files, vm.path, vm


def _remote(files: SshFiles, path: str, text: Optional[bytes], access: Access) -> Remote:
    """The VM of a .vmx (`text`), or the disk at `path` alone."""
    file, (vm, places) = os.path.basename(path), _read(path, text)
    walked = [vmdk_chain.chain(files, beside(path, name)) for name, place in places]
    disks = tuple(_disk(found, place) for found, (dummy, place) in zip(walked, places))
    beyond = _beyond(files, path) if text is None else []
    newer = unused.newer(vm.name, list(_newer(files, path, beyond[: around.MANY])))
    newer += unused.unread(vm.name, [file] if len(beyond) > around.MANY else ())
    of_images = [concern for found in walked for concern in found.concerns]
    chains = unused.snapshots(vm.name, [name for found, (name, dummy) in zip(walked, places) if found.links > 1])
    vm = replace(vm, concerns=(*vm.concerns, *newer, *of_images, *chains, *_boot_entries(files, path, text, vm)))
    jobs = tuple({job.path: job for disk in disks for job in disk.jobs}.values())

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        arrived = bring_files(files, jobs, os.path.join(directory, _PLACE), progress, access)
        if text is None:
            return arrived
        atomic.write_bytes(os.path.join(directory, _PLACE, file), text)
        return (Arrived(f"{_PLACE}/{file}", len(text), len(text), ""), *arrived)

    def local(directory: str) -> SourceVm:
        staged = os.path.join(directory, _PLACE, file)
        here = around.whole(vmx.read(staged) if text is not None else replace(vm, disks=(SourceDisk(chain.resolve(staged)),)))
        return replace(here, concerns=tuple(dict.fromkeys((*vm.concerns, *here.concerns))))

    return Remote(vm, disks, "ssh", vm.concerns, bring, local, in_place(files, disks))


def _boot_entries(files: SshFiles, path: str, text: Optional[bytes], vm: SourceVm) -> tuple[Concern, ...]:
    """What the variables of its firmware say; nothing where they are not on the host, as before the first start."""
    name = vmx.nvram_of(vmx.parse(text, path), path) if text is not None and vm.firmware == "uefi" else ""
    if not name or not below.is_plain(name):
        return ()
    try:
        return nvram.concerns(vm.name, read_small(files, beside(path, name), nvram.LIMIT))
    except (InvalidInput, UnsafeInput):
        return ()


def _beyond(files: SshFiles, path: str) -> list[str]:
    """Names on the host that an image has which goes on from a disk."""
    directory, name = posixpath.split(path)
    return around.likely(name, files.command(f"cd {shlex.quote(directory)} && ls", directory).splitlines(), (".vmdk",))


def _newer(files: SshFiles, path: str, names: Sequence[str]) -> Iterator[str]:
    """Images on the host that go on from a disk which was named alone: what its VM wrote since a snapshot."""
    name = posixpath.basename(path)
    own = vmdk_chain.descriptor(files, path) if names else None
    for one in names:
        try:
            child = vmdk_chain.descriptor(files, beside(path, one))
        except (InvalidInput, UnsafeInput):  # whatever it is, it is nothing that goes on from this disk
            continue
        if own is not None and around.is_over(child, name, own):
            yield one


def _read(path: str, text: Optional[bytes]) -> tuple[SourceVm, Sequence[tuple[str, Disk]]]:
    """The VM without its disks, and the names and places of these."""
    file = os.path.basename(path)
    if text is None:
        return SourceVm(os.path.splitext(file)[0], BARE), ((file, Disk()),)
    config = vmx.parse(text, path)
    return vmx.described(config, path), vmx.places(config, path)


def _which(files: SshFiles, path: str, text: Optional[bytes], url: str) -> VmId:
    """Which VM it is. Its disks, which a VM that runs may hold, are looked at only where it has no UUID. A datastore's name is a link to its id."""
    login, (vm, places) = files.login, _read(path, text)
    host_of = f"[{login.host}]" if ":" in login.host else login.host
    real = patiently(lambda: files.command(f"readlink -f {shlex.quote(path)} || true", path), path).strip() or path
    marks = () if vm.uuid else tuple(_mark(files, _disk(vmdk_chain.chain(files, beside(path, name)), place)) for name, place in places)
    attached = [place.at for dummy, place in places]
    return which(vm, place_of(f"ssh://{host_of}:{login.port}{urllib.parse.quote(real)}"), url, attached, marks)


def _mark(files: SshFiles, disk: RemoteDisk) -> Mark:
    first, last = disk.jobs[min(1, len(disk.jobs) - 1)], disk.jobs[-1]
    head = read_piece(files, first.path, 0, min(first.size, MIB), first.stamp)
    at = max(0, last.size - MIB)
    tail = read_piece(files, last.path, at, last.size - at, last.stamp)
    return Mark(disk.size, hashlib.sha256(head).hexdigest(), hashlib.sha256(tail).hexdigest())


def _disk(walked: vmdk_chain.Walked, place: Disk) -> RemoteDisk:
    return RemoteDisk(walked.size, walked.jobs, replace(place, wwn=walked.wwn), walked.flat)
