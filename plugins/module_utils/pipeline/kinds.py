# SPDX-License-Identifier: GPL-3.0-or-later
"""Every kind of change that there is: those of each module below that has KINDS."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

from ..guest.change import collected
from ..guest.changes import patch
from ..windows import edit_hive
from . import live_kinds

KINDS = collected(globals())
