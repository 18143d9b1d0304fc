"""Every note is emitted by some story, and every story says why in one line of the reference page."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from incumbent.consensus.api import (
    DeadlinePassed,
    Membership,
    PeerLost,
    Proposed,
    Received,
    ReplicaLimits,
    Timing,
)
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.notes import Code
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import TIMING, Script, entries, ids

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "consensus.md"
B, C = NodeId("b"), NodeId("c")


def elected() -> Script:
    story = Script()
    story.elect("a")
    return story


def candidate() -> Script:
    """`a` asks for votes in term 1."""
    story = Script()
    story.campaign("a")
    story.do("a", Received(B, PreVoteReply(Term(1), granted=True)))
    return story


def tell(story: Script, *messages: object, to: str = "a") -> Script:
    for message in messages:
        story.do(to, Received(B if to != "b" else C, message))
    return story


def hinted() -> Script:
    story = elected()
    story.do("b", PeerLost(NodeId("a")))
    story.ring("b")
    return story


def doubted() -> Script:
    story = elected()
    story.do("b", PeerLost(NodeId("a")))
    story.do("b", Received(NodeId("a"), Heartbeat(Term(1), Index(0), 0)))
    return story


def overtaken() -> Script:
    story = elected()
    story.step("a", Proposed(RequestId(1), b"x"))
    story.ready("a")
    story.step("a", Received(B, Append(Term(2), Index(1), Term(1), tuple(entries((2,), 2)), Index(1), 1)))
    story.persist("a")
    story.advance("a")
    story.flush("a")
    return story


def old_entry_on_a_quorum() -> Script:
    story = Script(logs={"a": (1,), "b": (1,), "c": (1,)})
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    return tell(story, AppendReply(Term(2), True, Index(1), 1))


def stale_refusal() -> Script:
    story = elected()
    return tell(story, AppendReply(Term(1), False, Index(1), 0, Term(0), Index(1)))


def forgetful_follower() -> Script:
    story = elected()
    story["b"].disk.entries.clear()
    story.start("b")
    story.propose("a")
    story.settle()
    return story


def isolated_leader() -> Script:
    story = elected()
    story.wait(TIMING.election_timeout_min_ns)
    story.do("a", DeadlinePassed())
    return story


def proposal_at_a_follower() -> Script:
    story = Script()
    story.propose("a")
    return story


def read_at_a_follower() -> Script:
    story = Script()
    story.read("a")
    return story


def early_read() -> Script:
    story = candidate()
    story.do("a", Received(B, VoteReply(Term(1), granted=True)))
    story.read("a")
    return story


def refused_by_all() -> Script:
    story = candidate()
    for voter in (B, C):
        story.do("a", Received(voter, VoteReply(Term(1), granted=False)))
    return story


def parked() -> Script:
    return tell(elected(), PreVote(Term(2), Index(1), Term(1)), to="b")


def parked_in_vain() -> Script:
    story = parked()
    story.ring("b")
    return story


def stalled_leader() -> Script:
    story = elected()
    story.step("a", Proposed(RequestId(1), b"x"))
    story.ready("a")  # and its record never becomes durable
    story.wait(TIMING.election_timeout_min_ns)
    story.step("a", DeadlinePassed())
    story.persist("a")
    story.advance("a")
    story.flush("a")
    return story


def stalled_follower() -> Script:
    story = elected()
    story.propose("a")
    (append,) = story.take(to="b", kind=Append)
    story.step("b", Received(NodeId("a"), append.message))
    story.ready("b")
    story.wait(TIMING.election_timeout_max_ns)
    story.step("b", DeadlinePassed())
    story.persist("b")
    story.advance("b")
    story.flush("b")
    return story


def changed() -> Script:
    """`a` leads a, b and d; c was removed."""
    story = elected()
    story.beat("a")
    story.join("d")
    story.change("a", "abc", "d")
    story.settle()
    story.beat("a")
    story.change("a", "abd")
    story.settle()
    return story


def removed_leader() -> Script:
    story = elected()
    story.beat("a")
    story.change("a", "bc")
    story.settle()
    return story


def change_lost() -> Script:
    story = elected()
    story.beat("a")
    story.change("a", "abc", "d")
    story.wires.clear()
    story.elect("b", "bc")
    story.settle()
    story.beat("b")
    return story


def change_at_a_follower() -> Script:
    story = Script()
    story.change("a", "ab")
    return story


def transferred() -> Script:
    story = elected()
    story.beat("a")
    story.transfer("a", "b")
    story.settle()
    return story


def transfer_in_vain() -> Script:
    story = elected()
    story.beat("a")
    story.transfer("a", "b")
    story.settle("ac")
    story.live(8, "ac")
    return story


def transfer_at_a_follower() -> Script:
    story = Script()
    story.transfer("a", "b")
    return story


def preferred() -> Script:
    story = Script(priorities={"b": 1}, timing=Timing(preemption_delay_ns=TIMING.heartbeat_ns))
    story.elect("a")
    story.live(4)
    return story


def behind(limits: ReplicaLimits = ReplicaLimits(compaction_tail=0)) -> Script:
    """`c` lacks what `a` has forgotten."""
    story = Script(limits=limits)
    story.elect("a")
    for _ in range(3):
        story.propose("a")
        story.settle("ab")
    story.snapshot("a", b"0123456789")
    story.beat("a", "ab")
    story.live(3)
    return story


def piece(index: int, offset: int = 0, data: bytes = b"x", crc: int | None = None) -> InstallSnapshot:
    whole = zlib.crc32(data) if crc is None else crc
    return InstallSnapshot(
        Term(3), Index(index), Term(2), Membership(ids("abc")), 10, whole, offset, data, zlib.crc32(data)
    )


def late_snapshot() -> Script:
    story = elected()
    story.beat("a")
    story.snapshot("a", at=99)
    return story


def agreeing_snapshot() -> Script:
    story = Script(logs={"a": (1, 2)})
    return tell(story, piece(2))


STORIES: dict[Code, Callable[[], Script]] = {
    Code.CAMPAIGN_TIMEOUT: candidate,
    Code.CAMPAIGN_HINT: hinted,
    Code.CAMPAIGN_HANDED_OVER: transferred,
    Code.CAMPAIGN_WAITS_FOR_DISK: stalled_follower,
    Code.LEADER_FORGOTTEN: hinted,
    Code.PRE_VOTE_GRANTED: elected,
    Code.PRE_VOTE_PARKED: parked,
    Code.PRE_VOTE_REFUSED_STICKY: parked_in_vain,
    Code.PRE_VOTE_REFUSED_LOG: lambda: tell(Script(logs={"a": (1,)}), PreVote(Term(2), Index(0), Term(0))),
    Code.PRE_VOTE_REFUSED_TERM: lambda: tell(Script(terms={"a": 3}), PreVote(Term(3), Index(9), Term(9))),
    Code.PRE_VOTE_WON: candidate,
    Code.VOTE_GRANTED: elected,
    Code.VOTE_REFUSED_STICKY: lambda: tell(elected(), Vote(Term(2), Index(9), Term(9))),
    Code.VOTE_REFUSED_TAKEN: lambda: tell(candidate(), Vote(Term(1), Index(9), Term(9))),
    Code.VOTE_REFUSED_LOG: lambda: tell(Script(logs={"a": (1,)}), Vote(Term(2), Index(0), Term(0))),
    Code.VOTE_LOST: refused_by_all,
    Code.BECAME_LEADER: elected,
    Code.SERVING: elected,
    Code.HIGHER_TERM: lambda: tell(Script(), VoteReply(Term(4), granted=False)),
    Code.LEADER_HEARD: lambda: tell(Script(terms={"a": 1}), Heartbeat(Term(1), Index(0), 0)),
    Code.LEADER_DOUBTED: doubted,
    Code.DISK_STALLED: stalled_leader,
    Code.REMOVED: removed_leader,
    Code.MEMBERSHIP_ENTERED: changed,
    Code.MEMBERSHIP_LEFT: changed,
    Code.MEMBERSHIP_RESTORED: change_lost,
    Code.MEMBERSHIP_REFUSED: change_at_a_follower,
    Code.TRANSFER_STARTED: transferred,
    Code.TRANSFER_SENT: transferred,
    Code.TRANSFER_ABORTED: transfer_in_vain,
    Code.TRANSFER_DONE: transferred,
    Code.TRANSFER_REFUSED: transfer_at_a_follower,
    Code.PREEMPTED: preferred,
    Code.SNAPSHOT_TAKEN: behind,
    Code.SNAPSHOT_REFUSED: late_snapshot,
    Code.SNAPSHOT_SENT: behind,
    Code.SNAPSHOT_CHUNK_BAD: lambda: tell(Script(), piece(5, 0, b"0123456789", crc=1)),
    Code.SNAPSHOT_KEPT_SUFFIX: agreeing_snapshot,
    Code.SNAPSHOT_INSTALLED: behind,
    Code.SNAPSHOT_DISCARDED: lambda: tell(Script(), piece(5), piece(6)),
    Code.QUORUM_LOST: isolated_leader,
    Code.LOWER_TERM_ANSWERED: lambda: tell(Script(terms={"a": 3}), Heartbeat(Term(1), Index(0), 0)),
    Code.APPEND_CONFLICT: lambda: tell(
        Script(logs={"a": (1, 1)}), Append(Term(2), Index(1), Term(1), tuple(entries((2,), 2)), Index(0), 1)
    ),
    Code.APPEND_REFUSED: lambda: tell(Script(), Append(Term(2), Index(5), Term(1), (), Index(0), 1)),
    Code.REFUSAL_STALE: stale_refusal,
    Code.FOLLOWER_LOST_ENTRIES: forgetful_follower,
    Code.COMMIT_WAITS_FOR_OWN_TERM: old_entry_on_a_quorum,
    Code.PROPOSAL_REFUSED: proposal_at_a_follower,
    Code.READ_REFUSED: read_at_a_follower,
    Code.READ_WAITS: early_read,
    Code.OWN_APPEND_OVERTAKEN: overtaken,
}


@pytest.mark.parametrize("code", list(Code))
def test_a_story_emits_the_note(code: Code) -> None:
    story = STORIES[code]()
    assert [name for name, one in story.voters.items() if one.noted(code)], f"nobody noted {code}"


def test_every_code_has_one_meaning_in_one_line() -> None:
    assert all(code.meaning and "\n" not in code.meaning for code in Code)
    assert len({code.meaning for code in Code}) >= len(Code) - 2, (
        "votes and pre-votes may be refused for one reason"
    )


def rows(page: str) -> dict[str, str]:
    """The table of codes: code to meaning."""
    section = page.partition("## Notes")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", section, flags=re.MULTILINE))


def test_every_code_is_documented_with_its_meaning() -> None:
    found = rows(PAGE.read_text())
    assert {code.value: code.meaning for code in Code} == found


def test_a_missing_row_would_be_noticed() -> None:
    page = PAGE.read_text()
    cut = page.replace(f"| `{Code.SERVING.value}` | {Code.SERVING.meaning} |\n", "")
    assert cut != page
    assert Code.SERVING.value not in rows(cut)


def test_notes_carry_the_term() -> None:
    assert all("term" in note.facts for note in elected()["a"].notes)


def test_a_heartbeat_answer_of_the_same_term_needs_no_note() -> None:
    story = elected()
    before = len(story["a"].notes)
    tell(story, HeartbeatReply(Term(1), 0))
    assert len(story["a"].notes) == before
