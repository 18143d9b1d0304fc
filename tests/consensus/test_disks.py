"""A leader whose disk does not answer does not lead (P56)."""

from __future__ import annotations

from incumbent.consensus.api import DeadlinePassed, Proposed, Received, Role
from incumbent.consensus.raft.messages import AppendReply, HeartbeatReply
from incumbent.consensus.raft.notes import Code
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import TIMING, Script

INTERVALS = TIMING.election_timeout_min_ns // TIMING.heartbeat_ns
"""Heartbeat intervals in one minimum election timeout."""


def led() -> Script:
    story = Script()
    story.elect("a")
    story.beat("a")
    return story


def stalled(story: Script, intervals: int) -> None:
    """Time passes for a leader that is answered by everybody but its own disk."""
    for _ in range(intervals):
        story.wait(TIMING.heartbeat_ns)
        for peer in "bc":
            story.step("a", Received(NodeId(peer), HeartbeatReply(Term(1), 0)))
        story.step("a", DeadlinePassed())


def test_a_leader_whose_disk_stalls_steps_down_while_heartbeats_flow() -> None:
    """P56: after an election timeout, though a quorum answers all the time."""
    story = led()
    story.step("a", Proposed(RequestId(1), b"x"))
    assert story.ready("a") is not None
    stalled(story, INTERVALS - 1)
    assert story.role("a") is Role.LEADER
    stalled(story, 1)
    assert story.role("a") is Role.FOLLOWER
    story.persist("a")
    story.advance("a")
    story.flush("a")
    assert story["a"].noted(Code.DISK_STALLED) == 1


def test_an_idle_leader_asks_its_disk_whether_it_lives() -> None:
    """P56: nothing is proposed, so nothing else would tell. Once per election timeout, not at every heartbeat."""
    story = led()
    writes = 0
    for _ in range(3 * INTERVALS):
        story.wait(TIMING.heartbeat_ns)
        story.step("a", DeadlinePassed())
        ready = story.ready("a")
        assert ready is not None
        writes += ready.record is not None
        story.persist("a")
        story.advance("a")
        story.settle()
    assert 2 <= writes <= 3


def test_an_idle_leader_whose_disk_stalls_steps_down() -> None:
    """P56: within two election timeouts of the stall."""
    story = led()
    for _ in range(2 * INTERVALS):
        story.wait(TIMING.heartbeat_ns)
        for peer in "bc":
            story.step("a", Received(NodeId(peer), HeartbeatReply(Term(1), 0)))
        story.step("a", DeadlinePassed())
        if story["a"].outstanding is None:
            ready = story.ready("a")
            if ready is not None and ready.record is None:
                story.persist("a")
                story.advance("a")
    assert story.role("a") is Role.FOLLOWER


def test_a_write_that_is_done_in_time_is_no_stall() -> None:
    story = led()
    for _ in range(3):
        story.step("a", Proposed(RequestId(1), b"x"))
        assert story.ready("a") is not None
        stalled(story, INTERVALS - 1)
        story.persist("a")
        story.advance("a")
        story.do("a", Received(NodeId("b"), AppendReply(Term(1), True, Index(1), 1)))
    assert story.role("a") is Role.LEADER


def test_who_waits_for_its_disk_does_not_campaign() -> None:
    """P56: it could not even vote for itself."""
    story = led()
    story.wires.clear()
    story.step("b", Received(NodeId("a"), HeartbeatReply(Term(2), 0)))  # a new term, to be written
    assert story.ready("b") is not None
    story.wait(2 * TIMING.election_timeout_max_ns)
    story.step("b", DeadlinePassed())
    assert story.role("b") is Role.FOLLOWER
    assert story.take(sender="b") == []
