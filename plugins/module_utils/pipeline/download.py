# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's folder as it is: configuration, NVRAM, logs, disks, kept as they are and not made into anything."""

from __future__ import annotations

import fnmatch
import functools
import os
import posixpath
from typing import Any, Sequence

from ..core import ahead, modes
from ..core.errors import InvalidInput
from ..core.progress import Progress
from ..sources.files import bring_files
from ..sources.source import Access
from ..transport.download import Job, missing
from ..transport.files import patiently
from . import sources

NEVER = ("*.lck", "*.vswp")  # locks, and what is in memory


def download(
    url: str,
    access: Access,
    dest: str,
    include: Sequence[str],
    exclude: Sequence[str],
    progress: Progress,
    check: bool,
    mode: int = modes.FILE,
) -> tuple[bool, list[dict[str, Any]]]:
    """Bring the files of a VM's folder whose names match `include` and not `exclude` into `dest`, with `mode`; whether any moved, and the files.

    Directories in it are left out. Raises InvalidInput when nothing matches.
    """
    with sources.folder(url, access) as place:
        wanted = [name for name in place.names if _matches(name, include) and not _matches(name, (*exclude, *NEVER))]
        if not wanted:
            raise InvalidInput(
                f"None of the {len(place.names)} files in {place.directory} is wanted.",
                "Check the patterns; it has " + ", ".join(place.names) + ".",
            )
        jobs = []
        for name in wanted:
            path = posixpath.join(place.directory, name)
            found = patiently(functools.partial(place.files.stat, path), path)
            jobs.append(Job(path, name, found.size, found.stamp, ranged=found.ranged))
        if check:
            ahead.room(dest, missing(jobs, dest), "The copy of the files")
            return True, [{"name": job.name, "size": job.size} for job in jobs]
        modes.make_directory(dest, modes.with_disks(mode), modes.with_disks(mode))
        arrived = bring_files(place.files, jobs, dest, progress, access)
        for job in jobs:
            os.chmod(os.path.join(dest, job.name), mode)
    return any(item.transferred for item in arrived), [item.as_result() for item in arrived]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
