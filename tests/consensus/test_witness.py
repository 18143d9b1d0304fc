"""Witnesses: they vote and keep terms and memberships, hold no data, and never lead."""

from __future__ import annotations

from incumbent.consensus.api import DeadlinePassed, Membership, Proposed, ReplicaLimits, Role
from incumbent.consensus.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply, Vote
from incumbent.consensus.raft.notes import Code
from incumbent.ids import RequestId
from tests.consensus.script import TIMING, Script, ids


def led() -> Script:
    """`a` leads a and b, with c as the witness."""
    story = Script("abc", witnesses="c")
    story.elect("a")
    story.beat("a")
    return story


def test_a_witness_never_campaigns() -> None:
    story = led()
    story.wait(10 * TIMING.election_timeout_max_ns)
    story.do("c", DeadlinePassed())
    assert story.role("c") is Role.FOLLOWER
    assert story.take(sender="c") == []


def test_a_witness_holds_terms_and_no_data() -> None:
    story = led()
    story.propose("a", b"precious")
    story.settle()
    assert story["c"].log == story["a"].log
    assert [entry.data for entry in story["c"].disk.entries.values()] == [None, None]
    assert b"precious" in [entry.data for entry in story["b"].disk.entries.values()]


def test_a_witness_keeps_memberships_whole() -> None:
    story = led()
    story.join("d")
    story.change("a", "abc", "d", witnesses="c")
    story.settle()
    assert story["c"].membership == Membership(ids("abc"), learners=ids("d"), witnesses=ids("c"))
    story.start("c")
    assert story["c"].membership == Membership(ids("abc"), learners=ids("d"), witnesses=ids("c"))


def test_a_witness_does_not_count_while_every_data_voter_answers() -> None:
    """What only the leader and the witness hold is lost with the leader's disk."""
    story = led()
    story.propose("a")
    before = story["a"].state.commit
    story.settle("ac")
    assert story["a"].state.commit == before
    story.settle()
    story.live(2)
    assert story["a"].state.commit == story["a"].state.log.last_index


def test_a_witness_counts_once_a_data_voter_is_unreachable() -> None:
    story = led()
    story.propose("a")
    story.live(TIMING.election_timeout_min_ns // TIMING.heartbeat_ns + 2, "ac")
    assert story.role("a") is Role.LEADER
    assert story["a"].state.commit == story["a"].state.log.last_index == 2


def test_a_witness_that_answers_when_the_data_voter_is_back_does_not_count() -> None:
    """It was asked while it counted; by the time of its answer the data voter can hold a second copy."""
    story = led()
    story.live(TIMING.election_timeout_min_ns // TIMING.heartbeat_ns + 1, "ac")
    story.propose("a")
    story.deliver(story.take(to="c", kind=Append))
    late = story.take(sender="c", kind=AppendReply)
    story.wires.clear()
    story.wait(TIMING.heartbeat_ns)
    story.do("a", DeadlinePassed())
    story.deliver(story.take(to="b", kind=Heartbeat))
    story.deliver(story.take(sender="b", kind=HeartbeatReply))
    before = story["a"].state.commit
    story.deliver(late)
    assert (late != [], story["a"].state.commit) == (True, before)
    story.live(3)
    assert story["a"].state.commit == story["a"].state.log.last_index


def test_a_witness_votes_by_the_same_rule() -> None:
    """Raft section 5.4.1: a candidate that lacks what the witness knows of does not get its vote."""
    story = led()
    story.propose("a")
    story.live(TIMING.election_timeout_min_ns // TIMING.heartbeat_ns + 2, "ac")
    story.campaign("b")
    story.settle("bc")
    assert story.role("b") is not Role.LEADER
    assert story["c"].noted(Code.PRE_VOTE_REFUSED_LOG) >= 1
    assert story.take(kind=Vote) == []


def test_a_witness_elects_a_data_voter_that_has_everything() -> None:
    story = led()
    story.propose("a")
    story.settle()
    story.beat("a")
    story.elect("b", "bc")
    assert story["b"].term == 2


def test_a_witness_is_sent_a_snapshot_without_data() -> None:
    story = Script("abc", witnesses="c", limits=ReplicaLimits(compaction_tail=0))
    story.elect("a", "ab")
    story.propose("a")
    story.settle("ab")
    story.snapshot("a", b"everything")
    story.live(4)
    assert story["c"].disk.snapshot is not None
    assert story["c"].disk.snapshot.state == b""
    assert story["c"].disk.snapshot.index == 2


def test_a_witness_is_told_of_nothing_that_only_memory_holds() -> None:
    """Or after a crash it would know of more than anyone whom it could vote for, and nobody could be elected."""
    story = led()
    story.live(TIMING.election_timeout_min_ns // TIMING.heartbeat_ns + 2, "ac")  # b is unreachable
    story.step("a", Proposed(RequestId(1), b"x"))
    story.ready("a")
    assert story.take(to="c", kind=Append) == []
    story.persist("a")
    story.advance("a")
    story.flush("a")
    assert [wire.to for wire in story.take(to="c", kind=Append)] == ["c"]


def test_one_voter_with_data_and_a_witness_commit_together() -> None:
    """Without the witness there is no quorum, whoever answers."""
    story = led()
    story.change("a", "ac", witnesses="c")
    story.settle()
    assert story["a"].membership.voters == ids("ac")
    story.propose("a")
    story.settle()
    assert story["a"].state.commit == story["a"].state.log.last_index


def test_once_a_witness_always_a_witness() -> None:
    """Its log has no data, so as a voter with data it could lead and lose everything."""
    story = led()
    story.change("a", "abc")
    story.change("a", "ab", "c")
    assert story["a"].noted(Code.MEMBERSHIP_REFUSED) == 2
    story.change("a", "ab")
    story.settle()
    assert story["a"].membership.voters == ids("ab")
    story.change("a", "ab", "c")
    assert story["a"].noted(Code.MEMBERSHIP_REFUSED) == 3
    story.change("a", "ab", "c", witnesses="c")
    assert story["a"].noted(Code.MEMBERSHIP_REFUSED) == 3


def test_a_voter_with_data_does_not_become_a_witness() -> None:
    story = led()
    story.change("a", "abc", witnesses="bc")
    assert story["a"].noted(Code.MEMBERSHIP_REFUSED) == 1


def test_a_witness_to_be_is_sent_nothing_before_it_is_agreed_to_be_one() -> None:
    """P57: entries without their data are in its log for good. If the membership that names it were overwritten, it could
    join as somebody with data, agree with every log by index and term, and be elected: everything would be lost."""
    story = Script()
    story.elect("a")
    story.propose("a", b"precious")
    story.settle()
    story.beat("a")
    story.join("d")
    story.change("a", "abc", "d", witnesses="d")
    story.live(4, "ad")
    story.elect("b", "bc")
    story.live(3)
    assert story["b"].membership == story["a"].membership == Membership(ids("abc"))
    story.change("b", "abc", "d")
    story.live(4)
    assert story["d"].log == story["b"].log
    assert b"precious" in [entry.data for entry in story["d"].disk.entries.values()]


def test_a_witness_that_was_agreed_on_is_sent_entries_also_after_a_restart_of_all() -> None:
    """A restarted leader knows of nothing that it is committed; that a membership was followed by another says so. Else the
    one data voter that is left and the witness would wait for each other."""
    story = Script("ab")
    story.elect("a")
    story.join("w")
    story.change("a", "ab", "w", witnesses="w")
    story.live(4)
    story.change("a", "abw", witnesses="w")
    story.live(4)
    assert story["a"].membership == Membership(ids("abw"), witnesses=ids("w"))
    for name in "aw":
        story.start(name)
    story.elect("a", "aw")
    story.propose("a")
    story.live(10, "aw")
    assert story["a"].state.commit == story["a"].state.log.last_index


def test_a_witness_knows_of_nothing_uncommitted_that_a_living_data_voter_lacks() -> None:
    """Or, should the leader die, it would keep the only one who can follow from being elected, for entries that nobody was
    told are committed."""
    story = led()
    story.propose("a")
    for _ in range(10):  # appends to b are slow, and it answers heartbeats
        story.wait(TIMING.heartbeat_ns)
        story.do("a", DeadlinePassed())
        while story.wires:
            story.take(to="b", kind=Append)
            story.deliver(story.wires[:1])
            del story.wires[:1]
    assert story.role("a") is Role.LEADER
    assert story["a"].state.commit == 1
    story.elect("b", "bc")
