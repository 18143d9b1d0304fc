"""Handing leadership over (dissertation 3.10), and who should rather lead."""

from __future__ import annotations

from incumbent.consensus.api import DeadlinePassed, Received, Role, Timing, Why
from incumbent.consensus.raft.messages import Append, TimeoutNow
from incumbent.consensus.raft.notes import Code
from incumbent.ids import NodeId, Term
from tests.consensus.script import TIMING, Script

INTERVALS = TIMING.election_timeout_min_ns // TIMING.heartbeat_ns
"""Heartbeat intervals in one minimum election timeout."""


def led(learners: str = "", witnesses: str = "") -> Script:
    story = Script(learners=learners, witnesses=witnesses)
    story.elect("a")
    story.beat("a")
    return story


def why(story: Script, code: Code, name: str = "a") -> list[object]:
    return [note.facts["why"] for note in story[name].notes if note.code == code]


def test_the_target_leads_without_anybody_waiting() -> None:
    """P53: its followers vote although they hear a leader, because that leader asked for it."""
    story = led()
    before_ns = story.now_ns
    request = story.transfer("a", "b")
    story.settle()
    assert story.leaders() == ["b"]
    assert story.now_ns == before_ns
    assert story["a"].transferred == [request]


def test_nothing_is_proposed_during_a_transfer() -> None:
    """P54, dissertation 3.10: or the target would never have everything."""
    story = led()
    story.transfer("a", "b")
    refused = story.propose("a")
    assert story["a"].refused == [refused]
    assert why(story, Code.PROPOSAL_REFUSED) == [Why.TRANSFERRING]


def test_a_transfer_that_fails_is_over_after_an_election_timeout_and_proposals_resume() -> None:
    """P54."""
    story = led()
    request = story.transfer("a", "b")
    story.live(INTERVALS - 1, "ac")
    assert story["a"].refused == []
    story.live(1, "ac")
    assert story["a"].noted(Code.TRANSFER_ABORTED) == 1
    assert story["a"].refused == [request]
    assert story.leaders() == ["a"]
    story.propose("a")
    story.settle("ac")
    assert story["a"].state.commit == 2


def test_the_target_is_asked_only_when_it_has_everything() -> None:
    """P54, dissertation 3.10, step 2."""
    story = led()
    story.propose("a")
    appends = story.take(to="b", kind=Append)
    story.settle("ac")
    story.transfer("a", "b")
    assert story.take(kind=TimeoutNow) == []
    story.deliver(appends)
    story.deliver(story.take(sender="b"))
    assert [wire.to for wire in story.take(kind=TimeoutNow)] == ["b"]


def test_a_request_to_take_over_that_comes_late_does_no_harm() -> None:
    """P54: the transfer was given up, the term goes on; the target campaigns, and one of the two leads in the end."""
    story = led()
    story.transfer("a", "b")
    late = story.take(kind=TimeoutNow)
    story.live(INTERVALS + 1)
    assert story.leaders() == ["a"]
    story.propose("a")
    story.settle()
    story.deliver(late)
    story.settle()
    story.live(30)
    assert len(story.leaders()) == 1
    assert story["a"].state.commit == story["b"].state.commit == story["c"].state.commit


def test_leadership_goes_to_voters_with_data_only() -> None:
    story = led(learners="d", witnesses="c")
    for to in ("c", "d", "z"):
        story.transfer("a", to)
    assert why(story, Code.TRANSFER_REFUSED) == [Why.INVALID] * 3
    assert story.take(kind=TimeoutNow) == []


def test_a_transfer_to_oneself_is_done() -> None:
    story = led()
    assert story["a"].transferred == [] == story["a"].refused
    request = story.transfer("a", "a")
    assert story["a"].transferred == [request]


def test_one_transfer_at_a_time() -> None:
    story = led()
    story.transfer("a", "b")
    second = story.transfer("a", "c")
    assert story["a"].refused == [second]


def test_a_learner_or_witness_that_is_asked_to_take_over_does_not() -> None:
    story = led(learners="d", witnesses="c")
    for name in "cd":
        story.do(name, Received(NodeId("a"), TimeoutNow(Term(1))))
        assert story.role(name) is Role.FOLLOWER
        assert story[name].term == 1


# --- priorities (P43) ------------------------------------------------------------------------------------------------


def preferring(delay_ns: int = 20 * TIMING.heartbeat_ns) -> Script:
    """`a` leads, and b should."""
    story = Script(priorities={"b": 1}, timing=Timing(preemption_delay_ns=delay_ns))
    story.elect("a")
    return story


def test_who_should_lead_is_given_leadership_after_the_delay() -> None:
    """P43."""
    story = preferring()
    story.live(18)
    assert story.leaders() == ["a"]
    story.live(3)
    assert story.leaders() == ["b"]
    story.live(60)
    assert story.leaders() == ["b"]
    assert story["b"].term == 2


def test_one_pre_emption_per_delay() -> None:
    """P43: also when it fails."""
    story = preferring()
    for _ in range(59):
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        story.take(kind=TimeoutNow)  # never arrives
        story.settle()
    assert story.leaders() == ["a"]
    assert story["a"].noted(Code.PREEMPTED) == 2


def test_who_has_not_caught_up_is_not_preferred() -> None:
    """P43: preference elects nobody unfit."""
    story = preferring()
    story.beat("a")
    for _ in range(30):
        story.propose("a")
        story.take(to="b", kind=Append)  # never arrives; heartbeats do
        story.settle()
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        story.take(to="b", kind=Append)
        story.settle()
    assert story.leaders() == ["a"]
    assert story["a"].noted(Code.PREEMPTED) == 0


# --- transfers and who is a member -----------------------------------------------------------------------------------


def test_no_transfer_begins_during_a_change_and_no_change_during_a_transfer() -> None:
    """P54, P57: each waits for the end of the other."""
    story = led()
    story.change("a", "ab")
    assert story["a"].membership.joint
    refused = [story.transfer("a", "b")]
    story.live(3)
    story.transfer("a", "b")
    refused.append(story.change("a", "abc"))
    assert story["a"].refused == refused


def test_a_transfer_to_who_is_being_removed_is_refused() -> None:
    story = led()
    story.change("a", "ab")
    story.live(3)
    refused = story.transfer("a", "c")
    assert story["a"].refused == [refused]
    assert story.role("a") is Role.LEADER


def test_a_transfer_ends_also_when_another_takes_over() -> None:
    """P54: the request ends, whoever leads."""
    story = led()
    request = story.transfer("a", "b")
    story.wires.clear()
    story.elect("c", "bc")
    story.beat("c")
    assert story["a"].refused == [request]
    assert story["a"].transferred == []


def test_a_transfer_of_a_leader_that_hears_nobody_any_more_ends() -> None:
    """P54: an election timeout later at the latest, though it leads no more by then."""
    story = led()
    request = story.transfer("a", "b")
    story.live(TIMING.election_timeout_min_ns // TIMING.heartbeat_ns + 1, "a")
    assert story["a"].refused == [request]
    assert story["a"].state.transfer is None


def test_the_next_leader_takes_proposals_although_it_had_a_transfer_open() -> None:
    """P54: a transfer binds the term in which it was asked for."""
    story = led()
    story.transfer("a", "b")
    story.settle()
    assert story.leaders() == ["b"]
    back = story.transfer("b", "a")
    story.settle()
    assert story["b"].transferred == [back]
    request = story.propose("a")
    assert story["a"].placed[-1].request == request
