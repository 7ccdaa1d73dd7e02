# SPDX-License-Identifier: GPL-3.0-or-later
"""Property tests judge results, never seconds: a busy machine must not fail them.

They draw the same inputs each time, so that a change fails for what it changed; fifty, since the next run finds no more in more of them.
`make hostile` draws others, and twice as many.
"""

from __future__ import annotations

import gc

from hypothesis import HealthCheck, settings

settings.register_profile("steady", max_examples=50, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("wander", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")


def pytest_collection_finish() -> None:
    """What is loaded stays. The collector of garbage need not look through it in every test, nor make a process copy it that a test forks."""
    gc.collect()
    gc.freeze()
