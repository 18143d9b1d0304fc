"""What holds after every step of every story, whatever its trace says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from incumbent.consensus.api import Committed, Role
from incumbent.consensus.quorum import majority
from incumbent.consensus.raft.state import State
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.stories.actor import Actor


class Promises:
    """Raises InvariantViolated when one is broken."""

    def __init__(self) -> None:
        self._leaders: dict[Term, NodeId] = {}  # over the whole story
        self._applied: dict[Index, Committed] = {}  # by whoever came first

    def check(self, actor: Actor, everybody: Mapping[NodeId, Actor]) -> None:
        """Look at a node that has just done something."""
        applied, actor.applied = actor.applied, []
        if actor.raft is None:
            return
        actor.raft.invariants()
        actor.raft.invariants_at_rest()
        state = actor.raft.state
        for committed in applied:
            self._apply(state, committed, everybody)
        if state.role is Role.LEADER:
            self._lead(state)

    def _lead(self, state: State) -> None:
        first = self._leaders.setdefault(state.term, state.me)
        invariant(first == state.me, "a term has one leader", term=state.term, leaders=(first, state.me))
        for index, committed in self._applied.items():
            if index >= state.log.first_index:
                mine = state.log.term_at(index)
                invariant(
                    mine == committed.term, "a leader has all that was committed", leader=state.me, at=index
                )

    def _apply(self, state: State, committed: Committed, everybody: Mapping[NodeId, Actor]) -> None:
        index = committed.index
        if index not in self._applied:
            _durable_at_a_quorum(state, committed, everybody)
        first = self._applied.setdefault(index, committed)
        same = first.term == committed.term and (
            first.data == committed.data or state.me in state.membership.witnesses
        )
        invariant(same, "all machines apply the same", at=index, first=first, now=committed)


def _durable_at_a_quorum(state: State, committed: Committed, everybody: Mapping[NodeId, Actor]) -> None:
    index = committed.index
    if index < state.configured[0].index:
        return  # what the membership was then is forgotten
    membership = state.membership_at(index)
    for half in (membership.voters, membership.outgoing):
        if half:
            invariant(
                _holding(half, committed, everybody) >= majority(half),
                "what is applied is on the disks of a quorum",
                at=index,
                half=sorted(half),
            )


def _holding(half: Iterable[NodeId], committed: Committed, everybody: Mapping[NodeId, Actor]) -> int:
    return sum(
        everybody[voter].disk.holds(committed.index, committed.term) for voter in half if voter in everybody
    )
