"""When a leader may change who votes, and what follows once the change is committed. PURE.

Raft section 6, dissertation 4.3. A membership is in force as soon as it is in the log (state.py); one change at a time; none
before an entry of the own term is committed (the fault in single-server changes that Ongaro reported on raft-dev, 2015).
"""

from __future__ import annotations

from incumbent.consensus.api import Entry, Membership, MembershipChange, Placed, Role, Why
from incumbent.consensus.quorum import majority
from incumbent.consensus.raft.messages import TimeoutNow, encode_membership
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode
from incumbent.consensus.raft.state import State
from incumbent.ids import Index, NodeId, RequestId


def propose_change(state: State, request: RequestId, change: MembershipChange) -> None:
    refusal = _cannot_change(state, change)
    if refusal is not None:
        why, explanation = refusal
        state.note(Code.MEMBERSHIP_REFUSED, request=request, why=why.value, because=explanation)
        state.out.refuse(request, why)
        return
    index = _enter(state, state.membership.enter(change), Code.MEMBERSHIP_ENTERED)
    state.out.placed.append(Placed(request, index, state.term))


def _cannot_change(state: State, change: MembershipChange) -> tuple[Why, str] | None:
    present = state.membership
    if state.role is not Role.LEADER:
        return Why.NOT_LEADER, f"the leader is {state.leader}"
    if state.transfer is not None:
        return Why.TRANSFERRING, f"to {state.transfer.to}"
    if state.commit < state.term_start:
        return Why.TOO_EARLY, "nothing of this term is committed yet"
    if present.joint or state.configured[-1].index > state.commit:
        return Why.CHANGING, "the change before is not committed yet"
    wanted = present.enter(change)
    fault = wanted.faults()
    if fault is not None:
        return Why.INVALID, fault
    named = change.voters | change.learners
    turned = (present.witnesses & named) - change.witnesses | (
        change.witnesses - present.witnesses
    ) & present.everyone
    if turned:
        return Why.INVALID, f"a witness has no data, and stays one for as long as its disk: {sorted(turned)}"
    if not change.witnesses <= named:
        return Why.INVALID, f"witnesses that are no members: {sorted(change.witnesses - named)}"
    if wanted == present:
        return Why.INVALID, "this is the membership already"
    behind = sorted(voter for voter in change.voters - present.voters if not _caught_up(state, voter))
    if behind:
        return Why.NOT_CAUGHT_UP, f"let them be learners until they have nearly everything: {behind}"
    return None


def _caught_up(state: State, learner: NodeId) -> bool:
    """P57: whoever is to vote is heard, and has nearly everything."""
    progress = state.progress.get(learner)
    return (
        progress is not None
        and learner in state.membership.learners
        and progress.mode is Mode.REPLICATE
        and state.now_ns - progress.heard_ns < state.election_min_ns
        and state.log.last_index - progress.match <= state.limits.promotion_lag_max
    )


def _enter(state: State, membership: Membership, code: Code) -> Index:
    index = Index(state.log.last_index + 1)
    state.note(
        code, at=index, voters=sorted(membership.voters), outgoing=sorted(membership.outgoing),
        learners=sorted(membership.learners),
    )  # fmt: skip
    state.append([Entry(index, state.term, None, encode_membership(membership))])
    return index


def on_commit(state: State) -> None:
    """The commit index moved. A joint membership that is committed is left; a leader that is no voter any more leaves."""
    if state.configured[-1].index > state.commit:
        return
    if state.membership.joint:
        _enter(state, state.membership.leave(), Code.MEMBERSHIP_LEFT)
    elif state.me not in state.membership.voters:
        _hand_over_and_leave(state)


def _hand_over_and_leave(state: State) -> None:
    """Ask who has most to take over, so that nobody has to wait for an election timeout."""
    heir = max(
        (peer for peer in sorted(state.membership.electable) if peer in state.progress),
        key=lambda peer: state.progress[peer].match,
        default=None,
    )
    if heir is not None:
        state.out.send_now(heir, TimeoutNow(state.term))
    state.become_follower(state.term, Code.REMOVED)


def data_voters_suffice(state: State) -> bool:
    """Whether every voter that keeps data can acknowledge, and they are a quorum without any witness: then no witness counts
    for a commit, because what only it and the leader hold is lost with the leader's disk."""
    membership = state.membership
    for half in (membership.voters, membership.outgoing):
        if half and len(half - membership.witnesses) < majority(half):
            return False
    return all(
        state.progress[voter].mode in (Mode.REPLICATE, Mode.PROBE)
        and state.now_ns - state.progress[voter].heard_ns < state.election_min_ns
        for voter in membership.electable
        if voter != state.me
    )
