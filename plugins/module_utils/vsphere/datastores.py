# SPDX-License-Identifier: GPL-3.0-or-later
"""Datastores and what lies on them. Source: HostDatastoreBrowser in the vSphere Web Services API reference."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Optional

from ..core.errors import InvalidInput
from .connection import PYVMOMI_ERROR, Session

if PYVMOMI_ERROR is None:
    from pyVmomi import vim


@dataclass(frozen=True)
class Datastore:
    """A datastore; capacity and free space in bytes."""

    name: str
    kind: str
    capacity: int
    free: int
    accessible: bool


@dataclass(frozen=True)
class DatastoreFile:
    """A file as "[datastore] path"; its size in bytes, None where the host does not say."""

    path: str
    size: Optional[int]


def every(session: Session) -> list[Datastore]:
    """All datastores, by name."""
    found = []
    for entity in _all(session):
        summary = session.call(functools.partial(getattr, entity, "summary"))
        found.append(
            Datastore(
                name=summary.name,
                kind=summary.type,
                capacity=int(summary.capacity or 0),
                free=int(summary.freeSpace or 0),
                accessible=bool(summary.accessible),
            )
        )
    return sorted(found, key=lambda item: str(item.name))


def browse(session: Session, path: str, pattern: str = "*") -> list[DatastoreFile]:
    """The files below "[datastore] directory" whose names match.

    Raises InvalidInput when there is no such datastore.
    """
    name = path[1:].partition("]")[0] if path.startswith("[") else ""
    matches = [entity for entity in _all(session) if session.call(functools.partial(getattr, entity, "name")) == name]
    if not matches:
        raise InvalidInput(
            f"{session.endpoint.host} has no datastore of {path!r}.", "Write the directory as [datastore] directory.", path=path
        )
    details = vim.host.DatastoreBrowser.FileInfo.Details(fileType=True, fileSize=True, modification=True, fileOwner=False)
    spec = vim.host.DatastoreBrowser.SearchSpec(matchPattern=[pattern], details=details)
    task = session.call(lambda: matches[0].browser.SearchDatastoreSubFolders_Task(path, spec))
    found = []
    for folder in session.wait(task) or ():
        for item in folder.file or ():
            where = folder.folderPath if folder.folderPath.endswith(("/", "] ")) else folder.folderPath + "/"
            found.append(DatastoreFile(where + item.path, int(item.fileSize) if item.fileSize is not None else None))
    return sorted(found, key=lambda item: item.path)


def _all(session: Session) -> list[Any]:
    content = session.content
    view = session.call(lambda: content.viewManager.CreateContainerView(content.rootFolder, [vim.Datastore], True))
    try:
        return list(session.call(lambda: view.view))
    finally:
        session.call(view.Destroy)
