"""Faults of who votes, and of changing that."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import TOLD, Mutant, suite

QUORUM: Final = "consensus/quorum.py"
MEMBERSHIP: Final = "consensus/membership.py"
CHANGES: Final = "consensus/raft/membership.py"
STATE: Final = "consensus/raft/state.py"

MEMBERSHIPS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "learners count for a commit",
        QUORUM,
        "    value = _reached(membership.voters, values)",
        "    value = _reached(membership.voters | membership.learners, values)",
        promises=("P57",),
    ),
    Mutant(
        "during a change only the new half counts for a commit",
        QUORUM,
        "    return min(value, _reached(membership.outgoing, values)) if membership.outgoing else value",
        "    return value",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "during a change only the new half elects",
        QUORUM,
        "for half in (membership.voters, membership.outgoing) if half]",
        "for half in (membership.voters,) if half]",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "during a change only the old half elects",
        QUORUM,
        "for half in (membership.voters, membership.outgoing) if half]",
        "for half in (membership.outgoing or membership.voters,) if half]",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a membership is in force only once it is committed",
        STATE,
        "        membership = self.configured[-1].membership\n",
        "        membership = self.membership_at(self.commit)\n",
        promises=("P57",),
    ),
    Mutant(
        "a second change begins before the first is committed",
        CHANGES,
        "    if present.joint or state.configured[-1].index > state.commit:",
        "    if False:",
        promises=("P57",),
    ),
    Mutant(
        "a change begins before the own term has committed",
        CHANGES,
        "    if state.commit < state.term_start:",
        "    if False:",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a removed leader leads on",
        CHANGES,
        "    elif state.me not in state.membership.voters:",
        "    elif False:",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a truncated membership stays in force",
        STATE,
        "        while self.configured[-1].index >= first:",
        "        while False:",
        promises=("P57",),
    ),
    Mutant(
        "a membership in the log is forgotten at a restart",
        STATE,
        "        state._configure(state.log.between(index + 1, state.log.last_index))\n",
        "",
        promises=("P57",),
    ),
    Mutant(
        "a learner votes before it has caught up",
        CHANGES,
        "    if behind:",
        "    if False:",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a joint membership is left before it is committed",
        CHANGES,
        "    if state.configured[-1].index > state.commit:\n        return",
        "    if False:\n        return",
        promises=("P57",),
    ),
    Mutant(
        "a joint membership is never left",
        CHANGES,
        "        _enter(state, state.membership.leave(), Code.MEMBERSHIP_LEFT)",
        "        pass",
        promises=("P57",),
    ),
    Mutant(
        "a voter that becomes a learner is both at once",
        MEMBERSHIP,
        "            learners=change.learners - self.voters,",
        "            learners=change.learners,",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a witness leads",
        MEMBERSHIP,
        "        return self.voting - self.witnesses",
        "        return self.voting",
    ),
    Mutant(
        "a witness counts although every data voter answers",
        "consensus/raft/replication.py",
        "    if state.membership.witnesses and membership.data_voters_suffice(state):",
        "    if False:",
        (suite("tests/consensus/test_witness.py"),),
    ),
    Mutant(
        "a witness never counts",
        CHANGES,
        "        and state.now_ns - state.progress[voter].heard_ns < state.election_min_ns\n"
        "        for voter in membership.electable",
        "        for voter in membership.electable",
        TOLD,
    ),
    Mutant(
        "a witness is sent the data",
        "consensus/raft/replication.py",
        "    if peer in state.membership.witnesses:",
        "    if False:",
        TOLD,
    ),
)
