"""Who votes, and how that changes: joint consensus (Raft section 6, dissertation 4.3). PURE.

A change of voters passes through a membership with two halves, which must both agree on everything:

    voters {a b c}  →  voters {b c d}, outgoing {a b c}  →  voters {b c d}

A voter that is to be a learner stays a voter of the outgoing half until the change is over (`learners_next`), so that
nobody is both at one time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incumbent.ids import NodeId

NOBODY: Final[frozenset[NodeId]] = frozenset()
MEMBERS_MAX: Final = 128
"""Of one membership, in all roles."""


@dataclass(frozen=True, slots=True)
class MembershipChange:
    """The membership that is wanted, whole: who is not named leaves."""

    voters: frozenset[NodeId]
    learners: frozenset[NodeId] = NOBODY
    witnesses: frozenset[NodeId] = NOBODY  # among the voters and learners


@dataclass(frozen=True, slots=True)
class Membership:
    voters: frozenset[NodeId]
    outgoing: frozenset[NodeId] = NOBODY  # not empty while a change goes on: who voted before it
    learners: frozenset[NodeId] = NOBODY  # are sent everything and count for nothing
    learners_next: frozenset[NodeId] = NOBODY  # of `outgoing`: learners once the change is over
    witnesses: frozenset[NodeId] = NOBODY
    """Who votes, keeps terms and memberships, holds no data and never leads. Whoever was one is named for ever, also when it
    is no member any more: its log is of no use to a voter that leads. It comes back with an empty disk, as somebody else."""

    @property
    def joint(self) -> bool:
        return bool(self.outgoing)

    @property
    def voting(self) -> frozenset[NodeId]:
        """Everyone whose vote counts in a half."""
        return self.voters | self.outgoing

    @property
    def everyone(self) -> frozenset[NodeId]:
        return self.voters | self.outgoing | self.learners

    @property
    def electable(self) -> frozenset[NodeId]:
        """Who may lead."""
        return self.voting - self.witnesses

    def faults(self) -> str | None:
        """Why this is no membership at all; None when it is one."""
        if not self.voters - self.witnesses:
            return "nobody could lead: name a voter that is no witness"
        if len(self.everyone | self.witnesses) > MEMBERS_MAX:
            return f"{len(self.everyone | self.witnesses)} members, and at most {MEMBERS_MAX} are possible"
        if self.voting & self.learners:
            return f"both voter and learner: {sorted(self.voting & self.learners)}"
        if not self.learners_next <= self.outgoing - self.voters:
            return f"to be learners, and not on the way out: {sorted(self.learners_next)}"
        return None

    def enter(self, change: MembershipChange) -> Membership:
        """The membership that leads to the one wanted. Joint, unless the voters stay the same."""
        witnesses = change.witnesses | self.witnesses
        if change.voters == self.voters:
            return Membership(change.voters, learners=change.learners, witnesses=witnesses)
        return Membership(
            change.voters,
            outgoing=self.voters,
            learners=change.learners - self.voters,
            learners_next=change.learners & self.voters,
            witnesses=witnesses,
        )

    def leave(self) -> Membership:
        """The membership once the change is over."""
        learners = self.learners | self.learners_next
        return Membership(self.voters, learners=learners, witnesses=self.witnesses)
