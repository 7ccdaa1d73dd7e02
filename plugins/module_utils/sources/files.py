# SPDX-License-Identifier: GPL-3.0-or-later
"""Disks that are files at their source: brought here, or read where they are."""

from __future__ import annotations

import contextlib
import os
from typing import Optional, Sequence

from ..core import atomic, modes
from ..core.progress import Progress
from ..transport import download, nbdkit
from ..transport.download import Arrived, Job, Throttle
from ..transport.files import Files
from ..transport.nbdkit import Exporting
from .opened import InPlace, RemoteDisk
from .source import Access


def bring_files(files: Files, jobs: Sequence[Job], directory: str, progress: Progress, access: Access) -> tuple[Arrived, ...]:
    download.check_names(jobs)
    return download.download(files, jobs, directory, progress, access.workers, Throttle(access.bandwidth))


def bring_each(disks: Sequence[tuple[Files, Sequence[Job]]], directory: str, progress: Progress, access: Access) -> tuple[Arrived, ...]:
    """The files of each disk into a directory of its own."""
    arrived: list[Arrived] = []
    modes.make_directory(directory)
    needed = sum(download.missing(jobs, os.path.join(directory, f"disk{number}")) for number, (dummy, jobs) in enumerate(disks))
    atomic.need_space(directory, needed, "The copy of the source")
    for number, (files, jobs) in enumerate(disks):
        arrived += bring_files(files, jobs, os.path.join(directory, f"disk{number}"), progress, access)
    return tuple(arrived)


def in_place(files: Exporting, disks: Sequence[RemoteDisk]) -> Optional[InPlace]:
    """How the disks are read where they are; None unless each is one flat file, in a place that can export it."""
    if not files.exports or not all(disk.flat for disk in disks):
        return None

    def exported(sockets: Sequence[str], cached: bool) -> contextlib.AbstractContextManager[list[nbdkit.Export]]:
        manners = [nbdkit.Manner(cached, socket, disk.jobs[1].areas) for disk, socket in zip(disks, sockets)]
        return nbdkit.exports([files.export(disk.jobs[1].path, manner) for disk, manner in zip(disks, manners)])

    return exported
