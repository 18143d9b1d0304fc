"""What a quorum has said. Shared by all protocols. PURE.

Every question of consensus is one of two: how far has a quorum come (an index that it holds, a round that it answered, a
time at which it was heard), and how did a vote end. Both are asked of the membership; while that has two halves, a quorum
is a majority of each (Raft section 6).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import Enum, auto

from incumbent.consensus.membership import Membership
from incumbent.ids import NodeId


class Outcome(Enum):
    OPEN = auto()
    WON = auto()
    LOST = auto()


def majority(voters: Collection[NodeId]) -> int:
    """N/2 + 1."""
    return len(voters) // 2 + 1


def reached(membership: Membership, values: Mapping[NodeId, int]) -> int:
    """The highest value that a quorum of voters has reached; who is not in `values` is at 0."""
    value = _reached(membership.voters, values)
    return min(value, _reached(membership.outgoing, values)) if membership.outgoing else value


def _reached(voters: frozenset[NodeId], values: Mapping[NodeId, int]) -> int:
    return sorted([values.get(voter, 0) for voter in voters])[-majority(voters)]


def outcome(membership: Membership, votes: Mapping[NodeId, bool]) -> Outcome:
    """WON with a quorum of grants; LOST once refusals make that impossible."""
    halves = [_outcome(half, votes) for half in (membership.voters, membership.outgoing) if half]
    if Outcome.LOST in halves:
        return Outcome.LOST
    return Outcome.OPEN if Outcome.OPEN in halves else Outcome.WON


def _outcome(voters: frozenset[NodeId], votes: Mapping[NodeId, bool]) -> Outcome:
    granted = sum(votes.get(voter, False) for voter in voters)
    refused = sum(not votes.get(voter, True) for voter in voters)
    if granted >= majority(voters):
        return Outcome.WON
    if len(voters) - refused < majority(voters):
        return Outcome.LOST
    return Outcome.OPEN
