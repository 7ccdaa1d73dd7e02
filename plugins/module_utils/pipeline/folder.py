# SPDX-License-Identifier: GPL-3.0-or-later
"""A VM's folder as it is: configuration, NVRAM, logs, disks, kept as they are and not made into anything."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import os
import posixpath
import shlex
from typing import Any, Iterator, Sequence, Union

from ..core import ahead, modes
from ..core.errors import InvalidInput
from ..core.progress import Progress
from ..transport import esxi
from ..transport.download import Job, missing
from ..transport.files import patiently
from ..transport.https import HttpsFiles
from ..transport.ssh import SshFiles
from ..vsphere import datastores, readiness
from . import host, remote, ways
from .origin import Access, refuse

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
    with _opened(url, access) as (files, directory, names):
        wanted = [name for name in names if _matches(name, include) and not _matches(name, (*exclude, *NEVER))]
        if not wanted:
            raise InvalidInput(
                f"None of the {len(names)} files in {directory} is wanted.", "Look at the patterns; it has " + ", ".join(names) + "."
            )
        jobs = []
        for name in wanted:
            path = posixpath.join(directory, name)
            found = patiently(functools.partial(files.stat, path), path)
            jobs.append(Job(path, name, found.size, found.stamp, ranged=found.ranged))
        if check:
            ahead.room(dest, missing(jobs, dest), "The copy of the files")
            return True, [{"name": job.name, "size": job.size} for job in jobs]
        modes.make_directory(dest, modes.with_disks(mode), modes.with_disks(mode))
        arrived = ways.bring_files(files, jobs, dest, progress, access)
        for job in jobs:
            os.chmod(os.path.join(dest, job.name), mode)
    return any(item.transferred for item in arrived), [item.as_result() for item in arrived]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


@contextlib.contextmanager
def _opened(url: str, access: Access) -> Iterator[tuple[Union[HttpsFiles, SshFiles], str, list[str]]]:
    """The place, the directory there, and the names of its files."""
    if url.startswith("ssh://"):
        with host.reached(url, access) as (shell, path, vm):
            if vm is not None:
                refuse(tuple(readiness.of_power(vm.name, esxi.power(shell, vm))), access.accept, url)
            directory = posixpath.dirname(path)
            listed = shell.command(f"cd {shlex.quote(directory)} && find . -type f", directory).splitlines()
            yield shell, directory, sorted(name[2:] for name in listed if name.count("/") == 1)
        return
    with remote.reached(url, access) as (session, known):
        refuse(tuple(readiness.of_power(known.name, known.power)), access.accept, url)
        home = posixpath.dirname(known.files)
        listed = [item["path"] for item in datastores.browse(session, home)]
        with contextlib.closing(remote.datastore(session, known, access)) as files:
            yield files, ways.volume_path(home), [posixpath.basename(path) for path in listed if posixpath.dirname(path) == home]
