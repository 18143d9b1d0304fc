"""Do all nodes still have the same state? Each takes a digest at the same log indexes and tells it through the log, and each judges
for itself what was told. PURE.

Determinism makes digests of one index equal, so a difference is never a false alarm: a bug, bad memory, a bad disk, or two versions
that disagree. With a majority of the data voters on one side, who is on the other stops. When no digest can have a majority any
more, nobody knows who is right, and nothing is acknowledged from then on. Witnesses hold no state and are not asked; learners judge
themselves.
"""

from __future__ import annotations

from collections import Counter
from typing import Final, NamedTuple

from incumbent.consensus.api import Membership
from incumbent.errors import StateDiverged
from incumbent.ids import Index, NodeId

INDEXES_MAX: Final = 4
"""Indexes of which digests are remembered; the newest."""


class Digested(NamedTuple):
    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    digest: bytes


class Digests:
    """What one node took itself and what all have told."""

    def __init__(self, me: NodeId) -> None:
        self.agreed: Digested | None = None
        """The newest that a majority has."""
        self.split: Index | None = None
        """Where no digest can have a majority: nothing may be acknowledged any more."""
        self._me = me
        self._own: dict[Index, bytes] = {}
        self._told: dict[Index, dict[NodeId, bytes]] = {}

    def take(self, index: Index, digest: bytes) -> None:
        """This node's own."""
        self._own[index] = digest
        _forget(self._own)

    def tell(self, index: Index, voter: NodeId, digest: bytes, membership: Membership) -> None:
        """The log says what `voter` took at `index`. The first word counts. Raises StateDiverged when a majority has another
        digest than this node."""
        self._told.setdefault(index, {}).setdefault(voter, digest)
        _forget(self._told)
        if index in self._told and not membership.outgoing:
            self._judge(index, membership.voters - membership.witnesses)

    def _judge(self, index: Index, voters: frozenset[NodeId]) -> None:
        told = {voter: digest for voter, digest in self._told[index].items() if voter in voters}
        if not told:
            return
        [(most, count)] = Counter(told.values()).most_common(1)
        majority = len(voters) // 2 + 1
        if count >= majority:
            if self.agreed is None or index > self.agreed.index:
                self.agreed = Digested(index, most)
            mine = self._own.get(index, most)
            if mine != most:
                raise StateDiverged(
                    f"node {self._me} has another state at index {index} ({mine.hex()}) than {count} of {len(voters)} voters "
                    f"({most.hex()}): it stops. Move its data directory away and replace the node (cluster replace)"
                )
        elif count + len(voters) - len(told) < majority:
            self.split = index


def _forget(by_index: dict[Index, bytes] | dict[Index, dict[NodeId, bytes]]) -> None:
    while len(by_index) > INDEXES_MAX:
        del by_index[min(by_index)]
