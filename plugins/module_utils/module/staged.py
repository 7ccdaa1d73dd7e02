# SPDX-License-Identifier: GPL-3.0-or-later
"""The body of a module that is one stage of a migration."""

from __future__ import annotations

from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from ..pipeline.stage import Stage, carry_out
from .runtime import Result, give_back_when_ended, respawn_for, run
from .source_options import run_of


def run_stage(module: AnsibleModule, stage_of: Callable[[dict[str, Any]], Stage]) -> None:
    """Carry out the stage that the parameters of the module ask for, under an interpreter with its libraries, and answer."""

    def work(module: AnsibleModule) -> Result:
        stage = stage_of(module.params)
        respawn_for(*stage.libraries)
        if stage.gives_back:
            give_back_when_ended()
        return carry_out(stage, run_of(module))

    run(module, work)
