# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of source that there is, found by the scheme of a URL: each module below that has a SOURCE is one."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

import contextlib
import re
from typing import Iterable, Mapping, Sequence

from ..core import registry, urls
from ..core.errors import InvalidInput
from ..core.vm import VmId
from ..sources import aws, azure, esxi, vsphere
from ..sources.source import Access, Folder, Remote, Source

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
        raise InvalidInput(f"{url} is of no known kind.", f"Write {'; '.join(source.words for source in SOURCES.values())}.", source=url)
    return found


def opened(url: str, access: Access, check: bool = False) -> contextlib.AbstractContextManager[Remote]:
    """See Source.opened."""
    return of(url).opened(url, access, check)


def identified(url: str, access: Access) -> VmId:
    """See Source.identified."""
    return of(url).identified(url, access)


def folder(url: str, access: Access) -> contextlib.AbstractContextManager[Folder]:
    """See Source.folder."""
    return of(url).folder(url, access)


def libraries_of(sources: Iterable[str]) -> tuple[str, ...]:
    """The libraries of Python that ask the places which sources are on; of a kind that is not known, none."""
    known = (SOURCES.get(source.partition(":")[0].lower()) for source in sources if is_remote([source]))
    return tuple(dict.fromkeys(library for source in known if source is not None for library in source.libraries))
