"""What a process's terms have told so far: a listener for elections that can be asked from any thread, without I/O."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from incumbent.leadership.events import EventKind, TermEvent
from incumbent.ports import Clock
from incumbent.runtime.clock import BoottimeClock

HOLDING = (EventKind.ELECTED, EventKind.EXTENDED, EventKind.JEOPARDY)


@dataclass(frozen=True, slots=True)
class Standing:
    """One candidate of this process at one moment."""

    election: str
    candidate: str
    leads: bool  # by the clock: false from the deadline on, whatever was or was not heard
    token: int  # of the present or the last term
    remaining_s: float  # without another renewal; 0 when it does not lead
    jeopardy: bool
    terms: int  # begun so far
    renewals: int  # confirmed during terms so far
    ended: tuple[tuple[str, int], ...]  # reason → how many terms ended for it, sorted


class Board:
    """Give it as `listener` to the elections it shall know: ``cluster.election(name, listener=board)``."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or BoottimeClock()
        self._lock = threading.Lock()
        self._last: dict[tuple[str, str], TermEvent] = {}
        self._counts: Counter[tuple[str, str, EventKind]] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()

    def __call__(self, event: TermEvent) -> None:
        """Take note of what a term tells."""
        key = (event.election, event.candidate)
        with self._lock:
            self._last[key] = event
            self._counts[*key, event.kind] += 1
            if event.kind not in HOLDING:
                self._ended[*key, str(event.reason)] += 1

    def standings(self) -> Sequence[Standing]:
        """Every candidate that has led at least once, by election and candidate."""
        now_ns = self._clock.now_ns()
        with self._lock:
            return [self._standing(key, event, now_ns) for key, event in sorted(self._last.items())]

    def _standing(self, key: tuple[str, str], event: TermEvent, now_ns: int) -> Standing:
        leads = event.kind in HOLDING and now_ns < event.deadline_ns
        ended = tuple(
            sorted((reason, n) for (*whose, reason), n in self._ended.items() if tuple(whose) == key)
        )
        return Standing(
            *key,
            leads=leads,
            token=event.token,
            remaining_s=max(0, event.deadline_ns - now_ns) / 1e9 if leads else 0.0,
            jeopardy=leads and event.kind is EventKind.JEOPARDY,
            terms=self._counts[*key, EventKind.ELECTED],
            renewals=self._counts[*key, EventKind.EXTENDED],
            ended=ended,
        )
