"""PURE. Which tick is due: times at which something is to be done, and what becomes of those that nobody was there for.

Ticks are seconds since 1970, as people mean them: they are what a wall clock says. All processes have to compute the same ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeAlias

from incumbent.errors import InvalidInput

TICKS_MAX: Final = 100_000
"""So many ticks are looked through at a time."""
EVERY_S_MIN: Final = 0.01

Ticks: TypeAlias = Callable[[float], float]
"""Gives the first tick after a time; infinity when there is none. Must depend on nothing else."""


class Missed(StrEnum):
    """What becomes of ticks that were not started on time."""

    SKIP = "skip"  # none of them is run
    RUN_ONCE = "run_once"  # the latest that is due is run, for all of them
    RUN_ALL = "run_all"  # each is run, the oldest first


@dataclass(frozen=True, slots=True)
class Tick:
    at: float  # seconds since 1970
    missed: bool  # it is started later than it should be


@dataclass(frozen=True, slots=True)
class Mark:
    """What is written down: all ticks up to this one are done with."""

    at: float
    token: int  # of the leader that wrote it


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How late is late, and what then. Times in seconds."""

    missed: Missed
    on_time: float
    missed_within: float
    missed_max: int

    def __post_init__(self) -> None:
        for field, seconds in (("on_time", self.on_time), ("missed_within", self.missed_within)):
            if not 0 < seconds < math.inf:
                raise InvalidInput(field, f"is {seconds!r}", "give seconds, above 0")
        if not 1 <= self.missed_max <= TICKS_MAX:
            raise InvalidInput("missed_max", f"is {self.missed_max}", f"1 to {TICKS_MAX}")


def every(seconds: float) -> Ticks:
    """The multiples of `seconds` since 1970. Raises InvalidInput."""
    if not EVERY_S_MIN <= seconds < math.inf:
        raise InvalidInput("every", f"is {seconds!r}", f"give seconds, at least {EVERY_S_MIN}")

    def following(after: float) -> float:
        number = after // seconds + 1
        # The product is rounded, so that it may be the very tick that was asked from.
        return number * seconds if number * seconds > after else (number + 1) * seconds

    return following


def next_after(ticks: Ticks, after: float) -> float:
    """Raises InvalidInput when the callable gives no later time, as it must."""
    at = ticks(after)
    if not at > after:
        raise InvalidInput("at", f"gave {at!r} as the tick after {after!r}", "give a later time, or infinity")
    return at


def due(ticks: Ticks, last: float, now: float, policy: Policy) -> Tick | None:
    """The tick to start now, when those up to `last` are done with. None: none yet.

    Raises InvalidInput when more than TICKS_MAX are due.
    """
    # Looked for from where the oldest may be that is run.
    back_s = policy.on_time if policy.missed is Missed.SKIP else max(policy.on_time, policy.missed_within)
    found = list[Tick]()
    at = next_after(ticks, max(last, now - back_s))
    while at <= now:
        if len(found) == TICKS_MAX:
            raise InvalidInput(
                "missed_within", f"has room for more than {TICKS_MAX} ticks", "give fewer seconds"
            )
        found.append(Tick(at, missed=now - at >= policy.on_time))
        at = next_after(ticks, at)
    late = sum(tick.missed for tick in found)
    if policy.missed is Missed.RUN_ONCE and late:
        return found[-1]
    if policy.missed is Missed.RUN_ALL:
        del found[: max(0, late - policy.missed_max)]
    return found[0] if found else None


def encode(mark: Mark) -> bytes:
    """As it stands in its cell. The token is text: JSON numbers lose bits above 2**53."""
    return json.dumps({"at": mark.at, "token": str(mark.token)}, separators=(",", ":")).encode()


def decode(value: bytes) -> Mark:
    """The mark that `encode` wrote. Raises InvalidInput when the cell holds something else."""
    try:
        content = json.loads(value)
        return Mark(float(content["at"]), int(content["token"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            "cell", "does not hold the mark of a schedule", "use another name for the schedule"
        ) from error
