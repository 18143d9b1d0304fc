"""Every predicate is shown a history that breaks it, told and not lived, and the good one beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from incumbent.consensus.api import Entry, Envelope, Membership, Record, Role, Snapshot, Standing
from incumbent.consensus.raft.messages import (
    AppendReply,
    HardState,
    Heartbeat,
    PreVote,
    PreVoteReply,
    Vote,
    VoteReply,
    encode_hard_state,
    encode_membership,
)
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, NodeId, RequestId, Revision, Term
from incumbent.kv.api import Change, Code, Result
from incumbent.node.api import Done, Refused, RefusedReason
from incumbent.sim.clients import Register, Requests
from incumbent.sim.disk import SimDisk
from incumbent.sim.kernel import START_NS, Kernel
from incumbent.sim.leases import GROUP, Elections
from incumbent.sim.predicates import Predicates
from incumbent.sim.voter import Voter

A, B, C = (NodeId(name) for name in "abc")
ABC = Membership(frozenset((A, B, C)))


class Machine:
    def __init__(self) -> None:
        self.revision = 1


class Node:
    def __init__(self) -> None:
        self.machine = Machine()


class Told:
    """What predicates may look at of a voter."""

    def __init__(self, me: NodeId) -> None:
        self.me = me
        self.disk = SimDisk()
        self.node = Node()
        self.standing = Standing(Term(1), Role.FOLLOWER, None, Index(0), Index(0), Index(0), ABC)


class History:
    def __init__(self, *, bad: bool) -> None:
        self.bad = bad
        self.told = {name: Told(name) for name in (A, B, C)}
        self.predicates = Predicates(cast("dict[NodeId, Voter]", self.told), ABC)

    def voter(self, me: NodeId) -> Voter:
        return cast("Voter", self.told[me])

    def is_now(self, me: NodeId, cause: object = None, **changes: Any) -> None:
        told = self.told[me]
        before = told.standing
        told.standing = before._replace(**changes)
        for predicate in self.predicates.changed:
            predicate.changed(self.voter(me), before, told.standing, cause)

    def leads(self, me: NodeId, term: int, **changes: Any) -> None:
        self.is_now(me, term=Term(term), role=Role.LEADER, leader=me, **changes)

    def writes(self, me: NodeId, *entries: Entry, **record: Any) -> None:
        made = Record(entries=entries, **record)
        self.told[me].disk.apply(made)
        for predicate in self.predicates.durable:
            predicate.durable(self.voter(me), made)

    def votes(self, me: NodeId, term: int, vote: NodeId | None) -> None:
        self.writes(me, hard_state=encode_hard_state(HardState(Term(term), vote)))

    def sends(self, me: NodeId, message: object, to: NodeId = B) -> None:
        for predicate in self.predicates.sending:
            predicate.sending(self.voter(me), Envelope(to, message))

    def applies(self, me: NodeId, first: int, last: int) -> None:
        for predicate in self.predicates.applied:
            predicate.applied(self.voter(me), first, last)

    def starts(self, me: NodeId, term: int) -> None:
        standing = self.told[me].standing._replace(term=Term(term))
        for predicate in self.predicates.started:
            predicate.started(self.voter(me), standing)


def e(index: int, term: int, data: bytes | None = b"x", tag: bytes = b"") -> Entry:
    return Entry(Index(index), Term(term), data, tag)


def two_leaders(h: History) -> None:
    h.leads(A, 2)
    h.leads(B, 2 if h.bad else 3)


def a_leader_truncates(h: History) -> None:
    h.leads(A, 2, last_index=Index(5))
    h.is_now(A, last_index=Index(4 if h.bad else 6))


def one_place_two_values(h: History) -> None:
    h.writes(A, e(1, 1, b"x"))
    h.writes(B, e(1, 1, b"y" if h.bad else b"x"))


def one_place_two_predecessors(h: History) -> None:
    h.writes(A, e(1, 1), e(2, 3))
    h.writes(B, e(1, 2 if h.bad else 1), e(2, 3))


def two_machines_differ(h: History) -> None:
    h.writes(A, e(1, 1))
    h.writes(B, e(1, 2 if h.bad else 1))
    h.applies(A, 1, 1)
    h.applies(B, 1, 1)


def equal_logs_unequal_machines(h: History) -> None:
    for me in (A, B):
        h.writes(me, e(1, 1))
    h.applies(A, 1, 1)
    h.told[B].node.machine.revision += h.bad
    h.applies(B, 1, 1)


def a_machine_is_fed_what_nobody_has(h: History) -> None:
    h.writes(A, e(1, 1))
    h.applies(A, 1, 2 if h.bad else 1)


def commit_without_a_quorum(h: History) -> None:
    for me in (A, B):
        h.writes(me, e(1, 2))
    h.leads(A, 2, last_index=Index(2))
    h.writes(A, e(2, 2))
    h.is_now(A, commit=Index(2 if h.bad else 1))


def commit_of_an_older_term(h: History) -> None:
    for me in (A, B):
        h.writes(me, e(1, 1), e(2, 2))
    h.leads(A, 2, last_index=Index(2))
    h.is_now(A, commit=Index(1 if h.bad else 2))


def commit_with_one_half(h: History) -> None:
    for me in (A, B):
        h.writes(me, e(1, 2))
    joint = Membership(ABC.voters, frozenset((A, C) if h.bad else (A, B)))
    h.leads(A, 2, last_index=Index(1), membership=joint)
    h.is_now(A, commit=Index(1))


def a_leader_lacks_what_is_committed(h: History) -> None:
    for me in (A, B) if h.bad else (A, B, C):
        h.writes(me, e(1, 1))
    h.applies(A, 1, 1)
    h.leads(C, 2)


def a_late_leader_lacks_what_a_later_term_committed(h: History) -> None:
    """Entry 1 is of term 1 and was committed in term 3: a leader of term 2 need not have it, one of term 4 must."""
    h.is_now(A, term=Term(3))
    for me in (A, B):
        h.writes(me, e(1, 1))
    h.applies(A, 1, 1)
    h.leads(C, 4 if h.bad else 2)


def a_committed_entry_is_cut(h: History) -> None:
    h.votes(A, 1, A)
    h.writes(A, e(1, 1))
    h.writes(A, e(2, 1))
    h.applies(A, 1, 1)
    h.writes(A, truncate_from=Index(1 if h.bad else 2))


def a_committed_entry_is_cut_by_who_knew(h: History) -> None:
    """Term 3 commits what term 1 wrote; a voter that is still in term 1 may yet cut its copy for term 2 (seed 36789)."""
    for me in (A, B, C):
        h.votes(me, 1, A)
        h.writes(me, e(1, 1))
    for me in (A, B, C) if h.bad else (A, B):
        h.votes(me, 3, B)
    h.is_now(B, term=Term(3))
    h.applies(B, 1, 1)
    h.writes(C, e(1, 2), truncate_from=Index(1), hard_state=encode_hard_state(HardState(Term(3), None)))


def a_newer_log_lacks_the_committed(h: History) -> None:
    for me in (A, B):
        h.writes(me, e(1, 1), e(2, 1))
    h.applies(A, 1, 2 if h.bad else 1)
    h.is_now(A, commit=Index(2 if h.bad else 1), last_index=Index(2))
    h.writes(C, e(1, 1), e(2, 2))
    h.writes(C, e(2, 3), truncate_from=Index(2))


def two_votes(h: History) -> None:
    h.votes(A, 2, A)
    h.votes(A, 2, B if h.bad else A)


def the_durable_term_falls(h: History) -> None:
    h.votes(A, 3, None)
    h.votes(A, 2 if h.bad else 4, None)


def the_term_falls_at_a_restart(h: History) -> None:
    h.votes(A, 3, None)
    h.starts(A, 2 if h.bad else 3)


def the_commit_index_falls(h: History) -> None:
    h.is_now(A, commit=Index(3), last_index=Index(5))
    h.is_now(A, commit=Index(2 if h.bad else 4))


def applied_past_commit(h: History) -> None:
    h.is_now(A, commit=Index(3), last_index=Index(5))
    h.is_now(A, applied=Index(4 if h.bad else 3))


def a_snapshot_goes_back(h: History) -> None:
    h.writes(A, e(1, 1), e(2, 1))
    h.writes(A, snapshot=Snapshot(Index(2), Term(1), ABC, b""))
    h.writes(A, snapshot=Snapshot(Index(1 if h.bad else 3), Term(1), ABC, b""))


def a_pre_vote_bumps(h: History) -> None:
    h.is_now(A, cause=PreVote(Term(2), Index(0), Term(0)), term=Term(2 if h.bad else 1), leader=B)


def a_message_of_a_later_term(h: History) -> None:
    h.votes(A, 5, None)
    h.sends(A, Heartbeat(Term(2 if h.bad else 1), Index(0), 0))


def a_pre_vote_two_terms_ahead(h: History) -> None:
    h.sends(A, PreVote(Term(3 if h.bad else 2), Index(0), Term(0)))


def a_grant_names_what_was_asked(h: History) -> None:
    h.sends(A, PreVoteReply(Term(9), granted=not h.bad))


def a_vote_too_early(h: History) -> None:
    h.is_now(A, term=Term(2))
    h.votes(A, 2, None if h.bad else B)
    h.sends(A, VoteReply(Term(2), granted=True))


def a_vote_request_too_early(h: History) -> None:
    h.is_now(A, term=Term(2))
    h.votes(A, 2, None if h.bad else A)
    h.sends(A, Vote(Term(2), Index(0), Term(0)))


def a_vote_request_for_a_log_in_memory(h: History) -> None:
    h.is_now(A, term=Term(2))
    h.votes(A, 2, A)
    h.writes(A, e(1, 1))
    h.sends(A, Vote(Term(2), Index(2 if h.bad else 1), Term(1)))


def an_acknowledgement_too_early(h: History) -> None:
    h.votes(A, 1, None)
    h.writes(A, e(1, 1))
    h.sends(A, AppendReply(Term(1), True, Index(2 if h.bad else 1), 1))


def a_heartbeat_before_the_term_is_durable(h: History) -> None:
    h.is_now(A, term=Term(2))
    h.votes(A, 1 if h.bad else 2, A)
    h.sends(A, Heartbeat(Term(2), Index(0), 0))


def memberships_without_a_common_quorum(h: History) -> None:
    new = Membership(frozenset((A, B)), frozenset() if h.bad else ABC.voters)
    h.writes(A, e(1, 1, None, encode_membership(new)))
    h.applies(A, 1, 1)


def two_open_memberships(h: History) -> None:
    joint = encode_membership(Membership(frozenset((A, B)), ABC.voters))
    h.leads(A, 2, last_index=Index(2), commit=Index(0))
    h.writes(A, e(1, 2, None, joint))
    if not h.bad:
        h.told[A].standing = h.told[A].standing._replace(commit=Index(1))
    h.writes(A, e(2, 2, None, encode_membership(Membership(frozenset((A, B))))))


BROKEN: dict[str, tuple[Callable[[History], None], str]] = {
    "two leaders of a term": (two_leaders, "election_safety"),
    "a leader truncates": (a_leader_truncates, "leader_append_only"),
    "one place, two values": (one_place_two_values, "log_matching"),
    "one place, two predecessors": (one_place_two_predecessors, "log_matching"),
    "two machines differ": (two_machines_differ, "sm_safety"),
    "equal logs, unequal machines": (equal_logs_unequal_machines, "sm_safety"),
    "a machine is fed what nobody has": (a_machine_is_fed_what_nobody_has, "sm_safety"),
    "commit without a quorum": (commit_without_a_quorum, "commit_rule"),
    "commit of an older term": (commit_of_an_older_term, "commit_rule"),
    "commit with one half": (commit_with_one_half, "commit_rule"),
    "a leader lacks what is committed": (a_leader_lacks_what_is_committed, "leader_completeness"),
    "a late leader": (a_late_leader_lacks_what_a_later_term_committed, "leader_completeness"),
    "a committed entry is cut": (a_committed_entry_is_cut, "quorum_log"),
    "a committed entry is cut by who knew": (a_committed_entry_is_cut_by_who_knew, "quorum_log"),
    "a newer log lacks the committed": (a_newer_log_lacks_the_committed, "uptodate_correct"),
    "two votes": (two_votes, "vote_once"),
    "the durable term falls": (the_durable_term_falls, "monotone"),
    "the term falls at a restart": (the_term_falls_at_a_restart, "monotone"),
    "the commit index falls": (the_commit_index_falls, "monotone"),
    "applied past commit": (applied_past_commit, "monotone"),
    "a snapshot goes back": (a_snapshot_goes_back, "monotone"),
    "a pre-vote bumps": (a_pre_vote_bumps, "no_prevote_bump"),
    "a message of a later term": (a_message_of_a_later_term, "msg_term"),
    "a pre-vote two terms ahead": (a_pre_vote_two_terms_ahead, "msg_term"),
    "a refusal of a later term": (a_grant_names_what_was_asked, "msg_term"),
    "a vote too early": (a_vote_too_early, "P51"),
    "a vote request too early": (a_vote_request_too_early, "P51"),
    "a vote request for a log in memory": (a_vote_request_for_a_log_in_memory, "P51"),
    "an acknowledgement too early": (an_acknowledgement_too_early, "P51"),
    "a heartbeat before the term is durable": (a_heartbeat_before_the_term_is_durable, "P51"),
    "memberships without a common quorum": (memberships_without_a_common_quorum, "config_chain"),
    "two open memberships": (two_open_memberships, "config_chain"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_bad_history_is_seen(name: str) -> None:
    tell, says = BROKEN[name]
    with pytest.raises(InvariantViolated, match=says):
        tell(History(bad=True))


@pytest.mark.parametrize("name", BROKEN)
def test_the_good_one_beside_it_is_not(name: str) -> None:
    BROKEN[name][0](History(bad=False))


def test_every_predicate_has_its_bad_history() -> None:
    """A predicate that never fails says nothing."""
    seen = set()
    for tell, _ in BROKEN.values():
        with pytest.raises(InvariantViolated) as caught:
            tell(History(bad=True))
        frames = [entry.frame.raw.f_locals.get("self") for entry in caught.traceback]
        seen |= {type(frame) for frame in frames}
    assert {type(predicate) for predicate in History(bad=False).predicates.all} <= seen


# --- elections on leases, clients ------------------------------------------------------------------------------------

ONE, TWO = GROUP + b"1", GROUP + b"2"


def elections(*, at_ns: int = START_NS) -> Elections:
    kernel = Kernel(1, 10)
    kernel.now_ns = at_ns
    return Elections(kernel)


def test_two_beliefs_that_overlap_are_seen() -> None:
    """P10, P14: also when the second is the rightful one."""
    judge = elections()
    judge.believes(ONE, Revision(5), START_NS + 10)
    with pytest.raises(InvariantViolated, match="holder_belief"):
        judge.believes(TWO, Revision(6), START_NS + 20)


def test_a_belief_that_was_given_up_overlaps_with_nothing() -> None:
    judge = elections()
    judge.believes(ONE, Revision(5), START_NS + 10)
    judge.gives_up(ONE)
    judge.believes(TWO, Revision(6), START_NS + 20)


def test_a_token_that_does_not_rise_is_seen() -> None:
    """P30, whatever the clocks do."""
    judge = elections()
    judge.lawful = False
    judge.believes(ONE, Revision(5), START_NS)
    with pytest.raises(InvariantViolated, match="token_monotone"):
        judge.believes(TWO, Revision(5), START_NS + 20)


def test_a_lease_that_ends_under_its_holder_is_seen() -> None:
    """P59."""
    judge = elections()
    judge.believes(ONE, Revision(5), START_NS + 10)
    with pytest.raises(InvariantViolated, match="lease_bound"):
        judge.applied([Change(Revision(7), ONE, None, Revision(0))])


def test_a_renewal_of_a_lease_that_ended_is_seen() -> None:
    """Rule 3 of leases: a deposed leader must not acknowledge."""
    judge = elections()
    judge.believes(ONE, Revision(5), START_NS)
    judge.applied([Change(Revision(7), ONE, None, Revision(0))])
    with pytest.raises(InvariantViolated, match="renew_confirm"):
        judge.believes(ONE, Revision(5), START_NS + 10)


def test_beyond_the_bound_on_clocks_only_tokens_are_judged() -> None:
    judge = elections()
    judge.lawful = False
    judge.believes(ONE, Revision(5), START_NS + 10)
    judge.believes(TWO, Revision(6), START_NS + 20)
    judge.applied([Change(Revision(7), TWO, None, Revision(0))])


def test_an_answer_that_shows_the_past_is_seen() -> None:
    register = Register()
    register.returned(1, Done(Result(Code.OK, Revision(9))), wrote=True)
    with pytest.raises(InvariantViolated, match="read_lin"):
        register.returned(register.highest, Done(Result(Code.OK, Revision(8))), wrote=False)


def test_a_request_that_ends_twice_is_seen() -> None:
    requests = Requests()
    request = requests.open(lambda _: None)
    requests.ended(request, Refused(RefusedReason.NOT_LEADER))
    with pytest.raises(InvariantViolated, match="requests_once"):
        requests.ended(RequestId(request), Refused(RefusedReason.NOT_LEADER))
