"""When a lease runs out, as the serving leader sees it. PURE.

Deadlines live in the memory of the leader that serves, nowhere else. Three rules, each with a bug behind it elsewhere:

1. A leader that begins to serve gives every live lease a full ttl: it cannot know the last renewal its predecessor
   acknowledged. So a leader change never shortens a lease (P59).
2. Expiry is a log entry bound to this leader's term. From proposing it until it resolves, the lease is neither renewed nor
   claimed (P58).
3. A renewal moves the deadline only when it is acknowledged, to its receipt + ttl; see node.py for the proof of leadership
   that comes before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from incumbent.errors import invariant
from incumbent.ids import LeaseId

EXPIRIES_MAX: Final = 1024
"""Proposed in one go. After a leader change all dead holders' leases run out at the same time; messages and heartbeats
get their turn between one lot and the next."""


@dataclass(slots=True)
class LeaseDeadlines:
    _deadlines: dict[LeaseId, int] = field(
        default_factory=dict
    )  # every live lease, while serving; never moves back
    _heap: list[tuple[int, LeaseId]] = field(default_factory=list)
    _queued: set[LeaseId] = field(default_factory=set)  # exactly the leases in _heap, each there once
    _held: dict[LeaseId, int] = field(
        default_factory=dict
    )  # renewals in flight: not expired until they are decided
    _expiring: set[LeaseId] = field(default_factory=set)  # ids whose expiry is proposed and not yet resolved

    def start(self, leases: Iterable[tuple[LeaseId, int]], now_ns: int) -> None:
        """This leader begins to serve: every live lease gets a full ttl (rule 1)."""
        self.stop()
        self._deadlines = {lease: now_ns + ttl_ns for lease, ttl_ns in leases}
        self._heap = [(deadline, lease) for lease, deadline in self._deadlines.items()]
        heapify(self._heap)
        self._queued = set(self._deadlines)

    def stop(self) -> None:
        """No longer serving: whatever is decided about leases is decided elsewhere."""
        self._deadlines, self._heap, self._queued, self._held, self._expiring = {}, [], set(), {}, set()

    @property
    def next_ns(self) -> int | None:
        """When to call `due` again; at times too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> list[LeaseId]:
        """Leases whose time is over, at most `EXPIRIES_MAX`; from here on they are expiring. Call it again while
        `next_ns` is not in the future."""
        over: list[LeaseId] = []
        while self._heap and self._heap[0][0] <= now_ns and len(over) < EXPIRIES_MAX:
            _, lease = heappop(self._heap)
            self._queued.discard(lease)
            deadline = self._deadlines.get(lease)
            if deadline is None or lease in self._held or lease in self._expiring:
                continue
            if deadline > now_ns:
                self._queue(lease, deadline)
            else:
                self._expiring.add(lease)
                over.append(lease)
        return over

    def expiring(self, lease: LeaseId) -> bool:
        return lease in self._expiring

    def granted(self, lease: LeaseId, ttl_ns: int, now_ns: int) -> None:
        """A grant was applied. A repeated one finds its lease and must not shorten it."""
        if lease not in self._deadlines:
            self._deadlines[lease] = now_ns + ttl_ns
            self._queue(lease, now_ns + ttl_ns)

    def ended(self, lease: LeaseId) -> None:
        """The lease was revoked. An expiry of it that is still in the log would hit a new lease of the same id, so the id
        stays expiring until that is resolved."""
        self._deadlines.pop(lease, None)

    def expired(self, lease: LeaseId) -> None:
        """The expiry that this leader proposed was applied, whatever it found."""
        self._deadlines.pop(lease, None)
        self._expiring.discard(lease)

    def hold(self, lease: LeaseId) -> None:
        """A renewal came in: do not expire the lease before that is decided."""
        self._held[lease] = self._held.get(lease, 0) + 1

    def decide(self, lease: LeaseId, until_ns: int | None) -> None:
        """A held renewal was acknowledged with this deadline, or not (None)."""
        if self._held.get(lease, 0) > 1:
            self._held[lease] -= 1
        else:
            self._held.pop(lease, None)
        if lease not in self._deadlines:
            return
        if until_ns is not None:
            invariant(lease not in self._expiring, "an expiring lease is not renewed", lease=lease)
            self._deadlines[lease] = max(self._deadlines[lease], until_ns)
        if lease not in self._held and lease not in self._expiring:
            self._queue(lease, self._deadlines[lease])

    def postpone(self, lease: LeaseId, until_ns: int) -> None:
        """The expiry could not be proposed: the lease lives until someone can."""
        self._expiring.discard(lease)
        if lease in self._deadlines and lease not in self._held:
            self._queue(lease, until_ns)

    def _queue(self, lease: LeaseId, at_ns: int) -> None:
        if lease not in self._queued:
            self._queued.add(lease)
            heappush(self._heap, (at_ns, lease))

    def deadline_ns(self, lease: LeaseId) -> int | None:
        return self._deadlines.get(lease)

    def invariants(self, leases: Iterable[LeaseId]) -> None:
        """Raises InvariantViolated when the state contradicts itself or what leases there are: while serving those that
        live, else none."""
        invariant(self._deadlines.keys() == set(leases), "every live lease has a deadline, and no other")
        invariant(len(self._heap) == len(self._queued), "one timer per lease at most")
        for lease in self._deadlines:
            if lease not in self._held and lease not in self._expiring:
                invariant(lease in self._queued, "every lease that may expire has a timer", lease=lease)
