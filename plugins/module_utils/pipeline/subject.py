# SPDX-License-Identifier: GPL-3.0-or-later
"""The VM that a stage works on: where it is worked on, what it comes from, and how that is reached."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Optional, Protocol, Sequence

from ..core.shape import require_texts
from ..disk import staging
from ..sources.opened import Opened
from ..sources.source import Access
from . import places
from .sources import libraries_of, opened
from .stage import Plain, Run


def sources_of(source: Sequence[str], work_dir: str) -> list[str]:
    """Where the disks of a VM come from: what the user names, and what an earlier FETCH into its work directory has noted."""
    found = staging.fetched(work_dir) if work_dir else None
    return [*source, *(found.source if found is not None else ())]


@dataclass(frozen=True)
class Subject:
    """`work_dir` is empty for a VM that has none here, `source` for whichever VM the work directory is of: a URL, or paths that are absolute."""

    work_dir: str = ""
    source: tuple[str, ...] = ()
    access: Access = Access()

    def __post_init__(self) -> None:
        """Raises InvalidInput for a source that is one text."""
        require_texts(source=self.source)

    @property
    def libraries(self) -> tuple[str, ...]:
        """The libraries of Python that ask the place of its disks."""
        return libraries_of(sources_of(self.source, self.work_dir))

    def require_own(self, run: Run) -> None:
        """Raise InvalidInput where the work directory is another VM's than that of the source; nothing is compared where one of them is not named."""
        if self.work_dir:
            staging.noted(self.work_dir)  # whatever a stage writes from here on spares the source
        noted = not (run.check and run.moved)  # a dry FETCH says whether the VM has moved, and notes nothing
        if self.work_dir and self.source and noted:
            places.require_source(self.work_dir, self.source)

    def fetched(self) -> Optional[staging.Staging]:
        """What FETCH has staged, if that is of the source that is named; None where a run would fetch first."""
        earlier = staging.fetched(self.work_dir)
        another = earlier is not None and self.source and earlier.source and earlier.source != self.source
        return None if another else earlier

    def require_fetched(self) -> staging.Staging:
        """The same. Raises InvalidInput where there is nothing, or that of another source."""
        return staging.require_fetched(self.work_dir, self.source)

    def looked_at(self) -> contextlib.AbstractContextManager[Opened]:
        """The source itself, for the time of a block in which nothing is changed there."""
        return opened(self.source, self.access, check=True)


class HasSubject(Protocol):
    """The options of a stage that works on a VM which FETCH has staged, or would."""

    @property
    def subject(self) -> Subject:
        """That VM."""


class OnSubject(Plain):
    """What such stages need and hold."""

    options: HasSubject

    @property
    def libraries(self) -> Sequence[str]:
        return self.options.subject.libraries

    @property
    def holds(self) -> str:
        return self.options.subject.work_dir

    def require(self, run: Run) -> None:
        self.options.subject.require_own(run)
