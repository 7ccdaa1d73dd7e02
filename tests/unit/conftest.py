# SPDX-License-Identifier: GPL-3.0-or-later
"""Property tests judge results, never seconds: a busy machine must not fail them."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
