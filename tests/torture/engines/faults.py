"""Which faults come when: a function of the seed alone. Real processes cannot be replayed, but what is done to them can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import Final

OVERLAPPING: Final = 0.5
"""So many of all faults begin before the one before is over."""
CALM_S: Final = (0.3, 2.0)
STEPS_S: Final = (-86_400, -3600, -5, 5, 3600, 86_400)


class Verb(StrEnum):
    KILL = "kill"  # SIGKILL; started again afterwards, with its data
    CRASH = "crash"  # a candidate with its guardian, at one moment, as a host would
    STOP = "stop"  # SIGSTOP, SIGCONT
    CUT = "cut"  # off from everybody
    PART = "part"  # a candidate off from most members
    MUTE = "mute"  # what it sends to others is lost, and what they send arrives
    STEP = "step"  # its wall clock, which stays wrong
    RESTART = "restart"  # in order
    PROMOTE = "promote"  # the primary dies for good, its copy takes over, and gets another copy
    COMPACT = "compact"  # watches lose their place
    HARM = "harm"  # answers are lost, late, or errors


class Whom(StrEnum):
    HOLDER = "holder"  # who leads the election
    WAITING = "waiting"  # a candidate that does not
    LEADER = "leader"  # of the servers
    MEMBER = "member"  # any server
    SERVERS = "servers"  # all of them at once


CANDIDATES: Final = (Whom.HOLDER, Whom.WAITING)


@dataclass(frozen=True, slots=True)
class Kind:
    verb: Verb
    whom: Whom

    def __str__(self) -> str:
        return f"{self.verb} {self.whom}"


@dataclass(frozen=True, slots=True)
class Fault:
    kind: Kind
    chance: float
    """In [0, 1): which of those that it may strike."""
    step_s: int
    lasts_s: float
    next_s: float
    """From its beginning to that of the next one."""


OF_CANDIDATES: Final = (
    *(Kind(verb, Whom.HOLDER) for verb in (Verb.KILL, Verb.CRASH, Verb.STOP, Verb.CUT, Verb.MUTE, Verb.STEP)),
    *(Kind(verb, Whom.WAITING) for verb in (Verb.KILL, Verb.STOP, Verb.CUT, Verb.STEP)),
)


def plan(seed: int, kinds: Sequence[Kind], ttl_s: float, steps_s: Sequence[int] = STEPS_S) -> Iterator[Fault]:
    """For ever. Every kind comes once before any comes again, so that a short run has them all."""
    random = Random(seed)
    while True:
        for kind in random.sample(kinds, len(kinds)):
            lasts_s = random.uniform(0.3, 2.2 * ttl_s)
            if random.random() < OVERLAPPING:
                next_s = random.uniform(0.2, lasts_s)
            else:
                next_s = lasts_s + random.uniform(*CALM_S)
            yield Fault(kind, random.random(), random.choice(steps_s), lasts_s, next_s)
