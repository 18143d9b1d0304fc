"""What Raft voters say to each other, and the bytes of it. PURE.

Names and fields are the paper's (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", extended
version, figure 2); pre-vote is section 9.6 of Ongaro's dissertation, read rounds section 6.4.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec

from incumbent.consensus.api import Entry, Membership
from incumbent.ids import Index, NodeId, Term

T = TypeVar("T")
NUMBER_MAX: Final = 2**63 - 1
_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Term = Annotated[Term, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Index = Annotated[Index, msgspec.Meta(ge=0, le=NUMBER_MAX)]


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag="pv"):
    """Would you vote for me in `term`? Changes nobody's term or vote."""

    term: _Term  # the term the sender WOULD campaign in: its own + 1
    last_index: _Index
    last_term: _Term


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag="pvr"):
    term: _Term  # granted: the term asked for; refused: the voter's own
    granted: bool


class Vote(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    term: _Term
    last_index: _Index
    last_term: _Term
    handed_over: bool = False  # the leader asked for this campaign: its followers need not protect it


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag="vr"):
    term: _Term
    granted: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Entries after (prev_index, prev_term); none = a probe."""

    term: _Term
    prev_index: _Index
    prev_term: _Term
    entries: tuple[Entry, ...]
    commit: _Index
    sequence: _Number  # comes back in the reply, so that a reply that was overtaken is recognised


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag="ar"):
    """match: the last index that is durable here and agrees with the leader's log; on refusal the conflict hint."""

    term: _Term
    accepted: bool
    index: _Index  # accepted: match. refused: first index of the conflicting term, or one past the log's end
    sequence: _Number
    conflict_term: _Term = Term(0)  # 0: the log is too short
    refused_prev: _Index = Index(0)  # which probe this refuses, so that a stale refusal is recognised


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    term: _Term
    commit: _Index  # min(leader's commit, what is known to match): never past the follower's agreed prefix
    round: _Number  # read round: its reply proves that the sender led at or after the round's start
    rank: _Number = 0  # the receiver's place in the succession, should the sender's process be seen to die
    sent_ns: _Number = (
        0  # on the sender's clock; comes back in the reply. 0: it tells the commit index, and wants no reply
    )
    round_trip_ns: _Number = 0  # what the sender measures, its worst voter with a margin; 0 = not known


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag="hr"):
    term: _Term
    round: _Number
    sent_ns: _Number = 0
    priority: _Number = 0


class InstallSnapshot(msgspec.Struct, frozen=True, array_like=True, tag="is"):
    """A piece of the leader's snapshot (Raft section 7, figure 13)."""

    term: _Term
    index: _Index
    index_term: _Term
    membership: Membership
    size: _Number  # of the whole state, in bytes
    state_crc: _Number  # CRC-32 of the whole state
    offset: _Number
    chunk: bytes
    chunk_crc: _Number  # CRC-32 of the chunk


class InstallSnapshotReply(msgspec.Struct, frozen=True, array_like=True, tag="isr"):
    """Not installed yet: so much of it is here. Once it is, an AppendReply says so."""

    term: _Term
    index: _Index
    offset: _Number


class TimeoutNow(msgspec.Struct, frozen=True, array_like=True, tag="tn"):
    """Campaign at once (dissertation 3.10)."""

    term: _Term


RaftMessage: TypeAlias = (
    PreVote
    | PreVoteReply
    | Vote
    | VoteReply
    | Append
    | AppendReply
    | Heartbeat
    | HeartbeatReply
    | InstallSnapshot
    | InstallSnapshotReply
    | TimeoutNow
)


class HardState(msgspec.Struct, frozen=True, array_like=True):
    term: _Term = Term(0)
    vote: NodeId | None = None


class _Members(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A membership as it stands in the log. A field that this version does not know is refused: who skips it would count
    another quorum than the others."""

    voters: tuple[NodeId, ...]
    outgoing: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    learners_next: tuple[NodeId, ...]
    witnesses: tuple[NodeId, ...]


_encoder = msgspec.msgpack.Encoder(order="sorted")
_messages: msgspec.msgpack.Decoder[RaftMessage] = msgspec.msgpack.Decoder(RaftMessage)
_members = msgspec.msgpack.Decoder(_Members)
_hard_states = msgspec.msgpack.Decoder(HardState)


def encode(message: RaftMessage) -> bytes:
    return _encoder.encode(message)


def _decode(decoder: msgspec.msgpack.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except UnicodeDecodeError as error:  # text that is not UTF-8: msgspec lets it through untranslated
        raise msgspec.DecodeError(str(error)) from error


def decode(data: bytes) -> RaftMessage:
    """Raises msgspec.DecodeError (or its child ValidationError) on anything that no voter of ours would say."""
    message: RaftMessage = _decode(_messages, data)
    if isinstance(message, Append):
        _check_entries(message)
    elif isinstance(message, InstallSnapshot):
        _check_membership(message.membership)
        if message.index_term > message.term:
            raise msgspec.ValidationError(
                f"a snapshot of term {message.index_term} from a leader of term {message.term}"
            )
        if message.offset + len(message.chunk) > message.size or message.index < 1:
            raise msgspec.ValidationError(
                f"a chunk at {message.offset} of a snapshot of {message.size} bytes"
            )
    return message


def _check_entries(message: Append) -> None:
    """Entries follow the one before them without a gap, and no term falls or is above the sender's."""
    index: int = message.prev_index
    term: int = message.prev_term
    for entry in message.entries:
        if entry.index != index + 1 or not term <= entry.term <= message.term:
            raise msgspec.ValidationError(
                f"entry {entry.index} of term {entry.term} after {index} of term {term}"
            )
        if entry.tag:
            decode_membership(entry.tag)
        index, term = entry.index, entry.term


def encode_hard_state(state: HardState) -> bytes:
    return _encoder.encode(state)


def decode_hard_state(data: bytes | None) -> HardState:
    """Raises msgspec.DecodeError on anything that `encode_hard_state` did not write. None = nothing was ever saved."""
    return HardState() if data is None else _decode(_hard_states, data)


def encode_membership(membership: Membership) -> bytes:
    return _encoder.encode(
        _Members(
            tuple(sorted(membership.voters)),
            tuple(sorted(membership.outgoing)),
            tuple(sorted(membership.learners)),
            tuple(sorted(membership.learners_next)),
            tuple(sorted(membership.witnesses)),
        )
    )


def decode_membership(data: bytes) -> Membership:
    """Raises msgspec.DecodeError on anything that is no membership."""
    found = _decode(_members, data)
    membership = Membership(
        frozenset(found.voters),
        frozenset(found.outgoing),
        frozenset(found.learners),
        frozenset(found.learners_next),
        frozenset(found.witnesses),
    )
    _check_membership(membership)
    return membership


def _check_membership(membership: Membership) -> None:
    fault = membership.faults()
    if fault is not None:
        raise msgspec.ValidationError(f"no membership: {fault}")
