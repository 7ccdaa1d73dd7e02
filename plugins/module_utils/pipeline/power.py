# SPDX-License-Identifier: GPL-3.0-or-later
"""A source that was shut down for its migration, noted before it was asked, so that it can be started again should the migration be taken back."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from typing import Annotated, Optional

from ..core import atomic, files, modes
from ..core.data import from_data, to_data
from ..core.errors import InvalidInput
from ..core.shape import FILE
from ..core.vm import VmId, require_same
from ..sources.source import Access
from . import sources

_NOTE = "source-stopped.json"


def note(work_dir: str, url: str, vm: VmId) -> None:
    """The VM behind `url` runs, and is about to be shut down."""
    modes.make_directory(work_dir)
    atomic.write_json(os.path.join(work_dir, _NOTE), to_data(_Stopped(url, vm)))


@dataclass(frozen=True)
class _Stopped:
    """The source that was shut down; `identity` None in the note of an earlier version."""

    source: Annotated[str, FILE]
    identity: Optional[VmId] = None


def noted(work_dir: str) -> str:
    """The source that a migration with this work directory has shut down; empty where it has not."""
    found = _noted(work_dir)
    return found.source if found is not None else ""


def _noted(work_dir: str) -> Optional[_Stopped]:
    path = os.path.join(work_dir, _NOTE)
    try:
        text = files.record(path)
        return from_data(_Stopped, json.loads(text), "") if text is not None else None
    except (InvalidInput, ValueError, RecursionError) as error:
        raise InvalidInput(
            f"{path} does not say which source was shut down.", "Start the source by hand, then remove the file.", path=path
        ) from error


def give_back(work_dir: str, access: Access, check: bool) -> list[str]:
    """Start the source again, if a migration with this work directory has shut it down; gives what was done (in check mode: would be).

    Raises InvalidInput where there is another VM by now.
    """
    stopped = _noted(work_dir)
    if stopped is None:
        return []
    url, kind = stopped.source, sources.of(stopped.source)
    if stopped.identity is not None:
        require_same(stopped.identity, kind.identified(url, access), f"What is noted in {work_dir}")
    done = kind.started(url, access, check)
    if not check:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(work_dir, _NOTE))
    return [f"start {url}"] if done else []
