"""Faults of what has to be durable before something else happens, and of disks that do not answer."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import TOLD, WHOLE, Mutant, suite

ELECTION: Final = "consensus/raft/election.py"
REPLICATION: Final = "consensus/raft/replication.py"
REPLICA: Final = "consensus/raft/replica.py"
STATE: Final = "consensus/raft/state.py"
LOG: Final = "runtime/storage/log.py"
SEGMENTS: Final = "runtime/storage/segments.py"
FILES: Final = "runtime/storage/files.py"
SNAPSHOTS: Final = "runtime/storage/snapshots.py"
ON_DISK: Final = suite("tests/runtime/storage/test_log.py", "tests/runtime/storage/test_power.py")
FORMATION: Final = "runtime/formation.py"
DRIVER: Final = "runtime/driver.py"

DISKS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the term and the vote are not written",
        REPLICA,
        "            encode_hard_state(hard) if changed else None,\n",
        "            None,\n",
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
        SEGMENTS,
        "later.batch > self.at.batch + 1",
        "later.batch < 0",
        (suite("tests/runtime/storage/test_log.py"),),
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
        SEGMENTS,
        "        self._write(batch)\n        files.sync_data(self._fd)",
        "        self._write(batch)",
        (ON_DISK,),
        promises=("P51",),
    ),
    Mutant(
        "after an error the log is written on",
        LOG,
        '        self._refusal = f"{doing}',
        '        _ = f"{doing}',
        (suite("tests/runtime/storage/test_log.py"),),
        promises=("P51",),
    ),
    Mutant(
        "what a start reads is believed before it is synced",
        FILES,
        '    """\n    sync(fd)\n    if hasattr',
        '    """\n    if hasattr',
        (ON_DISK,),
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
        SEGMENTS,
        "    if owner != disk.encode():",
        "    if False:",
        (suite("tests/runtime/storage/test_log.py"),),
        promises=("P55",),
    ),
    Mutant(
        "a new segment counts before the directory is synced",
        SEGMENTS,
        "            unfinished.rename(path)\n            files.fsync_directory(directory)",
        "            unfinished.rename(path)",
        (ON_DISK,),
        promises=("P51",),
    ),
    Mutant(
        "a new segment does not say which vote was given",
        LOG,
        "head = Stored(self._hard_state, snapshot",
        "head = Stored(snapshot",
        (ON_DISK,),
        promises=("P51",),
    ),
    Mutant(
        "that the newest segment is missing is not noticed",
        LOG,
        "            if is_last and scanned.sealed:",
        "            if False:",
        (suite("tests/runtime/storage/test_segments.py"),),
    ),
    Mutant(
        "that the oldest segment is missing is not noticed",
        LOG,
        "        if effect.oldest < int(run[0].stem):",
        "        if False:",
        (suite("tests/runtime/storage/test_segments.py"),),
    ),
    Mutant(
        "a snapshot has its name before it is durable",
        SNAPSHOTS,
        "        files.sync(self._fd)\n        self._close()",
        "        self._close()",
        (ON_DISK,),
        promises=("P51",),
    ),
    Mutant(
        "a damaged chunk of a snapshot is believed",
        SNAPSHOTS,
        "if len(chunk) != length or zlib.crc32(chunk) != self._table[number]:",
        "if len(chunk) != length:",
        (suite("tests/runtime/storage/test_snapshots.py"),),
        promises=("P77",),
    ),
    Mutant(
        "a write that stalls the loop is taken for durable in time",
        DRIVER,
        "            if took_ns >= STALL_NS:\n",
        "            if False:\n",
        (suite("tests/runtime/test_driver.py"),),
        promises=("P56",),
    ),
    Mutant(
        "a disk that became slow is trusted as before",
        "runtime/pace.py",
        "        self._fast = self._fast + 1 if duration_ns < FAST_NS_MAX else 0\n",
        "        self._fast += duration_ns < FAST_NS_MAX\n",
        (suite("tests/runtime/test_pace.py"),),
        promises=("P56",),
    ),
)
