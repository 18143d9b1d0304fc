"""Faults of linearizable reads."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import FIVE, TOLD, Mutant, suite

REPLICATION: Final = "consensus/raft/replication.py"
ROUNDS: Final = "consensus/reads.py"

READS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a claim is answered before what was proposed to that leader earlier",
        "node/node.py",
        "self._flight.readable.append((max(read.index, asked.after), read.request, asked))",
        "self._flight.readable.append((read.index, read.request, asked))",
        (suite("tests/node/test_node.py"),),
        promises=("P41",),
    ),
    Mutant(
        "a deposed leader keeps claims that wait for what it proposed",
        "node/node.py",
        "            if read.lease != NO_LEASE and not self._leadership.serving:\n"
        "                self._answer(request, self._not_leader())\n"
        "            elif read.lease != NO_LEASE and self._leases.expiring(read.lease):\n",
        "            if read.lease != NO_LEASE and self._leases.expiring(read.lease):\n",
        (suite("tests/node/test_node.py"),),
        promises=("P58",),
    ),
    Mutant(
        "an answer to an older round confirms the newest",
        REPLICATION,
        "        state.reads.answer(sender, message.round)",
        "        state.reads.answer(sender, state.reads.number)",
        TOLD,
    ),
    Mutant(
        "a read needs no round",
        ROUNDS,
        "        number = reached(membership, self._answered)",
        "        number = self.number",
        (FIVE, *TOLD),
    ),
    Mutant(
        "a read is taken before the own term has committed",
        REPLICATION,
        "    if state.commit >= state.term_start and state.reads.begin(",
        "    if state.reads.begin(",
    ),
    Mutant(
        "a read is served from wherever the machine is",
        ROUNDS,
        "_Round(self.number, commit, self._waiting)",
        "_Round(self.number, Index(0), self._waiting)",
        TOLD,
    ),
    Mutant(
        "a read is served before its index is applied",
        "node/node.py",
        "            elif index > applied:\n                self._flight.readable",
        "            elif False:\n                self._flight.readable",
        (suite("tests/node/test_requests.py"),),
    ),
    Mutant(
        "reads of a lost leadership stay silent",
        "consensus/raft/state.py",
        "                self.out.refuse(request, Why.NOT_LEADER)",
        "                del request",
        TOLD,
    ),
)
