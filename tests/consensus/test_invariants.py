"""Each invariant of a voter's state stops it when it is broken on purpose."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from incumbent.consensus.api import Entry, Membership, Received, Role
from incumbent.consensus.raft.messages import Append, AppendReply, HardState, Heartbeat, PreVote
from incumbent.consensus.raft.state import Configured, Incoming, Parked, State
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, NodeId, Term
from tests.consensus.script import Script, entries, ids


def state_of(name: str) -> State:
    """`a` leads term 2 over two entries; the others follow."""
    story = Script(logs={"a": (1,), "b": (1,), "c": (1,)})
    story.elect("a")
    story.beat("a")
    return story[name].state


def both_fall(state: State) -> None:
    state.applied = Index(1)
    state.commit = Index(1)


def follower_that_leads(state: State) -> None:
    state.role, state.leader, state.vote = Role.LEADER, NodeId("a"), NodeId("b")


BREAKS: dict[str, tuple[str, Callable[[State], object]]] = {
    r"term, commit and applied never fall .*now=\(1, 2, 2\)": ("b", lambda s: setattr(s, "term", Term(1))),
    r"term, commit and applied never fall .*now=\(2, 1, 1\)": ("b", both_fall),
    r"term, commit and applied never fall .*now=\(2, 2, 1\)": (
        "b",
        lambda s: setattr(s, "applied", Index(1)),
    ),
    "forgotten <= snapshot <= commit <= last .*snapshot=9": (
        "b",
        lambda s: setattr(s.log, "snapshot", Index(9)),
    ),
    "forgotten <= snapshot <= commit <= last .*commit=9": ("b", lambda s: setattr(s, "commit", Index(9))),
    "the term is never below the durable one": ("b", lambda s: setattr(s, "durable", HardState(Term(9)))),
    "a durable vote stands for its term": ("b", lambda s: setattr(s, "vote", NodeId("c"))),
    "applied <= commit": ("b", lambda s: setattr(s, "applied", Index(3))),
    "the last membership is in force": ("b", lambda s: setattr(s, "membership", Membership(ids("ab")))),
    "stable <= last": ("b", lambda s: setattr(s.log, "stable", Index(9))),
    "no entry is of a later term": ("b", lambda s: s.log.append(entries((9,), 3))),
    "a leader voted for itself": ("a", lambda s: setattr(s, "leader", None)),
    "match < next <= last": ("a", lambda s: setattr(s.progress[NodeId("b")], "next", Index(2))),
    "match < next <= last .*match=7": ("a", lambda s: vars_of(s, match=7, next=8)),
    "only a leader follows itself": ("b", lambda s: setattr(s, "leader", NodeId("b"))),
}


BREAKS_AT_REST: dict[str, tuple[str, Callable[[State], object]]] = {
    "memberships are ordered": ("b", lambda s: s.configured.append(s.configured[0])),
    "a membership stands in the log": (
        "b",
        lambda s: s.configured.append(Configured(Index(1), Membership(ids("ab")))),
    ),
    "parked pre-votes are bounded": (
        "b",
        lambda s: s.parked.update(
            {NodeId(n): Parked(PreVote(Term(9), Index(0), Term(0)), 1) for n in "wxyz"}
        ),
    ),
    "no snapshot is longer than it says": (
        "b",
        lambda s: setattr(s, "incoming", Incoming(Term(2), Index(9), Term(2), 1, 2)),
    ),
    "the term's no-op stands": ("a", lambda s: setattr(s, "term_start", Index(1))),
    "a leader knows everyone": ("a", lambda s: s.progress.popitem()),
    "bytes in flight are counted": (
        "a",
        lambda s: setattr(s.progress[NodeId("b")], "in_flight_bytes", 7),
    ),
}


def vars_of(state: State, **values: int) -> None:
    for name, value in values.items():
        setattr(state.progress[NodeId("b")], name, Index(value))


@pytest.mark.parametrize("what", BREAKS)
def test_a_broken_invariant_stops_the_voter(what: str) -> None:
    name, break_it = BREAKS[what]
    state = state_of(name)
    state.invariants()
    break_it(state)
    with pytest.raises(InvariantViolated, match=what):
        state.invariants()


@pytest.mark.parametrize("what", BREAKS_AT_REST)
def test_a_broken_invariant_is_seen_at_rest(what: str) -> None:
    name, break_it = BREAKS_AT_REST[what]
    state = state_of(name)
    state.invariants_at_rest()
    break_it(state)
    with pytest.raises(InvariantViolated, match=what):
        state.invariants_at_rest()


def test_a_second_leader_in_a_term_stops_the_first() -> None:
    """Raft section 5.2: it cannot be, so something is broken, and nobody should go on."""
    story = Script()
    story.elect("a")
    with pytest.raises(InvariantViolated, match="one leader per term"):
        story.step("a", Received(NodeId("b"), Heartbeat(Term(1), Index(0), 0)))


def test_a_follower_never_changes_leaders_within_a_term() -> None:
    story = Script()
    story.elect("a")
    with pytest.raises(InvariantViolated, match="one leader per term"):
        story.step("b", Received(NodeId("c"), Heartbeat(Term(1), Index(0), 0)))


def test_an_acknowledgement_of_what_was_never_sent_stops_the_leader() -> None:
    story = Script()
    story.elect("a")
    with pytest.raises(InvariantViolated, match="never sent"):
        story.step("a", Received(NodeId("b"), AppendReply(Term(1), True, Index(99), 1)))


def test_a_committed_entry_is_never_truncated() -> None:
    """Raft section 5.4: a leader that asks for it is not one."""
    story = Script()
    story.elect("a")
    story.beat("a")
    rival = Append(Term(2), Index(0), Term(0), (Entry(Index(1), Term(2), None),), Index(0), 1)
    with pytest.raises(InvariantViolated, match="committed is never truncated"):
        story.step("b", Received(NodeId("c"), rival))


def test_advance_without_ready_is_a_mistake_of_the_driver() -> None:
    story = Script()
    with pytest.raises(InvariantViolated, match="advance follows ready"):
        story["a"].raft.advance()


def test_only_one_ready_is_outstanding() -> None:
    """consensus.api.Replica: None while one is outstanding."""
    story = Script()
    story.campaign("a")
    story.deliver(story.take(to="b"))
    (grant,) = story.take(sender="b")
    story.step("a", Received(NodeId("b"), grant.message))
    assert story.ready("a") is not None
    assert story["a"].raft.ready() is None


def test_time_that_goes_back_is_taken_for_the_latest_known() -> None:
    """The clock never steps, but events may be stamped before they are taken."""
    story = Script()
    story.elect("a")
    now_ns = story["a"].state.now_ns
    story.now_ns -= 10
    story.step("a", Received(NodeId("b"), Heartbeat(Term(0), Index(0), 0)))
    assert story["a"].state.now_ns == now_ns
