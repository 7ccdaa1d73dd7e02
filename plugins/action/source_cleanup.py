# SPDX-License-Identifier: GPL-3.0-or-later
"""Says of the module of the same name when its conversion host cannot be reached."""

from __future__ import annotations

from ansible_collections.hyper2kvm.migration.plugins.plugin_utils.progress_action import HostAction


class ActionModule(HostAction):
    """See HostAction."""
