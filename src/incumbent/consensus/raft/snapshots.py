"""Forgetting the log's beginning, and sending who lacks it a snapshot instead. PURE. Raft section 7, figure 13.

A snapshot travels piece by piece, one in flight per follower, each with a checksum, the whole with another. A piece that is
lost or damaged is sent again from where the receiver stands. Pieces go to the storage as they come, and none is kept here;
nothing of a snapshot counts as durable before all of it is.
"""

from __future__ import annotations

import zlib

from incumbent.consensus.api import Blob, Piece, Pieced, Snapshot
from incumbent.consensus.blob import crc_of
from incumbent.consensus.raft.messages import AppendReply, InstallSnapshot, InstallSnapshotReply
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.progress import Mode, Progress
from incumbent.consensus.raft.state import Configured, Incoming, State
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId


def on_snapshot_taken(state: State, index: Index, machine_state: Blob) -> None:
    """The machine's state after `index` stands for all entries up to there."""
    if not state.log.snapshot < index <= state.applied:
        state.note(Code.SNAPSHOT_REFUSED, at=index, applied=state.applied, newest=state.log.snapshot)
        return
    term = state.log.term_at(index)
    invariant(term is not None, "what is applied and not in a snapshot is in the log", index=index)
    assert term is not None
    state.take_snapshot(Snapshot(index, term, state.membership_at(index), machine_state))
    state.log.compact(index, state.limits.compaction_tail)
    state.note(Code.SNAPSHOT_TAKEN, at=index, bytes=len(machine_state))


# --- the leader's side ---------------------------------------------------------------------------------------------


def send_piece(state: State, peer: NodeId, progress: Progress) -> None:
    """What `peer` lacks is forgotten here: send the next piece of a snapshot."""
    if progress.mode is not Mode.SNAPSHOT:
        newest = state.snapshot
        invariant(newest is not None, "what is forgotten is in a snapshot", peer=peer)
        assert newest is not None
        if peer in state.membership.witnesses:
            newest = Snapshot(newest.index, newest.term, newest.membership, b"")
        progress.to_snapshot(newest)
        state.note(Code.SNAPSHOT_SENT, to=peer, at=newest.index, bytes=len(newest.state))
    snapshot = progress.snapshot
    assert snapshot is not None
    chunk = snapshot.state[progress.offset : progress.offset + state.limits.snapshot_chunk_bytes]
    progress.waiting, progress.sent_ns = True, state.now_ns
    state.out.send_now(
        peer,
        InstallSnapshot(
            state.term,
            snapshot.index,
            snapshot.term,
            snapshot.membership,
            len(snapshot.state),
            crc_of(snapshot.state),
            progress.offset,
            chunk,
            zlib.crc32(chunk),
        ),
    )


def on_install_reply(state: State, sender: NodeId, message: InstallSnapshotReply) -> None:
    progress = state.progress[sender]
    progress.heard_ns = state.now_ns
    snapshot = progress.snapshot
    if progress.mode is not Mode.SNAPSHOT or snapshot is None or message.index != snapshot.index:
        return
    offset = min(message.offset, len(snapshot.state))
    # A reply without news is to a piece that came twice. Were it answered, each such pair would go on to the end.
    if offset > progress.offset or (offset == 0 and progress.offset):
        progress.offset = offset
        progress.waiting = False  # replicate() sends the next piece


# --- the follower's side -------------------------------------------------------------------------------------------


def on_install_snapshot(state: State, sender: NodeId, message: InstallSnapshot) -> None:
    """Take a piece; with the last one, the snapshot."""
    if message.index <= state.commit:
        # I have all of it: what is committed here agrees with the leader's log.
        state.out.send_after(sender, AppendReply(state.term, True, state.commit, 0))
        return
    if state.log.term_at(message.index) == message.index_term:
        state.note(Code.SNAPSHOT_KEPT_SUFFIX, at=message.index)
        state.commit = message.index
        state.incoming = None
        state.out.send_after(sender, AppendReply(state.term, True, message.index, 0))
        return
    if state.out.install is not None:
        return  # the one before is not even handed out to be stored: two at a time would mix their pieces
    incoming = _incoming(state, message)
    if incoming is None:
        return
    if message.offset == incoming.received:
        if zlib.crc32(message.chunk) == message.chunk_crc:
            _take(state, incoming, message.chunk)
        else:
            state.note(Code.SNAPSHOT_CHUNK_BAD, at=message.index, offset=message.offset)
    if incoming.received < incoming.size:
        state.out.send_after(sender, InstallSnapshotReply(state.term, message.index, incoming.received))
        return
    state.incoming = None
    if incoming.crc != message.state_crc:
        state.note(Code.SNAPSHOT_CHUNK_BAD, at=message.index, offset=0)
        state.out.send_after(sender, InstallSnapshotReply(state.term, message.index, 0))
        return
    whole = Pieced(incoming.size, incoming.crc)
    _install(state, Snapshot(message.index, message.index_term, message.membership, whole))
    state.out.send_after(sender, AppendReply(state.term, True, message.index, 0))


def _incoming(state: State, message: InstallSnapshot) -> Incoming | None:
    """The half-received snapshot that this piece belongs to; a piece of another one takes its place."""
    incoming = state.incoming
    if incoming is not None and (incoming.leader_term, incoming.index, incoming.size) == (
        message.term,
        message.index,
        message.size,
    ):
        return incoming
    if message.size > state.limits.snapshot_bytes_max:
        state.note(Code.SNAPSHOT_CHUNK_BAD, at=message.index, size=message.size)
        return None
    state.discard_incoming()
    state.incoming = Incoming(message.term, message.index, message.index_term, message.size)
    return state.incoming


def _take(state: State, incoming: Incoming, chunk: bytes) -> None:
    state.out.pieces.append(Piece(incoming.index, incoming.index_term, incoming.received, chunk))
    incoming.crc = zlib.crc32(chunk, incoming.crc)
    incoming.received += len(chunk)


def _install(state: State, snapshot: Snapshot) -> None:
    state.note(Code.SNAPSHOT_INSTALLED, at=snapshot.index, bytes=len(snapshot.state))
    state.log.restart(snapshot.index, snapshot.term)
    state.configured = [Configured(snapshot.index, snapshot.membership)]
    state.take_snapshot(snapshot)
    state.commit = snapshot.index
    state.out.install = snapshot
