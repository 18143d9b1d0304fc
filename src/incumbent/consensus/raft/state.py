"""The state of one Raft voter, and the only places where its role and its membership change. PURE.

Invariants stand on the fields they bind; `invariants()` checks them and is called by the simulator after every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import NamedTuple

from incumbent.consensus.api import (
    Entry,
    Membership,
    Note,
    ReplicaLimits,
    Role,
    Saved,
    Snapshot,
    Timing,
    Why,
)
from incumbent.consensus.log import Log
from incumbent.consensus.outbox import Outbox
from incumbent.consensus.raft.messages import (
    HardState,
    PreVote,
    Vote,
    decode_hard_state,
    decode_membership,
    encode_membership,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Progress
from incumbent.consensus.reads import ReadRounds
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId, Term


class Configured(NamedTuple):
    """From `index` on (it is in force as soon as it is in the log), this is the membership."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    membership: Membership


class Parked(NamedTuple):
    """A pre-vote that will be granted if news of the leader's death comes in time, and else refused."""

    request: PreVote
    until_ns: int


class Transfer(NamedTuple):
    request: RequestId | None  # None: the leader's own wish
    to: NodeId
    term: Term  # in which it was asked for
    until_ns: int  # when it has failed


@dataclass(slots=True)
class Incoming:
    """A snapshot that a leader is sending."""

    leader_term: Term  # a piece of another term is not put to it
    index: Index
    index_term: Term
    size: int
    received: int = 0  # handed out to be stored; never more than `size`
    crc: int = 0  # of that


@dataclass(slots=True)
class State:
    me: NodeId
    random: Random
    timing: Timing
    limits: ReplicaLimits
    priority: int
    log: Log
    configured: list[
        Configured
    ]  # never empty; the last one counts. Rising indexes, the first <= log.snapshot
    membership: Membership  # the last of `configured`
    durable: HardState  # what the disk holds; term never above `term`
    now_ns: int  # of the event being handled
    term: Term  # never decreases, also over restarts once it was durable
    vote: NodeId | None  # in `term`; changes only from None, once per term
    role: Role = Role.FOLLOWER
    leader: NodeId | None = None  # of `term`; may be forgotten, never exchanged for another
    commit: Index = Index(0)  # never decreases; <= log.last_index
    applied: Index = Index(0)  # never decreases; <= commit
    snapshot: Snapshot | None = None  # the newest; its index is log.snapshot
    snapshot_unsaved: bool = False  # the next record holds it
    incoming: Incoming | None = None
    heard_ns: int | None = None  # last contact with `leader`; None = none since it was forgotten
    election_ns: int = 0  # when a voter that does not lead campaigns
    election_min_ns: int = 0  # the minimum election timeout, perhaps stretched with the round trips
    round_trip_ns: int = 0  # as the last leader measured it; 0 = not known
    rank: int = 0  # my place in the succession, as the last leader told it
    hint: tuple[NodeId, int] | None = None  # the leader that was last said to be gone, and when
    hint_retries: int = 0  # campaigns in quick succession that are left after a hint
    parked: dict[NodeId, Parked] = field(default_factory=dict)  # by candidate; only of members
    commit_due_ns: int | None = None  # of a leader: when to tell a commit that no append has carried yet
    votes: dict[NodeId, bool] = field(default_factory=dict)  # of the campaign going on
    written_ns: int = 0  # when the disk last did something
    transfer: Transfer | None = None  # asked of this node, as long as it is not decided
    checked: tuple[Term, Index, Index] = (
        Term(0),
        Index(0),
        Index(0),
    )  # (term, commit, applied) when last checked
    # Leader only:
    term_start: Index = Index(0)  # the no-op of this term
    progress: dict[NodeId, Progress] = field(default_factory=dict)  # of everyone else, in one fixed order
    heartbeat_ns: int = 0
    quorum_check_ns: int = 0
    preemption_ns: int = 0  # not before this is leadership given to a voter of higher priority
    uncommitted_bytes: int = 0  # of the proposals in the log past `commit`
    probe_due: bool = (
        False  # nothing was written for long: write something, to see that the disk still answers
    )
    reads: ReadRounds = field(default_factory=ReadRounds)
    out: Outbox = field(default_factory=Outbox)

    @classmethod
    def resume(
        cls,
        me: NodeId,
        membership: Membership,
        saved: Saved,
        *,
        random: Random,
        now_ns: int,
        timing: Timing,
        limits: ReplicaLimits,
        priority: int,
    ) -> State:
        """A follower with what the disk remembers; never in an old leadership."""
        hard = decode_hard_state(saved.hard_state)
        snapshot = saved.snapshot
        index, index_term = (snapshot.index, snapshot.term) if snapshot else (Index(0), Term(0))
        state = cls(
            me=me,
            random=random,
            timing=timing,
            limits=limits,
            priority=priority,
            log=Log(saved.entries, index, index_term),
            configured=[Configured(index, snapshot.membership if snapshot else membership)],
            membership=membership,
            durable=hard,
            now_ns=now_ns,
            term=hard.term,
            vote=hard.vote,
            commit=index,
            snapshot=snapshot,
            election_min_ns=timing.election_timeout_min_ns,
            written_ns=now_ns,
        )
        state.out.install = snapshot
        state._configure(state.log.between(index + 1, state.log.last_index))
        state.reset_election_timer()
        return state

    @property
    def serving(self) -> bool:
        return self.role is Role.LEADER and self.applied >= self.term_start

    @property
    def electable(self) -> bool:
        """Whether this voter may lead. One that the last membership leaves out still may while that is not known to be
        committed: it may be the only one who has it (dissertation 4.2.2)."""
        return self.me in self.membership.electable or self.me in self.settled.electable

    @property
    def settled(self) -> Membership:
        """The newest membership that is certainly committed: one begins only after the one before it is (P57)."""
        last = self.configured[-1]
        return last.membership if last.index <= self.commit else self.configured[-2].membership

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote)

    def peers(self) -> list[NodeId]:
        """Everyone else whose vote counts, in one fixed order."""
        return sorted(self.membership.voting - {self.me})

    def note(self, code: Code, **facts: object) -> None:
        self.out.notes.append(Note(code.value, {"term": self.term, **facts}))

    def hears_leader(self) -> bool:
        """Whether a leader was heard within the minimum election timeout (stickiness, dissertation 4.2.3). A leader
        hears itself for as long as check-quorum lets it lead."""
        if self.role is Role.LEADER:
            return True
        return (
            self.leader is not None
            and self.heard_ns is not None
            and self.now_ns - self.heard_ns < self.election_min_ns
        )

    def reset_election_timer(self) -> None:
        timing, low_ns = self.timing, self.election_min_ns
        span_ns = timing.election_timeout_max_ns - timing.election_timeout_min_ns
        if low_ns != timing.election_timeout_min_ns:
            span_ns = span_ns * low_ns // timing.election_timeout_min_ns
        self.election_ns = self.now_ns + low_ns + int(self.random.random() * span_ns)
        self.hint_retries = 0

    @property
    def heartbeat_interval_ns(self) -> int:
        return self.timing.heartbeat_ns * self.election_min_ns // self.timing.election_timeout_min_ns

    def up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a candidate's log is at least as up to date as mine (Raft section 5.4.1)."""
        return (last_term, last_index) >= (self.log.last_term, self.log.last_index)

    # --- the log and the membership in it ------------------------------------------------------------------------

    def append(self, entries: Sequence[Entry]) -> None:
        """Put entries at the end of the log. A membership is in force from here on (Raft section 6)."""
        self.log.append(entries)
        self._configure(entries)

    def _configure(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            if entry.tag:
                self.configured.append(Configured(entry.index, decode_membership(entry.tag)))
        self.use_last_membership()

    def truncate(self, first: Index) -> None:
        """Delete entries; a membership that goes with them restores the one before."""
        self.log.truncate(first)
        while self.configured[-1].index >= first:
            self.note(Code.MEMBERSHIP_RESTORED, at=self.configured.pop().index)
        self.use_last_membership()

    def use_last_membership(self) -> None:
        membership = self.configured[-1].membership
        changed = membership != self.membership
        self.membership = membership
        if not changed:
            return
        self.parked = {peer: parked for peer, parked in self.parked.items() if peer in membership.everyone}
        if self.role is Role.LEADER:
            others = sorted(membership.everyone - {self.me})
            self.progress = {peer: self.progress.get(peer) or self._newcomer() for peer in others}
        elif self.role is not Role.FOLLOWER and not self.electable:
            self.end_campaign()

    def _newcomer(self) -> Progress:
        """Who is new is sent the last entry first: it tells what the newcomer lacks. It may have been here before in this
        term; counting from the time on, no answer from then looks as if it were one to what is sent now."""
        return Progress(self.log.last_index, self.now_ns, sequence=self.now_ns)

    def membership_at(self, index: Index) -> Membership:
        """The membership that was in force at an index that is not forgotten."""
        return next(c.membership for c in reversed(self.configured) if c.index <= index)

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """From now on this one is kept and sent; the next record holds it."""
        self.snapshot, self.snapshot_unsaved = snapshot, True
        later = [c for c in self.configured if c.index > snapshot.index]
        self.configured = [Configured(snapshot.index, snapshot.membership), *later]
        self.use_last_membership()

    # --- the only places where the role changes ------------------------------------------------------------------

    def become_follower(self, term: Term, why: Code) -> None:
        """Of a leader that is not known yet. A voter that merely learns of a higher term keeps its timer, so that a
        candidate which cannot win does not put off one which can."""
        invariant(term >= self.term, "terms never fall", mine=self.term, theirs=term)
        self.note(why, was=self.role.value, to=term)
        if self.role is Role.LEADER:
            for request in self.reads.drop_all():
                self.out.refuse(request, Why.NOT_LEADER)
            self.progress = {}
            self.uncommitted_bytes, self.probe_due, self.commit_due_ns = 0, False, None
        if term > self.term:
            self.term, self.vote = term, None
            self.discard_incoming()
            self.forget_leader()
        if self.role is not Role.FOLLOWER:
            self.end_campaign()
            self.forget_leader()
            self.reset_election_timer()

    def hear_leader(self, leader: NodeId) -> None:
        """The leader of this term made itself known: follow."""
        invariant(self.role is not Role.LEADER, "one leader per term", term=self.term, other=leader)
        invariant(self.leader in (None, leader), "one leader per term", known=self.leader, other=leader)
        if self.leader is None:
            self.note(Code.LEADER_HEARD, was=self.role.value, leader=leader)
            self.leader = leader
        if self.role is not Role.FOLLOWER:
            self.end_campaign()
        self.heard_ns = self.now_ns
        self.reset_election_timer()

    def end_campaign(self) -> None:
        self.role, self.votes = Role.FOLLOWER, {}
        # A request that has not left yet speaks of a log which the leader just heard may cut before it is durable.
        self.out.withdraw(Vote)

    def discard_incoming(self) -> None:
        """Half a snapshot is of no use once its sender leads no more."""
        if self.incoming is not None:
            self.note(Code.SNAPSHOT_DISCARDED, at=self.incoming.index, received=self.incoming.received)
            self.incoming = None

    def forget_leader(self) -> None:
        self.leader, self.heard_ns = None, None

    def become_pre_candidate(self) -> None:
        invariant(self.role is not Role.LEADER, "a leader does not campaign", term=self.term)
        invariant(self.electable, "only who may lead campaigns", me=self.me)
        self.role = Role.PRE_CANDIDATE
        self.forget_leader()
        self.votes = {self.me: True}  # nothing to persist: a pre-vote promises nothing

    def become_candidate(self) -> None:
        invariant(self.role is not Role.LEADER, "a leader does not campaign", term=self.term)
        invariant(self.electable, "only who may lead campaigns", me=self.me)
        self.role = Role.CANDIDATE
        self.term, self.vote = Term(self.term + 1), self.me
        self.discard_incoming()
        self.forget_leader()
        self.votes = {}  # the own vote counts once it is durable

    def become_leader(self) -> None:
        invariant(self.role is Role.CANDIDATE, "only a candidate wins", role=self.role)
        invariant(
            self.durable == self.hard_state, "a leader's term and vote are durable", durable=self.durable
        )
        self.role, self.leader, self.heard_ns = Role.LEADER, self.me, None
        self.votes = {}
        self.parked = {}
        last = self.log.last_index
        others = sorted(self.membership.everyone - {self.me})
        self.progress = {peer: Progress(Index(last + 1), self.now_ns) for peer in others}
        self.term_start = Index(last + 1)
        self.reads = ReadRounds()
        self.heartbeat_ns = self.now_ns
        self.quorum_check_ns = self.now_ns + self.election_min_ns
        self.preemption_ns = self.now_ns + self.timing.preemption_delay_ns
        self.uncommitted_bytes = 0
        self.append([Entry(self.term_start, self.term, None)])  # the no-op: Raft section 8
        self.note(Code.BECAME_LEADER, start=self.term_start)

    # -------------------------------------------------------------------------------------------------------------

    def invariants(self) -> None:
        """Stop the node when its state contradicts itself, or what it was when this was last called."""
        log, durable, term = self.log, self.durable, self.term
        commit, applied, last = self.commit, self.applied, log.last_index
        before, self.checked = self.checked, (term, commit, applied)
        if not (before[0] <= term and before[1] <= commit and before[2] <= applied):
            _broken("term, commit and applied never fall", before=before, now=self.checked)
        if not log.forgotten <= log.snapshot <= commit <= last:
            facts = {"forgotten": log.forgotten, "snapshot": log.snapshot, "commit": commit, "last": last}
            _broken("forgotten <= snapshot <= commit <= last", **facts)
        if applied > commit:
            _broken("applied <= commit", applied=applied, commit=commit)
        if durable.term > term:
            _broken("the term is never below the durable one", durable=durable, term=term)
        if durable.term == term and durable.vote is not None and durable.vote != self.vote:
            _broken("a durable vote stands for its term", durable=durable, vote=self.vote)
        if log.stable > last:
            _broken("stable <= last", stable=log.stable, last=last)
        if log.last_term > term:
            _broken("no entry is of a later term", last=log.last_term, term=term)
        if self.membership is not self.configured[-1].membership:
            _broken("the last membership is in force", configured=self.configured)
        if self.role is not Role.LEADER:
            if self.leader == self.me:
                _broken("only a leader follows itself", role=self.role)
            return
        if self.leader != self.me or self.vote != self.me:
            _broken("a leader voted for itself and knows it", leader=self.leader, vote=self.vote)
        for progress in self.progress.values():
            if not progress.match < progress.next <= last + 1:
                _broken("match < next <= last + 1", progress=progress)

    def invariants_at_rest(self) -> None:
        """What costs too much to be looked at after every step."""
        invariant(
            [c.index for c in self.configured] == sorted({c.index for c in self.configured}),
            "memberships are ordered",
            configured=self.configured,
        )
        for index, membership in self.configured[1:]:
            tags = [entry.tag for entry in self.log.between(index, index)]
            invariant(
                tags in ([], [encode_membership(membership)]),
                "a membership stands in the log",
                at=index,
            )
        invariant(len(self.parked) <= len(self.membership.everyone), "parked pre-votes are bounded")
        if self.incoming is not None:
            invariant(self.incoming.received <= self.incoming.size, "no snapshot is longer than it says")
        if self.role is Role.LEADER:
            invariant(self.log.term_at(self.term_start) in (self.term, None), "the term's no-op stands")
            invariant(set(self.progress) == self.membership.everyone - {self.me}, "a leader knows everyone")
            for progress in self.progress.values():
                invariant(
                    progress.in_flight_bytes == sum(size for _, size in progress.in_flight),
                    "bytes in flight are counted",
                )

    def peers_view(self) -> Mapping[NodeId, Mapping[str, object]]:
        return {peer: progress.view() for peer, progress in self.progress.items()}


def _broken(what: str, **facts: object) -> None:
    """`invariants` runs after every step of a simulation, so it asks first and calls only then."""
    invariant(False, what, **facts)
