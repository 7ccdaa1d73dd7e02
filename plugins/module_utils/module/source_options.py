# SPDX-License-Identifier: GPL-3.0-or-later
"""What the options mean that say which VM a module works on and where."""

from __future__ import annotations

import os
from typing import Any, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from ..core import urls
from ..core.errors import InvalidInput, UnsafeInput
from ..core.manifest import Manifest
from ..disk import staging
from ..pipeline import places
from ..pipeline.sources import FORMS, is_remote
from .runtime import module_for


def module_with_source(spec: Mapping[str, Any], **constraints: Any) -> AnsibleModule:
    """A module, see runtime.module_for, whose source may be a URL."""
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
    """Where the disks of a VM come from: what the user names, and what an earlier FETCH into its work directory has noted."""
    earlier = staging.fetched(params["work_dir"]) if params.get("work_dir") else None
    noted = earlier.options.get("source") if earlier is not None else None
    return [*(params.get("source") or ()), *(noted if isinstance(noted, list) else ())]


def require_own(module: AnsibleModule) -> None:
    """Raise InvalidInput where the work directory is another VM's than that of the source; nothing is compared where one of them is not named."""
    params = module.params
    if params["work_dir"]:
        staging.noted(params["work_dir"])  # whatever a stage writes from here on spares the source
    noted = not (module.check_mode and params.get("moved"))  # a dry FETCH says whether the VM has moved, and notes nothing
    if params["work_dir"] and params["source"] and noted:
        places.require_source(params["work_dir"], source_of(params))


def fetched_of(params: Mapping[str, Any]) -> Optional[Manifest]:
    """What FETCH has staged, if that is of what the user names; None where a run would fetch first."""
    earlier = staging.fetched(params["work_dir"])
    noted = earlier.options.get("source") if earlier is not None else None
    return earlier if not (params.get("source") and noted) or noted == source_of(params) else None


def require_fetched(params: Mapping[str, Any]) -> Manifest:
    """What FETCH has staged, which must be what the user names, if that is named."""
    return staging.require_fetched(params["work_dir"], source_of(params) if params.get("source") else ())
