# SPDX-License-Identifier: GPL-3.0-or-later
"""Property tests judge results, never seconds: a busy machine must not fail them."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
