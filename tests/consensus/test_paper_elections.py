"""Raft's elections, test by test with the section of the paper (or of the dissertation) that each defends."""

from __future__ import annotations

import pytest

from incumbent.consensus.api import DeadlinePassed, Received, Role
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
    decode_hard_state,
)
from incumbent.consensus.raft.notes import Code
from incumbent.ids import Index, NodeId, Term
from tests.consensus.script import TIMING, Script


def in_role(role: Role) -> Script:
    """A cluster of three whose `a` has that role."""
    story = Script()
    if role is not Role.FOLLOWER:
        story.campaign("a")
    if role is Role.CANDIDATE:
        story.deliver(story.take(kind=PreVote))
        story.deliver(story.take(kind=PreVoteReply))
    elif role is Role.LEADER:
        story.settle()
    assert story.role("a") is role
    story.wires.clear()
    return story


def test_everyone_starts_as_a_follower() -> None:
    """Raft section 5.2."""
    story = Script()
    assert {one.role for one in story.voters.values()} == {Role.FOLLOWER}


def test_nobody_starts_in_an_old_leadership() -> None:
    """Raft section 5.1: leadership is not in the durable state."""
    story = in_role(Role.LEADER)
    story.start("a")
    assert story.role("a") is Role.FOLLOWER
    assert story["a"].term == 1


@pytest.mark.parametrize("role", list(Role))
def test_a_higher_term_makes_a_follower_of_anyone(role: Role) -> None:
    """Raft section 5.1: if one's term is smaller than another's, it updates to the larger; leaders step down."""
    story = in_role(role)
    story.do("a", Received(NodeId("b"), AppendReply(Term(9), False, Index(1), 1)))
    assert (story["a"].role, story["a"].term) == (Role.FOLLOWER, 9)


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    "message",
    [
        VoteReply(Term(1), True),
        AppendReply(Term(1), True, Index(1), 1),
        HeartbeatReply(Term(1), 0),
        Vote(Term(1), Index(9), Term(1)),
    ],
)
def test_a_message_of_an_older_term_changes_nothing(role: Role, message: object) -> None:
    """Raft section 5.1: a request with a stale term is rejected."""
    story = in_role(role)
    story.do("a", Received(NodeId("b"), VoteReply(Term(5), False)))
    before = (story["a"].role, story["a"].term, story["a"].state.vote, story["a"].state.commit)
    story.do("a", Received(NodeId("c"), message))
    assert (story["a"].role, story["a"].term, story["a"].state.vote, story["a"].state.commit) == before
    assert story.wires == []


def test_a_leader_beats_at_every_interval() -> None:
    """Raft section 5.2: leaders send periodic heartbeats to maintain their authority."""
    story = in_role(Role.LEADER)
    for _ in range(3):
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        assert {wire.to for wire in story.take(kind=Heartbeat)} == {"b", "c"}
    story.wait(TIMING.heartbeat_ns - 1)
    story.do("a", DeadlinePassed())
    assert story.take(kind=Heartbeat) == [], "an early alarm does nothing"


def test_a_follower_that_hears_the_leader_never_campaigns() -> None:
    """Raft section 5.2."""
    story = in_role(Role.LEADER)
    for _ in range(100):
        story.beat("a")
        story.do("b", DeadlinePassed())
    assert story.role("b") is Role.FOLLOWER
    assert story["b"].noted(Code.CAMPAIGN_TIMEOUT) == 0


def test_a_campaign_takes_the_next_term_and_the_own_vote() -> None:
    """Raft section 5.2: increment the term, vote for oneself, ask all others."""
    story = in_role(Role.CANDIDATE)
    assert story["a"].term == 1
    assert story["a"].state.vote == "a"
    hard = decode_hard_state(story["a"].disk.hard_state)
    assert (hard.term, hard.vote) == (1, "a"), "both are durable"


@pytest.mark.parametrize(
    ("voters", "grants", "refusals", "role"),
    [
        ("a", "", "", Role.LEADER),
        ("abc", "b", "", Role.LEADER),
        ("abc", "b", "c", Role.LEADER),
        ("abc", "", "b", Role.CANDIDATE),
        ("abc", "", "bc", Role.FOLLOWER),
        ("abcd", "b", "", Role.CANDIDATE),
        ("abcd", "bc", "", Role.LEADER),
        ("abcd", "", "bc", Role.FOLLOWER),
        ("abcde", "bc", "", Role.LEADER),
        ("abcde", "b", "cd", Role.CANDIDATE),
        ("abcde", "b", "cde", Role.FOLLOWER),
        ("abcde", "bc", "de", Role.LEADER),
    ],
)
def test_a_majority_of_all_voters_decides(voters: str, grants: str, refusals: str, role: Role) -> None:
    """Raft section 5.2."""
    story = Script(voters)
    story.campaign("a")
    for other in voters[1:]:
        story.do("a", Received(NodeId(other), PreVoteReply(Term(1), granted=True)))
    for name, granted in [(n, True) for n in grants] + [(n, False) for n in refusals]:
        story.do("a", Received(NodeId(name), VoteReply(Term(1), granted)))
    assert story.role("a") is role


def test_a_vote_counts_once_however_often_it_arrives() -> None:
    """Raft section 5.2: a candidate needs the votes of a majority, not a majority of messages."""
    story = Script("abcde")
    story.campaign("a")
    for other in "bcde":
        story.do("a", Received(NodeId(other), PreVoteReply(Term(1), granted=True)))
    for _ in range(3):
        story.do("a", Received(NodeId("b"), VoteReply(Term(1), granted=True)))
    assert story.role("a") is Role.CANDIDATE


def test_votes_go_to_the_first_who_asks() -> None:
    """Raft section 5.2: each server votes for at most one candidate in a term, first come first served."""
    story = Script()
    for candidate, expected in (("a", True), ("b", False), ("a", True)):
        story.do("c", Received(NodeId(candidate), Vote(Term(1), Index(0), Term(0))))
        (reply,) = story.take(sender="c", kind=VoteReply)
        assert reply.message.granted is expected


def test_the_one_vote_survives_a_restart() -> None:
    """Raft section 5.2, P51: term and vote are durable before the vote is given."""
    story = Script()
    story.do("c", Received(NodeId("a"), Vote(Term(1), Index(0), Term(0))))
    story.take()
    story.start("c")
    story.do("c", Received(NodeId("b"), Vote(Term(1), Index(0), Term(0))))
    (reply,) = story.take(sender="c", kind=VoteReply)
    assert reply.message.granted is False
    assert story["c"].noted(Code.VOTE_REFUSED_TAKEN) == 1


@pytest.mark.parametrize(
    "message", [Heartbeat(Term(1), Index(0), 0), Append(Term(1), Index(0), Term(0), (), Index(0), 1)]
)
def test_a_candidate_follows_the_leader_of_its_term(message: object) -> None:
    """Raft section 5.2."""
    story = in_role(Role.CANDIDATE)
    story.do("a", Received(NodeId("b"), message))
    assert (story["a"].role, story["a"].state.leader) == (Role.FOLLOWER, "b")


def test_election_timeouts_are_drawn_anew_within_their_bounds() -> None:
    """Raft section 5.2: randomised timeouts, so that split votes are rare and resolved quickly."""
    story = in_role(Role.LEADER)
    waits = set()
    for _ in range(50):
        story.beat("a")
        waits.add(story["b"].raft.deadline_ns - story.now_ns)
    assert len(waits) > 40
    assert min(waits) >= TIMING.election_timeout_min_ns
    assert max(waits) < TIMING.election_timeout_max_ns


def test_a_split_vote_is_followed_by_another_election() -> None:
    """Raft section 5.2: with no winner, each candidate times out and starts a new term."""
    story = Script("abcd")
    story.campaign("a")
    story.ring("b")
    story.deliver(story.take(kind=PreVote))
    story.deliver(story.take(kind=PreVoteReply))
    assert story["a"].term == story["b"].term == 1
    story.deliver(story.take(sender="a", to="c") + story.take(sender="b", to="d"))
    story.settle()
    assert story.leaders() == []
    story.elect("a")
    assert story["a"].term == 2


@pytest.mark.parametrize(
    ("mine", "last_index", "last_term", "granted"),
    [
        ((1,), 1, 1, True),
        ((1,), 2, 1, True),  # longer
        ((1, 1), 1, 1, False),  # shorter, same term
        ((1, 1), 1, 2, True),  # shorter, later term
        ((2,), 1, 1, False),
        ((2,), 5, 1, False),  # longer, earlier term
        ((), 0, 0, True),
    ],
)
@pytest.mark.parametrize("kind", [Vote, PreVote])
def test_only_an_up_to_date_candidate_gets_a_vote(
    kind: type[Vote | PreVote], mine: tuple[int, ...], last_index: int, last_term: int, *, granted: bool
) -> None:
    """Raft section 5.4.1, and the same for pre-votes (dissertation 9.6)."""
    story = Script(logs={"a": mine})
    story.do("a", Received(NodeId("b"), kind(Term(9), Index(last_index), Term(last_term))))
    (reply,) = story.take(sender="a")
    assert reply.message.granted is granted


def test_a_candidate_that_cannot_win_does_not_put_off_one_that_can() -> None:
    """Raft section 5.2: only a granted vote, or the leader, restarts the timer."""
    story = Script("abc", logs={"b": (1,)})
    before = story["b"].raft.deadline_ns
    story.do("b", Received(NodeId("a"), Vote(Term(2), Index(0), Term(0))))
    assert story["b"].raft.deadline_ns == before


def test_a_leader_begins_its_term_with_a_no_op() -> None:
    """Raft section 8: so that it learns what is committed."""
    story = Script(logs={"a": (1, 1), "b": (1, 1), "c": (1, 1)})
    story.elect("a")
    assert story["a"].log == [1, 1, 2]
    assert [entry.data for entry in story["a"].committed] == [b"1/1", b"2/1", None]
    assert story["a"].leaderships[-1].serving


def test_a_single_voter_leads_and_commits_alone() -> None:
    """Raft section 5.2: a majority of one is one; still nothing counts before it is durable."""
    story = Script("a")
    story.ring("a")
    story.propose("a")
    assert [entry.data for entry in story["a"].committed] == [None, b"x"]
