# SPDX-License-Identifier: GPL-3.0-or-later
"""A transport of vSphere in one file: each file of a disk in one request, without pieces. A test drops it into a copy of the collection."""

from __future__ import annotations

import contextlib
import os

from ..core.progress import Progress
from ..disk import chain
from ..disk.machine import SourceVm
from ..transport import vmdk_chain
from ..transport.download import Arrived, Job
from ..transport.files import Files
from .vsphere_files import datastore, volume_path
from .vsphere_transport import Coming, Transport, Wanted


def from_one_request(wanted: Wanted) -> Coming:
    files = wanted.stack.enter_context(contextlib.closing(datastore(wanted.point.session, wanted.point.vm, wanted.access)))
    walked = [vmdk_chain.chain(files, volume_path(disk.files[0])) for disk in wanted.disks]

    def bring(directory: str, progress: Progress) -> tuple[Arrived, ...]:
        return tuple(_copied(files, job, _place(directory, number)) for number, disk in enumerate(walked) for job in disk.jobs)

    def local(directory: str) -> SourceVm:
        return wanted.arrived(
            [chain.resolve(os.path.join(_place(directory, number), disk.jobs[0].name)) for number, disk in enumerate(walked)]
        )

    return Coming(wanted.whole(), bring, local)


def _place(directory: str, number: int) -> str:
    return os.path.join(directory, f"disk{number}")


def _copied(files: Files, job: Job, directory: str) -> Arrived:
    os.makedirs(directory, exist_ok=True)
    with open(os.path.join(directory, job.name), "wb") as copy:
        for part in files.stream(job.path, ((0, job.size),), job.stamp):
            copy.write(part)
    return Arrived(job.name, job.size, job.size, "")


TRANSPORTS = (Transport("one_request", from_one_request, resumes=False, parts=False),)
