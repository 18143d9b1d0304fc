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
    match: Index = Index(0)  # durable at the follower and equal to ours; never decreases while not LOST
    mode: Mode = Mode.PROBE
    sequence: int = 0  # of the last append sent; replies carry it back
    match_sequence: int = (
        0  # `sequence` when match last rose: a refusal of a later append below match is proof of loss
    )
    probing: bool = False  # PROBE: one append is out
    in_flight: deque[Index] = field(default_factory=deque)  # REPLICATE: last index of each append that is out
    sent_ns: int = 0  # when the last append left
    active: bool = True  # answered since the last quorum check

    def may_send(self) -> bool:
        match self.mode:
            case Mode.PROBE:
                return not self.probing
            case Mode.REPLICATE:
                return len(self.in_flight) < APPENDS_IN_FLIGHT_MAX
            case Mode.LOST:
                return False

    def sent(self, last: Index, count: int, now_ns: int) -> int:
        """An append whose last entry is `last` leaves now; gives its sequence number."""
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
            self.in_flight.clear()
            self.next = Index(self.match + 1)
        while self.in_flight and self.in_flight[0] <= index:
            self.in_flight.popleft()
        self.next = max(self.next, Index(self.match + 1))
        return news

    def back_to(self, index: Index) -> None:
        """Probe from `index`."""
        self.mode, self.probing = Mode.PROBE, False
        self.in_flight.clear()
        self.next = max(Index(self.match + 1), index)

    def lost(self) -> None:
        """The follower lost what it had acknowledged: count on nothing it says."""
        self.mode, self.match = Mode.LOST, Index(0)
        self.in_flight.clear()

    def view(self) -> Mapping[str, object]:
        return {"match": self.match, "next": self.next, "mode": self.mode.value, "active": self.active}
