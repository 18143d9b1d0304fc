"""Settings for all tests. Its being here also puts the repository's root on the path, whichever part is run alone."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# No deadline per example: a busy machine is no fault of the code. A failure prints the line that replays it.
settings.register_profile(
    "incumbent", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("incumbent")
