"""Read rounds: many reads, one proof of leadership. Shared by all protocols. PURE.

A round is a number that travels in heartbeats and comes back in their replies. A reply to round r proves that the sender
led at a time after round r began, hence after every read of round r was requested (dissertation section 6.4). A reply to
an older round proves nothing for a newer one; a reply to a newer one proves all the older.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from incumbent.consensus.api import Membership, ReadReady
from incumbent.consensus.quorum import reached
from incumbent.ids import Index, NodeId, RequestId

READS_MAX: Final = 65_536
"""Reads that are not confirmed yet; more are refused."""
ROUNDS_OPEN_MAX: Final = 16
"""Rounds that are not confirmed yet; reads that come meanwhile share the next one."""


@dataclass(slots=True)
class _Round:
    number: int
    index: Index  # the leader's commit index when the round began
    requests: list[RequestId]


@dataclass(slots=True)
class ReadRounds:
    number: int = 0  # of the newest round
    _waiting: list[RequestId] = field(default_factory=list)  # in no round yet
    _open: deque[_Round] = field(default_factory=deque)  # numbers rise
    _answered: dict[NodeId, int] = field(default_factory=dict)  # the newest round that each voter answered
    _count: int = 0

    @property
    def full(self) -> bool:
        return self._count >= READS_MAX

    @property
    def idle(self) -> bool:
        """Nobody waits."""
        return self._count == 0

    def add(self, request: RequestId) -> None:
        self._waiting.append(request)
        self._count += 1

    def begin(self, me: NodeId, commit: Index) -> bool:
        """Put everything that waits into a new round, to be served at `commit` or later. The leader answers itself.
        Tells whether one began."""
        if not self._waiting or len(self._open) >= ROUNDS_OPEN_MAX:
            return False
        self.number += 1
        self._open.append(_Round(self.number, commit, self._waiting))
        self._waiting = []
        self.answer(me, self.number)
        return True

    def answer(self, voter: NodeId, number: int) -> None:
        """`voter` answered round `number`: in whatever order replies arrive, the newest one counts."""
        self._answered[voter] = max(self._answered.get(voter, 0), number)

    def confirmed(self, membership: Membership) -> list[ReadReady]:
        """Take the reads of every round that a quorum answered."""
        ready: list[ReadReady] = []
        if not self._open:
            return ready
        number = reached(membership, self._answered)
        while self._open and self._open[0].number <= number:
            done = self._open.popleft()
            ready += [ReadReady(request, done.index) for request in done.requests]
        self._count -= len(ready)
        return ready

    def drop_all(self) -> list[RequestId]:
        """Take every read that is not confirmed; they are to be refused, never silent."""
        dropped = [request for done in self._open for request in done.requests] + self._waiting
        self._open.clear()
        self._waiting, self._count = [], 0
        return dropped
