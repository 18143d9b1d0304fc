"""Nobody disturbs a healthy leader, and no leader stays that has lost its quorum: pre-vote, stickiness, check-quorum."""

from __future__ import annotations

import pytest

from incumbent.consensus.api import DeadlinePassed, Proposed, Received, Role
from incumbent.consensus.raft.election import (
    HINT_RETRIES_MAX,
    HINT_VOTE_WAIT_MIN_NS,
    PARKING_MIN_NS,
    RANK_STEP_MIN_NS,
)
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
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import MS, TIMING, Script


def led(voters: str = "abc") -> Script:
    story = Script(voters)
    story.elect("a")
    return story


# --- pre-vote (dissertation 9.6) -----------------------------------------------------------------------------------


def test_a_rejoining_voter_does_not_depose_a_healthy_leader() -> None:
    """P52, dissertation 9.6: cut off for as long as it likes, it comes back in the term it left in."""
    story = led()
    story.live(40, "ab")
    assert story["c"].noted(Code.CAMPAIGN_TIMEOUT) >= 2
    assert (story.role("c"), story["c"].term) == (Role.PRE_CANDIDATE, 1)
    story.do("c", DeadlinePassed())
    story.live(40)
    assert story.leaders() == ["a"]
    assert {one.term for one in story.voters.values()} == {1}
    assert story["c"].state.leader == "a"


def test_asking_for_a_pre_vote_changes_neither_term_nor_vote_of_anyone() -> None:
    """Dissertation 9.6; nothing is written either."""
    story = led()
    story.wait(TIMING.election_timeout_max_ns)
    disks = [story[name].disk.hard_state for name in "abc"]
    story.step("c", DeadlinePassed())
    ready = story.ready("c")
    assert ready is not None
    assert ready.record is None
    assert [type(envelope.message) for envelope in ready.now] == [PreVote, PreVote]
    story.persist("c")
    story.advance("c")
    story.deliver(story.take(to="b", kind=PreVote))
    assert (story["b"].term, story["b"].state.vote) == (1, "a")
    assert [story[name].disk.hard_state for name in "abc"] == disks
    assert story.take(sender="b", kind=PreVoteReply)[0].message == PreVoteReply(Term(2), granted=True)


def test_a_voter_that_hears_the_leader_refuses_pre_votes() -> None:
    """P53, dissertation 4.2.3: stickiness holds for pre-votes as well, or a half-connected voter would win them."""
    story = led()
    story.beat("a")
    story.wait(TIMING.election_timeout_min_ns - 1)
    story.do("b", Received(NodeId("c"), PreVote(Term(2), Index(9), Term(9))))
    assert story.take(sender="b") == [], "it is parked"
    story.wait(PARKING_MIN_NS)
    story["b"].state.heard_ns = story.now_ns  # the leader goes on to be heard
    story.do("b", DeadlinePassed())
    assert story.take(sender="b")[0].message == PreVoteReply(Term(1), granted=False)
    assert story["b"].noted(Code.PRE_VOTE_REFUSED_STICKY) == 1
    story.wait(TIMING.election_timeout_min_ns)
    story.do("b", Received(NodeId("c"), PreVote(Term(2), Index(9), Term(9))))
    assert story.take(sender="b")[0].message == PreVoteReply(Term(2), granted=True)


def test_a_leader_refuses_pre_votes_for_as_long_as_it_leads() -> None:
    """P53: it hears itself; check-quorum says for how long."""
    story = led()
    story.wait(TIMING.election_timeout_min_ns - 1)
    story.do("a", Received(NodeId("c"), PreVote(Term(2), Index(9), Term(9))))
    assert story.take(sender="a", kind=PreVoteReply)[0].message.granted is False


def test_a_grant_for_another_term_does_not_count() -> None:
    """Dissertation 9.6: a late grant belongs to an earlier campaign."""
    story = Script()
    story.campaign("a")
    story.do("a", Received(NodeId("b"), PreVoteReply(Term(7), granted=True)))
    assert story.role("a") is Role.PRE_CANDIDATE


# --- votes (P53, P51) -----------------------------------------------------------------------------------------------


def test_a_vote_request_is_ignored_while_a_leader_is_heard() -> None:
    """P53, dissertation 4.2.3: no term is taken over, no answer given."""
    story = led()
    story.beat("a")
    story.wait(TIMING.election_timeout_min_ns - 1)
    for name in "ab":
        story.do(name, Received(NodeId("c"), Vote(Term(9), Index(9), Term(9))))
        assert story[name].term == 1
    assert story.wires == []
    assert story["b"].noted(Code.VOTE_REFUSED_STICKY) == 1
    story.wait(1)
    story.do("b", Received(NodeId("c"), Vote(Term(9), Index(9), Term(9))))
    assert story["b"].term == 9


def test_a_vote_leaves_only_after_it_is_durable() -> None:
    """P51: killed at any moment, a voter never votes twice in a term."""
    story = Script()
    story.step("c", Received(NodeId("a"), Vote(Term(1), Index(0), Term(0))))
    ready = story.ready("c")
    assert ready is not None
    assert list(ready.now) == []
    assert story.wires == []
    story.persist("c")
    assert decode_hard_state(story["c"].disk.hard_state).vote == "a"
    assert [type(wire.message) for wire in story.take()] == [VoteReply]


def test_a_crash_before_the_write_takes_the_vote_back_and_nobody_saw_it() -> None:
    """P51: the vote was never given, so another may have it."""
    story = Script()
    story.step("c", Received(NodeId("a"), Vote(Term(1), Index(0), Term(0))))
    story.ready("c")
    story.start("c")
    assert story.wires == []
    story.do("c", Received(NodeId("b"), Vote(Term(1), Index(0), Term(0))))
    assert story.take(sender="c")[0].message.granted is True


def test_vote_requests_leave_only_after_the_own_vote_is_durable() -> None:
    """P51: a candidate that forgot its candidacy could vote for another in the same term."""
    story = Script()
    story.campaign("a")
    (request,) = story.take(to="b", kind=PreVote)
    story.deliver([request])
    (grant,) = story.take(sender="b", kind=PreVoteReply)
    story.step("a", Received(NodeId("b"), grant.message))
    ready = story.ready("a")
    assert ready is not None
    assert list(ready.now) == []
    assert {type(envelope.message) for envelope in ready.messages} == {Vote}
    assert ready.record is not None


def test_grants_that_overtake_the_own_vote_wait_for_it() -> None:
    """P51: the others' votes may come back before advance(); a leader's own vote is durable, and known to be."""
    story = Script()
    story.campaign("a")
    story.deliver(story.take(to="b", kind=PreVote))
    (grant,) = story.take(sender="b", kind=PreVoteReply)
    story.step("a", Received(NodeId("b"), grant.message))
    story.ready("a")
    story.persist("a")
    for voter in "bc":
        story.step("a", Received(NodeId(voter), VoteReply(Term(1), granted=True)))
    assert story.role("a") is Role.CANDIDATE
    story.advance("a")
    assert story.role("a") is Role.LEADER


def test_a_campaign_that_is_over_asks_for_no_votes() -> None:
    """P51: found by seed 1107. The leader of the term is heard before the request has left, and cuts the log that the
    request speaks of: it would have claimed entries that were never durable."""
    story = Script()
    story.campaign("a")
    story.deliver(story.take(to="b", kind=PreVote))
    (grant,) = story.take(sender="b", kind=PreVoteReply)
    story.step("a", Received(NodeId("b"), grant.message))
    assert story.role("a") is Role.CANDIDATE
    story.step("a", Received(NodeId("c"), Heartbeat(Term(1), Index(0), 0)))
    story.flush("a")
    assert story.take(sender="a", kind=Vote) == []
    assert decode_hard_state(story["a"].disk.hard_state).vote == "a", "the own vote stands all the same"


def test_a_leader_whose_term_ended_during_the_write_does_not_come_back() -> None:
    """P51: advance() of a record that is out of date makes nobody leader."""
    story = Script("a")
    story.wait(TIMING.election_timeout_max_ns)
    story.step("a", DeadlinePassed())
    story.ready("a")
    story.step("a", Received(NodeId("b"), Heartbeat(Term(2), Index(0), 0)))  # while the vote is being written
    story.persist("a")
    story.advance("a")
    assert (story["a"].role, story["a"].term) == (Role.FOLLOWER, 2)


# --- check-quorum (dissertation 6.2) ------------------------------------------------------------------------------


def test_an_isolated_leader_stops_leading_within_the_election_timeout() -> None:
    """P52, dissertation 6.2: counted from the last answer of a quorum, to the nanosecond."""
    story = led()
    story.beat("a")
    story.wait(TIMING.election_timeout_min_ns - 1)
    story.do("a", DeadlinePassed())
    assert story.role("a") is Role.LEADER
    story.wait(1)
    story.ring("a")
    assert story.role("a") is Role.FOLLOWER
    assert story["a"].noted(Code.QUORUM_LOST) == 1
    assert not story["a"].leaderships[-1].serving


def test_a_leader_with_a_quorum_stays_although_others_are_silent() -> None:
    """Dissertation 6.2: a quorum is enough."""
    story = led("abcde")
    for _ in range(30):
        story.beat("a", "abc")
    assert story.role("a") is Role.LEADER


def test_a_leader_that_only_sends_steps_down_and_makes_room() -> None:
    """P52: followers still hear it, so without check-quorum nobody could ever replace it."""
    story = led()
    for _ in range(8):
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        story.deliver(story.take(sender="a"))
        story.wires.clear()  # nothing comes back
    assert story.role("a") is Role.FOLLOWER
    story.wires.clear()
    story.elect("b", "bc")


# --- pre-vote together with check-quorum -----------------------------------------------------------------------------


def test_a_voter_stuck_in_a_higher_term_gets_the_cluster_to_join_it() -> None:
    """It cannot win, for the others are sticky; it cannot follow, for its term is higher. So it answers the leader's
    messages with its term, and the leader steps down once."""
    story = Script(terms={"c": 5}, logs={"a": (1, 1), "b": (1, 1), "c": (1,)})
    story.elect("a", "ab")
    assert story["a"].term == 2
    story.beat("a", "ab")
    story.do("c", DeadlinePassed())
    story.settle()
    assert story.role("a") is Role.LEADER, "the stuck voter's pre-vote disturbs nobody"
    story.beat("a")
    assert story["c"].noted(Code.LOWER_TERM_ANSWERED) >= 1
    assert (story["a"].role, story["a"].term) == (Role.FOLLOWER, 5)
    story.elect("a")
    assert story["a"].term == 6
    assert story["c"].state.leader == "a"


@pytest.mark.parametrize(
    "message", [Heartbeat(Term(1), Index(0), 3), Append(Term(1), Index(0), Term(0), (), Index(0), 1)]
)
def test_both_messages_of_a_leader_of_the_past_are_answered_with_the_own_term(message: object) -> None:
    story = Script(terms={"a": 4})
    story.do("a", Received(NodeId("b"), message))
    (reply,) = story.take(sender="a")
    assert reply.message == HeartbeatReply(Term(4), 0)


def test_a_pre_vote_of_a_lower_term_is_refused_in_words() -> None:
    """A candidate of a lower term learns of the higher one, so that it can join; silence would leave it asking for ever."""
    story = Script(terms={"b": 4, "c": 4}, logs={"a": (1,)})
    story.campaign("a")
    story.deliver(story.take(to="b", kind=PreVote))
    (refusal,) = story.take(sender="b", kind=PreVoteReply)
    assert refusal.message == PreVoteReply(Term(4), granted=False)
    assert story["b"].noted(Code.PRE_VOTE_REFUSED_TERM) == 1
    story.deliver([refusal])
    assert story["a"].term == 4
    story.elect("a")


# --- hints: a closed connection (PROTOCOLS 2.7) ---------------------------------------------------------------------


def test_a_hint_starts_a_campaign_at_once() -> None:
    """A leader that was killed is replaced long before an election timeout."""
    story = led()
    story.beat("a")
    died_ns = story.now_ns
    for name in "bc":
        story.hint(name, "a")
        assert story[name].leaderships[-1].leader is None
    story.ring("b")
    story.settle("bc")
    assert story.role("b") is Role.LEADER
    assert story.now_ns - died_ns <= 20 * MS


def test_a_hint_that_the_others_do_not_share_yet_is_followed_up_quickly() -> None:
    """The others notice a little later: asking again soon is enough."""
    story = led()
    story.beat("a")
    died_ns = story.now_ns
    story.hint("b", "a")
    story.ring("b")
    story.settle("bc")
    assert story.role("b") is Role.PRE_CANDIDATE, "c still hears a"
    story.wait(PARKING_MIN_NS)
    story.do("c", DeadlinePassed())  # too late for what is parked
    story.wires.clear()
    story.hint("c", "a")
    story.ring("b")
    story.settle("bc")
    assert story.role("b") is Role.LEADER
    assert story.now_ns - died_ns <= 2 * PARKING_MIN_NS


def test_a_pre_vote_waits_for_the_news_that_its_sender_had_earlier() -> None:
    """A refusal for a millisecond's difference would cost another round."""
    story = led()
    story.beat("a")
    story.hint("b", "a")
    story.ring("b")
    story.settle("bc")
    assert story["c"].noted(Code.PRE_VOTE_PARKED) == 1
    story.wait(MS)
    story.hint("c", "a")
    story.settle("bc")
    assert story.role("b") is Role.LEADER


def test_after_a_hint_the_ranks_say_who_comes_first() -> None:
    """The leader had told them: who has most, then who should lead."""
    story = led("abcde")
    story.propose("a")
    story.settle("acd")
    story.beat("a")
    died_ns = story.now_ns
    for name in "bcde":
        story.hint(name, "a")
    due = sorted("bcde", key=lambda name: story[name].raft.deadline_ns)
    assert set(due[:2]) == {"c", "d"}
    waits = [story[name].raft.deadline_ns - died_ns for name in due]
    assert waits == [rank * RANK_STEP_MIN_NS for rank in range(4)]


def test_a_false_hint_disturbs_nobody() -> None:
    """The others still hear the leader, so nobody votes; its next heartbeat ends the matter, in the same term."""
    story = led()
    story.beat("a")
    story.hint("b", "a")
    story.ring("b")
    story.settle()
    assert story.role("b") is Role.PRE_CANDIDATE
    story.beat("a")
    assert (story["b"].role, story["b"].state.leader, story["b"].term) == (Role.FOLLOWER, "a", 1)
    assert story.leaders() == ["a"]
    assert story["b"].raft.deadline_ns - story.now_ns >= TIMING.election_timeout_min_ns


def test_a_heartbeat_that_was_on_its_way_does_not_make_the_news_unheard() -> None:
    """It arrives after the news of its sender's death: the follower does not wait out a whole election timeout, and lets
    another win at once."""
    story = led()
    story.beat("a")
    story.wait(TIMING.heartbeat_ns)
    story.do("a", DeadlinePassed())
    (late,) = story.take(sender="a", to="b", kind=Heartbeat)
    for name in "bc":
        story.hint(name, "a")
    story.deliver([late])
    story.wires.clear()
    assert story["b"].state.leader == "a"
    assert story["b"].raft.deadline_ns - story.now_ns <= 2 * TIMING.heartbeat_ns + 20 * MS
    story.ring("c")
    story.settle("bc")
    assert story.role("c") is Role.LEADER


def test_a_leader_that_was_declared_dead_in_error_is_trusted_after_its_next_heartbeat() -> None:
    story = led()
    story.beat("a")
    story.hint("b", "a")
    story.do("b", Received(NodeId("a"), Heartbeat(Term(1), Index(0), 0)))
    assert not story["b"].state.hears_leader()
    story.beat("a")
    assert story["b"].state.hears_leader()
    assert story["b"].raft.deadline_ns - story.now_ns >= TIMING.election_timeout_min_ns


def test_a_hint_is_followed_up_a_few_times_only() -> None:
    """Then the ordinary timeout is back: a lasting asymmetry causes no storm."""
    story = led()
    story.beat("a")
    story.hint("b", "a")
    waits = []
    for _ in range(8):
        before = story.now_ns
        story.ring("b")
        waits.append(story.now_ns - before)
        story.wires.clear()
    soon_ns = PARKING_MIN_NS + 2 * RANK_STEP_MIN_NS
    assert all(wait <= soon_ns for wait in waits[:HINT_RETRIES_MAX])
    assert all(wait >= TIMING.election_timeout_min_ns for wait in waits[HINT_RETRIES_MAX:])


def test_two_candidates_after_one_hint_try_again_soon() -> None:
    """A split vote after a hint does not cost an election timeout."""
    story = led()
    story.beat("a")
    for name in "bc":
        story.hint(name, "a")
    story.wait(20 * MS)
    for name in "bc":
        story.do(name, DeadlinePassed())
    story.deliver(story.take(sender="bc", to="bc", kind=PreVote))
    story.deliver(story.take(sender="bc", to="bc", kind=PreVoteReply))
    assert story.role("b") is story.role("c") is Role.CANDIDATE
    story.settle("bc")
    assert story.leaders() == ["a"]
    split_ns = story.now_ns
    first = min("bc", key=lambda name: story[name].raft.deadline_ns)
    story.ring(first)
    story.settle("bc")
    assert story.role(first) is Role.LEADER
    assert story.now_ns - split_ns <= HINT_VOTE_WAIT_MIN_NS + 2 * RANK_STEP_MIN_NS


@pytest.mark.parametrize("role", [Role.LEADER, Role.FOLLOWER])
def test_a_hint_about_anyone_but_the_leader_means_nothing(role: Role) -> None:
    story = led()
    name = "a" if role is Role.LEADER else "b"
    before = story[name].raft.deadline_ns
    story.hint(name, "c")
    assert story[name].raft.deadline_ns == before
    assert story[name].state.leader == "a"


# --- strangers and the outdated ------------------------------------------------------------------------------------


def test_an_answer_from_who_is_no_member_is_not_listened_to() -> None:
    story = led()
    story.do("a", Received(NodeId("z"), AppendReply(Term(99), False, Index(1), 1)))
    story.do("a", Received(NodeId("a"), AppendReply(Term(99), False, Index(1), 1)))
    assert story["a"].term == 1


def test_what_a_deposed_leader_had_in_its_log_alone_is_lost_and_known_to_be() -> None:
    """Raft section 5.3: the place goes to another entry, whose term tells the proposer."""
    story = led()
    story.step("a", Proposed(RequestId(1), b"alone"))
    story.flush("a")
    story.wires.clear()
    story.elect("b", "bc")
    story.beat("b")
    story.beat("b")
    (placed,) = story["a"].placed
    assert [entry.term for entry in story["a"].committed if entry.index == placed.index] == [2]
    assert placed.term == 1
