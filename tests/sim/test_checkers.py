"""Every predicate fails on a history that breaks it, and is content with the one beside it that does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from incumbent.consensus.api import (
    Committed,
    Entry,
    Envelope,
    Membership,
    Ready,
    Received,
    Record,
    Role,
    Status,
)
from incumbent.consensus.raft.messages import (
    AppendReply,
    HardState,
    Heartbeat,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
    encode_hard_state,
)
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, NodeId, RequestId, Term
from incumbent.sim.checkers import Checkers
from incumbent.sim.disk import SimDisk
from incumbent.sim.observe import (
    Acknowledged,
    Advanced,
    Applied,
    Durable,
    Panel,
    Readied,
    ReadInvoked,
    ReadServed,
    RequestRefused,
    Sending,
    Started,
    Stepped,
)

A, B, C = NodeId("a"), NodeId("b"), NodeId("c")


def status(
    me: NodeId, term: int, *, role: Role = Role.FOLLOWER, last: int = 9, commit: int = 0, applied: int = 0
) -> Status:
    return Status(
        me,
        role,
        Term(term),
        None,
        False,
        Index(last),
        Index(commit),
        Index(applied),
        Index(1),
        Membership(frozenset({me})),
    )


def entry(index: int, term: int, data: bytes = b"x") -> Entry:
    return Entry(Index(index), Term(term), data)


def committed(index: int, term: int, data: bytes = b"x") -> Committed:
    return Committed(Index(index), Term(term), data)


class History:
    """Three voters whose history is told, not lived."""

    def __init__(self, *, bad: bool) -> None:
        self.bad = bad
        self.disks = {me: SimDisk() for me in (A, B, C)}
        self.checkers = Checkers(self.disks)
        self.see = Panel(self.checkers.all)
        for me in self.disks:
            self.see.started(Started(me, status(me, 0)))

    def write(
        self, me: NodeId, *entries: Entry, vote: tuple[int, str | None] | None = None, cut: int = 0
    ) -> None:
        hard = None
        if vote is not None:
            term, candidate = vote
            hard = encode_hard_state(HardState(Term(term), None if candidate is None else NodeId(candidate)))
        record = Record(hard, Index(cut) if cut else None, entries)
        self.disks[me].apply(record)
        self.see.durable(Durable(me, record))

    def step(self, me: NodeId, before: Status, after: Status, message: object = None) -> None:
        self.see.stepped(Stepped(me, Received(B, message), before, after))

    def lead(self, me: NodeId, term: int, commit: int = 0) -> None:
        self.see.advanced(Advanced(me, status(me, term, role=Role.LEADER, commit=commit), ()))

    def apply(self, me: NodeId, *entries: Committed) -> None:
        for one in entries:
            self.see.applied(Applied(me, one))

    def hand_out(self, me: NodeId, *entries: Committed) -> None:
        self.see.readied(Readied(me, status(me, 1), Ready(committed=entries)))

    def send(self, me: NodeId, message: object, to: NodeId = B) -> None:
        self.see.sending(Sending(me, Envelope(to, message)))


def two_leaders(h: History) -> None:
    h.lead(A, 1)
    h.lead(A, 2)
    h.step(B, status(B, 0), status(B, 2 if h.bad else 3, role=Role.LEADER))


def leader_truncates(h: History) -> None:
    role = Role.LEADER if h.bad else Role.FOLLOWER
    h.see.readied(Readied(A, status(A, 1, role=role), Ready(record=Record(truncate_from=Index(2)))))


def other_value(h: History) -> None:
    h.write(A, entry(1, 1), entry(2, 1))
    h.write(B, entry(1, 1), entry(2, 1, b"other" if h.bad else b"x"))


def other_predecessor(h: History) -> None:
    h.write(A, entry(1, 1), entry(2, 3))
    h.write(B, entry(1, 2 if h.bad else 1), entry(2, 3))


def machines_differ(h: History) -> None:
    h.apply(A, committed(1, 1), committed(2, 1))
    h.apply(B, committed(1, 1), committed(2, 2 if h.bad else 1))


def machine_skips(h: History) -> None:
    h.apply(A, committed(1, 1), committed(2, 1))
    h.apply(B, committed(2 if h.bad else 1, 1))


def machine_repeats(h: History) -> None:
    h.apply(A, committed(1, 1))
    if not h.bad:
        h.see.started(Started(A, status(A, 1)))
    h.apply(A, committed(1, 1))


def leader_lacks(h: History) -> None:
    h.apply(A, committed(1, 1))
    h.write(B, entry(1, 2 if h.bad else 1))
    h.lead(B, 3)


def applied_on_one_disk(h: History) -> None:
    h.write(A, entry(1, 1))
    if not h.bad:
        h.write(B, entry(1, 1))
    h.hand_out(C, committed(1, 1))


def applied_of_another_term(h: History) -> None:
    h.write(A, entry(1, 1))
    h.write(B, entry(1, 2 if h.bad else 1))
    h.hand_out(A, committed(1, 1))


def old_term_commit(h: History) -> None:
    for me in (A, B):
        h.write(me, entry(1, 1 if h.bad else 2))
    h.lead(A, 2, commit=1)


def unstable_commit(h: History) -> None:
    h.write(B, entry(1, 2))
    if not h.bad:
        h.write(A, entry(1, 2))
    h.lead(A, 2, commit=1)


def two_votes(h: History) -> None:
    h.write(A, vote=(3, "b"))
    h.see.started(Started(A, status(A, 3)))
    h.write(A, vote=(3, "c" if h.bad else "b"))


def durable_term_falls(h: History) -> None:
    h.write(A, vote=(3, None))
    h.write(A, vote=(2 if h.bad else 4, None))


def term_falls_at_restart(h: History) -> None:
    h.write(A, vote=(3, None))
    h.see.started(Started(A, status(A, 2 if h.bad else 3)))


def falls(name: str) -> Callable[[History], None]:
    def story(h: History) -> None:
        high = {"term": 5, "commit": 4, "applied": 3}
        low = high | {name: high[name] - (1 if h.bad else 0)}
        for values in (high, low):
            after = status(A, values["term"], commit=values["commit"], applied=values["applied"])
            h.step(A, after, after)

    return story


def applied_past_commit(h: History) -> None:
    h.see.advanced(Advanced(A, status(A, 1, commit=2, applied=3 if h.bad else 2), ()))


def pre_vote_bumps(h: History) -> None:
    h.step(A, status(A, 1), status(A, 2 if h.bad else 1), PreVote(Term(2), Index(0), Term(0)))


def speaks_for_a_later_term(h: History) -> None:
    h.write(A, vote=(2, None))
    h.step(A, status(A, 0), status(A, 1 if h.bad else 2))
    h.send(A, Heartbeat(Term(2), Index(0), 0))


def pre_vote_two_ahead(h: History) -> None:
    h.send(A, PreVote(Term(2 if h.bad else 1), Index(0), Term(0)))
    h.send(A, PreVoteReply(Term(7), granted=True))


def early(message: object, *, vote: tuple[int, str | None], entries: int = 0) -> Callable[[History], None]:
    """A message that leaves before its record is written; and, beside it, the same after the write."""

    def story(h: History) -> None:
        h.step(A, status(A, 0), status(A, 2))
        h.write(A, vote=(1, None))
        if not h.bad:
            h.write(A, *(entry(index, 1) for index in range(1, entries + 1)), vote=vote)
        h.send(A, message)

    return story


def vote_for_another(h: History) -> None:
    h.step(A, status(A, 0), status(A, 2))
    h.write(A, vote=(2, "c" if h.bad else "b"))
    h.send(A, VoteReply(Term(2), granted=True))


def entry_not_durable(h: History) -> None:
    h.step(A, status(A, 0), status(A, 2))
    h.write(A, entry(1, 1), *([] if h.bad else [entry(2, 1)]), vote=(2, None))
    h.send(A, AppendReply(Term(2), True, Index(2), 1))


def candidate_log_not_durable(h: History) -> None:
    h.step(A, status(A, 0), status(A, 2))
    h.write(A, entry(1, 1), *([] if h.bad else [entry(2, 1)]), vote=(2, "a"))
    h.send(A, Vote(Term(2), Index(2), Term(1)))


def stale_read(h: History) -> None:
    h.see.acknowledged(Acknowledged(RequestId(1), committed(5, 1)))
    h.see.read_invoked(ReadInvoked(RequestId(2)))
    h.see.read_served(ReadServed(RequestId(2), Index(4 if h.bad else 5), Index(6)))


def read_behind_a_read(h: History) -> None:
    for request in (1, 2):
        h.see.read_invoked(ReadInvoked(RequestId(request)))
        if request == 1 and h.bad:
            h.see.read_served(ReadServed(RequestId(1), Index(5), Index(6)))
    if not h.bad:
        h.see.read_served(ReadServed(RequestId(1), Index(5), Index(6)))
    h.see.read_served(ReadServed(RequestId(2), Index(5), Index(6)))


def acknowledged_is_lost(h: History) -> None:
    h.apply(A, committed(1, 1))
    h.see.acknowledged(Acknowledged(RequestId(1), committed(1, 1, b"mine" if h.bad else b"x")))
    h.checkers.acknowledged.check({A: 1})


def acknowledged_not_applied(h: History) -> None:
    h.apply(A, committed(1, 1))
    h.see.acknowledged(Acknowledged(RequestId(1), committed(1, 1)))
    h.checkers.acknowledged.check({A: 1, B: 0 if h.bad else 1})


def ends_twice(h: History) -> None:
    h.see.request_refused(RequestRefused(RequestId(1)))
    h.see.acknowledged(Acknowledged(RequestId(1 if h.bad else 2), committed(1, 1)))


STORIES: dict[str, tuple[str, Callable[[History], None]]] = {
    "two leaders of a term": ("election_safety", two_leaders),
    "a leader truncates": ("leader_append_only", leader_truncates),
    "one place, two values": ("log_matching", other_value),
    "one place, two predecessors": ("log_matching", other_predecessor),
    "two machines differ": ("sm_safety: two", machines_differ),
    "a machine skips": ("sm_safety: applied", machine_skips),
    "a machine repeats": ("sm_safety: applied", machine_repeats),
    "a leader lacks what was committed": ("leader_completeness", leader_lacks),
    "applied from one disk": ("committed_durable", applied_on_one_disk),
    "applied against the disks": ("committed_durable", applied_of_another_term),
    "commit of an older term": ("commit_rule", old_term_commit),
    "commit of the unstable tail": ("commit_rule", unstable_commit),
    "two votes in a term": ("vote_once", two_votes),
    "the durable term falls": ("monotone: the durable", durable_term_falls),
    "the term falls at a restart": ("monotone: the term", term_falls_at_restart),
    "the term falls": ("monotone: something", falls("term")),
    "the commit index falls": ("monotone: something", falls("commit")),
    "the applied index falls": ("monotone: something", falls("applied")),
    "applied past the commit index": ("monotone: out of order", applied_past_commit),
    "a pre-vote bumps": ("no_prevote_bump", pre_vote_bumps),
    "a message of a later term": ("msg_term", speaks_for_a_later_term),
    "a pre-vote two terms ahead": ("msg_term", pre_vote_two_ahead),
    "a vote too early": ("P51", early(VoteReply(Term(2), granted=True), vote=(2, "b"))),
    "a vote request too early": ("P51", early(Vote(Term(2), Index(1), Term(1)), vote=(2, "a"), entries=1)),
    "an acknowledgement too early": (
        "P51",
        early(AppendReply(Term(2), True, Index(1), 1), vote=(2, None), entries=1),
    ),
    "a heartbeat of a term that is not durable": (
        "P51",
        early(Heartbeat(Term(2), Index(0), 0), vote=(2, "a")),
    ),
    "a vote that the disk contradicts": ("P51: a vote before", vote_for_another),
    "an entry that the disk lacks": ("P51: an ack", entry_not_durable),
    "a candidate whose log is not durable": ("P51: a vote request for", candidate_log_not_durable),
    "a stale read": ("read_lin", stale_read),
    "a lost acknowledgement": ("acknowledged: an", acknowledged_is_lost),
    "an acknowledgement never applied": ("acknowledged: not", acknowledged_not_applied),
    "two ends": ("requests_once", ends_twice),
    "a read behind a read": ("read_lin", read_behind_a_read),
}


@pytest.mark.parametrize("what", STORIES)
def test_a_bad_history_is_seen(what: str) -> None:
    says, story = STORIES[what]
    with pytest.raises(InvariantViolated, match=f"^{says}"):
        story(History(bad=True))


@pytest.mark.parametrize("what", STORIES)
def test_the_good_one_beside_it_is_not(what: str) -> None:
    _, story = STORIES[what]
    story(History(bad=False))


def test_every_predicate_has_its_bad_history() -> None:
    """Each checker object raises in at least one of them."""
    blamed = set()
    for _, story in STORIES.values():
        for checker in History(bad=True).checkers.all:
            h = History(bad=True)
            twin = next(c for c in h.checkers.all if type(c) is type(checker))
            h.see = Panel([twin] if twin is h.checkers.machines else [h.checkers.machines, twin])
            for me in h.disks:
                h.see.started(Started(me, status(me, 0)))
            try:
                story(h)
            except InvariantViolated:
                blamed.add(type(checker).__name__)
    assert blamed == {type(checker).__name__ for checker in History(bad=True).checkers.all}
