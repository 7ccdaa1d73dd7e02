# SPDX-License-Identifier: GPL-3.0-or-later
"""The kinds of change that a Linux guest is repaired with, each by its module below: what a rollback on the running system reads."""

# ruff: noqa: F401
# pylint: disable=unused-import
from __future__ import annotations

from ..guest.change import collected
from ..guest.changes import copies, entries, run, write
from ..linux import extend_initramfs

KINDS = collected(globals())
