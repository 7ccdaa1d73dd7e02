# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options mean that say which VM a module works on and where."""

from __future__ import annotations

import copy
import os
from typing import Any, Mapping

from ansible.module_utils.basic import AnsibleModule

from ..core import memory, urls
from ..core.errors import InvalidInput, UnsafeInput
from ..core.progress import sink
from ..pipeline import subject
from ..pipeline.sources import FORMS, is_remote
from ..pipeline.stage import Run
from ..pipeline.subject import Subject
from ..sources.source import Access
from ..sources.vsphere_transports import AUTO, TRANSPORTS
from .access import access_of
from .runtime import module_for


def module_with_source(spec: Mapping[str, Any], **constraints: Any) -> AnsibleModule:
    """A module, see runtime.module_for, whose source may be a URL, and come by any transport that there is."""
    if "access" in spec:
        access = copy.deepcopy(spec["access"])
        access["options"]["transport"]["choices"] = [AUTO, *sorted(TRANSPORTS)]
        spec = {**spec, "access": access}
    return module_for(spec, FORMS, **constraints)


def source_of(params: Mapping[str, Any]) -> list[str]:
    """What the user named: a URL as it is, paths made absolute. Variables are not expanded: a path may have been found, and is then a name from outside.

    Raises InvalidInput for a URL with a login.
    """
    source: list[str] = params["source"]
    for path in source:
        if not path.strip():
            raise InvalidInput("A source is empty.", "Set migrate_source to a path or a URL.")
        urls.require_plain(path, FORMS)
        strange = next((letter for letter in path if ord(letter) < 32), "")
        if strange:
            shown = f"The source {path!r}" if path.startswith("/") else "A source"  # what is no path may be a login that they hide
            raise UnsafeInput(f"{shown} holds control characters: U+{ord(strange):04X}.", "Rename it; check migrate_source.")
    return source if is_remote(source) else [os.path.abspath(os.path.expanduser(path)) for path in source]


def sources_of(params: Mapping[str, Any]) -> list[str]:
    """Where the disks of a VM come from, see subject.sources_of."""
    return subject.sources_of(params.get("source") or (), params.get("work_dir") or "")


def subject_of(params: Mapping[str, Any]) -> Subject:
    """The VM that a module works on."""
    source = tuple(source_of(params)) if params["source"] else ()
    return Subject(params["work_dir"] or "", source, access_of(params) if "access" in params else Access())


def run_of(module: AnsibleModule) -> Run:
    """How the module runs, from the parameters of progress_spec, or of run_spec alone. Raises InvalidInput for what is no run."""
    params = module.params
    data = params.get("run") or {}
    return Run(
        check=module.check_mode,
        probe=bool(params.get("probe")),
        moved=bool(params.get("moved")),
        diff=module._diff,
        progress=sink(params.get("progress_file")),
        warn=module.warn,
        by=memory.Run.from_data(data) if data else None,
        known_dead=str(data.get("known_dead") or ""),
    )


def require_own(module: AnsibleModule) -> None:
    """Raise InvalidInput where the work directory is another VM's than that of the source, see Subject.require_own."""
    subject_of(module.params).require_own(run_of(module))
