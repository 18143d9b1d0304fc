"""How the log reaches a quorum, and when an entry counts as committed. PURE. Raft sections 5.3, 5.4.2; read rounds 6.4."""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import Entry, Placed, Role, Why
from incumbent.consensus.quorum import reached
from incumbent.consensus.raft import membership, snapshots, transfer
from incumbent.consensus.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode, Progress
from incumbent.consensus.raft.state import State
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId, Term

ROUND_TRIPS_PER_TIMEOUT: Final = 10
"""With adaptive timing the minimum election timeout is this many round trips."""


def propose(state: State, request: RequestId, data: bytes) -> None:
    why = _cannot_propose(state)
    if why is not None:
        state.note(Code.PROPOSAL_REFUSED, request=request, leader=state.leader, why=why.value)
        state.out.refuse(request, why)
        return
    index = Index(state.log.last_index + 1)
    state.log.append([Entry(index, state.term, data)])
    state.uncommitted_bytes += len(data)
    state.out.placed.append(Placed(request, index, state.term))


def _cannot_propose(state: State) -> Why | None:
    if state.role is not Role.LEADER:
        return Why.NOT_LEADER
    if state.transfer is not None:
        return Why.TRANSFERRING
    limits = state.limits
    if (
        state.log.last_index - state.commit >= limits.uncommitted_entries_max
        or state.uncommitted_bytes >= limits.uncommitted_bytes_max
    ):
        return Why.OVERLOADED
    return None


def request_read(state: State, request: RequestId) -> None:
    if state.role is not Role.LEADER or state.reads.full:
        why = Why.OVERLOADED if state.role is Role.LEADER else Why.NOT_LEADER
        state.note(Code.READ_REFUSED, request=request, leader=state.leader, why=why.value)
        state.out.refuse(request, why)
        return
    if state.commit < state.term_start:
        state.note(Code.READ_WAITS, request=request, start=state.term_start)
    state.reads.add(request)


# --- the leader's side ---------------------------------------------------------------------------------------------


def replicate(state: State) -> None:
    """Send every follower what it lacks and may be sent, and the commit index when no append carries it for
    `commit_delay_ns`: whoever waits at a follower would else wait for the next heartbeat. Called once per ready() and urgent(): that is what batches."""
    commit, limits = state.commit, state.limits
    witnesses, everything = state.membership.witnesses, state.log.last_index
    due, untold = state.commit_due_ns is not None and state.now_ns >= state.commit_due_ns, False
    due = due or not state.timing.commit_delay_ns
    for peer, progress in state.progress.items():
        last = everything if peer not in witnesses else _sendable_to_witness(state, peer)
        while progress.next <= last and progress.may_send(limits):
            if progress.mode is Mode.SNAPSHOT or progress.next <= state.log.forgotten:
                snapshots.send_piece(state, peer, progress)
            else:
                _send_append(state, peer, progress, last)
        if progress.commit_sent < commit and progress.commit_sent < progress.match:
            if due:
                _tell_commit(state, peer, progress)
            else:
                untold = True
    if not untold:
        state.commit_due_ns = None
    elif state.commit_due_ns is None:
        state.commit_due_ns = state.now_ns + state.timing.commit_delay_ns


def _sendable_to_witness(state: State, peer: NodeId) -> Index:
    """Everything may leave before it is durable here, except to a witness. It must not know of more than who may lead, or
    nobody whom it would vote for could be elected: so it is told what is committed, and while that waits for the witness
    itself, what one of them has on disk. And nothing before it certainly is a witness: were that overwritten, a log without
    data would stay with somebody who may lead."""
    if peer not in state.settled.witnesses:
        return Index(0)
    if membership.data_voters_suffice(state):
        return state.commit
    electable = state.membership.electable
    durable = [state.progress[voter].match for voter in electable if voter != state.me]
    if state.me in electable:
        durable.append(state.log.stable)
    return max(durable)


def begin_read_round(state: State) -> None:
    """Put what waits into a round, once the own term has committed (before that the commit index may be too old). And look
    at those that are open: a new membership may be content with answers that came before it."""
    if state.reads.idle:
        return
    if state.commit >= state.term_start and state.reads.begin(state.me, state.commit):
        _beat(state)
    state.out.reads.extend(state.reads.confirmed(state.membership))


def on_heartbeat_timeout(state: State) -> None:
    """Everything that a leader does at every heartbeat interval."""
    _measure(state)
    _rank(state)
    if state.commit >= state.term_start:
        state.reads.begin(state.me, state.commit)  # who waits for a round goes with these heartbeats
    _beat(state)
    state.heartbeat_ns = state.now_ns + state.heartbeat_interval_ns
    if state.now_ns - state.written_ns >= state.election_min_ns:
        state.probe_due = True
    if state.membership.witnesses:
        advance_commit(state)  # a data voter may have become unreachable, so that the witness counts
    transfer.prefer(state)


def _measure(state: State) -> None:
    """The worst voter's round trip, with a margin; and the timeouts that follow from it. Before anybody has answered a new
    leader it is what the last one measured."""
    voting = state.membership.voting
    measured = [
        p.round_trip_ns + 4 * p.round_trip_deviation_ns
        for peer, p in state.progress.items()
        if peer in voting and p.round_trip_ns
    ]
    if measured:
        state.round_trip_ns = max(measured)
    follow_round_trips(state)


def follow_round_trips(state: State) -> None:
    timing = state.timing
    if timing.adaptive_max_ns > timing.election_timeout_min_ns:
        wanted_ns = ROUND_TRIPS_PER_TIMEOUT * state.round_trip_ns
        state.election_min_ns = min(max(wanted_ns, timing.election_timeout_min_ns), timing.adaptive_max_ns)


def _rank(state: State) -> None:
    """Who has most comes first, then who should lead."""
    electable = state.membership.electable
    order = sorted(
        (peer for peer in state.progress if peer in electable),
        key=lambda peer: (-state.progress[peer].match, -state.progress[peer].priority, peer),
    )
    for rank, peer in enumerate(order):
        state.progress[peer].rank = rank


def _beat(state: State) -> None:
    for peer, progress in state.progress.items():
        _send_heartbeat(state, peer, progress)


def _send_heartbeat(state: State, peer: NodeId, progress: Progress) -> None:
    commit = min(state.commit, progress.match)
    progress.commit_sent = max(progress.commit_sent, commit)
    state.out.send_now(
        peer,
        Heartbeat(state.term, commit, state.reads.number, progress.rank, state.now_ns, state.round_trip_ns),
    )


def _tell_commit(state: State, peer: NodeId, progress: Progress) -> None:
    """A heartbeat that nobody waits to see answered."""
    commit = progress.commit_sent = min(state.commit, progress.match)
    state.out.send_now(peer, Heartbeat(state.term, commit, 0, progress.rank, 0, state.round_trip_ns))


def _send_append(state: State, peer: NodeId, progress: Progress, up_to: Index) -> None:
    previous = Index(progress.next - 1)
    term = state.log.term_at(previous)
    invariant(term is not None, "the entry before the next one is in the log", next=progress.next)
    entries, size = _batch(state, progress.next, up_to)
    if peer in state.membership.witnesses:
        entries = tuple([Entry(e.index, e.term, None, e.tag) for e in entries])
    last = Index(previous + len(entries))
    sequence = progress.sent(last, len(entries), size, state.now_ns)
    progress.commit_sent = max(progress.commit_sent, min(state.commit, last))
    state.out.send_now(peer, Append(state.term, previous, term or Term(0), entries, state.commit, sequence))


def _batch(state: State, first: Index, up_to: Index) -> tuple[tuple[Entry, ...], int]:
    """What one append holds from `first` on, at most `up_to`, and its bytes."""
    limits = state.limits
    entries = state.log.between(first, min(up_to, first + limits.append_entries_max - 1))
    size = 0
    for count, entry in enumerate(entries):
        grown = size + len(entry.data or entry.tag)
        if count and grown > limits.append_bytes_max:
            return tuple(entries[:count]), size
        size = grown
    return tuple(entries), size


def on_append_reply(state: State, sender: NodeId, message: AppendReply) -> None:
    progress = state.progress[sender]
    progress.heard_ns = state.now_ns
    if progress.mode is Mode.LOST:
        return
    if message.accepted:
        invariant(
            message.index <= state.log.last_index, "nobody acknowledges what was never sent", sender=sender
        )
        if progress.accepted(message.index):
            advance_commit(state)
            transfer.on_progress(state, sender)
    elif message.refused_prev > progress.match and message.sequence >= progress.fresh_sequence:
        progress.back_to(_next_after_refusal(state, message))
    elif message.refused_prev <= progress.match and message.sequence > progress.match_sequence:
        # The append left after the follower had acknowledged up to `match`, and still it lacks it: its disk lost entries
        # that were counted. Retrying for ever would hide that, and counting on it again could lose them.
        state.note(
            Code.FOLLOWER_LOST_ENTRIES, follower=sender, match=progress.match, refused=message.refused_prev
        )
        progress.lost()
    else:
        state.note(Code.REFUSAL_STALE, follower=sender, refused=message.refused_prev)


def _next_after_refusal(state: State, message: AppendReply) -> Index:
    """Where to probe next. A hint of a term that I hold too: after its last entry here; else from where it began there
    (Raft section 5.3)."""
    if message.conflict_term:
        last = state.log.last_index_of_term_at_most(message.conflict_term, Index(message.refused_prev - 1))
        if state.log.term_at(last) == message.conflict_term:
            return Index(last + 1)
    return min(message.index, message.refused_prev)


def on_heartbeat_reply(state: State, sender: NodeId, message: HeartbeatReply) -> None:
    progress = state.progress[sender]
    progress.heard_ns = state.now_ns
    progress.priority = message.priority
    if 0 < message.sent_ns <= state.now_ns:
        progress.measured(state.now_ns - message.sent_ns)
    if message.round:
        state.reads.answer(sender, message.round)
        state.out.reads.extend(state.reads.confirmed(state.membership))
    # On a link that keeps the order, whoever answers what left later was not reached by what left before. A link that is slow
    # is not made slower by sending everything again.
    overtaken = message.sent_ns > progress.sent_ns
    late = state.now_ns - progress.sent_ns >= state.timing.heartbeat_ns
    if progress.match < state.log.last_index and overtaken and late:
        progress.unanswered()  # replicate() sends again


def advance_commit(state: State) -> None:
    """The highest index that a quorum holds durably, if it is of the own term (Raft section 5.4.2, figure 8)."""
    durable = {peer: progress.match for peer, progress in state.progress.items()}
    durable[state.me] = state.log.stable
    if state.membership.witnesses and membership.data_voters_suffice(state):
        for witness in state.membership.witnesses:
            durable[witness] = Index(0)
    candidate = Index(reached(state.membership, durable))
    if candidate <= state.commit:
        return
    if state.log.term_at(candidate) != state.term:
        state.note(Code.COMMIT_WAITS_FOR_OWN_TERM, index=candidate)
        return
    _commit(state, candidate)


def _commit(state: State, index: Index) -> None:
    if state.uncommitted_bytes:
        first = max(state.commit, state.term_start) + 1
        state.uncommitted_bytes -= sum(len(e.data or b"") for e in state.log.between(first, index))
    state.commit = index
    membership.on_commit(state)


# --- the follower's side -------------------------------------------------------------------------------------------


def on_append(state: State, sender: NodeId, message: Append) -> None:
    previous, entries = message.prev_index, message.entries
    log = state.log
    if previous < log.forgotten:
        # Everything up to there is committed, so it agrees.
        entries = entries[log.forgotten - previous :]
        previous = min(log.forgotten, Index(previous + len(message.entries)))
    else:
        mine = log.term_at(previous)
        if mine != message.prev_term:
            conflict = Term(0) if mine is None else mine
            hint = Index(log.last_index + 1) if mine is None else log.first_index_of(mine, previous)
            state.note(Code.APPEND_REFUSED, prev=previous, hint=hint, conflict=conflict)
            reply = AppendReply(state.term, False, hint, message.sequence, conflict, previous)
            state.out.send_after(sender, reply)
            return
    if entries:
        _store(state, entries)
    last_new = Index(previous + len(entries))
    if state.commit < message.commit:
        state.commit = max(state.commit, min(message.commit, last_new))
    state.out.send_after(sender, AppendReply(state.term, True, last_new, message.sequence))


def _store(state: State, entries: tuple[Entry, ...]) -> None:
    """Keep what agrees, delete only on a conflict: a shorter or older append never shortens the log."""
    for position, entry in enumerate(entries):
        mine = state.log.term_at(entry.index)
        if mine == entry.term:
            continue
        if mine is not None:
            invariant(entry.index > state.commit, "what is committed is never truncated", at=entry.index)
            state.note(Code.APPEND_CONFLICT, at=entry.index, mine=mine, theirs=entry.term)
            state.truncate(entry.index)
        state.append(entries[position:])
        return


def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> None:
    if state.commit < message.commit:
        state.commit = max(state.commit, min(message.commit, state.log.last_index))
    state.rank = message.rank
    if message.round_trip_ns != state.round_trip_ns:
        state.round_trip_ns = message.round_trip_ns
        follow_round_trips(state)
    if not message.sent_ns:
        return
    reply = HeartbeatReply(state.term, message.round, message.sent_ns, state.priority)
    if state.durable.term == state.term:
        state.out.send_now(
            sender, reply
        )  # it promises nothing but the term: no long write makes this voter seem dead
    else:
        state.out.send_after(sender, reply)
