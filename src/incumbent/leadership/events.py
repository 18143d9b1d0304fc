"""What a term tells its listeners: one record per change, in order (`telling` carries them).

For each term exactly one ELECTED, then any number of EXTENDED and JEOPARDY, then exactly one LOST or RELEASED (P24).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from incumbent.leadership.tenure import Reason


class EventKind(StrEnum):
    ELECTED = "elected"  # the term begins
    EXTENDED = "extended"  # a renewal was confirmed; the deadline moved
    JEOPARDY = "jeopardy"  # a renewal is overdue; the term still holds
    LOST = "lost"  # the term is over, against our will
    RELEASED = "released"  # the term is over because this side ended it


@dataclass(frozen=True, slots=True, kw_only=True)
class TermEvent:
    kind: EventKind
    election: str
    candidate: str
    token: int
    time_ns: int  # when it happened, on this host's suspend-aware clock
    pid: int
    deadline_ns: (
        int  # on the same clock; the term does not hold from there on, whatever else is (not) recorded
    )
    reason: Reason | None = None  # of LOST and RELEASED


Listener: TypeAlias = Callable[[TermEvent], None]
