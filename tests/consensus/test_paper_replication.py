"""Raft's replication, test by test with the section of the paper that each defends."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from incumbent.consensus.api import Proposed, Received, ReplicaLimits, Role
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
from tests.consensus.script import LIMITS, TIMING, Script, entries


def led(limits: ReplicaLimits = LIMITS) -> Script:
    story = Script(limits=limits)
    story.elect("a")
    return story


def append(
    term: int, previous: tuple[int, int], terms: Sequence[int], commit: int = 0, sequence: int = 1
) -> Append:
    index, prev_term = previous
    new = tuple(entries(terms, first=index + 1))
    return Append(Term(term), Index(index), Term(prev_term), new, Index(commit), sequence)


def test_a_proposal_reaches_everyone_and_is_applied_by_everyone() -> None:
    """Raft section 5.3."""
    story = led()
    request = story.propose("a", b"hello")
    story.settle()
    story.beat("a")
    for one in story.voters.values():
        assert [entry.data for entry in one.committed] == [None, b"hello"]
    assert [(placed.request, placed.index) for placed in story["a"].placed] == [(request, 2)]


@pytest.mark.parametrize(
    ("voters", "acknowledging", "committed"),
    [
        ("abc", "", False),
        ("abc", "b", True),
        ("abcd", "b", False),
        ("abcd", "bc", True),
        ("abcde", "b", False),
        ("abcde", "bd", True),
        ("abcde", "bcde", True),
    ],
)
def test_an_entry_is_committed_once_a_majority_stores_it(
    voters: str, acknowledging: str, *, committed: bool
) -> None:
    """Raft section 5.3."""
    story = Script(voters)
    story.elect("a")
    story.propose("a")
    story.settle("a" + acknowledging)
    assert (story["a"].state.commit == 2) is committed


@pytest.mark.parametrize(
    ("new", "leader_commit", "commit"), [((1,), 1, 1), ((1, 1), 1, 1), ((1, 1), 9, 2), ((), 9, 0)]
)
def test_a_follower_commits_no_further_than_the_last_new_entry(
    new: tuple[int, ...], leader_commit: int, commit: int
) -> None:
    """Raft figure 2: commit = min(leaderCommit, index of last NEW entry); what follows it may contradict the leader."""
    story = Script(logs={"a": (1, 1, 1)})
    story.do("a", Received(NodeId("b"), append(1, (0, 0), new, leader_commit)))
    assert story["a"].state.commit == commit


@pytest.mark.parametrize(
    ("mine", "previous", "hint"),
    [
        ((), (3, 2), (0, 1)),  # too short: one past the end
        ((1, 1), (3, 2), (0, 3)),
        ((1, 2, 2, 2), (4, 3), (2, 2)),  # a run of term 2 conflicts: its first index
        ((1, 1), (2, 3), (1, 1)),
    ],
)
def test_a_follower_refuses_what_does_not_fit_and_says_where(
    mine: tuple[int, ...], previous: tuple[int, int], hint: tuple[int, int]
) -> None:
    """Raft section 5.3: the consistency check, and the conflict's term with its first index."""
    story = Script(logs={"a": mine})
    story.do("a", Received(NodeId("b"), append(3, previous, (3,))))
    (reply,) = story.take(sender="a", kind=AppendReply)
    assert reply.message.accepted is False
    assert (reply.message.conflict_term, reply.message.index) == hint
    assert story["a"].log == list(mine)


@pytest.mark.parametrize(("terms", "acknowledged"), [((), 1), ((1,), 2), ((1, 1), 3)])
def test_a_follower_acknowledges_what_the_append_showed_to_agree(
    terms: tuple[int, ...], acknowledged: int
) -> None:
    """Raft section 5.3: what it has beyond that may be another leader's, and counting on it would lose what is
    committed."""
    story = Script(logs={"a": (1, 1, 1, 1)})
    append = Append(Term(2), Index(1), Term(1), tuple(entries(terms, 2)), Index(0), 7)
    story.do("a", Received(NodeId("b"), append))
    (reply,) = story.take(sender="a", kind=AppendReply)
    assert reply.message == AppendReply(Term(2), True, Index(acknowledged), 7)
    assert story["a"].log == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("mine", "previous", "new", "result"),
    [
        ((1, 1, 1), (1, 1), (1,), (1, 1, 1)),  # a shorter duplicate shortens nothing
        ((1, 1, 1), (0, 0), (), (1, 1, 1)),  # nor does a probe
        ((1, 1, 1), (1, 1), (2,), (1, 2)),  # a conflict does
        ((1, 1, 1), (3, 1), (2, 2), (1, 1, 1, 2, 2)),
        ((1, 1), (0, 0), (1, 1, 1), (1, 1, 1)),
        ((1, 2, 2), (1, 1), (3, 3, 3), (1, 3, 3, 3)),
    ],
)
def test_a_follower_deletes_only_what_conflicts(
    mine: tuple[int, ...], previous: tuple[int, int], new: tuple[int, ...], result: tuple[int, ...]
) -> None:
    """Raft section 5.3 and figure 2, also on the disk."""
    story = Script(logs={"a": mine})
    story.do("a", Received(NodeId("b"), append(3, previous, new)))
    assert story["a"].log == list(result)
    assert [story["a"].disk.term_at(index + 1) for index in range(len(result) + 1)] == [*result, None]


# Raft, figure 7: what followers of the leader of term 8 may look like.
FIGURE_7 = {
    "leader": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6),
    "b": (1, 1, 1, 4, 4, 5, 5, 6, 6),
    "c": (1, 1, 1, 4),
    "d": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6),
    "e": (1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7),
    "f": (1, 1, 1, 4, 4, 4, 4),
    "g": (1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3),
}


def test_followers_of_figure_7_come_to_agree_with_the_leader() -> None:
    """Raft section 5.3, figure 7."""
    logs = {("a" if name == "leader" else name): log for name, log in FIGURE_7.items()}
    story = Script("abcdefg", logs=logs, terms=dict.fromkeys("abcdefg", 7))
    story.elect("a")
    assert story["a"].term == 8
    for one in story.voters.values():
        assert one.log == [*FIGURE_7["leader"], 8]
        assert one.disk.entries == story["a"].disk.entries


def test_a_conflict_costs_one_refusal_per_term_not_per_entry() -> None:
    """Raft section 5.3: the optimisation with the conflicting term."""
    story = Script(logs={"a": (1, *(3 for _ in range(50))), "b": (1, *(2 for _ in range(80))), "c": (1,)})
    story.elect("a", "ac")
    story.beat("a")
    story.beat("a")
    assert story["b"].log == story["a"].log
    assert story["b"].noted(Code.APPEND_REFUSED) <= 2


def figure_8(limits: ReplicaLimits = LIMITS) -> Script:
    """Raft figure 8 (c): `a` leads term 4, with the votes of b and c. Its entry 2 is of term 2. Its own no-op is not sent."""
    logs = {"a": (1, 2), "b": (1, 2), "c": (1,), "d": (1,), "e": (1, 3)}
    story = Script("abcde", logs=logs, terms=dict.fromkeys("abcde", 3), limits=limits)
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        wires = [wire for wire in story.take(kind=kind) if {wire.sender, wire.to} <= set("abc")]
        story.deliver(wires)
    assert (story["a"].role, story["a"].term) == (Role.LEADER, 4)
    return story


def test_an_entry_of_an_older_term_commits_only_under_one_of_the_own() -> None:
    """Raft section 5.4.2, figure 8 (c) and (d): a majority that stores an old entry is not enough."""
    story = figure_8(ReplicaLimits(append_entries_max=1))
    story.deliver(story.take(to="c", kind=Append))  # does not fit
    story.deliver(story.take(sender="c", kind=AppendReply))
    story.deliver(story.take(to="c", kind=Append))  # entry 2 alone
    story.deliver(story.take(sender="c", kind=AppendReply))
    story.do("a", Received(NodeId("b"), AppendReply(Term(4), True, Index(2), 1)))
    assert [story[name].disk.term_at(2) for name in "abc"] == [2, 2, 2]
    assert story["a"].noted(Code.COMMIT_WAITS_FOR_OWN_TERM) == 1
    assert story["a"].state.commit == 0, "(c): stored by a majority, not committed"
    story.wires.clear()
    story.start("a")
    story.campaign("e")
    story.settle()  # e learns of term 4
    story.elect("e")
    assert {tuple(one.log) for one in story.voters.values()} == {(1, 3, 5)}, "(d): overwritten everywhere"


def test_an_entry_of_the_own_term_commits_all_before_it() -> None:
    """Raft section 5.4.2, figure 8 (e): then the rival can no longer win."""
    story = figure_8()
    story.settle("abc")
    assert story["a"].state.commit == 3
    story.start("a")
    story.campaign("e")
    story.settle()
    story.campaign("e")
    story.settle()
    assert story.leaders() == []


def test_a_leader_counts_itself_only_when_its_own_write_is_done() -> None:
    """Dissertation 10.2.1, P51: followers may be asked before the own write, but one of three durable copies is no majority."""
    story = led()
    story.step("a", Proposed(RequestId(1), b"x"))
    story.ready("a")
    story.deliver(story.take(to="b", kind=Append))  # leaves before the own write
    (acknowledgement,) = story.take(sender="b", kind=AppendReply)
    story.step("a", Received(NodeId("b"), acknowledgement.message))
    assert story["b"].disk.term_at(2) == 1
    assert story["a"].state.commit == 1, "durable at b only"
    story.persist("a")
    assert story["a"].state.commit == 1, "written, but nobody said so"
    story.advance("a")
    assert story["a"].state.commit == 2


def test_the_own_write_does_not_count_when_the_log_has_changed_meanwhile() -> None:
    """P51: what became durable was truncated during the write; it must not pass for what stands there now."""
    story = led()
    story.step("a", Proposed(RequestId(1), b"x"))
    story.ready("a")
    story.wires.clear()
    story.step("a", Received(NodeId("b"), append(2, (1, 1), (2,))))
    story.persist("a")
    story.advance("a")
    assert story["a"].state.log.stable == 1
    story.flush("a")
    assert story["a"].noted(Code.OWN_APPEND_OVERTAKEN) == 1
    assert story["a"].log == [1, 2]
    assert story["a"].disk.term_at(2) == 2


def test_an_acknowledgement_leaves_after_the_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """Raft figure 2, P51: respond to RPCs after updating stable storage."""
    story = led()
    story.propose("a")
    (wire,) = story.take(to="b", kind=Append)
    story.step("b", Received(NodeId("a"), wire.message))
    story.ready("b")
    assert story.take(sender="b") == []
    story.persist("b")
    assert len(story.take(sender="b", kind=AppendReply)) == 1


def test_an_append_is_bounded_in_entries_and_bytes() -> None:
    """A follower far behind is brought up in batches; one entry over the byte limit still travels, alone."""
    story = led(ReplicaLimits(append_entries_max=4, append_bytes_max=100))
    story.settle()
    story.beat("a")
    sizes = [10] * 6 + [60, 60, 500, 10]
    for number, size in enumerate(sizes):
        story.step("a", Proposed(RequestId(number), b"x" * size))
    story.flush("a")
    batches = [[len(e.data or b"") for e in w.message.entries] for w in story.take(to="b", kind=Append)]
    assert batches == [[10, 10, 10, 10], [10, 10, 60], [60], [500], [10]]


def test_a_follower_that_does_not_answer_is_sent_a_bounded_number_of_appends() -> None:
    """Pipelining is bounded: LIMITS.in_flight_appends_max."""
    story = led()
    for _ in range(LIMITS.in_flight_appends_max + 20):
        story.propose("a")
    assert len(story.take(to="b", kind=Append)) == LIMITS.in_flight_appends_max
    story.settle("ac")
    assert story["a"].state.commit == LIMITS.in_flight_appends_max + 21
    story.beat("a")
    story.beat("a")
    assert story["b"].log == story["a"].log, "and it catches up when it answers again"


def test_a_probe_is_alone_on_its_way() -> None:
    """As long as nobody knows where the logs agree, one append at a time is enough."""
    story = Script()
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    for _ in range(5):
        story.propose("a")
    assert len(story.take(to="b", kind=Append)) == 1


def test_a_lost_probe_is_sent_again_from_where_it_stood() -> None:
    """Losing a message does not throw away what earlier refusals taught."""
    story = Script(logs={"a": (1,) * 30, "b": (1,) * 20, "c": (1,) * 30})
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    story.deliver(story.take(to="b", kind=Append))
    story.deliver(story.take(sender="b", kind=AppendReply))
    (probe,) = story.take(to="b", kind=Append)  # lost
    assert probe.message.prev_index == 20
    story.settle("ac")
    story.wait(TIMING.heartbeat_ns)
    story.do("a", Received(NodeId("b"), HeartbeatReply(Term(2), 0, story.now_ns)))
    (again,) = story.take(to="b", kind=Append)
    assert again.message.prev_index == 20


def test_refusals_of_a_stream_that_broke_cause_one_new_probe() -> None:
    """Many appends were out when one was lost: every later one is refused, and only the first refusal is news."""
    story = led()
    for _ in range(10):
        story.propose("a")
    appends = story.take(to="b", kind=Append)
    story.deliver(appends[1:])
    refusals = story.take(sender="b", kind=AppendReply)
    assert len(refusals) == 9
    story.deliver(refusals)
    assert len(story.take(to="b", kind=Append)) == 1
    assert story["a"].noted(Code.REFUSAL_STALE) == 8


def test_a_follower_that_lost_acknowledged_entries_is_no_longer_counted_on() -> None:
    """What a quorum stores is only safe while nobody forgets: note it, and do not try for ever."""
    story = led()
    story.propose("a")
    story.settle()
    story["b"].disk.entries.clear()
    story.start("b")
    story.propose("a")
    story.settle()
    assert story["a"].noted(Code.FOLLOWER_LOST_ENTRIES) == 1
    assert story["a"].raft.status().peers[NodeId("b")]["mode"] == "lost"
    for _ in range(5):
        story.propose("a")
        story.beat("a")
        assert story["b"].log == []
    assert story["a"].state.commit == story["a"].state.log.last_index, "c is still there"


def test_a_late_refusal_from_before_the_acknowledgement_proves_no_loss() -> None:
    """The same refusal, sent before the acknowledgement and arriving after it."""
    story = Script(logs={"a": (1,), "c": (1,)})
    story.campaign("a")
    for kind in (PreVote, PreVoteReply, Vote, VoteReply):
        story.deliver(story.take(kind=kind))
    story.deliver(story.take(to="b", kind=Append))
    (refusal,) = story.take(sender="b", kind=AppendReply)
    story.deliver([refusal])
    story.settle()
    assert story["a"].state.progress[NodeId("b")].match == 2
    story.deliver([refusal])
    assert story["a"].noted(Code.REFUSAL_STALE) == 1
    assert story["a"].noted(Code.FOLLOWER_LOST_ENTRIES) == 0


def test_a_proposal_is_refused_by_everyone_but_the_leader() -> None:
    """Refused, so it is safe to ask elsewhere: never silently dropped."""
    story = led()
    request = story.propose("b")
    assert story["b"].refused == [request]
    assert story["b"].log == [1]


@pytest.mark.parametrize(
    "limits", [ReplicaLimits(uncommitted_entries_max=3), ReplicaLimits(uncommitted_bytes_max=3)]
)
def test_a_leader_takes_no_more_than_a_bounded_uncommitted_tail(limits: ReplicaLimits) -> None:
    """In entries and in bytes: a leader without a quorum does not fill its memory."""
    story = led(limits)
    requests = [story.propose("a") for _ in range(5)]
    assert story["a"].refused == requests[3:]


def test_followers_learn_of_a_commit_at_once() -> None:
    """Whoever waits at a follower does not wait for the next heartbeat; while appends flow they carry the news."""
    story = led()
    story.propose("a", b"one")
    story.settle()
    assert [one.committed[-1].data for one in story.voters.values()] == [b"one"] * 3
    story.propose("a", b"two")
    story.deliver(story.take(kind=Append))
    story.step("a", Proposed(RequestId(9), b"three"))
    for wire in story.take(to="a", kind=AppendReply):
        story.step("a", Received(wire.sender, wire.message))
    story.flush("a")
    assert [wire.message.commit for wire in story.take(kind=Append)] == [3, 3]
    assert story.take(kind=Heartbeat) == []


def test_a_heartbeat_never_commits_past_what_is_known_to_match() -> None:
    """Raft section 5.3: a follower whose tail contradicts the leader's must not commit it on a heartbeat's word."""
    story = Script(logs={"b": (1, 1)})
    story.elect("a", "ac")
    for _ in range(3):
        story.propose("a")
        story.settle("ac")
    story.wait(TIMING.heartbeat_ns)
    story.ring("a")
    for wire in story.take(to="b", kind=Heartbeat):
        assert wire.message.commit == 0
