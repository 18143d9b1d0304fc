"""Every note is emitted by some story, and every story says why in one line of the reference page."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from incumbent.consensus.api import DeadlinePassed, PeerLost, Proposed, Received
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.notes import Code
from incumbent.ids import Index, NodeId, RequestId, Term
from tests.consensus.script import TIMING, Script, entries

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


STORIES: dict[Code, Callable[[], Script]] = {
    Code.CAMPAIGN_TIMEOUT: candidate,
    Code.CAMPAIGN_HINT: hinted,
    Code.LEADER_FORGOTTEN: hinted,
    Code.PRE_VOTE_GRANTED: elected,
    Code.PRE_VOTE_REFUSED_STICKY: lambda: tell(elected(), PreVote(Term(2), Index(1), Term(1))),
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
