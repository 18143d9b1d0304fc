"""One Raft voter behind the interface of consensus/api.py. PURE.

Term comparison lives here and nowhere else; what a message means once its term is settled lives in election.py,
replication.py, snapshots.py and transfer.py; role and membership change only in state.py.
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
    MembershipProposed,
    PeerLost,
    Proposed,
    ReadRequested,
    Ready,
    Received,
    Record,
    ReplicaLimits,
    Role,
    Saved,
    Snapshot,
    SnapshotTaken,
    Standing,
    Status,
    Timing,
    TransferRequested,
    Urgent,
)
from incumbent.consensus.raft import election, replication, snapshots, transfer
from incumbent.consensus.raft import membership as changes
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    RaftMessage,
    TimeoutNow,
    Vote,
    VoteReply,
    encode_hard_state,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.state import State
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId

REPLIES: Final = (PreVoteReply, VoteReply, AppendReply, HeartbeatReply, InstallSnapshotReply)


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
        limits: ReplicaLimits = ReplicaLimits(),
        priority: int = 0,
    ) -> None:
        self.state = State.resume(
            me,
            membership,
            saved,
            random=random,
            now_ns=now_ns,
            timing=timing,
            limits=limits,
            priority=priority,
        )
        self._outstanding: Ready | None = None
        self._outstanding_hard = self.state.durable
        self._announced: Leadership | None = None

    @property
    def deadline_ns(self) -> int:
        state = self.state
        if state.role is Role.LEADER:
            deadline_ns = min(state.heartbeat_ns, state.quorum_check_ns)
            if state.commit_due_ns is not None:
                deadline_ns = min(deadline_ns, state.commit_due_ns)
        else:
            deadline_ns = state.election_ns
            if state.parked:
                deadline_ns = min(deadline_ns, *(p.until_ns for p in state.parked.values()))
        return deadline_ns if state.transfer is None else min(deadline_ns, state.transfer.until_ns)

    def step(self, event: Event, now_ns: int) -> None:
        state = self.state
        state.now_ns = max(state.now_ns, now_ns)
        match event:
            case Received(sender, message):
                self._receive(sender, message)
            case Proposed(request, data):
                replication.propose(state, request, data)
            case ReadRequested(request):
                replication.request_read(state, request)
            case DeadlinePassed():
                self._deadline_passed()
            case PeerLost(peer):
                election.on_leader_lost(state, peer)
            case SnapshotTaken(index, machine_state):
                snapshots.on_snapshot_taken(state, index, machine_state)
            case MembershipProposed(request, change):
                changes.propose_change(state, request, change)
            case TransferRequested(request, to):
                transfer.request_transfer(state, request, to)
        if state.transfer is not None:
            transfer.settle(state)

    def _deadline_passed(self) -> None:
        state = self.state
        if state.role is Role.LEADER:
            self._lead_on()
            return
        if state.parked:
            election.refuse_parked(state)
        if state.now_ns >= state.election_ns:
            if self._disk_stalled():
                state.note(Code.CAMPAIGN_WAITS_FOR_DISK)
                state.reset_election_timer()
            else:
                election.on_election_timeout(state)

    def _lead_on(self) -> None:
        state = self.state
        if self._disk_stalled():
            state.become_follower(state.term, Code.DISK_STALLED)
        elif state.now_ns >= state.quorum_check_ns and not election.keeps_quorum(state):
            pass
        elif state.now_ns >= state.heartbeat_ns:
            replication.on_heartbeat_timeout(state)

    def _disk_stalled(self) -> bool:
        """A record was handed out an election timeout ago and is not durable yet (P56)."""
        state = self.state
        writing = self._outstanding is not None and self._outstanding.record is not None
        return writing and state.now_ns - state.written_ns >= state.election_min_ns

    def _receive(self, sender: NodeId, message: RaftMessage) -> None:
        state = self.state
        if sender == state.me:
            return
        if isinstance(message, PreVote):  # changes no term, whatever it says
            election.on_pre_vote(state, sender, message)
            return
        if isinstance(message, PreVoteReply) and message.granted:
            # It carries the term that was asked for, not the voter's.
            election.on_pre_vote_reply(state, sender, message)
            return
        if message.term > state.term:
            if isinstance(message, Vote) and state.hears_leader() and not message.handed_over:
                state.note(Code.VOTE_REFUSED_STICKY, to=sender, asked=message.term)
                return
            if isinstance(message, REPLIES) and sender not in state.membership.everyone:
                return  # nobody asked it
            state.become_follower(message.term, Code.HIGHER_TERM)
        elif message.term < state.term:
            if isinstance(message, Append | Heartbeat | InstallSnapshot):
                # Pre-vote and check-quorum together could leave the sender leading a term that I can never accept, with
                # me unable to win because the others hear it: tell it my term, so that it steps down once.
                state.note(Code.LOWER_TERM_ANSWERED, sender=sender, theirs=message.term)
                state.out.send_after(sender, HeartbeatReply(state.term, 0))
            return
        self._receive_of_my_term(sender, message)

    def _receive_of_my_term(self, sender: NodeId, message: RaftMessage) -> None:
        state = self.state
        match message:
            case Append():
                election.on_leader_heard(state, sender)
                replication.on_append(state, sender, message)
            case Heartbeat():
                election.on_leader_heard(state, sender)
                replication.on_heartbeat(state, sender, message)
            case AppendReply() if sender in state.progress:
                replication.on_append_reply(state, sender, message)
            case HeartbeatReply() if sender in state.progress:
                replication.on_heartbeat_reply(state, sender, message)
            case InstallSnapshot():
                election.on_leader_heard(state, sender)
                snapshots.on_install_snapshot(state, sender, message)
            case InstallSnapshotReply() if sender in state.progress:
                snapshots.on_install_reply(state, sender, message)
            case Vote():
                election.on_vote(state, sender, message)
            case VoteReply():
                election.on_vote_reply(state, sender, message)
            case TimeoutNow():
                election.on_timeout_now(state)
            case _:
                pass  # a reply to a role that is over or from who is no member, or a refused pre-vote of this term

    def ready(self) -> Ready | None:
        state = self.state
        if self._outstanding is not None:
            return None
        if state.role is Role.LEADER:
            replication.begin_read_round(state)
            replication.replicate(state)
        record = self._record()
        out = state.out
        applied = state.applied if out.install is None else out.install.index
        committed: list[Committed] = []
        if applied < state.commit:
            last = min(state.commit, applied + state.limits.committed_max)
            committed = [Committed(e.index, e.term, e.data) for e in state.log.between(applied + 1, last)]
            applied = Index(last)
        serving = state.role is Role.LEADER and applied >= state.term_start
        leadership: Leadership | None = None
        announced = self._announced
        if announced != (state.role, state.term, state.leader, serving):
            self._announced = leadership = Leadership(state.role, state.term, state.leader, serving)
            if serving and (announced is None or not announced.serving):
                state.note(Code.SERVING, start=state.term_start)
        elif not (record or committed or out):
            return None
        state.out = type(out)()
        self._outstanding = Ready(
            out.now, record, out.after, out.install, committed, out.placed, out.refused, out.transferred, out.reads,
            leadership, out.notes,
        )  # fmt: skip
        return self._outstanding

    def urgent(self) -> Urgent:
        state, out = self.state, self.state.out
        if state.role is Role.LEADER:
            replication.begin_read_round(state)
            replication.replicate(state)
        urgent = Urgent(out.now, out.reads)
        out.now, out.reads = [], []
        return urgent

    def _record(self) -> Record | None:
        state = self.state
        log, durable = state.log, state.durable
        changed = durable.term != state.term or durable.vote != state.vote or state.probe_due
        if not (changed or state.snapshot_unsaved or log.unstable or state.out.pieces):
            return None
        hard = self._outstanding_hard = state.hard_state
        truncate_from, entries = log.take_unstable()
        state.written_ns = state.now_ns
        snapshot = state.snapshot if state.snapshot_unsaved else None
        state.snapshot_unsaved = state.probe_due = False
        return Record(
            encode_hard_state(hard) if changed else None,
            truncate_from,
            entries,
            snapshot,
            tuple(state.out.pieces),
        )

    def advance(self, stored: Snapshot | None = None) -> None:
        """The own vote and the own entries count from here on, if they still stand."""
        state, done = self.state, self._outstanding
        invariant(done is not None, "advance follows ready")
        assert done is not None
        self._outstanding = None
        if done.committed:
            state.applied = done.committed[-1].index
        elif done.install is not None:
            state.applied = done.install.index
        if done.record is None:
            return
        state.durable = self._outstanding_hard
        if stored is not None and state.snapshot is done.record.snapshot:
            state.snapshot = stored
        if done.record.entries:
            last = done.record.entries[-1]
            if not state.log.stable_to(last.index, last.term):
                state.note(Code.OWN_APPEND_OVERTAKEN, index=last.index, was=last.term)
            elif state.role is Role.LEADER:
                replication.advance_commit(state)
        if state.role is Role.CANDIDATE and state.durable == state.hard_state and state.me not in state.votes:
            state.votes[state.me] = True
            election.tally_votes(state)

    @property
    def snapshot(self) -> Snapshot | None:
        """The newest, perhaps not durable yet."""
        return self.state.snapshot

    def standing(self) -> Standing:
        state = self.state
        return Standing(
            state.term,
            state.role,
            state.leader,
            state.commit,
            state.applied,
            state.log.last_index,
            state.membership,
        )

    def status(self) -> Status:
        state = self.state
        return Status(
            me=state.me,
            role=state.role,
            term=state.term,
            leader=state.leader,
            serving=state.serving,
            last_index=state.log.last_index,
            commit=state.commit,
            applied=state.applied,
            first_index=state.log.first_index,
            membership=state.membership,
            transferring_to=state.transfer.to if state.transfer else None,
            peers=state.peers_view(),
        )

    def invariants(self) -> None:
        """Raises InvariantViolated when the state contradicts itself."""
        self.state.invariants()

    def invariants_at_rest(self) -> None:
        """The same, for what costs too much to be looked at after every step."""
        self.state.invariants_at_rest()
