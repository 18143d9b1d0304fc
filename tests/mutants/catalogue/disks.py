"""Faults of what has to be durable before something else happens, and of disks that do not answer."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import TOLD, WHOLE, Mutant, suite

ELECTION: Final = "consensus/raft/election.py"
REPLICATION: Final = "consensus/raft/replication.py"
REPLICA: Final = "consensus/raft/replica.py"
STATE: Final = "consensus/raft/state.py"
WAL: Final = "runtime/wal.py"
FORMATION: Final = "runtime/formation.py"

DISKS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the term and the vote are not written",
        REPLICA,
        "return Record(encode_hard_state(hard) if changed else None,",
        "return Record(None,",
        promises=("P51",),
    ),
    Mutant(
        "the vote is forgotten at a restart",
        STATE,
        "            vote=hard.vote,",
        "            vote=None,",
        promises=("P51",),
    ),
    Mutant(
        "the term is forgotten at a restart",
        STATE,
        "            term=hard.term,",
        "            term=Term(0),",
        promises=("P51",),
    ),
    Mutant(
        "a vote leaves before it is durable",
        ELECTION,
        "        state.out.send_after(sender, VoteReply(state.term, granted=True))",
        "        state.out.send_now(sender, VoteReply(state.term, granted=True))",
        promises=("P51",),
    ),
    Mutant(
        "a vote request leaves before the own vote is durable",
        ELECTION,
        "        state.out.send_after(peer, request)  # the term and the own vote are durable first",
        "        state.out.send_now(peer, request)",
        promises=("P51",),
    ),
    Mutant(
        "entries are acknowledged before they are durable",
        REPLICATION,
        "    state.out.send_after(sender, AppendReply(state.term, True, last_new, message.sequence))",
        "    state.out.send_now(sender, AppendReply(state.term, True, last_new, message.sequence))",
        promises=("P51",),
    ),
    Mutant(
        "a leader counts its own entries before they are durable",
        REPLICATION,
        "    durable[state.me] = state.log.stable",
        "    durable[state.me] = state.log.last_index",
        promises=("P51",),
    ),
    Mutant(
        "a leader whose disk stalls leads on",
        REPLICA,
        "        return writing and state.now_ns - state.written_ns >= state.election_min_ns",
        "        return False",
        TOLD,
        promises=("P56",),
    ),
    Mutant(
        "an idle leader does not ask its disk whether it lives",
        REPLICATION,
        "        state.probe_due = True",
        "        state.probe_due = False",
        TOLD,
        promises=("P56",),
    ),
    Mutant(
        "messages leave the process before what they rest on is durable",
        "runtime/driver.py",
        "self._transport.send(ready.now)",
        "self._transport.send([*ready.now, *ready.messages])",
        (WHOLE, suite("tests/runtime/test_driver.py::test_a_vote_leaves_only_after_it_is_durable")),
        promises=("P51",),
    ),
    Mutant(
        "corruption is taken for a torn tail",
        WAL,
        "later.batch > self._at.batch + 1",
        "later.batch < 0",
        (suite("tests/runtime/test_wal.py"),),
        promises=("P51",),
    ),
    Mutant(
        "the disk is not part of the voter's identity",
        "ids.py",
        'return NodeId(f"{name}.{disk}")',
        'return NodeId(f"{name}.0")',
        (suite("tests/test_ids.py"),),
        promises=("P55",),
    ),
    Mutant(
        "a batch is acknowledged before it is synced",
        WAL,
        "            _write_all(self._fd, data, self._at.offset)\n            sync_data(self._fd)",
        "            _write_all(self._fd, data, self._at.offset)",
        (suite("tests/runtime/test_wal.py", "tests/runtime/test_wal_power.py"),),
        promises=("P51",),
    ),
    Mutant(
        "after an error the log is written on",
        WAL,
        '        self._refusal = (\n            f"{doing}',
        '        _ = (\n            f"{doing}',
        (suite("tests/runtime/test_wal.py"),),
        promises=("P51",),
    ),
    Mutant(
        "what a start reads is believed before it is synced",
        WAL,
        "            assert self._fd is not None\n            sync(self._fd)\n            fsync_directory",
        "            assert self._fd is not None\n            fsync_directory",
        (suite("tests/runtime/test_wal.py", "tests/runtime/test_wal_power.py"),),
        promises=("P51",),
    ),
    Mutant(
        "a majority of nodes is enough to form a cluster",
        FORMATION,
        "    if missing:",
        "    if len(missing) > len(mine.names) // 2:",
        (suite("tests/runtime/test_formation.py"),),
        promises=("P55",),
    ),
    Mutant(
        "a node with a new disk is let in",
        FORMATION,
        "        known = theirs.voters is not None or id_of(theirs) in mine.members",
        "        known = True",
        (suite("tests/runtime/test_formation.py", "tests/runtime/test_transport.py"),),
        promises=("P55",),
    ),
    Mutant(
        "a node that the cluster does not know takes part",
        FORMATION,
        "        if hello.voters is None or me in hello.voters:",
        "        if True:",
        (suite("tests/runtime/test_formation.py"),),
        promises=("P55",),
    ),
    Mutant(
        "the log of another disk is taken for one's own",
        WAL,
        "        if disk.decode() != self._disk:",
        "        if False:",
        (suite("tests/runtime/test_wal.py"),),
        promises=("P55",),
    ),
)
