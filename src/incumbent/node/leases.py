"""When a lease runs out, as the serving leader sees it. PURE.

Deadlines live in the memory of the leader that serves, nowhere else. Four rules, each with a bug behind it elsewhere:

1. A leader that begins to serve gives every live lease a full ttl, or what the last checkpoint left: it cannot know the last
   renewal its predecessor acknowledged. So a leader change never shortens a lease (P59).
2. What is left of a lease that was not renewed for half its ttl is checkpointed in the log, and again after each further
   half; the first renewal after that is a log entry before it is acknowledged. So leader changes in quick succession keep no
   dead holder alive, and still none is shortened (P59).
3. Expiry is a log entry bound to this leader's term. From proposing it until it resolves, the lease is neither renewed nor
   claimed (P58).
4. A renewal moves the deadline only when it is acknowledged, to its receipt + ttl; see node.py for the proof of leadership
   that comes before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final, NamedTuple

from incumbent.errors import invariant
from incumbent.ids import LeaseId

DUE_MAX: Final = 1024
"""Expiries and checkpoints of one go. After a leader change all dead holders' leases run out at the same time; messages and
heartbeats get their turn between one lot and the next."""
CHECKPOINT_GAP_MIN_NS: Final = 50_000_000
"""What is left is halved by each checkpoint; below this there are no more: the end is near."""


class Due(NamedTuple):
    over: list[LeaseId]  # from here on expiring
    left_ns: list[tuple[LeaseId, int]]  # to be checkpointed


@dataclass(slots=True)
class _Live:
    ttl_ns: int
    deadline_ns: int  # never moves back
    checkpoint_ns: int  # when what is left goes into the log; past the deadline: never
    checkpointed: bool  # less than the ttl is, or may be, in the log: a renewal has to go there too

    @property
    def next_ns(self) -> int:
        return min(self.deadline_ns, self.checkpoint_ns)


@dataclass(slots=True)
class LeaseDeadlines:
    _live: dict[LeaseId, _Live] = field(default_factory=dict)  # every live lease, while serving
    _heap: list[tuple[int, LeaseId]] = field(default_factory=list)
    _queued: set[LeaseId] = field(default_factory=set)  # exactly the leases in _heap, each there once
    _held: dict[LeaseId, int] = field(
        default_factory=dict
    )  # renewals in flight: not expired until they are decided
    _expiring: set[LeaseId] = field(default_factory=set)  # ids whose expiry is proposed and not yet resolved

    def start(self, leases: Iterable[tuple[LeaseId, int, int]], now_ns: int) -> None:
        """This leader begins to serve. Every live lease (id, ttl, what is left) gets what is left (rules 1 and 2)."""
        self.stop()
        for lease, ttl_ns, left_ns in leases:
            # One that was checkpointed is checkpointed again when half of what was left is gone.
            half_ns = left_ns // 2 if left_ns < ttl_ns else ttl_ns // 2
            checkpoint_ns = now_ns + max(half_ns, CHECKPOINT_GAP_MIN_NS)
            self._live[lease] = _Live(ttl_ns, now_ns + left_ns, checkpoint_ns, left_ns < ttl_ns)
        self._heap = [(live.next_ns, lease) for lease, live in self._live.items()]
        heapify(self._heap)
        self._queued = set(self._live)

    def stop(self) -> None:
        """No longer serving: whatever is decided about leases is decided elsewhere. Renewals in flight stay held, each
        until it is decided: one that came before this leader serves is acknowledged by it."""
        self._live, self._heap, self._queued, self._expiring = {}, [], set(), set()

    @property
    def next_ns(self) -> int | None:
        """When to call `due` again; at times too early, never too late."""
        return self._heap[0][0] if self._heap else None

    def due(self, now_ns: int) -> Due:
        """Leases whose time is over, and leases to be checkpointed, at most `DUE_MAX`. Call it again while `next_ns` is
        not in the future."""
        due = Due([], [])
        while self._heap and self._heap[0][0] <= now_ns and len(due.over) + len(due.left_ns) < DUE_MAX:
            _, lease = heappop(self._heap)
            self._queued.discard(lease)
            live = self._live.get(lease)
            if live is None or lease in self._held or lease in self._expiring:
                continue
            if live.deadline_ns <= now_ns:
                self._expiring.add(lease)
                due.over.append(lease)
                continue
            if live.checkpoint_ns <= now_ns:
                left_ns = live.deadline_ns - now_ns
                due.left_ns.append((lease, left_ns))
                live.checkpointed = True
                live.checkpoint_ns = now_ns + max(left_ns // 2, CHECKPOINT_GAP_MIN_NS)
            self._queue(lease, live.next_ns)
        return due

    def expiring(self, lease: LeaseId) -> bool:
        return lease in self._expiring

    def checkpointed(self, lease: LeaseId) -> bool:
        """Whether a renewal of this lease has to be a log entry."""
        return lease in self._live and self._live[lease].checkpointed

    def granted(self, lease: LeaseId, ttl_ns: int, now_ns: int) -> None:
        """A grant was applied. A repeated one finds its lease and must not shorten it."""
        if lease not in self._live:
            live = self._live[lease] = _Live(
                ttl_ns, now_ns + ttl_ns, now_ns + ttl_ns // 2, checkpointed=False
            )
            self._queue(lease, live.next_ns)

    def ended(self, lease: LeaseId) -> None:
        """The lease was revoked. An expiry of it that is still in the log would hit a new lease of the same id, so the id
        stays expiring until that is resolved."""
        self._live.pop(lease, None)

    def expired(self, lease: LeaseId) -> None:
        """The expiry that this leader proposed was applied, whatever it found."""
        self._live.pop(lease, None)
        self._expiring.discard(lease)

    def hold(self, lease: LeaseId) -> None:
        """A renewal came in: do not expire the lease before that is decided."""
        self._held[lease] = self._held.get(lease, 0) + 1

    def decide(self, lease: LeaseId, received_ns: int | None, *, logged: bool = False) -> None:
        """A held renewal that came in then is acknowledged, or it is not (None). `logged`: the log has it."""
        if self._held.get(lease, 0) > 1:
            self._held[lease] -= 1
        else:
            self._held.pop(lease, None)
        live = self._live.get(lease)
        if live is None:
            return
        if received_ns is not None:
            invariant(lease not in self._expiring, "an expiring lease is not renewed", lease=lease)
            live.checkpointed = live.checkpointed and not logged
            live.deadline_ns = max(live.deadline_ns, received_ns + live.ttl_ns)
            live.checkpoint_ns = live.deadline_ns - live.ttl_ns + live.ttl_ns // 2
        if lease not in self._held and lease not in self._expiring:
            self._queue(lease, live.next_ns)

    def postpone(self, lease: LeaseId, until_ns: int) -> None:
        """The expiry could not be proposed: the lease lives until someone can."""
        self._expiring.discard(lease)
        if lease in self._live and lease not in self._held:
            self._queue(lease, until_ns)

    def _queue(self, lease: LeaseId, at_ns: int) -> None:
        if lease not in self._queued:
            self._queued.add(lease)
            heappush(self._heap, (at_ns, lease))

    def deadline_ns(self, lease: LeaseId) -> int | None:
        live = self._live.get(lease)
        return None if live is None else live.deadline_ns

    def invariants(self, leases: Iterable[LeaseId]) -> None:
        """Raises InvariantViolated when the state contradicts itself or what leases there are: while serving those that
        live, else none."""
        invariant(self._live.keys() == set(leases), "every live lease has a deadline, and no other")
        invariant(len(self._heap) == len(self._queued), "one timer per lease at most")
        for lease, live in self._live.items():
            invariant(
                live.ttl_ns > 0 and live.checkpoint_ns >= live.deadline_ns - live.ttl_ns, "times are in order"
            )
            if lease not in self._held and lease not in self._expiring:
                invariant(lease in self._queued, "every lease that may expire has a timer", lease=lease)
