"""What a leader knows of one follower's log. PURE.

                     match            next
    ... durable there |  sent or to send | not sent

PROBE sends one append at a time until it learns where the logs agree; REPLICATE sends ahead, at most
`APPENDS_IN_FLIGHT_MAX` messages; LOST sends nothing more: that follower lost entries which it had acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from incumbent.ids import Index

APPENDS_IN_FLIGHT_MAX: Final = 64


class Mode(StrEnum):
    PROBE = "probe"
    REPLICATE = "replicate"
    LOST = "lost"


@dataclass(slots=True)
class Progress:
    next: Index  # always > match
    heard_ns: int  # the last answer, of whatever kind; at the start of the term when none came yet
    match: Index = Index(0)  # durable at the follower and equal to ours; never decreases while not LOST
    commit_sent: Index = Index(0)  # the highest commit index it was told that it can act on
    mode: Mode = Mode.PROBE
    sequence: int = 0  # of the last append sent; replies carry it back
    match_sequence: int = (
        0  # `sequence` when match last rose: a refusal of a LATER append below match proves a loss
    )
    fresh_sequence: int = 0  # refusals of appends before this one are about a position that was given up
    probing: bool = False  # PROBE: one append is out
    in_flight: deque[Index] = field(default_factory=deque)  # REPLICATE: last index of each append that is out
    sent_ns: int = 0  # when the last append left

    def may_send(self) -> bool:
        match self.mode:
            case Mode.PROBE:
                return not self.probing
            case Mode.REPLICATE:
                return len(self.in_flight) < APPENDS_IN_FLIGHT_MAX
            case Mode.LOST:
                return False

    def sent(self, last: Index, count: int, now_ns: int) -> int:
        """An append of `count` entries up to `last` leaves now. Gives its sequence number."""
        self.sequence += 1
        self.sent_ns = now_ns
        if self.mode is Mode.PROBE:
            self.probing = True
        elif count:
            self.in_flight.append(last)
            self.next = Index(last + 1)
        return self.sequence

    def accepted(self, index: Index) -> bool:
        """The follower has everything up to `index`. Tells whether that is news."""
        news = index > self.match
        if news:
            self.match, self.match_sequence = index, self.sequence
        if self.mode is Mode.PROBE:
            self.mode, self.probing = Mode.REPLICATE, False
            self.next = Index(self.match + 1)
        while self.in_flight and self.in_flight[0] <= index:
            self.in_flight.popleft()
        self.next = max(self.next, Index(self.match + 1))
        return news

    def back_to(self, index: Index) -> None:
        """Probe from `index`, never below what is known to match."""
        self.mode, self.probing = Mode.PROBE, False
        self.fresh_sequence = self.sequence + 1
        self.in_flight.clear()
        self.next = max(Index(self.match + 1), index)

    def unanswered(self) -> None:
        """What is out seems to be lost: send again. A probe keeps its place, a stream starts anew after `match`."""
        if self.mode is Mode.PROBE:
            self.probing = False
        elif self.mode is Mode.REPLICATE:
            self.back_to(Index(self.match + 1))

    def lost(self) -> None:
        """The follower lost what it had acknowledged: count on nothing it says about its log."""
        self.mode, self.match = Mode.LOST, Index(0)
        self.in_flight.clear()

    def view(self) -> Mapping[str, object]:
        return {"match": self.match, "next": self.next, "mode": self.mode.value, "heard_ns": self.heard_ns}
