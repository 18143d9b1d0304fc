"""The state of one Raft voter, and the only places where its role changes. PURE.

Invariants stand on the fields they bind; `invariants()` checks them and is called by the simulator after every step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from incumbent.consensus.api import Entry, Membership, Note, Role, Saved, Timing
from incumbent.consensus.log import Log
from incumbent.consensus.outbox import Outbox
from incumbent.consensus.raft.messages import HardState, Vote, decode_hard_state
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Progress
from incumbent.consensus.reads import ReadRounds
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, Term


@dataclass(slots=True)
class State:
    me: NodeId
    membership: Membership
    random: Random
    timing: Timing
    log: Log
    durable: HardState  # what the disk holds; term never above `term`
    now_ns: int  # of the event being handled
    term: Term  # never decreases, also over restarts once it was durable
    vote: NodeId | None  # in `term`; changes only from None, once per term
    role: Role = Role.FOLLOWER
    leader: NodeId | None = None  # of `term`; may be forgotten, never exchanged for another
    commit: Index = Index(0)  # never decreases; <= log.last_index
    applied: Index = Index(0)  # never decreases; <= commit
    heard_ns: int | None = None  # last contact with `leader`; None = none since it was forgotten
    election_ns: int = 0  # when a voter that does not lead campaigns
    hint: tuple[NodeId, int] | None = None  # the leader that was last said to be gone, and when
    hint_retries: int = 0  # short retries left after a PeerLost hint
    votes: dict[NodeId, bool] = field(default_factory=dict)  # of the campaign going on
    checked: tuple[Term, Index, Index] = (
        Term(0),
        Index(0),
        Index(0),
    )  # (term, commit, applied) when last checked
    # Leader only:
    term_start: Index = Index(0)  # the no-op of this term
    progress: dict[NodeId, Progress] = field(default_factory=dict)
    heartbeat_ns: int = 0
    quorum_check_ns: int = 0
    reads: ReadRounds = field(default_factory=ReadRounds)
    out: Outbox = field(default_factory=Outbox)

    @classmethod
    def resume(
        cls, me: NodeId, membership: Membership, saved: Saved, *, random: Random, now_ns: int, timing: Timing
    ) -> State:
        """A follower with what the disk remembers; never in an old leadership."""
        hard = decode_hard_state(saved.hard_state)
        state = cls(
            me=me,
            membership=membership,
            random=random,
            timing=timing,
            log=Log(saved.entries),
            durable=hard,
            now_ns=now_ns,
            term=hard.term,
            vote=hard.vote,
        )
        state.reset_election_timer()
        return state

    @property
    def peers(self) -> list[NodeId]:
        """Every other voter, in one fixed order."""
        return sorted(self.membership.voters - {self.me})

    @property
    def serving(self) -> bool:
        return self.role is Role.LEADER and self.applied >= self.term_start

    @property
    def hard_state(self) -> HardState:
        return HardState(self.term, self.vote)

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
            and self.now_ns - self.heard_ns < self.timing.election_timeout_min_ns
        )

    def reset_election_timer(self) -> None:
        low, high = self.timing.election_timeout_min_ns, self.timing.election_timeout_max_ns
        self.election_ns = self.now_ns + self.random.randrange(low, high)
        self.hint_retries = 0

    def up_to_date(self, last_index: Index, last_term: Term) -> bool:
        """Whether a candidate's log is at least as up to date as mine (Raft section 5.4.1)."""
        return (last_term, last_index) >= (self.log.last_term, self.log.last_index)

    # --- the only places where the role changes ------------------------------------------------------------------

    def become_follower(self, term: Term, why: Code) -> None:
        """Of a leader that is not known yet. A voter that merely learns of a higher term keeps its timer, so that a
        candidate which cannot win does not put off one which can."""
        invariant(term >= self.term, "terms never fall", mine=self.term, theirs=term)
        self.note(why, was=self.role.value, to=term)
        if self.role is Role.LEADER:
            self.out.refused.extend(self.reads.drop_all())
            self.progress = {}
        if term > self.term:
            self.term, self.vote = term, None
            self.forget_leader()
        if self.role is not Role.FOLLOWER:
            self._end_campaign()
            self.forget_leader()
            self.reset_election_timer()

    def hear_leader(self, leader: NodeId) -> None:
        """The leader of this term made itself known: follow."""
        invariant(self.role is not Role.LEADER, "one leader per term", term=self.term, other=leader)
        invariant(self.leader in (None, leader), "one leader per term", known=self.leader, other=leader)
        if self.leader is None:
            self.note(Code.LEADER_HEARD, was=self.role.value, leader=leader)
        self._end_campaign()
        self.leader, self.heard_ns = leader, self.now_ns
        self.reset_election_timer()

    def _end_campaign(self) -> None:
        self.role, self.votes = Role.FOLLOWER, {}
        # A request that has not left yet speaks of a log which the leader just heard may cut before it is durable.
        self.out.withdraw(Vote)

    def forget_leader(self) -> None:
        self.leader, self.heard_ns = None, None

    def become_pre_candidate(self) -> None:
        invariant(self.role is not Role.LEADER, "a leader does not campaign", term=self.term)
        self.role = Role.PRE_CANDIDATE
        self.forget_leader()
        self.votes = {self.me: True}  # nothing to persist: a pre-vote promises nothing

    def become_candidate(self) -> None:
        invariant(self.role is Role.PRE_CANDIDATE, "a pre-vote comes first", role=self.role)
        self.role = Role.CANDIDATE
        self.term, self.vote = Term(self.term + 1), self.me
        self.votes = {}  # the own vote counts once it is durable

    def become_leader(self) -> None:
        invariant(self.role is Role.CANDIDATE, "only a candidate wins", role=self.role)
        invariant(
            self.durable == self.hard_state, "a leader's term and vote are durable", durable=self.durable
        )
        self.role, self.leader, self.heard_ns = Role.LEADER, self.me, None
        self.votes = {}
        last = self.log.last_index
        self.progress = {peer: Progress(Index(last + 1), self.now_ns) for peer in self.peers}
        self.term_start = Index(last + 1)
        self.reads = ReadRounds()
        self.heartbeat_ns = self.now_ns
        self.quorum_check_ns = self.now_ns + self.timing.election_timeout_min_ns
        self.log.append([Entry(self.term_start, self.term, None)])  # the no-op: Raft section 8
        self.note(Code.BECAME_LEADER, start=self.term_start)

    # -------------------------------------------------------------------------------------------------------------

    def invariants(self) -> None:
        """Stop the node when its state contradicts itself, or what it was when this was last called."""
        before, self.checked = self.checked, (self.term, self.commit, self.applied)
        invariant(self.term >= before[0], "the term never falls", before=before[0])
        invariant(self.commit >= before[1], "the commit index never falls", before=before[1])
        invariant(self.applied >= before[2], "the applied index never falls", before=before[2])
        invariant(self.term >= self.durable.term, "the term is never below the durable one")
        invariant(
            self.durable.term < self.term or self.durable.vote in (None, self.vote),
            "a durable vote stands for its term",
        )
        invariant(
            self.applied <= self.commit <= self.log.last_index,
            "applied <= commit <= last",
            applied=self.applied,
            commit=self.commit,
            last=self.log.last_index,
        )
        invariant(self.log.stable <= self.log.last_index, "stable <= last")
        invariant(self.log.last_term <= self.term, "no entry is of a later term", last=self.log.last_term)
        if self.role is Role.LEADER:
            invariant(
                self.leader == self.me and self.vote == self.me, "a leader voted for itself and knows it"
            )
            invariant(self.log.term_at(self.term_start) == self.term, "the term's no-op stands in the log")
            for peer, progress in self.progress.items():
                invariant(progress.match < progress.next, "match < next", peer=peer)
                invariant(progress.match <= self.log.last_index, "nobody matches past the log", peer=peer)
        else:
            invariant(self.leader != self.me, "only a leader follows itself", role=self.role)

    def peers_view(self) -> Mapping[NodeId, Mapping[str, object]]:
        return {peer: progress.view() for peer, progress in self.progress.items()}
