# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that was shut down for its migration, noted before it was asked, so that it can be started again should the migration be taken back."""

from __future__ import annotations

import contextlib
import json
import os
import urllib.parse

from ..core import atomic, modes
from ..core.errors import InvalidInput
from ..transport import esxi
from ..vsphere import snapshots
from . import cloud, host, remote
from .origin import Access

_NOTE = "source-stopped.json"


def note(work_dir: str, url: str) -> None:
    """The VM behind `url` runs, and is about to be shut down."""
    modes.make_directory(work_dir)
    atomic.write_json(os.path.join(work_dir, _NOTE), {"source": url})


def noted(work_dir: str) -> str:
    """The source that a migration with this work directory has shut down; empty where it has not."""
    path = os.path.join(work_dir, _NOTE)
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["source"])
    except FileNotFoundError:
        return ""
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise InvalidInput(
            f"{path} does not say which source was shut down.", "Start the source by hand, then remove the file.", path=path
        ) from error


def give_back(work_dir: str, access: Access, check: bool) -> list[str]:
    """Start the source again, if a migration with this work directory has shut it down; gives what was done (in check mode: would be)."""
    url = noted(work_dir)
    if not url:
        return []
    done = _started(url, access, check)
    if not check:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(work_dir, _NOTE))
    return [f"start {url}"] if done else []


def _started(url: str, access: Access, check: bool) -> bool:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme in cloud.SCHEMES:
        return cloud.started(url, check)
    if scheme == "ssh":
        with host.reached(url, access) as (files, dummy, registered):
            if registered is None or esxi.power(files, registered) == "on":
                return False
            if not check:
                esxi.start(files, registered)
            return True
    with remote.reached(url, access) as (session, vm):
        if vm.power == "on":
            return False
        if not check:
            snapshots.power_on(session, vm)
        return True
