"""Faults of forgetting the log, and of sending and installing what stands for it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import TOLD, WHOLE, WORLDS, Mutant, suite

RAFT: Final = "consensus/raft/snapshots.py"

SNAPSHOTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the log is forgotten beyond what is applied",
        RAFT,
        "    if not state.log.snapshot < index <= state.applied:",
        "    if not state.log.snapshot < index <= state.log.last_index:",
        TOLD,
    ),
    Mutant(
        "a snapshot cuts off a suffix that matches",
        RAFT,
        "    if state.log.term_at(message.index) == message.index_term:",
        "    if False:",
        TOLD,
    ),
    Mutant(
        "a snapshot below the commit index is installed",
        RAFT,
        "    if message.index <= state.commit:",
        "    if False:",
        WORLDS,
    ),
    Mutant(
        "a piece's checksum is not looked at",
        RAFT,
        "        if zlib.crc32(message.chunk) == message.chunk_crc:",
        "        if True:",
        TOLD,
        promises=("P77",),
    ),
    Mutant(
        "the whole snapshot's checksum is not looked at",
        RAFT,
        "    if incoming.crc != message.state_crc:",
        "    if False:",
        (suite("tests/consensus/test_snapshots.py"),),
    ),
    Mutant(
        "a piece is put wherever the last one ended",
        RAFT,
        "    if message.offset == incoming.received:",
        "    if True:",
        TOLD,
    ),
    Mutant(
        "pieces are not handed out to be stored",
        "consensus/raft/replica.py",
        "tuple(state.out.pieces)",
        "()",
    ),
    Mutant(
        "a snapshot that is not stored yet is given to others",
        "consensus/raft/replica.py",
        "            state.snapshot = stored\n",
        "            pass\n",
        TOLD,
    ),
    Mutant(
        "a snapshot of any size is taken",
        RAFT,
        "    if message.size > state.limits.snapshot_bytes_max:",
        "    if False:",
        TOLD,
        promises=("P77",),
    ),
    Mutant(
        "a snapshot holds the membership of now, not of then",
        RAFT,
        "Snapshot(index, term, state.membership_at(index), machine_state)",
        "Snapshot(index, term, state.membership, machine_state)",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "memberships of the log that a snapshot replaced stay in force",
        RAFT,
        "    state.configured = [Configured(snapshot.index, snapshot.membership)]\n",
        "",
        TOLD,
        promises=("P57",),
    ),
    Mutant(
        "a snapshot is acknowledged before it is durable",
        RAFT,
        "message.membership, whole))\n    state.out.send_after(",
        "message.membership, whole))\n    state.out.send_now(",
        promises=("P51",),
    ),
    Mutant(
        "a snapshot is not written",
        "consensus/raft/replica.py",
        "        snapshot = state.snapshot if state.snapshot_unsaved else None",
        "        snapshot = None",
        promises=("P51",),
    ),
    Mutant(
        "the machine is not reset to a snapshot that came",
        "node/node.py",
        "            self.machine.adopt(ready.install.index, load_state(stored) if loaded is None else loaded)\n",
        "            self.machine.applied = ready.install.index\n",
        (*WORLDS, WHOLE),
    ),
    Mutant(
        "the term of the last entry that was forgotten is forgotten too",
        "consensus/log.py",
        "        return self._forgotten_term if position == -1 else None",
        "        return None",
    ),
)
