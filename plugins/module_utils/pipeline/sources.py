# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of source that there is, found by what the user wrote: paths of this host, or a URL.

The scheme of a URL tells the kind: each module below that has a SOURCE is one.
"""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

import contextlib
import re
from typing import Iterable, Mapping, Sequence

from ..core import registry, urls
from ..core.errors import InvalidInput, NotInPlace
from ..core.shape import require_texts
from ..core.vm import VmId
from ..disk import archive
from ..sources import aws, azure, esxi, local, vsphere
from ..sources.opened import Opened
from ..sources.source import Access, Folder, Source

SOURCES: Mapping[str, Source] = {source.scheme: source for source in registry.entries(globals(), "SOURCE")}
FORMS: urls.Forms = {scheme: source.form for scheme, source in SOURCES.items()}


def is_remote(source: Sequence[str]) -> bool:
    """Whether a source is a URL."""
    return len(source) == 1 and re.match(r"[a-z][a-z0-9+.-]*://", source[0], re.IGNORECASE) is not None


def of(url: str) -> Source:
    """The kind of source that a URL is of. Raises InvalidInput for one that is of none, or has what belongs into no URL."""
    urls.require_plain(url, FORMS)
    found = SOURCES.get(urls.split(url).scheme)
    if found is None:
        raise InvalidInput(f"{url} is of an unknown kind.", f"Write {'; '.join(source.words for source in SOURCES.values())}.", source=url)
    return found


def opened(source: Sequence[str], access: Access, check: bool = False) -> contextlib.AbstractContextManager[Opened]:
    """See Source.opened. Raises InvalidInput for a treatment of running VMs that its kind does not know, and for a source that is one text."""
    require_texts(source=source)
    if not is_remote(source):
        return local.opened(source, access)
    kind = of(source[0])
    possible = {"refuse": True, "shutdown": kind.can.power, "snapshot": kind.can.freeze}
    if not possible[access.running]:
        known = ", ".join(name for name, can in possible.items() if can)
        raise InvalidInput(
            f"A VM of {kind.scheme}:// cannot be treated so while it is running: {access.running}.",
            f"Set migrate_running to {known}, and shut the VM down yourself.",
            source=source[0],
        )
    return kind.opened(source[0], access, check)


def require_in_place(source: Sequence[str]) -> None:
    """Raise NotInPlace where no VM of its kind can be read where it is; of another only its disks tell."""
    kind = of(source[0])
    if not kind.can.in_place:
        raise NotInPlace(
            f"No disk of {kind.scheme}:// can be read where it is.", "Fetch it first (migrate_fetch: stage).", source=source[0]
        )


def identified(source: Sequence[str], access: Access) -> VmId:
    """Which VM a source is. Nothing is changed there. Raises InvalidInput for a source that is one text."""
    require_texts(source=source)
    return of(source[0]).identified(source[0], access) if is_remote(source) else local.identified(source, access)


def brought(source: Sequence[str]) -> bool:
    """Whether FETCH makes a copy: of what is elsewhere, and of what is packed."""
    return is_remote(source) or archive.packed(source)


def folder(url: str, access: Access) -> contextlib.AbstractContextManager[Folder]:
    """See Source.folder."""
    return of(url).folder(url, access)


def libraries_of(sources: Iterable[str]) -> tuple[str, ...]:
    """The libraries of Python that ask the places which sources are on; of a kind that is not known, none."""
    known = (SOURCES.get(source.partition(":")[0].lower()) for source in sources if is_remote([source]))
    return tuple(dict.fromkeys(library for source in known if source is not None for library in source.libraries))
