"""Faults of handing leadership over."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import FIVE, TOLD, Mutant

TRANSFER: Final = "consensus/raft/transfer.py"

TRANSFERS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "proposals are taken during a transfer",
        "consensus/raft/replication.py",
        "    if state.transfer is not None:\n        return Why.TRANSFERRING",
        "    if False:\n        return Why.TRANSFERRING",
        TOLD,
        promises=("P54",),
    ),
    Mutant(
        "a transfer is never aborted",
        TRANSFER,
        "    elif over or state.now_ns >= transfer.until_ns:",
        "    elif over:",
        (FIVE, *TOLD),
        promises=("P54",),
    ),
    Mutant(
        "the target is asked before it has everything",
        TRANSFER,
        "    if state.progress[peer].match == state.log.last_index:",
        "    if True:",
        TOLD,
        promises=("P54",),
    ),
    Mutant(
        "leadership is handed to who may not lead",
        TRANSFER,
        "    return None if to in state.membership.electable else Why.INVALID",
        "    return None",
    ),
    Mutant(
        "who was asked to take over is refused like anybody",
        "consensus/raft/election.py",
        "        campaign(state, handed_over=True)",
        "        campaign(state, handed_over=False)",
        TOLD,
        promises=("P53", "P54"),
    ),
    Mutant(
        "a voter of higher priority pre-empts again and again",
        TRANSFER,
        "        state.preemption_ns = state.now_ns + state.timing.preemption_delay_ns\n",
        "",
        TOLD,
        promises=("P43",),
    ),
    Mutant(
        "a voter of higher priority is given leadership before it has caught up",
        TRANSFER,
        "        and progress.match >= state.commit\n",
        "",
        TOLD,
        promises=("P43",),
    ),
)
