"""What a leader knows of one follower's log. PURE.

                     match            next
    ... durable there |  sent or to send | not sent

PROBE sends one append at a time until it learns where the logs agree; REPLICATE sends ahead, as many messages and bytes as
the limits allow; SNAPSHOT sends a snapshot piece by piece, because what the follower lacks is forgotten here; LOST sends
nothing more: that follower lost entries which it had acknowledged.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from incumbent.consensus.api import ReplicaLimits, Snapshot
from incumbent.ids import Index


class Mode(StrEnum):
    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"
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
    waiting: bool = False  # PROBE: one append is out; SNAPSHOT: one piece is out
    in_flight: deque[tuple[Index, int]] = field(
        default_factory=deque
    )  # REPLICATE: last index and bytes of each append
    in_flight_bytes: int = 0  # of all of `in_flight`
    snapshot: Snapshot | None = None  # SNAPSHOT: the one that is being sent
    offset: int = 0  # SNAPSHOT: so many bytes of it are there
    sent_ns: int = 0  # when the last append or piece left
    rank: int = 0  # its place in the succession
    priority: int = 0
    round_trip_ns: int = 0  # smoothed; 0 = not measured
    round_trip_deviation_ns: int = 0

    def may_send(self, limits: ReplicaLimits) -> bool:
        if self.mode is Mode.REPLICATE:
            return (
                len(self.in_flight) < limits.in_flight_appends_max
                and self.in_flight_bytes < limits.in_flight_bytes_max
            )
        return self.mode is not Mode.LOST and not self.waiting

    def sent(self, last: Index, count: int, size: int, now_ns: int) -> int:
        """An append of `count` entries up to `last` leaves now. Gives its sequence number."""
        self.sequence += 1
        self.sent_ns = now_ns
        if self.mode is Mode.PROBE:
            self.waiting = True
        elif count:
            self.in_flight.append((last, size))
            self.in_flight_bytes += size
            self.next = Index(last + 1)
        return self.sequence

    def accepted(self, index: Index) -> bool:
        """The follower has everything up to `index`. Tells whether that is news."""
        news = index > self.match
        if news:
            self.match, self.match_sequence = index, self.sequence
        if self.mode is Mode.PROBE or (
            self.mode is Mode.SNAPSHOT and self.snapshot is not None and index >= self.snapshot.index
        ):
            self.mode, self.waiting, self.snapshot = Mode.REPLICATE, False, None
            self.next = Index(self.match + 1)
        in_flight = self.in_flight
        while in_flight and in_flight[0][0] <= index:
            self.in_flight_bytes -= in_flight.popleft()[1]
        if self.next <= self.match:
            self.next = Index(self.match + 1)
        return news

    def back_to(self, index: Index) -> None:
        """Probe from `index`, never below what is known to match."""
        self.mode, self.waiting, self.snapshot = Mode.PROBE, False, None
        self.fresh_sequence = self.sequence + 1
        self._forget_in_flight()
        self.next = max(Index(self.match + 1), index)

    def to_snapshot(self, snapshot: Snapshot) -> None:
        """What it lacks is forgotten here: send `snapshot`."""
        self.mode, self.waiting = Mode.SNAPSHOT, False
        self.snapshot, self.offset = snapshot, 0
        self.fresh_sequence = self.sequence + 1
        self._forget_in_flight()

    def unanswered(self) -> None:
        """What is out seems to be lost: send again. A probe and a piece keep their place, a stream starts anew after
        `match`."""
        if self.mode is Mode.REPLICATE:
            self.back_to(Index(self.match + 1))
        else:
            self.waiting = False

    def lost(self) -> None:
        """The follower lost what it had acknowledged: count on nothing it says about its log."""
        self.mode, self.match, self.snapshot = Mode.LOST, Index(0), None
        self._forget_in_flight()

    def _forget_in_flight(self) -> None:
        self.in_flight.clear()
        self.in_flight_bytes = 0

    def measured(self, round_trip_ns: int) -> None:
        """Smooth as TCP does (RFC 6298, section 2)."""
        if not self.round_trip_ns:
            self.round_trip_ns, self.round_trip_deviation_ns = round_trip_ns, round_trip_ns // 2
            return
        off_ns = abs(self.round_trip_ns - round_trip_ns)
        self.round_trip_deviation_ns += (off_ns - self.round_trip_deviation_ns) // 4
        self.round_trip_ns += (round_trip_ns - self.round_trip_ns) // 8

    def view(self) -> Mapping[str, object]:
        return {"match": self.match, "next": self.next, "mode": self.mode.value, "heard_ns": self.heard_ns}
