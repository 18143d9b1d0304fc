"""How the log reaches a quorum, and when an entry counts as committed. PURE. Raft sections 5.3, 5.4.2; read rounds 6.4."""

from __future__ import annotations

from typing import Final

from incumbent.consensus.api import Entry, Placed, Role
from incumbent.consensus.quorum import reached
from incumbent.consensus.raft.messages import Append, AppendReply, Heartbeat, HeartbeatReply
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode
from incumbent.consensus.raft.state import State
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId, Term

APPEND_ENTRIES_MAX: Final = 512
APPEND_BYTES_MAX: Final = 1024 * 1024
"""An append holds at most this much, or one entry."""
UNCOMMITTED_MAX: Final = 65_536


def propose(state: State, request: RequestId, data: bytes) -> None:
    if state.role is not Role.LEADER or state.log.last_index - state.commit >= UNCOMMITTED_MAX:
        state.note(Code.PROPOSAL_REFUSED, request=request, leader=state.leader)
        state.out.refused.append(request)
        return
    index = Index(state.log.last_index + 1)
    state.log.append([Entry(index, state.term, data)])
    state.out.placed.append(Placed(request, index, state.term))


def request_read(state: State, request: RequestId) -> None:
    if state.role is not Role.LEADER or state.reads.full:
        state.note(Code.READ_REFUSED, request=request, leader=state.leader)
        state.out.refused.append(request)
        return
    if state.commit < state.term_start:
        state.note(Code.READ_WAITS, request=request, start=state.term_start)
    state.reads.add(request)


# --- the leader's side ---------------------------------------------------------------------------------------------


def replicate(state: State) -> None:
    """Send every follower what it lacks and may be sent, and the commit index when no append carries it: whoever waits at
    a follower would else wait for the next heartbeat. Called once per ready(): that is what batches."""
    for peer, progress in state.progress.items():
        while progress.next <= state.log.last_index and progress.may_send():
            _send_append(state, peer)
        if min(state.commit, progress.match) > progress.commit_sent:
            _send_heartbeat(state, peer)


def begin_read_round(state: State) -> None:
    """Put what waits into a round, once the own term has committed (before that the commit index may be too old)."""
    if state.commit >= state.term_start and state.reads.begin(state.me, state.commit):
        heartbeat(state)
        state.out.reads.extend(state.reads.confirmed(state.membership))


def heartbeat(state: State) -> None:
    for peer in state.progress:
        _send_heartbeat(state, peer)
    state.heartbeat_ns = state.now_ns + state.timing.heartbeat_ns


def _send_heartbeat(state: State, peer: NodeId) -> None:
    progress = state.progress[peer]
    progress.commit_sent = max(progress.commit_sent, min(state.commit, progress.match))
    state.out.send_now(peer, Heartbeat(state.term, min(state.commit, progress.match), state.reads.number))


def _send_append(state: State, peer: NodeId) -> None:
    progress = state.progress[peer]
    previous = Index(progress.next - 1)
    term = state.log.term_at(previous)
    invariant(term is not None, "the entry before the next one is in the log", next=progress.next)
    entries = _batch(state, progress.next)
    last = Index(previous + len(entries))
    sequence = progress.sent(last, len(entries), state.now_ns)
    progress.commit_sent = max(progress.commit_sent, min(state.commit, last))
    state.out.send_now(peer, Append(state.term, previous, term or Term(0), entries, state.commit, sequence))


def _batch(state: State, first: Index) -> tuple[Entry, ...]:
    size = 0
    entries: list[Entry] = []
    for entry in state.log.between(first, first + APPEND_ENTRIES_MAX - 1):
        size += len(entry.data or b"")
        if entries and size > APPEND_BYTES_MAX:
            break
        entries.append(entry)
    return tuple(entries)


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
    state.reads.answer(sender, message.round)
    state.out.reads.extend(state.reads.confirmed(state.membership))
    quiet = state.now_ns - progress.sent_ns >= state.timing.heartbeat_ns
    if progress.match < state.log.last_index and quiet:
        progress.unanswered()  # replicate() sends again


def advance_commit(state: State) -> None:
    """The highest index that a quorum holds durably, if it is of the own term (Raft section 5.4.2, figure 8)."""
    durable = {peer: progress.match for peer, progress in state.progress.items()} | {
        state.me: state.log.stable
    }
    candidate = Index(reached(state.membership, durable))
    if candidate <= state.commit:
        return
    if state.log.term_at(candidate) != state.term:
        state.note(Code.COMMIT_WAITS_FOR_OWN_TERM, index=candidate)
        return
    state.commit = candidate


# --- the follower's side -------------------------------------------------------------------------------------------


def on_append(state: State, sender: NodeId, message: Append) -> None:
    previous = message.prev_index
    mine = state.log.term_at(previous)
    if mine != message.prev_term:
        conflict = Term(0) if mine is None else mine
        hint = Index(state.log.last_index + 1) if mine is None else state.log.first_index_of(mine, previous)
        state.note(Code.APPEND_REFUSED, prev=previous, hint=hint, conflict=conflict)
        reply = AppendReply(state.term, False, hint, message.sequence, conflict, previous)
        state.out.send_after(sender, reply)
        return
    _store(state, message.entries)
    last_new = Index(previous + len(message.entries))
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
            state.log.truncate(entry.index)
        state.log.append(entries[position:])
        return


def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> None:
    state.commit = max(state.commit, min(message.commit, state.log.last_index))
    state.out.send_after(sender, HeartbeatReply(state.term, message.round))
