"""Linearizable reads without log entries: ReadIndex (dissertation 6.4)."""

from __future__ import annotations

import pytest

from incumbent.consensus import reads
from incumbent.consensus.api import Membership, ReadReady, ReadRequested, Received
from incumbent.consensus.raft.messages import (
    Append,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.reads import ROUNDS_OPEN_MAX, ReadRounds
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import TIMING, Script

ABC = Membership(frozenset({NodeId("a"), NodeId("b"), NodeId("c")}))


def led(voters: str = "abc") -> Script:
    story = Script(voters)
    story.elect("a")
    story.beat("a")
    return story


def test_a_read_waits_for_a_quorum_and_names_the_commit_index() -> None:
    """Dissertation 6.4, step 3: a round of heartbeats after the read came in."""
    story = led()
    request = story.read("a")
    assert story["a"].reads == []
    assert {wire.to for wire in story.wires} == {"b", "c"}
    story.settle()
    assert story["a"].reads == [ReadReady(request, Index(1))]


def test_an_answer_to_an_older_round_confirms_nothing() -> None:
    """PROTOCOLS 2.3 (b): it may have been sent before a newer leader was elected."""
    story = led()
    story.wait(TIMING.heartbeat_ns)
    story.ring("a")
    beats = story.take(sender="a", kind=Heartbeat)
    story.deliver(beats)
    old = story.take(kind=HeartbeatReply)
    request = story.read("a")
    story.deliver(old)
    assert story["a"].reads == []
    story.settle()
    assert [read.request for read in story["a"].reads] == [request]


def test_an_answer_to_an_older_round_confirms_that_one_and_no_newer() -> None:
    """PROTOCOLS 2.3 (b): also when both are open."""
    story = led()
    first = story.read("a")
    story.deliver(story.take(sender="a", kind=Heartbeat))
    old = story.take(kind=HeartbeatReply)
    second = story.read("a")
    story.deliver(old)
    assert [read.request for read in story["a"].reads] == [first]
    story.settle()
    assert [read.request for read in story["a"].reads] == [first, second]


def test_many_reads_share_one_round() -> None:
    story = led()
    for number in range(10):
        story.step("a", ReadRequested(RequestId(number)))
    story.flush("a")
    assert len(story.take(kind=Heartbeat)) == 2


def test_a_read_before_the_no_op_is_committed_waits_for_it() -> None:
    """Dissertation 6.4, step 1: before that the leader does not know what is committed."""
    story = Script()
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    appends = story.take(kind=Append)
    story.wires.clear()
    request = story.read("a")
    assert story["a"].noted(Code.READ_WAITS) == 1
    assert story.take(kind=Heartbeat) == []
    story.wires = appends
    story.settle()
    assert story["a"].reads == [ReadReady(request, Index(1))]


def test_a_waiting_read_does_not_keep_the_driver_busy() -> None:
    """A replica with nothing to do says so; `flush` would not come to rest otherwise."""
    story = Script()
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    story.read("a")
    assert story.ready("a") is None


def test_a_follower_refuses_reads() -> None:
    story = led()
    request = story.read("b")
    assert story["b"].refused == [request]


def test_reads_are_refused_when_the_leader_steps_down() -> None:
    """Never silent: in a round, waiting for a round, or waiting for the no-op."""
    story = led()
    requests = [story.read("a") for _ in range(ROUNDS_OPEN_MAX + 3)]
    story.wires.clear()
    story.do("a", Received(NodeId("b"), HeartbeatReply(Term(7), 0)))
    assert story["a"].refused == requests
    assert story["a"].reads == []


def test_a_deposed_leader_that_does_not_know_it_serves_no_reads() -> None:
    """The others promised a newer term, so nobody confirms."""
    story = led()
    story.elect("b", "bc")
    story.propose("b")
    story.settle("bc")
    story.read("a")
    story.settle()
    assert story["a"].reads == []
    assert len(story["a"].refused) == 1


def test_a_single_voter_confirms_itself_and_still_names_the_index() -> None:
    """PROTOCOLS 2.3 (d): no shortcut past applying."""
    story = Script("a")
    story.ring("a")
    story.propose("a")
    request = story.read("a")
    assert story["a"].reads == [ReadReady(request, Index(2))]


def test_the_number_of_reads_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """READS_MAX: refused, so safe to retry."""
    monkeypatch.setattr(reads, "READS_MAX", 2)
    story = led()
    requests = [story.read("a") for _ in range(4)]
    assert story["a"].refused == requests[2:]
    story.settle()
    assert [read.request for read in story["a"].reads] == requests[:2]
    story.read("a")
    assert len(story["a"].refused) == 2, "there is room again"


def test_open_rounds_are_bounded_and_the_rest_shares_the_next() -> None:
    """ROUNDS_OPEN_MAX: under load a round carries more, there are not more rounds."""
    rounds = ReadRounds()
    for number in range(ROUNDS_OPEN_MAX + 5):
        rounds.add(RequestId(number))
        assert rounds.begin(NodeId("a"), Index(1)) is (number < ROUNDS_OPEN_MAX)
    rounds.answer(NodeId("b"), rounds.number)
    assert len(rounds.confirmed(ABC)) == ROUNDS_OPEN_MAX
    assert rounds.begin(NodeId("a"), Index(2))
    rounds.answer(NodeId("c"), rounds.number)
    assert [read.index for read in rounds.confirmed(ABC)] == [2] * 5


def test_answers_out_of_order_take_nothing_back() -> None:
    rounds = ReadRounds()
    for number in (1, 2):
        rounds.add(RequestId(number))
        rounds.begin(NodeId("a"), Index(number))
    rounds.answer(NodeId("b"), 2)
    rounds.answer(NodeId("b"), 1)
    assert [read.request for read in rounds.confirmed(ABC)] == [1, 2]
