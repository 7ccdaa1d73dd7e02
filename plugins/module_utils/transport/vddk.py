# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks through VMware's own library, where the operator has it: nbdkit's vddk plugin reads what is allocated, and nothing else.

Source: nbdkit-vddk-plugin(1). What the plugin does not check itself (library, thumbprint, moref) is checked here first.
"""

from __future__ import annotations

import contextlib
import glob
import os
import re
import tempfile
from dataclasses import dataclass
from typing import Iterator

from ..core import atomic, modes, process
from ..core.errors import MissingTool, ToolFailed
from ..core.progress import Progress
from ..disk import qemu_img, vmdk
from . import nbdkit
from .download import Arrived

NAME, FLAT = "disk.vmdk", "disk-flat.vmdk"
_CID = 0x56444B31
_KNOWN = tuple(f"libvixDiskLib.so.{number}" for number in (8, 7, 6))  # what every release of the plugin looks for
_VERSION = re.compile(r"^vddk_library_version=(\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Vddk:
    """Where the library is unpacked, which plugin nbdkit loads (a name or a path), and the library's own transports and compression."""

    libdir: str = "/opt/vmware-vix-disklib-distrib"
    plugin: str = "vddk"
    transports: str = ""
    compression: str = ""

    def check(self) -> str:
        """The version of the library.

        Raises MissingTool for what is not installed, with how to get it.
        """
        process.require("nbdkit")
        with self.as_loaded() as libdir:
            done = process.run(["nbdkit", self.plugin, f"libdir={libdir}", "--dump-plugin"], check=False)
        if done.rc:
            raise MissingTool(
                f"nbdkit cannot use the VDDK: {(done.stderr or done.stdout).strip()[-500:]}",
                "Install nbdkit's vddk plugin (nbdkit-vddk-plugin on Fedora and RHEL, nbdkit-plugin-vddk in Debian's contrib), and a library that fits it.",
                tool="nbdkit-vddk-plugin",
            )
        found = _VERSION.search(done.stdout)
        return found[1] if found else "unknown"

    @contextlib.contextmanager
    def as_loaded(self) -> Iterator[str]:
        """The library's directory as nbdkit's plugin wants it, for the time of a block.

        Each release of the plugin looks for lib64/libvixDiskLib.so.N with the numbers that it knows, and passes over newer libraries (VDDK 9) and
        files with a longer version (OpenVDDK), although their interface is the same. These get the missing names in a directory of links.
        Raises MissingTool where there is no library.
        """
        directory, library = self._library()
        if os.path.basename(directory) == "lib64" and os.path.basename(library) in _KNOWN:
            yield os.path.dirname(directory)
            return
        with tempfile.TemporaryDirectory(prefix="hyper2kvm-vddk-") as private:
            lib64 = os.path.join(private, "lib64")
            os.mkdir(lib64)
            for name in os.listdir(directory):
                os.symlink(os.path.join(directory, name), os.path.join(lib64, name))
            for name in set(_KNOWN) - set(os.listdir(lib64)):
                os.symlink(library, os.path.join(lib64, name))
            yield private

    def _library(self) -> tuple[str, str]:
        """The directory of the library and its newest file: below lib64 as it is unpacked, or in the very directory that is named."""
        for directory in (os.path.join(os.path.abspath(self.libdir), "lib64"), os.path.abspath(self.libdir)):
            found = glob.glob(os.path.join(glob.escape(directory), "libvixDiskLib.so.[0-9]*"))
            known = [path for path in found if os.path.basename(path) in _KNOWN]
            if found:
                return directory, max(known or found, key=lambda path: [int(part) for part in re.findall("[0-9]+", os.path.basename(path))])
        raise MissingTool(
            f"There is no VDDK in {self.libdir}: no lib64/libvixDiskLib.so.*.",
            "Download VMware's Virtual Disk Development Kit for your vSphere version (or OpenVDDK), unpack it there, or name its place "
            "(migrate_vddk_libdir). The other transports do without it.",
            tool="vddk",
        )


@dataclass(frozen=True)
class VddkDisk:
    """A disk as the library names it: the VM by its id, the snapshot that freezes it (none for a VM that is off), "[datastore] path"."""

    server: str
    user: str
    thumbprint: str
    vm: str
    snapshot: str
    path: str
    port: int = 443

    def arguments(self, vddk: Vddk, libdir: str) -> dict[str, str]:
        """What nbdkit is told; the password is not among it. `libdir`: see Vddk.as_loaded."""
        optional = {"snapshot": self.snapshot, "transports": vddk.transports, "compression": vddk.compression}
        return {
            "libdir": libdir,
            "server": self.server,
            "port": str(self.port),
            "user": self.user,
            "thumbprint": self.thumbprint,
            "vm": f"moref={self.vm}",
            **{key: value for key, value in optional.items() if value},
            "file": self.path,
        }


@contextlib.contextmanager
def export(vddk: Vddk, disk: VddkDisk, password: str, manner: nbdkit.Manner) -> Iterator[nbdkit.Export]:
    """The disk as an NBD export. What its clients see as an I/O error is raised in the library's own words."""
    with contextlib.ExitStack() as stack:
        arguments = disk.arguments(vddk, stack.enter_context(vddk.as_loaded()))
        running = stack.enter_context(nbdkit.export(vddk.plugin, arguments, {"password": password}, manner))
        try:
            yield running
        except ToolFailed as error:  # the reason is what nbdkit has said
            raise ToolFailed(
                f"{disk.path} cannot be read by VDDK: {error.msg}",
                "See the reason. Ports 443 of the server and 902 of the VM's host must be reachable and the host's name must resolve; the account "
                "needs VirtualMachine.Provisioning.GetVmFiles and DiskRandomRead; VMware's library refuses free ESXi. Another transport does without VDDK.",
                path=disk.path,
            ) from error


def receive(vddk: Vddk, disk: VddkDisk, password: str, size: int, directory: str, progress: Progress) -> Arrived:
    """Bring what is allocated of a disk as a flat VMDK into `directory`."""
    modes.make_directory(directory)
    final, partial = os.path.join(directory, FLAT), os.path.join(directory, FLAT + atomic.PARTIAL)
    try:
        with export(vddk, disk, password, nbdkit.Manner(cached=False)) as running:
            qemu_img.convert(running.uri, "raw", partial, "raw", [], False, progress, size, size + (1 << 20))
        atomic.publish(partial, final)
    finally:
        with contextlib.suppress(FileNotFoundError):  # a copy that broke off is of no use
            os.unlink(partial)
    extent = vmdk.Extent("RW", size // vmdk.SECTOR, "FLAT", FLAT)
    atomic.write_text(os.path.join(directory, NAME), vmdk.canonical("twoGbMaxExtentFlat", _CID, vmdk.NO_PARENT, None, (extent,)))
    return Arrived(f"{os.path.basename(directory)}/{FLAT}", size, running.moved, "")
