"""A commit may wait a little for an append to carry it; it never waits longer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from incumbent.consensus.api import DeadlinePassed, Proposed
from incumbent.consensus.raft.messages import Append, Heartbeat
from incumbent.ids import RequestId
from tests.consensus.script import TIMING, Script

MS = 1_000_000
DELAYED = replace(TIMING, commit_delay_ns=MS)


@pytest.fixture
def story() -> Script:
    story = Script("abc", timing=DELAYED)
    story.elect("a")
    story.wait(2 * MS)
    story.ring("a")
    story.settle()
    return story


def committed(story: Script) -> None:
    """Two entries of which nobody but the leader knows yet that they are committed."""
    before = story["a"].state.commit
    story.propose("a")
    story.settle()
    assert story["a"].state.commit == before + 1
    assert story["b"].state.commit == before


def test_a_commit_is_told_once_the_delay_is_over(story: Script) -> None:
    committed(story)
    assert story["a"].raft.deadline_ns == story.now_ns + MS
    story.wait(MS)
    story.do("a", DeadlinePassed())
    told = story.take(sender="a")
    assert [(type(wire.message), wire.message.sent_ns) for wire in told] == [(Heartbeat, 0)] * 2
    story.deliver(told)
    assert story["b"].state.commit == story["a"].state.commit
    assert story.take(to="a") == [], "nobody answers what only tells"
    assert story["a"].raft.deadline_ns > story.now_ns, "and then it rests"


def test_an_append_carries_it_before_that(story: Script) -> None:
    committed(story)
    story.do("a", Proposed(RequestId(8), b"y"))
    told = story.take(sender="a")
    assert [type(wire.message) for wire in told] == [Append, Append]
    assert all(wire.message.commit == story["a"].state.commit for wire in told)


def test_it_leaves_also_while_a_write_is_outstanding(story: Script) -> None:
    committed(story)
    story.step("a", Proposed(RequestId(8), b"y"))
    story.ready("a")
    story.take(sender="a")
    story.deliver(story.take(to="a"))
    story.wait(MS)
    story.step("a", DeadlinePassed())
    assert story["a"].raft.urgent().now == []  # the append had carried it
    assert story["a"].raft.deadline_ns > story.now_ns


def test_a_leader_that_follows_again_tells_nothing(story: Script) -> None:
    committed(story)
    story.transfer("a", "b")
    story.settle()
    assert story["a"].state.commit_due_ns is None
