"""What the user says about how a leader's work is watched over: one value, checked at the door."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from incumbent.errors import InvalidInput

GRACE_PARTS: Final = 6
"""A body has TTL/6 to end after its cancellation before the escalation, unless another grace is given."""
GRACE_PARTS_MIN: Final = 4
"""A grace is at most TTL/4: it is taken from the lease, and renewals need the rest."""
PROBE_PARTS: Final = 3
"""A probe is made, and has to answer, every TTL/3 unless other times are given."""

Healthy: TypeAlias = Callable[[], object]
"""Truthy: healthy. False, None, or an error: not. An async function runs on the loop, any other in a thread of its own."""


class OnStuck(StrEnum):
    """What is done to a body that runs on after its grace."""

    RAISE = "raise"  # LeadershipLost is raised in it; does nothing to C code and to who swallows it
    EXIT = "exit"  # this process ends at once, without clean-up; does nothing while C code holds the GIL
    KILL = "kill"  # another process kills this one; always works


@dataclass(frozen=True, slots=True, kw_only=True)
class Oversight:
    """Times in seconds. Made by `of`, which fills in what was left open."""

    healthy: Healthy | None = None
    probe_interval: float = 0.0
    probe_timeout: float = 0.0
    progress_timeout: float | None = None
    on_stuck: OnStuck | None = None
    grace: float = 0.0

    @classmethod
    def of(
        cls,
        ttl: float,
        *,
        healthy: Healthy | None,
        probe_interval: float | None,
        probe_timeout: float | None,
        progress_timeout: float | None,
        on_stuck: str | None,
        grace: float | None,
    ) -> Oversight:
        """Raises InvalidInput."""
        times = {
            "probe_interval": probe_interval,
            "probe_timeout": probe_timeout,
            "progress_timeout": progress_timeout,
            "grace": grace,
        }
        for name, seconds in times.items():
            if seconds is not None and not 0 < seconds < math.inf:
                raise InvalidInput(name, f"is {seconds!r}", "give seconds, above 0")
        if healthy is None and (probe_interval is not None or probe_timeout is not None):
            raise InvalidInput("healthy", "is missing", "give the probe that these times are for")
        if on_stuck is not None and on_stuck not in list(OnStuck):
            raise InvalidInput("on_stuck", f"is {on_stuck!r}", f"give one of {', '.join(OnStuck)}")
        if grace is not None and on_stuck is None:
            raise InvalidInput("grace", "is what precedes an escalation", "say which one with on_stuck")
        if grace is not None and grace > ttl / GRACE_PARTS_MIN:
            raise InvalidInput("grace", f"is {grace} s", f"give at most a quarter of the TTL of {ttl} s")
        return cls(
            healthy=healthy,
            probe_interval=ttl / PROBE_PARTS if probe_interval is None else probe_interval,
            probe_timeout=ttl / PROBE_PARTS if probe_timeout is None else probe_timeout,
            progress_timeout=progress_timeout,
            on_stuck=None if on_stuck is None else OnStuck(on_stuck),
            grace=0.0 if on_stuck is None else ttl / GRACE_PARTS if grace is None else grace,
        )
