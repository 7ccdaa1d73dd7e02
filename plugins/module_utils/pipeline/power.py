# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that was shut down for its migration, noted before it was asked, so that it can be started again should the migration be taken back."""

from __future__ import annotations

import contextlib
import json
import os
from typing import Any, Mapping

from ..core import atomic, files, modes
from ..core.errors import InvalidInput
from ..core.vm import VmId, require_same
from ..sources.source import Access
from . import places, sources

_NOTE = "source-stopped.json"


def note(work_dir: str, url: str, vm: VmId) -> None:
    """The VM behind `url` runs, and is about to be shut down."""
    modes.make_directory(work_dir)
    atomic.write_json(os.path.join(work_dir, _NOTE), {"source": url, places.IDENTITY: vm.as_data()})


def noted(work_dir: str) -> str:
    """The source that a migration with this work directory has shut down; empty where it has not."""
    return str(_noted(work_dir).get("source", ""))


def _noted(work_dir: str) -> Mapping[str, Any]:
    path = os.path.join(work_dir, _NOTE)
    try:
        text = files.record(path)
        found = {} if text is None else json.loads(text)
        if text is None or (isinstance(found, dict) and isinstance(found["source"], str)):
            return found
    except (InvalidInput, ValueError, LookupError, RecursionError):
        pass
    raise InvalidInput(f"{path} does not say which source was shut down.", "Start the source by hand, then remove the file.", path=path)


def give_back(work_dir: str, access: Access, check: bool) -> list[str]:
    """Start the source again, if a migration with this work directory has shut it down; gives what was done (in check mode: would be).

    Raises InvalidInput where there is another VM by now.
    """
    url, vm = noted(work_dir), places.recorded(_noted(work_dir))
    if not url:
        return []
    kind = sources.of(url)
    if vm is not None:
        require_same(vm, kind.identified(url, access), f"What is noted in {work_dir}")
    done = kind.started(url, access, check)
    if not check:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(work_dir, _NOTE))
    return [f"start {url}"] if done else []
