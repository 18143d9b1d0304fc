"""What a quorum has said. Shared by all protocols. PURE.

Every question of consensus is one of two: how far has a quorum come (an index that it holds, a round that it answered, a
time at which it was heard), and how did a vote end. Both are asked of the membership, so that a membership with two
halves changes nothing but this file.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto

from incumbent.consensus.api import Membership
from incumbent.ids import NodeId


class Outcome(Enum):
    OPEN = auto()
    WON = auto()
    LOST = auto()


def reached(membership: Membership, values: Mapping[NodeId, int]) -> int:
    """The highest value that a quorum of voters has reached; who is not in `values` is at 0."""
    return sorted((values.get(voter, 0) for voter in membership.voters), reverse=True)[membership.quorum - 1]


def outcome(membership: Membership, votes: Mapping[NodeId, bool]) -> Outcome:
    """WON with a quorum of grants; LOST once refusals make that impossible."""
    granted = sum(votes.get(voter, False) for voter in membership.voters)
    refused = sum(not votes.get(voter, True) for voter in membership.voters)
    if granted >= membership.quorum:
        return Outcome.WON
    if len(membership.voters) - refused < membership.quorum:
        return Outcome.LOST
    return Outcome.OPEN
