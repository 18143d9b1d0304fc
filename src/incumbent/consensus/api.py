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
from typing import Any, NamedTuple, Protocol

from incumbent.ids import Index, NodeId, RequestId, Term

# A protocol's own message. Only the protocol and its codec look inside.
Message = Any


class Entry(NamedTuple):
    """What is STORED, put by index."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    term: Term  # of the leader that first proposed the value
    data: bytes | None  # None = no-op
    tag: bytes = b""  # owned by the protocol, stored, never seen by the machine


class Committed(NamedTuple):
    """What the MACHINE sees: identical on every node."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    term: Term
    data: bytes | None


@dataclass(frozen=True, slots=True)
class Record:
    """ONE atomic durable unit: after a crash all of it or nothing. Records become durable in the order handed out."""

    hard_state: bytes | None = None  # owned by the protocol; Raft: term and vote
    truncate_from: Index | None = None  # first: delete EVERY stored index >= this
    entries: Sequence[Entry] = ()  # then puts; a put overwrites its own index and deletes nothing else


@dataclass(frozen=True, slots=True)
class Saved:
    """What storage gives back at start: the effect of all durable records."""

    hard_state: bytes | None = None
    entries: Mapping[Index, Entry] = field(default_factory=dict)  # gaps are legal at this level


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
    committed: Sequence[Committed] = ()  # contiguous from applied + 1, durable here by then
    placed: Sequence[Placed] = ()
    refused: Sequence[RequestId] = ()  # never proposed by this node: safe to retry
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


Event = Received | Proposed | ReadRequested | DeadlinePassed | PeerLost


@dataclass(frozen=True, slots=True)
class Membership:
    """Who votes. Fixed when the cluster is formed, for now."""

    voters: frozenset[NodeId]

    @property
    def quorum(self) -> int:
        """N/2 + 1."""
        return len(self.voters) // 2 + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Raft's three numbers. An election timeout is drawn anew from [min, max) each time."""

    heartbeat_ns: int = 50_000_000
    election_timeout_min_ns: int = 300_000_000
    election_timeout_max_ns: int = 600_000_000


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
    peers: Mapping[NodeId, Mapping[str, object]] = field(default_factory=dict)


class Replica(Protocol):
    """One voter of one protocol.

    A constructor takes ``(me, membership, saved, *, random, now_ns, timing)``. It resumes as a follower, never in an
    old leadership. `random` must not repeat across restarts.
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

    def advance(self) -> None:
        """The last Ready is durable, sent and applied. Only here does the own acknowledgement count, and only if the
        log still holds the same (index, term)."""
        ...

    def status(self) -> Status: ...
