"""What Raft voters say to each other, and the bytes of it. PURE.

Names and fields are the paper's (Ongaro and Ousterhout, "In Search of an Understandable Consensus Algorithm", extended
version, figure 2); pre-vote is section 9.6 of Ongaro's dissertation, read rounds section 6.4.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from incumbent.consensus.api import Entry
from incumbent.ids import Index, NodeId, Term


class PreVote(msgspec.Struct, frozen=True, array_like=True, tag="pv"):
    """Would you vote for me in `term`? Changes nobody's term or vote."""

    term: Term  # the term the sender WOULD campaign in: its own + 1
    last_index: Index
    last_term: Term


class PreVoteReply(msgspec.Struct, frozen=True, array_like=True, tag="pvr"):
    term: Term  # granted: the term asked for; refused: the voter's own
    granted: bool


class Vote(msgspec.Struct, frozen=True, array_like=True, tag="v"):
    term: Term
    last_index: Index
    last_term: Term


class VoteReply(msgspec.Struct, frozen=True, array_like=True, tag="vr"):
    term: Term
    granted: bool


class Append(msgspec.Struct, frozen=True, array_like=True, tag="a"):
    """Entries after (prev_index, prev_term); none = a probe."""

    term: Term
    prev_index: Index
    prev_term: Term
    entries: tuple[Entry, ...]
    commit: Index
    sequence: int  # comes back in the reply, so that a reply that was overtaken is recognised


class AppendReply(msgspec.Struct, frozen=True, array_like=True, tag="ar"):
    """match: the last index that is durable here and agrees with the leader's log; on refusal the conflict hint."""

    term: Term
    accepted: bool
    index: Index  # accepted: match. refused: first index of the conflicting term, or one past the log's end
    sequence: int
    conflict_term: Term = Term(0)  # 0: the log is too short
    refused_prev: Index = Index(0)  # which probe this refuses, so that a stale refusal is recognised


class Heartbeat(msgspec.Struct, frozen=True, array_like=True, tag="h"):
    term: Term
    commit: Index  # min(leader's commit, what is known to match): never past the follower's agreed prefix
    round: int  # read round: its reply proves that the sender led at or after the round's start


class HeartbeatReply(msgspec.Struct, frozen=True, array_like=True, tag="hr"):
    term: Term
    round: int


RaftMessage: TypeAlias = (
    PreVote | PreVoteReply | Vote | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply
)


class HardState(msgspec.Struct, frozen=True, array_like=True):
    term: Term = Term(0)
    vote: NodeId | None = None


_encoder = msgspec.msgpack.Encoder()
_messages = msgspec.msgpack.Decoder(RaftMessage)
_hard_states = msgspec.msgpack.Decoder(HardState)


def encode(message: RaftMessage) -> bytes:
    return _encoder.encode(message)


def decode(data: bytes) -> RaftMessage:
    """Raises msgspec.DecodeError (or its child ValidationError) on anything that `encode` did not write."""
    message: RaftMessage = _messages.decode(data)
    return message


def encode_hard_state(state: HardState) -> bytes:
    return _encoder.encode(state)


def decode_hard_state(data: bytes | None) -> HardState:
    return HardState() if data is None else _hard_states.decode(data)
