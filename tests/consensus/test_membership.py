"""Who votes, and how that changes: joint consensus (Raft section 6, dissertation 4.2 and 4.3). P57."""

from __future__ import annotations

import pytest

from incumbent.consensus.api import DeadlinePassed, Membership, Received, Role
from incumbent.consensus.quorum import Outcome, outcome, reached
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode
from incumbent.ids import Index, NodeId, Term
from tests.consensus.script import TIMING, Script, ids

JOINT = Membership(ids("ade"), outgoing=ids("abc"))


def led(names: str = "abc", **more: str) -> Script:
    """`a` leads, has committed an entry of its term, and everyone knows."""
    story = Script(names, **more)  # type: ignore[arg-type]
    story.elect("a")
    story.beat("a")
    return story


def with_learners(names: str = "de") -> Script:
    """`a` leads a, b and c; the others are learners that have everything."""
    story = led()
    for name in names:
        story.join(name)
    story.change("a", "abc", names)
    story.settle()
    story.beat("a")
    return story


def why(story: Script, name: str = "a") -> list[object]:
    """Why membership changes were refused."""
    return [note.facts["why"] for note in story[name].notes if note.code == Code.MEMBERSHIP_REFUSED]


def committed(story: Script, name: str) -> int:
    return story[name].state.commit


# --- what a quorum is ------------------------------------------------------------------------------------------------


def test_learners_count_for_nothing() -> None:
    """P57: neither for a commit nor for a vote."""
    membership = Membership(ids("abc"), learners=ids("de"))
    all_but_voters = dict.fromkeys(ids("ade"), 9)
    assert reached(membership, all_but_voters) == 0
    assert outcome(membership, dict.fromkeys(ids("ade"), True)) is Outcome.OPEN


@pytest.mark.parametrize(
    ("there", "commits"),
    [("ad", False), ("ade", False), ("abc", False), ("ab", False), ("abd", True), ("bcde", True)],
)
def test_during_a_change_both_halves_have_to_agree(there: str, *, commits: bool) -> None:
    """P57, Raft section 6: "agreement requires separate majorities"."""
    assert (reached(JOINT, dict.fromkeys(ids(there), 7)) == 7) is commits
    assert (outcome(JOINT, dict.fromkeys(ids(there), True)) is Outcome.WON) is commits


@pytest.mark.parametrize("refused", ["bc", "de"])
def test_one_half_that_refuses_is_enough_to_lose(refused: str) -> None:
    assert outcome(JOINT, dict.fromkeys(ids(refused), False)) is Outcome.LOST


# --- the way of a change ---------------------------------------------------------------------------------------------


def test_a_change_passes_through_the_joint_membership_and_leaves_it() -> None:
    """P57, dissertation 4.3: and the request is placed once, with the joint entry."""
    story = with_learners()
    request = story.change("a", "ade")
    assert story["a"].membership == JOINT
    assert story["a"].placed[-1].request == request
    story.settle()
    story.beat("a")
    after = Membership(ids("ade"))
    assert {name: story[name].membership for name in "ade"} == dict.fromkeys("ade", after)


def test_a_membership_is_in_force_as_soon_as_it_is_in_the_log() -> None:
    """P57, Raft section 6: "once a given server adds the new configuration entry to its log, it uses it"."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="d", kind=Append))
    assert story["d"].membership == JOINT
    assert committed(story, "d") < story["d"].state.log.last_index


def test_what_is_proposed_during_a_change_needs_both_halves() -> None:
    """P57."""
    story = with_learners()
    story.change("a", "ade")
    story.propose("a")
    before = committed(story, "a")
    story.settle("ade")
    assert committed(story, "a") == before, "of the old half only a is there"
    story.live(6, "abde")
    assert story["a"].membership == Membership(ids("ade"))
    assert committed(story, "a") == story["a"].state.log.last_index


def test_the_new_half_alone_elects_nobody() -> None:
    """P57: while the old half, which does not know of the change, elects another."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="de", kind=Append))
    story.wires.clear()
    story.campaign("d")
    story.settle("de")
    assert story.role("d") is not Role.LEADER
    story.elect("b", "bc")
    assert story.leaders() == ["a", "b"]
    assert story["a"].term < story["b"].term


def test_the_old_half_alone_elects_nobody_who_knows_of_the_change() -> None:
    """P57."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="bc", kind=Append))
    story.wires.clear()
    story.campaign("b")
    story.settle("bc")
    assert story.role("b") is not Role.LEADER
    story.wait(TIMING.election_timeout_max_ns)
    story.ring("b")
    story.settle("bcde")
    assert story["b"].noted(Code.BECAME_LEADER) == 1, "and, once it has completed the change, it leaves"


def test_a_joint_membership_is_left_only_once_it_is_committed() -> None:
    """P57: an entry before it that is committed is no reason."""
    story = with_learners()
    story.propose("a")
    story.change("a", "ade")
    appends = story.take(to="bcde", kind=Append)
    story.deliver([wire for wire in appends if not any(entry.tag for entry in wire.message.entries)])
    story.settle()
    assert committed(story, "a") == story["a"].state.log.last_index - 1, "the proposal, not the change"
    assert story["a"].membership == JOINT
    assert story["a"].noted(Code.MEMBERSHIP_LEFT) == 0


def test_a_new_leader_completes_the_change_of_the_one_before() -> None:
    """P57: it survives a leader change at any point."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="bd", kind=Append))
    story.wires.clear()
    story.elect("d", "bcde")
    story.beat("d", "bcde")
    story.beat("d", "bcde")
    assert story["d"].membership == Membership(ids("ade"))
    assert story["d"].noted(Code.MEMBERSHIP_LEFT) == 1


def test_a_change_that_was_overwritten_never_was() -> None:
    """P57, Raft section 6: the one before is in force again."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="e", kind=Append))
    story.wires.clear()
    assert story["e"].membership == JOINT
    story.elect("b", "bc")
    story.beat("b")
    story.beat("b")
    for name in "abce":
        assert story[name].membership == Membership(ids("abc"), learners=ids("de"))
    assert story["e"].noted(Code.MEMBERSHIP_RESTORED) == 1
    assert story["a"].noted(Code.MEMBERSHIP_RESTORED) == 1


def test_a_restart_keeps_the_membership_of_the_log() -> None:
    """P57: committed or not."""
    story = with_learners()
    story.change("a", "ade")
    story.deliver(story.take(to="d", kind=Append))
    story.start("d")
    assert story["d"].membership == JOINT


def test_a_change_of_learners_only_needs_no_joint_membership() -> None:
    story = led()
    story.join("d")
    story.change("a", "abc", "d")
    assert not story["a"].membership.joint
    story.settle()
    story.beat("a")
    assert story["d"].membership == Membership(ids("abc"), learners=ids("d"))
    assert story["d"].log == story["a"].log, "a learner is sent everything"


def test_a_voter_becomes_a_learner_through_the_joint_membership() -> None:
    """P57: nobody is voter and learner at one time."""
    story = led()
    story.change("a", "ab", "c")
    assert story["a"].membership == Membership(ids("ab"), outgoing=ids("abc"), learners_next=ids("c"))
    story.settle()
    story.beat("a")
    assert story["a"].membership == Membership(ids("ab"), learners=ids("c"))
    story.live(30)
    assert story["c"].role is Role.FOLLOWER


def test_a_learner_does_not_campaign() -> None:
    story = with_learners("d")
    story.wait(10 * TIMING.election_timeout_max_ns)
    story.do("d", DeadlinePassed())
    assert story.role("d") is Role.FOLLOWER
    assert story.take(sender="d") == []


# --- when a change is refused ----------------------------------------------------------------------------------------


def test_no_change_begins_while_another_is_open() -> None:
    """P57: neither a joint one nor one of learners only, in whatever half of it."""
    story = led()
    story.join("d")
    story.change("a", "abc", "d")
    refused = story.change("a", "ab")
    assert story["a"].refused == [refused]
    story.settle()
    story.change("a", "ab", "d")
    assert story["a"].membership.joint
    story.change("a", "abc", "d")
    assert why(story) == ["changing", "changing"]


def test_no_change_begins_before_the_own_term_has_committed() -> None:
    """P57: or two leaders in a row could each begin another change, and two quorums part (raft-dev, 2015)."""
    story = Script()
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    assert story.role("a") is Role.LEADER
    story.change("a", "ab")
    assert why(story) == ["too_early"]
    assert not story["a"].membership.joint


def test_nobody_votes_before_it_has_caught_up() -> None:
    """P57: not a stranger, and not a learner that is far behind."""
    story = led()
    story.join("d")
    story.change("a", "abcd")
    assert why(story) == ["not_caught_up"]
    story.change("a", "abc", "d")
    story.settle("abc")
    story.change("a", "abcd")
    assert why(story) == ["not_caught_up", "not_caught_up"]
    story.live(3)
    story.change("a", "abcd")
    assert story["a"].membership.joint


@pytest.mark.parametrize(("voters", "learners"), [("", ""), ("", "abc"), ("abc", "c"), ("abc", "")])
def test_what_makes_no_sense_is_refused(voters: str, learners: str) -> None:
    """Nobody who could lead; voter and learner at once; what there is already."""
    story = led()
    story.change("a", voters, learners)
    assert why(story) == ["invalid"]


def test_a_follower_changes_nothing() -> None:
    story = led()
    story.change("b", "ab")
    assert why(story, "b") == ["not_leader"]


# --- who leaves ------------------------------------------------------------------------------------------------------


def test_a_removed_leader_steps_down_after_the_commit_and_hands_over() -> None:
    """P57, dissertation 4.2.2: it counts no vote of its own for the entry that removes it; nobody waits for a timeout."""
    story = led()
    story.change("a", "bc")
    story.deliver(story.take(to="b", kind=Append))
    story.deliver(story.take(sender="b", kind=AppendReply))
    assert story.role("a") is Role.LEADER, "the membership without it is not committed"
    story.settle()
    assert story["a"].noted(Code.REMOVED) == 1
    assert story.role("a") is Role.FOLLOWER
    assert story.leaders() in (["b"], ["c"])


def test_a_removed_voter_disturbs_nobody() -> None:
    """Dissertation 4.2.3: it may never learn that it was removed; its pre-votes are refused."""
    story = led()
    story.change("a", "ab")
    story.settle("ab")
    story.beat("a", "ab")
    story.live(40)
    assert story["c"].noted(Code.CAMPAIGN_TIMEOUT) >= 1
    assert story.leaders() == ["a"]
    assert story["a"].term == 1


def test_whoever_holds_the_last_membership_alone_can_still_be_elected() -> None:
    """Dissertation 4.2.2: a server that its own latest membership leaves out may still be needed to commit it."""
    story = led()
    story.change("a", "bc")
    story.deliver(story.take(to="bc", kind=Append))
    story.deliver(story.take(sender="bc", kind=AppendReply))  # the joint membership is committed, and left
    assert story["a"].membership == Membership(ids("bc"))
    story.wires.clear()
    story.start("a")
    assert story["a"].state.electable
    story.campaign("a")
    story.settle()
    assert story["b"].membership == Membership(ids("bc"))
    assert story["a"].noted(Code.REMOVED) == 1
    assert not story["a"].state.electable


def test_a_read_ends_also_when_only_the_change_made_its_answers_enough() -> None:
    """P57: nobody is left who could answer once more."""
    story = Script("ab")
    story.elect("a")
    story.beat("a")
    read = story.read("a")
    story.take(kind=Heartbeat)
    story.change("a", "a")
    story.settle()
    assert story["a"].membership == Membership(ids("a"))
    story.live(3)
    assert [ready.request for ready in story["a"].reads] == [read]


def test_an_answer_from_before_it_was_removed_is_none_to_what_it_is_sent_as_a_newcomer() -> None:
    """A refusal of an append from then, below what it has now, must not look like a disk that lost entries: it would be sent
    nothing for the rest of the term."""
    story = with_learners("d")
    for _ in range(3):
        story.propose("a")
    appends = story.take(to="d", kind=Append)
    story.settle("abc")
    story.deliver(appends[-1:])
    late = story.take(sender="d", kind=AppendReply)
    assert [wire.message.accepted for wire in late] == [False]
    story.live(4)
    story.change("a", "abc")
    story.live(3)
    assert NodeId("d") not in story["a"].state.progress
    story.change("a", "abc", "d")
    story.live(3)
    assert committed(story, "d") == committed(story, "a")
    story.deliver(late)
    progress = story["a"].state.progress[NodeId("d")]
    assert progress.mode is Mode.REPLICATE
    assert story["a"].noted(Code.REFUSAL_STALE) == 1


def test_pre_votes_of_who_is_no_member_any_more_do_not_stay_parked() -> None:
    story = Script("abcde")
    story.elect("a")
    story.beat("a")
    story.change("a", "ae")
    appends = story.take(to="e", kind=Append)
    for name in "bcd":
        story.do("e", Received(NodeId(name), PreVote(Term(2), Index(5), Term(1))))
    story.deliver(appends)
    story.settle()
    story.live(3, "ae")
    assert story["e"].membership == Membership(ids("ae"))
    story["e"].raft.invariants_at_rest()
    assert story["e"].state.parked == {}


def test_a_learner_answers_votes_because_it_may_have_been_promoted_without_knowing() -> None:
    """Dissertation 4.2.2: a change is in force for who has it, and a leader of it may need the vote of one who has not."""
    story = with_learners("d")
    story.change("a", "ad")
    story.deliver(story.take(to="b", kind=Append))  # b, which is to leave, is the only other one to know
    story.wires.clear()
    assert not story["d"].membership.joint
    story.campaign("b")
    story.settle("bcd")
    assert story.role("b") is not Role.LEADER, "of the new half only d is there"
    assert story["d"].noted(Code.PRE_VOTE_GRANTED) == 1
    story.start("a")
    story.campaign("b")
    story.settle("abd")
    assert story["b"].noted(Code.BECAME_LEADER) == 1, "and completed the change, and left"
    assert story["b"].noted(Code.REMOVED) == 1


def test_a_newcomer_votes_for_nobody_who_lacks_what_it_has() -> None:
    """Raft section 5.4.1 binds learners as well."""
    story = with_learners("d")
    story.change("a", "ad")
    story.deliver(story.take(to="d", kind=Append))
    story.wires.clear()
    story.wait(TIMING.election_timeout_max_ns)
    story.do("d", Received(NodeId("c"), Vote(Term(9), Index(2), Term(1))))
    (reply,) = story.take(sender="d", kind=VoteReply)
    assert not reply.message.granted


def test_a_leader_that_becomes_a_learner_steps_down_and_learns() -> None:
    """P57: through the joint membership, as every voter."""
    story = led()
    story.change("a", "bc", "a")
    assert story["a"].membership.learners_next == ids("a")
    story.settle()
    assert story["a"].noted(Code.REMOVED) == 1
    (leader,) = story.leaders()
    assert leader in "bc"
    story.propose(leader, b"news")
    story.live(3)
    assert story["a"].membership == Membership(ids("bc"), learners=ids("a"))
    assert story["a"].log == story[leader].log


def test_reads_are_confirmed_by_the_members_there_are_now() -> None:
    """P57, dissertation 6.4: during a change by both halves, and never by a learner."""
    story = with_learners()
    story.change("a", "ade")
    assert story["a"].membership == JOINT
    read = story.read("a")
    story.settle("ade")
    assert story["a"].reads == []
    story.wires.clear()
    story.live(3, "abde")
    assert [ready.request for ready in story["a"].reads] == [read]
    story.change("a", "ad", "e")
    story.live(4, "ade")
    assert story["a"].membership == Membership(ids("ad"), learners=ids("e"))
    story.read("a")
    story.settle("ae")
    assert len(story["a"].reads) == 1
