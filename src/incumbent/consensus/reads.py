"""Read rounds: many reads, one proof of leadership. Shared by all protocols. PURE.

A round is a number that travels in heartbeats and comes back in their replies. A reply to round r proves that the sender
led at a time after round r began, hence after every read of round r was requested (dissertation section 6.4). A reply to
an older round proves nothing for a newer one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from incumbent.consensus.api import ReadReady
from incumbent.ids import Index, NodeId, RequestId

READS_WAITING_MAX: Final = 65_536


@dataclass(slots=True)
class ReadRounds:
    waiting: list[RequestId] = field(default_factory=list)  # not yet in a round
    rounds: deque[tuple[int, Index, list[RequestId]]] = field(default_factory=deque)  # begun; numbers rise
    number: int = 0  # of the newest round
    answered: dict[NodeId, int] = field(default_factory=dict)  # the newest round each peer answered

    def full(self) -> bool:
        return len(self.waiting) + sum(len(requests) for _, _, requests in self.rounds) >= READS_WAITING_MAX

    def begin(self, commit: Index) -> int:
        """Put everything that waits into a new round, to be served at `commit` or later."""
        self.number += 1
        self.rounds.append((self.number, commit, self.waiting))
        self.waiting = []
        return self.number

    def answer(self, peer: NodeId, number: int) -> None:
        self.answered[peer] = max(self.answered.get(peer, 0), number)

    def confirmed(self, peers: Sequence[NodeId], quorum: int) -> list[ReadReady]:
        """The reads of every round that a quorum answered; the leader itself counts as one."""
        ready: list[ReadReady] = []
        while self.rounds:
            number, index, requests = self.rounds[0]
            if 1 + sum(self.answered.get(peer, 0) >= number for peer in peers) < quorum:
                break
            self.rounds.popleft()
            ready += [ReadReady(request, index) for request in requests]
        return ready

    def drop_all(self) -> list[RequestId]:
        """Every read that is not served yet; they are refused, never silent."""
        dropped = [request for _, _, requests in self.rounds for request in requests] + self.waiting
        self.rounds.clear()
        self.waiting = []
        return dropped
