"""Forgetting the log's beginning, and sending a snapshot to who lacks it (Raft section 7, figure 13)."""

from __future__ import annotations

import zlib

import pytest

from incumbent.consensus.api import DeadlinePassed, Entry, Membership, Received, ReplicaLimits, Role
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    InstallSnapshot,
    InstallSnapshotReply,
    encode_membership,
)
from incumbent.consensus.raft.notes import Code
from incumbent.ids import Index, NodeId, Term
from tests.consensus.script import TIMING, Script, Wire, ids

B = NodeId("b")
ABC = Membership(ids("abc"))
WHOLE = b"0123456789"
SHORT = ReplicaLimits(compaction_tail=0, snapshot_chunk_bytes=4)


def piece(
    index: int,
    chunk: bytes = WHOLE,
    offset: int = 0,
    *,
    term: int = 3,
    index_term: int = 2,
    membership: Membership = ABC,
    chunk_crc: int | None = None,
    state_crc: int = zlib.crc32(WHOLE),
    size: int = len(WHOLE),
) -> InstallSnapshot:
    crc = zlib.crc32(chunk) if chunk_crc is None else chunk_crc
    return InstallSnapshot(
        Term(term), Index(index), Term(index_term), membership, size, state_crc, offset, chunk, crc
    )


def told(story: Script, message: object) -> object:
    """What `a` answers to a message from `b`."""
    story.do("a", Received(B, message))
    (reply,) = story.take(sender="a", to="b")
    return reply.message


def accepted(index: int, term: int = 3) -> AppendReply:
    return AppendReply(Term(term), True, Index(index), 0)


def behind(limits: ReplicaLimits = SHORT) -> Script:
    """`c` lacks what `a` has forgotten: three proposals."""
    story = Script(limits=limits)
    story.elect("a")
    for _ in range(3):
        story.propose("a")
        story.settle("ab")
    story.beat("a", "ab")
    story.snapshot("a", WHOLE)
    return story


# --- compaction ------------------------------------------------------------------------------------------------------


def test_what_a_snapshot_stands_for_is_forgotten() -> None:
    story = behind()
    assert story["a"].raft.status().first_index == 5
    assert story["a"].disk.snapshot is not None
    assert story["a"].disk.snapshot.index == 4
    assert story["a"].disk.snapshot.state == WHOLE
    assert list(story["a"].disk.entries) == []


def test_a_tail_stays_for_who_is_a_little_late() -> None:
    story = behind(ReplicaLimits(compaction_tail=2))
    assert story["a"].raft.status().first_index == 3


def test_nothing_is_forgotten_that_is_not_applied() -> None:
    """Raft section 7: a snapshot covers "just the committed entries"."""
    story = Script(limits=SHORT)
    story.elect("a")
    story.propose("a")  # and nobody acknowledges it
    story.snapshot("a", at=2)
    assert story["a"].noted(Code.SNAPSHOT_REFUSED) == 1
    assert story["a"].raft.status().first_index == 1
    assert story["a"].disk.snapshot is None


def test_a_snapshot_never_takes_an_older_ones_place_backwards() -> None:
    story = behind()
    story.snapshot("a", at=3)
    assert story["a"].noted(Code.SNAPSHOT_REFUSED) == 1
    assert story["a"].disk.snapshot is not None
    assert story["a"].disk.snapshot.index == 4


def test_appends_go_on_after_the_last_entry_that_was_forgotten() -> None:
    """Figure 13: the snapshot's index and term serve the consistency check of the first append after it."""
    story = behind()
    story.propose("a")
    story.settle("ab")
    assert story["a"].state.commit == 5
    assert story["b"].log == [1] * 5


def test_a_snapshot_holds_the_membership_that_was_in_force_then() -> None:
    """P57, figure 13: the last one at or before its index, not the newest."""
    story = Script(limits=SHORT)
    story.elect("a")
    story.beat("a")
    story.change("a", "abc", "d")
    story.settle("abc")
    assert story["a"].membership.learners == ids("d")
    story.snapshot("a", at=1)
    assert story["a"].disk.snapshot is not None
    assert story["a"].disk.snapshot.membership == ABC
    assert story["a"].membership.learners == ids("d")


def test_a_restart_finds_the_snapshot_and_what_follows() -> None:
    """P51: what was committed before the crash is committed after it."""
    story = behind()
    story.propose("a")
    story.start("a")
    assert story["a"].state.commit == 4
    assert story["a"].state.log.last_index == 5
    story.flush("a")
    assert [one.state for one in story["a"].installed] == [WHOLE]


# --- sending ---------------------------------------------------------------------------------------------------------


def test_who_lacks_what_is_forgotten_is_sent_the_snapshot_piece_by_piece() -> None:
    story = behind()
    story.live(4)
    assert [(one.index, one.state) for one in story["c"].installed] == [(4, WHOLE)]
    assert story["c"].state.commit == 4
    assert story["c"].disk.snapshot is not None
    story.propose("a")
    story.settle()
    assert story["c"].log == [1], "after it the log goes on"


def deliver_all_but(story: Script, lost: int) -> None:
    """Deliver everything, and what comes of it, but for the first pieces of snapshots."""
    while story.wires:
        wire = story.wires.pop(0)
        if isinstance(wire.message, InstallSnapshot) and lost:
            lost -= 1
        else:
            story.deliver([wire])


def test_a_lost_piece_is_sent_again_from_where_the_receiver_stands() -> None:
    story = behind()
    for beat in range(8):
        story.wait(TIMING.heartbeat_ns)
        story.ring("a")
        deliver_all_but(story, lost=beat % 2)
    assert [one.state for one in story["c"].installed] == [WHOLE]
    assert story["c"].state.commit == 4


def test_a_piece_is_alone_on_its_way_and_nobody_else_waits_for_it() -> None:
    """A slow follower never stalls the others."""
    story = behind()
    while not story.take(to="c", kind=InstallSnapshot):  # the first is lost
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        story.deliver(story.take(to="bc", kind=Heartbeat) + story.take(to="c", kind=Append))
        story.deliver(story.take(to="a"))
    for _ in range(3):
        story.propose("a")
        assert story.take(to="c", kind=InstallSnapshot) == []
        story.settle("ab")
    assert story["b"].state.commit == 7


def test_a_reply_that_comes_twice_does_not_double_the_stream() -> None:
    """Each of two pieces would be answered, and each answer with a piece: the pairs would go on to the end."""
    story = behind()
    sent = 0
    while not story["c"].installed:
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        while story.wires:
            wire = story.wires.pop(0)
            sent += isinstance(wire.message, InstallSnapshot)
            story.deliver([wire] * (2 if isinstance(wire.message, InstallSnapshotReply) else 1))
    assert sent == 3


def test_on_a_slow_link_nothing_is_sent_twice() -> None:
    """The answers to heartbeats that left before a piece say nothing about it: sending it again would make the link slower."""
    story = behind()
    on_their_way: list[list[Wire]] = []
    sent = 0
    while not story["c"].installed:
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        on_their_way.append(story.take(to="c", sender="a"))
        sent += sum(isinstance(wire.message, InstallSnapshot) for wire in on_their_way[-1])
        story.settle("ab")
        if len(on_their_way) > 4:
            story.deliver(on_their_way.pop(0))
        story.deliver(story.take(sender="c", to="a"))
    assert sent == 3


def test_a_follower_that_restarts_midway_is_sent_the_snapshot_from_the_start() -> None:
    """P51: half of it was only in memory."""
    story = behind()
    story.wait(TIMING.heartbeat_ns)
    story.do("a", DeadlinePassed())
    while story["c"].state.incoming is None:
        story.deliver([story.wires.pop(0)])
    story.deliver(story.take(sender="c"))
    story.start("c")
    story.live(6)
    assert [one.state for one in story["c"].installed] == [WHOLE]
    assert story["c"].state.commit == 4


def test_a_snapshot_that_was_begun_is_finished_although_there_is_a_newer_one() -> None:
    story = behind()
    story.beat("a", "ac")
    story.propose("a")
    story.settle("ab")
    story.snapshot("a", b"newer and longer")
    story.live(6)
    assert story["c"].state.commit == story["a"].state.commit
    assert story["c"].raft.status().last_index == 5


# --- installing ------------------------------------------------------------------------------------------------------


def test_a_snapshot_takes_the_place_of_a_log_that_contradicts_it() -> None:
    story = Script(logs={"a": (1, 1, 1)})
    assert told(story, piece(2)) == accepted(2)
    assert story["a"].log == []
    assert story["a"].state.commit == 2
    assert [one.state for one in story["a"].installed] == [WHOLE]
    story.start("a")
    assert (story["a"].state.commit, story["a"].state.log.last_index) == (2, 2)


def test_a_suffix_that_agrees_is_kept() -> None:
    """Figure 13, step 6: "retain log entries following it"; cutting them could cut what a quorum was told is there."""
    story = Script(logs={"a": (1, 2, 2, 2)})
    assert told(story, piece(2)) == accepted(2)
    assert story["a"].log == [1, 2, 2, 2]
    assert story["a"].state.commit == 2
    assert story["a"].installed == []


def test_a_snapshot_of_the_past_changes_nothing() -> None:
    """It was on its way while the log went on: installing it would take back what is applied."""
    story = Script(logs={"a": (1, 2, 2)})
    story.do("a", Received(B, Append(Term(3), Index(3), Term(2), (), Index(3), 1)))
    story.wires.clear()
    assert told(story, piece(2, index_term=1)) == accepted(3)
    assert story["a"].log == [1, 2, 2]
    assert story["a"].installed == []


def test_it_is_acknowledged_only_after_it_is_durable() -> None:
    """P51: the leader counts on it from then on."""
    story = Script()
    story.step("a", Received(B, piece(5)))
    ready = story.ready("a")
    assert ready is not None
    assert ready.record is not None
    assert ready.record.snapshot is not None
    assert story.take(sender="a") == []
    story.persist("a")
    assert [wire.message for wire in story.take(sender="a")] == [accepted(5)]


def test_half_a_snapshot_is_nothing() -> None:
    """P51: nothing of it is durable before all of it is."""
    story = Script()
    assert told(story, piece(5, WHOLE[:4])) == InstallSnapshotReply(Term(3), Index(5), 4)
    story.start("a")
    assert story["a"].disk.snapshot is None
    assert told(story, piece(5, WHOLE[4:], 4)) == InstallSnapshotReply(Term(3), Index(5), 0)


def test_a_piece_that_is_damaged_is_asked_for_again() -> None:
    """P77: its checksum says so."""
    story = Script()
    story.do("a", Received(B, piece(5, WHOLE[:4])))
    story.wires.clear()
    damaged = piece(5, b"XXXX", 4, chunk_crc=zlib.crc32(WHOLE[4:8]))
    assert told(story, damaged) == InstallSnapshotReply(Term(3), Index(5), 4)
    assert story["a"].noted(Code.SNAPSHOT_CHUNK_BAD) == 1
    story.do("a", Received(B, piece(5, WHOLE[4:], 4)))
    assert [one.state for one in story["a"].installed] == [WHOLE]


def test_a_whole_that_is_damaged_is_asked_for_from_the_start() -> None:
    """P77."""
    story = Script()
    assert told(story, piece(5, state_crc=1)) == InstallSnapshotReply(Term(3), Index(5), 0)
    assert story["a"].installed == []
    assert story["a"].state.commit == 0


@pytest.mark.parametrize("offset", [0, 2, 6])
def test_a_piece_counts_only_where_the_last_one_ended(offset: int) -> None:
    """The network duplicates and reorders."""
    story = Script()
    story.do("a", Received(B, piece(5, WHOLE[:4])))
    story.wires.clear()
    assert told(story, piece(5, WHOLE[offset : offset + 3], offset)) == InstallSnapshotReply(
        Term(3), Index(5), 4
    )
    story.do("a", Received(B, piece(5, WHOLE[4:], 4)))
    assert [one.state for one in story["a"].installed] == [WHOLE]


def test_half_a_snapshot_of_another_leader_is_thrown_away() -> None:
    """Raft section 7: it may hold other bytes, though it stands for the same entries."""
    story = Script()
    story.do("a", Received(B, piece(5, WHOLE[:4])))
    story.wires.clear()
    assert told(story, piece(5, WHOLE[4:], 4, term=4)) == InstallSnapshotReply(Term(4), Index(5), 0)


def test_one_that_is_too_large_is_not_taken() -> None:
    """P77: snapshot_bytes_max; memory is not a stranger's to fill."""
    story = Script(limits=ReplicaLimits(snapshot_bytes_max=9))
    story.do("a", Received(B, piece(5, WHOLE[:4])))
    assert story.take(sender="a") == []
    assert story["a"].noted(Code.SNAPSHOT_CHUNK_BAD) == 1


def test_memberships_of_a_log_that_was_replaced_are_forgotten() -> None:
    """P57: the snapshot's own is in force."""
    story = Script(logs={"a": (1, 1, 1)})
    lost = Entry(Index(4), Term(1), None, encode_membership(Membership(ids("ab"))))
    story.do("a", Received(B, Append(Term(1), Index(3), Term(1), (lost,), Index(0), 1)))
    assert story["a"].membership == Membership(ids("ab"))
    then = Membership(ids("abc"), learners=ids("d"))
    story.wires.clear()
    story.do("a", Received(B, piece(3, membership=then)))
    assert story["a"].membership == then
    story.start("a")
    assert story["a"].membership == then


def test_who_installed_a_snapshot_can_lead() -> None:
    story = behind()
    story.live(4)
    story.elect("c")
    story.propose("c")
    story.settle()
    assert story.role("c") is Role.LEADER
    assert story["a"].state.commit == story["c"].state.log.last_index
