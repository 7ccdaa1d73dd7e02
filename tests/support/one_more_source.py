# SPDX-License-Identifier: GPL-3.0-or-later
"""A kind of source in one file, store:///DIRECTORY, the folder of a VM of VMware. A test drops it into a copy of the collection."""

from __future__ import annotations

import contextlib
import os
import shutil
import urllib.parse
from dataclasses import replace
from typing import Iterator

from ..core.progress import Progress
from ..core.vm import VmId, place_of
from ..disk.machine import SourceVm
from ..disk.source import open_source
from ..transport.download import Arrived, Job
from .opened import Remote, RemoteDisk
from .source import Access, Kind, Source, which


class Store(Kind):
    """See Source. What is there is off, and nothing is ever left behind."""

    scheme, words = "store", "store:///DIRECTORY"

    def identified(self, url: str, access: Access) -> VmId:
        with self.opened(url, access, check=True) as remote:
            return remote.which

    @contextlib.contextmanager
    def opened(self, url: str, access: Access, check: bool) -> Iterator[Remote]:
        folder = urllib.parse.unquote(urllib.parse.urlsplit(url).path)
        name = next((name for name in sorted(os.listdir(folder)) if name.endswith(".vmx")), "")
        vm = open_source([os.path.join(folder, name)])

        def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
            shutil.copytree(folder, os.path.join(directory, "vm"), dirs_exist_ok=True)
            return tuple(Arrived(job.name, job.size, job.size, "") for disk in disks for job in disk.jobs)

        def local(directory: str) -> SourceVm:
            return open_source([os.path.join(directory, "vm", name)])

        disks = tuple(RemoteDisk(disk.chain.virtual_size, tuple(map(_job, disk.chain.files())), disk.place) for disk in vm.disks)
        known = which(vm, place_of(url), url, [(disk.size, *disk.place.at) for disk in disks])
        yield Remote(replace(vm, disks=()), disks, "copy", (), bring, local, which=known)


def _job(path: str) -> Job:
    found = os.stat(path)
    return Job(path, os.path.basename(path), found.st_size, str(found.st_mtime_ns))


SOURCE: Source = Store()
