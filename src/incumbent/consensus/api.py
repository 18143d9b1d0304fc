"""The one interface of every consensus protocol. PURE: time comes in, deadlines go out, what must be done comes out as data.

The driver's loop, in this order and no other::

    step* → ready → send `now` → persist `record` → send `messages` → apply `committed` → reads → leadership → advance

`step` may be called between `ready()` and `advance()`, that is, during the fsync. The transport may lose, delay,
duplicate and reorder, also across restarts. Times are integers in nanoseconds of one suspend-aware clock.

What trying this interface on three protocols taught is told in docs/reference/consensus.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from incumbent.consensus.blob import Blob as Blob  # noqa: PLC0414 - part of this interface
from incumbent.consensus.blob import Piece as Piece  # noqa: PLC0414
from incumbent.consensus.blob import Pieced as Pieced  # noqa: PLC0414
from incumbent.consensus.membership import Membership as Membership  # noqa: PLC0414 - part of this interface
from incumbent.consensus.membership import MembershipChange as MembershipChange  # noqa: PLC0414
from incumbent.ids import Index, NodeId, RequestId, Term

# A protocol's own message. Only the protocol and its codec look inside.
Message = Any


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is STORED, put by index. Many, and without cycles: the garbage collector need not walk through them."""

    index: Index
    term: Term  # of the leader that first proposed the value
    data: bytes | None  # None = no-op
    tag: bytes = b""  # owned by the protocol, stored, never seen by the machine


class Committed(NamedTuple):
    """What the MACHINE sees: identical on every node."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    term: Term
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The machine's state after `index`, which stands for every entry up to there."""

    index: Index
    term: Term  # of the entry at `index`
    membership: Membership  # in force at `index`
    state: Blob  # only the machine looks inside; empty at a witness


@dataclass(frozen=True, slots=True)
class Record:
    """ONE atomic durable unit: after a crash all of it or nothing. Records become durable in the order handed out."""

    hard_state: bytes | None = None  # owned by the protocol; Raft: term and vote
    truncate_from: Index | None = None  # delete EVERY stored index >= this
    entries: Sequence[
        Entry
    ] = ()  # after the others: puts; a put overwrites its own index and deletes no other
    snapshot: Snapshot | None = (
        None  # first of all: replaces the one before, deletes every stored index <= its own
    )
    pieces: Sequence[Piece] = ()  # before that: to be stored one behind the other; lost when the process ends


@dataclass(frozen=True, slots=True)
class Saved:
    """What storage gives back at start: the effect of all durable records."""

    hard_state: bytes | None = None
    entries: Mapping[Index, Entry] = field(default_factory=dict)  # gaps are legal at this level
    snapshot: Snapshot | None = None


class Envelope(NamedTuple):
    to: NodeId
    message: Message


class Role(StrEnum):
    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


class Placed(NamedTuple):
    """A proposal got a place. When that index is applied: same term = done; another term = certainly lost;
    never applied here = unknown."""

    request: RequestId
    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    term: Term


class Why(StrEnum):
    """Why a request was not taken up."""

    NOT_LEADER = "not_leader"
    OVERLOADED = "overloaded"  # too much is not committed yet, or too many reads wait
    TRANSFERRING = "transferring"  # leadership is being handed over: ask again, or ask the next leader
    TRANSFER_FAILED = "transfer_failed"  # the target did not take over within an election timeout
    CHANGING = "changing"  # a membership change is not over yet
    TOO_EARLY = "too_early"  # nothing of the own term is committed yet
    NOT_CAUGHT_UP = "not_caught_up"  # who is to vote must first be a learner that has nearly everything
    INVALID = "invalid"  # it makes no sense for this membership


class Refusal(NamedTuple):
    """`request` was never taken up by this node: safe to retry."""

    request: RequestId
    why: Why


class ReadReady(NamedTuple):
    """Serve `request` from the machine once `index` is applied."""

    request: RequestId
    index: Index  # type: ignore[assignment]  # a field, not tuple.index()


class Leadership(NamedTuple):
    role: Role
    term: Term
    leader: NodeId | None
    serving: bool
    """This node leads `term` AND its own no-op, which follows everything recovered, is committed and applied HERE (act
    on it only after applying the same Ready's `committed`). At most one node ever serves a term. It may be announced
    late, so it never feeds a lease without a confirmed read round."""


class Note(NamedTuple):
    """Why a branch was taken, for people, traces and tests. Nothing may depend on it."""

    code: str
    facts: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Ready:
    """Everything since the last one: many steps, one Ready = group commit."""

    now: Sequence[Envelope] = ()  # true whatever the disk does: may leave before or during the write
    record: Record | None = None  # persist; on an error the process stops and advance() is never called
    messages: Sequence[
        Envelope
    ] = ()  # each may rest on THIS record or earlier ones: only after it is durable
    install: Snapshot | None = (
        None  # durable here by then: reset the machine to it, as stored, before applying
    )
    committed: Sequence[
        Committed
    ] = ()  # contiguous from applied + 1 (or after `install`), durable here by then
    placed: Sequence[Placed] = ()
    refused: Sequence[Refusal] = ()  # never proposed by this node
    transferred: Sequence[RequestId] = ()  # the target of these transfers leads
    reads: Sequence[ReadReady] = ()  # serve AFTER applying `committed`
    leadership: Leadership | None = None  # only when changed; act on it AFTER applying `committed`
    notes: Sequence[Note] = ()


class Received(NamedTuple):
    sender: NodeId
    message: Message


class Proposed(NamedTuple):
    request: RequestId
    data: bytes


class ReadRequested(NamedTuple):
    """Ask for a linearizable read. Ends as ReadReady or refused; never silently."""

    request: RequestId


class DeadlinePassed(NamedTuple):
    """`deadline_ns` was reached. An early one does nothing."""


class PeerLost(NamedTuple):
    """The connection from `peer`'s process closed. A HINT only: late, false or missing is allowed."""

    peer: NodeId


class SnapshotTaken(NamedTuple):
    """`state` is the machine's after `index`, which is applied: the entries up to there may be forgotten."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    state: Blob


class MembershipProposed(NamedTuple):
    """Change who votes. Ends as placed or refused; what was placed completes by itself once it is committed."""

    request: RequestId
    change: MembershipChange


class TransferRequested(NamedTuple):
    """Hand leadership over to a named voter. Ends as transferred or refused."""

    request: RequestId
    to: NodeId


Event = (
    Received
    | Proposed
    | ReadRequested
    | DeadlinePassed
    | PeerLost
    | SnapshotTaken
    | MembershipProposed
    | TransferRequested
)


MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When things happen. An election timeout is drawn anew from [min, max) each time.

    `adaptive_max_ns` above the minimum lets the leader stretch all three numbers together with the round trips that it
    measures, so that the minimum is ten of them, at most this much. 0: they stay as they are.
    """

    heartbeat_ns: int = 50_000_000
    election_timeout_min_ns: int = 300_000_000
    election_timeout_max_ns: int = 600_000_000
    adaptive_max_ns: int = 0
    commit_delay_ns: int = 0  # how long a commit may wait for an append to carry it to the followers
    preemption_delay_ns: int = 10_000_000_000  # a leader yields to a voter of higher priority after this long


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLimits:
    """What one replica takes on, and how it cuts what it sends."""

    append_entries_max: int = 512
    append_bytes_max: int = MIB  # an append holds at most this much, or one entry
    in_flight_appends_max: int = 64  # to one follower, not answered
    in_flight_bytes_max: int = 8 * MIB  # to one follower, not answered; or one append
    uncommitted_entries_max: int = 65_536
    uncommitted_bytes_max: int = 256 * MIB
    committed_max: int = 4096  # handed out per Ready, so that applying a long log does not starve heartbeats
    snapshot_chunk_bytes: int = MIB
    snapshot_bytes_max: int = 4096 * MIB  # one that says it is larger is not taken
    compaction_tail: int = (
        1024  # entries kept in memory behind a snapshot, for followers that are a little late
    )
    promotion_lag_max: int = 512  # a learner this close behind may become a voter


class Urgent(NamedTuple):
    """What a write does not hold up. Reads are served as those of a Ready are: once their index is applied."""

    now: Sequence[Envelope]
    reads: Sequence[ReadReady]


class Standing(NamedTuple):
    """What predicates look at after every step: cheap, and equal when nothing of it changed."""

    term: Term
    role: Role
    leader: NodeId | None
    commit: Index
    applied: Index
    last_index: Index
    membership: Membership


@dataclass(frozen=True, slots=True)
class Status:
    """One replica at one moment, for people and checks."""

    me: NodeId
    role: Role
    term: Term
    leader: NodeId | None
    serving: bool
    last_index: Index
    commit: Index
    applied: Index
    first_index: Index  # of the log; what comes before is in the snapshot
    membership: Membership
    transferring_to: NodeId | None = None
    peers: Mapping[NodeId, Mapping[str, object]] = field(default_factory=dict)


class Replica(Protocol):
    """One voter of one protocol.

    A constructor takes ``(me, membership, saved, *, random, now_ns, timing, limits, priority)``. `membership` is the
    cluster's first; what `saved` says of later ones prevails. It resumes as a follower, never in an old leadership.
    `random` must not repeat across restarts.
    """

    @property
    def deadline_ns(self) -> int:
        """When to step DeadlinePassed. Always set; re-read after every step and advance."""
        ...

    def step(self, event: Event, now_ns: int) -> None:
        """Take one event. No I/O, never blocks. Outputs wait for the next ready()."""
        ...

    def ready(self) -> Ready | None:
        """Take everything that is to be done; None while one is outstanding or nothing is to be done."""
        ...

    def urgent(self) -> Urgent:
        """What need not wait while a Ready is outstanding, because it is true whatever the disk does: heartbeats and their answers,
        appends, pre-votes; and reads that were confirmed. Ask after every step that falls into a write, or a long write looks like
        a death."""
        ...

    def advance(self, stored: Snapshot | None = None) -> None:
        """The last Ready is durable, sent and applied. Only here does the own acknowledgement count, and only if the
        log still holds the same (index, term). `stored`: the Record's snapshot, if it had one, with the state as the storage
        gives it back."""
        ...

    def standing(self) -> Standing: ...

    def status(self) -> Status: ...
