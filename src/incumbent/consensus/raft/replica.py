"""One Raft voter behind the interface of consensus/api.py. PURE.

Term comparison lives here and nowhere else; what a message means once its term is settled lives in election.py and
replication.py; the role changes only in state.py.
"""

from __future__ import annotations

from random import Random
from typing import Final

from incumbent.consensus.api import (
    Committed,
    DeadlinePassed,
    Event,
    Leadership,
    Membership,
    PeerLost,
    Proposed,
    ReadRequested,
    Ready,
    Received,
    Record,
    Role,
    Saved,
    Status,
    Timing,
)
from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    PreVoteReply,
    RaftMessage,
    Vote,
    VoteReply,
    encode_hard_state,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.state import State
from incumbent.errors import invariant
from incumbent.ids import NodeId

COMMITTED_MAX: Final = 4096
"""Entries handed out to be applied per Ready, so that applying a long log does not starve heartbeats."""


class Raft:
    """See consensus.api.Replica."""

    def __init__(
        self,
        me: NodeId,
        membership: Membership,
        saved: Saved,
        *,
        random: Random,
        now_ns: int,
        timing: Timing = Timing(),
    ) -> None:
        invariant(me in membership.voters, "a replica is one of the voters", me=me)
        self.state = State.resume(me, membership, saved, random=random, now_ns=now_ns, timing=timing)
        self._outstanding: Ready | None = None
        self._outstanding_hard = self.state.durable
        self._announced: Leadership | None = None

    @property
    def deadline_ns(self) -> int:
        state = self.state
        return (
            min(state.heartbeat_ns, state.quorum_check_ns) if state.role is Role.LEADER else state.election_ns
        )

    def step(self, event: Event, now_ns: int) -> None:
        state = self.state
        state.now_ns = max(state.now_ns, now_ns)
        match event:
            case Received(sender, message):
                if sender in state.membership.voters and sender != state.me:
                    self._receive(sender, message)
            case Proposed(request, data):
                replication.propose(state, request, data)
            case ReadRequested(request):
                replication.request_read(state, request)
            case DeadlinePassed():
                self._deadline_passed()
            case PeerLost(peer):
                election.on_leader_lost(state, peer)

    def _deadline_passed(self) -> None:
        state = self.state
        if state.role is not Role.LEADER:
            if state.now_ns >= state.election_ns:
                election.on_election_timeout(state)
            return
        if state.now_ns >= state.quorum_check_ns and not election.keeps_quorum(state):
            return
        if state.now_ns >= state.heartbeat_ns:
            replication.heartbeat(state)

    def _receive(self, sender: NodeId, message: RaftMessage) -> None:
        state = self.state
        if isinstance(message, PreVote):  # changes no term, whatever it says
            election.on_pre_vote(state, sender, message)
            return
        if isinstance(message, PreVoteReply) and message.granted:
            # It carries the term that was asked for, not the voter's.
            election.on_pre_vote_reply(state, sender, message)
            return
        if message.term > state.term:
            if isinstance(message, Vote) and state.hears_leader():
                state.note(Code.VOTE_REFUSED_STICKY, to=sender, asked=message.term)
                return
            state.become_follower(message.term, Code.HIGHER_TERM)
        elif message.term < state.term:
            if isinstance(message, Append | Heartbeat):
                # Pre-vote and check-quorum together could leave the sender leading a term that I can never accept, with
                # me unable to win because the others hear it: tell it my term, so that it steps down once.
                state.note(Code.LOWER_TERM_ANSWERED, sender=sender, theirs=message.term)
                state.out.send_after(sender, HeartbeatReply(state.term, 0))
            return
        self._receive_of_my_term(sender, message)

    def _receive_of_my_term(self, sender: NodeId, message: RaftMessage) -> None:
        state = self.state
        match message:
            case Append() | Heartbeat():
                election.on_leader_heard(state, sender)
                if isinstance(message, Append):
                    replication.on_append(state, sender, message)
                else:
                    replication.on_heartbeat(state, sender, message)
            case Vote():
                election.on_vote(state, sender, message)
            case VoteReply():
                election.on_vote_reply(state, sender, message)
            case AppendReply() if state.role is Role.LEADER:
                replication.on_append_reply(state, sender, message)
            case HeartbeatReply() if state.role is Role.LEADER:
                replication.on_heartbeat_reply(state, sender, message)
            case _:
                pass  # a reply to a role that is over, or a refused pre-vote of this term

    def ready(self) -> Ready | None:
        state = self.state
        if self._outstanding is not None:
            return None
        if state.role is Role.LEADER:
            replication.begin_read_round(state)
            replication.replicate(state)
        record = self._record()
        committed = [
            Committed(e.index, e.term, e.data)
            for e in state.log.between(state.applied + 1, min(state.commit, state.applied + COMMITTED_MAX))
        ]
        applied = committed[-1].index if committed else state.applied
        leadership = Leadership(
            state.role, state.term, state.leader, state.role is Role.LEADER and applied >= state.term_start
        )
        if not (record or committed or state.out or leadership != self._announced):
            return None
        if leadership.serving and (self._announced is None or not self._announced.serving):
            state.note(Code.SERVING, start=state.term_start)
        out, state.out = state.out, type(state.out)()
        self._outstanding = Ready(
            now=out.now,
            record=record,
            messages=out.after,
            committed=committed,
            placed=out.placed,
            refused=out.refused,
            reads=out.reads,
            leadership=leadership if leadership != self._announced else None,
            notes=out.notes,
        )
        self._announced = leadership
        return self._outstanding

    def _record(self) -> Record | None:
        state = self.state
        self._outstanding_hard = state.hard_state
        hard = encode_hard_state(state.hard_state) if state.hard_state != state.durable else None
        truncate_from, entries = state.log.take_unstable()
        if hard is None and truncate_from is None and not entries:
            return None
        return Record(hard, truncate_from, entries)

    def advance(self) -> None:
        """The own vote and the own entries count from here on, if they still stand."""
        state, done = self.state, self._outstanding
        invariant(done is not None, "advance follows ready")
        assert done is not None
        self._outstanding = None
        if done.committed:
            state.applied = done.committed[-1].index
        if done.record is None:
            return
        state.durable = self._outstanding_hard
        if done.record.entries:
            last = done.record.entries[-1]
            if not state.log.stable_to(last.index, last.term):
                state.note(Code.OWN_APPEND_OVERTAKEN, index=last.index, was=last.term)
            elif state.role is Role.LEADER:
                replication.advance_commit(state)
        if state.role is Role.CANDIDATE and state.durable == state.hard_state and state.me not in state.votes:
            state.votes[state.me] = True
            election.tally_votes(state)

    def status(self) -> Status:
        state = self.state
        return Status(
            state.me,
            state.role,
            state.term,
            state.leader,
            state.serving,
            state.log.last_index,
            state.commit,
            state.applied,
            state.peers_view(),
        )

    def invariants(self) -> None:
        """Raises InvariantViolated when the state contradicts itself."""
        self.state.invariants()
