# SPDX-License-Identifier: GPL-3.0-or-later
"""Says to the module of the same name which run it belongs to."""

from __future__ import annotations

from ansible_collections.hyper2kvm.migration.plugins.plugin_utils.progress_action import RunAction


class ActionModule(RunAction):
    """See RunAction."""
