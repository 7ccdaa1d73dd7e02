# SPDX-License-Identifier: GPL-3.0-or-later
"""Shows the progress of the module of the same name."""

from __future__ import annotations

from ansible_collections.hyper2kvm.migration.plugins.plugin_utils.progress_action import ProgressAction


class ActionModule(ProgressAction):
    """See ProgressAction."""
