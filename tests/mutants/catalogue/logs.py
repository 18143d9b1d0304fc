"""Faults of replication and of the commit rule."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import TOLD, Mutant, suite

REPLICATION: Final = "consensus/raft/replication.py"
LOG: Final = "consensus/log.py"
PAPER: Final = "tests/consensus/test_paper_replication.py"

LOGS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "an entry of an older term is committed by counting",
        REPLICATION,
        "    if state.log.term_at(candidate) != state.term:",
        "    if False:",
    ),
    Mutant(
        "the term of the entry before is not looked at",
        REPLICATION,
        "        if mine != message.prev_term:",
        "        if mine is None:",
    ),
    Mutant(
        "an older, shorter append shortens the log",
        REPLICATION,
        "    if entries:\n        _store(state, entries)",
        "    if entries:\n"
        "        if entries[-1].index < log.last_index:\n"
        "            state.truncate(Index(entries[-1].index + 1))\n"
        "        _store(state, entries)",
    ),
    Mutant(
        "a follower commits past the last new entry",
        REPLICATION,
        "min(message.commit, last_new)",
        "min(message.commit, log.last_index)",
        (suite(PAPER),),
    ),
    Mutant(
        "a follower acknowledges its whole log",
        REPLICATION,
        "    last_new = Index(previous + len(entries))",
        "    last_new = log.last_index",
        TOLD,
    ),
    Mutant(
        "a heartbeat commits what is not known to match",
        REPLICATION,
        "    commit = min(state.commit, progress.match)\n",
        "    commit = state.commit\n",
    ),
    Mutant(
        "a follower that lost entries is sent them again and counted on",
        REPLICATION,
        "        progress.lost()",
        "        progress.back_to(message.refused_prev)",
        TOLD,
        promises=("P51",),
    ),
    Mutant(
        "a write counts although the log has changed meanwhile",
        LOG,
        "        if index > self.snapshot and self.term_at(index) != term:",
        "        if False:",
        promises=("P51",),
    ),
    Mutant(
        "the disk is not told what to truncate",
        LOG,
        "        return truncate_from, entries",
        "        return None, entries",
        promises=("P51",),
    ),
)
