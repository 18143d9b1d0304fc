"""The engine protocol: the least that every engine does fully. No method is optional.

An engine keeps *groups* (ordered lists of session-bound members) and *cells* (small versioned values). It never waits,
renews by itself, backs off or gives up: that is written once, in `leadership`. Every method may raise
EngineUnavailable (certainly not done) or OutcomeUnknown (sent, no answer); both are retried by the caller with the
same arguments, which is why requests carry ids.

`incumbent.engines.conformance` is the executable form of this page. Where engines differ, they say so in `Guarantees`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

CELL_BYTES_MIN = 256 * 1024
"""Every engine takes cells of at least this many bytes."""
NAME_BYTES_MAX = 1024
"""Group and cell names: at least 1 and at most this many bytes of UTF-8; any character but NUL."""
MEMBER_VALUE_BYTES_MAX = 16 * 1024
"""A member's value, on every engine."""
REF_BYTES_MAX = 4096
TTL_MIN_S = 0.05
TTL_MAX_S = 3600.0

Ref: TypeAlias = bytes
"""Names a session to `end_session` from any process: serialisable, versioned, at most 4 KiB, SECRET."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What an engine declares, as data, so that a caller can require it and be refused."""

    linearizable: bool  # claims and guarded writes are decided by one order that all observers share
    fenced: bool  # tokens only rise, over crashes, restarts and failover of the engine
    survives_partition: bool  # at most one side of a partition elects
    survives_pause: bool  # a paused holder's late acts carry a lower token
    survives_clock_step: bool  # no decision rests on wall-clock time
    survives_failover: bool  # of the engine's own servers, without losing what was acknowledged
    fifo: bool  # members lead in the order in which they joined
    fifo_with_foreign: bool  # also among candidates of other libraries
    detects_process_death: bool  # a dead holder's session ends without waiting for its TTL, with no guardian
    server_clock: str  # "monotonic" | "wall" | "observer"
    renew_writes: str  # "one" | "per election"
    token_source: str  # for people: where the token's number comes from
    cell_bytes_max: int


@dataclass(frozen=True, slots=True)
class Session:
    ref: Ref
    ttl: float  # seconds; what the holder may count on. The engine itself waits ttl + release_delay
    lag: float = 0.0  # seconds: the grantor may count from up to this much before its acknowledgement

    def __repr__(self) -> str:  # the ref is a secret
        return f"Session(ttl={self.ttl}, lag={self.lag})"


@dataclass(frozen=True, slots=True)
class Member:
    """One per session and group. `revision` is the join revision; every later call compares it."""

    group: str
    id: str
    revision: int


@dataclass(frozen=True, slots=True)
class Claimed:
    """Proof, at one moment, that this live member is first. `token` = 0 < token < 2**63."""

    member: Member
    token: int
    cell: Cell | None = field(default=None, compare=False)
    """The cell that was asked for with the claim: as it was at that moment, or later. No part of the proof."""


@dataclass(frozen=True, slots=True)
class Waiting:
    behind: str  # the id of the member waited for
    cursor: object  # opaque: watching from here leaves no gap
    retry_after: float | None  # seconds; set by engines that do not announce expiry: claim again by then


@dataclass(frozen=True, slots=True)
class Entry:
    """A member as others see it."""

    id: str
    order: int  # the join revision; the token it would lead with is made from it where the engine says so
    value: bytes
    ours: bool  # False: a foreign library's candidate


@dataclass(frozen=True, slots=True)
class Roster:
    """A group at one revision: its live members in order. The first leads."""

    cursor: object
    members: tuple[Entry, ...]
    token: int | None = None  # of the first member, once it may claim; None when the group is empty


@dataclass(frozen=True, slots=True)
class Cell:
    value: bytes | None
    version: int  # 0 = absent; rises with every write of this cell, also over deletion and re-creation


@dataclass(frozen=True, slots=True)
class CellWrite:
    name: str
    value: bytes | None  # None deletes the value; the version rises all the same
    expected_version: int | None  # None = whatever is there


class Engine(Protocol):
    """See the module's docstring. Times are seconds (float) at this level; all calls are safe to cancel."""

    @property
    def guarantees(self) -> Guarantees: ...

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        """Open a session, or find the live one that the same `request_id` (at least 128 random bits as text) opened.
        Either way it has its full ttl from this call on: a retry that finds it renews it.

        After silence the engine ends it ttl + release_delay after the last renewal it acknowledged, never sooner.
        Whoever proves the holder dead must still wait `release_delay` before it lets go (DESIGN §4.5).
        Raises InvalidInput when the ttl cannot be honoured exactly.
        """
        ...

    async def renew(self, session: Session) -> None:
        """Extend by the full ttl, counted no sooner than the moment this call was made. The caller stamps its clock
        BEFORE calling. Returning means the engine's quorum acknowledged it. Raises SessionGone."""
        ...

    async def end_session(self, ref: Ref) -> bool:
        """End a session from any process, at once. True = ended now; False = was already over. Idempotent.
        All its members leave in one step. Needs no session of its own."""
        ...

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        """Become the last member of `group`; a session that is a member already gets its membership back
        (value unchanged). Raises SessionGone."""
        ...

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        """Decide, in one linearizable step, whether this live member is first. Never two first, whatever the
        interleaving. With `cell`, a Claimed brings that cell of the group, read in the same step or after it: whatever was
        written before the claim was made is in it. Raises MemberGone, IncarnationChanged."""
        ...

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        """`join` and `claim`, in one trip where the engine can (`engines.trips` is two): the claim is decided after the
        join. Idempotent as both are. Raises as both do. EngineUnavailable: not joined either; and what asking again cannot
        mend, as InvalidInput, leaves no member behind."""
        ...

    async def update(self, member: Member, value: bytes) -> None:
        """Change the member's value; its place and revision stay. Raises MemberGone."""
        ...

    async def leave(self, member: Member) -> None:
        """Leave. Compares the revision, so a late retry never removes a re-join. Gone already is fine."""
        ...

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        """An operator's evict: True = removed now, False = no such member with that revision."""
        ...

    async def roster(self, group: str) -> Roster:
        """The live members at one revision that is at least as new as every change acknowledged before the call."""
        ...

    def watch(self, group: str, after: object) -> AsyncIterator[None]:
        """Wake-ups, never data. With a Roster's cursor: at least one for any change of the group's members or cells after it. With
        a Waiting's: at least one when the member waited for is gone, or the own one; so a thousand who wait need not all be
        woken for one who leaves. May be spurious or merged. Raises WatchLost when it cannot go on: re-read."""
        ...

    async def read_cell(self, group: str, name: str) -> Cell:
        """The cell as of now (linearizable). An absent cell has value None; version 0 when it never existed."""
        ...

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        """Write all or nothing, in one atomic step. With `claimed`, only while that very member is first.

        Raises VersionConflict, NotFirst (also when the member is gone), InvalidInput (too large, the same name twice).
        """
        ...

    async def close(self) -> None:
        """Release what this process holds. Does not end sessions."""
        ...


class Ender(Protocol):
    """All that the guardian imports of an engine: ends sessions by reference, from a process of its own."""

    async def prepare(self, ref: Ref) -> None:
        """Be ready: connect and warm up. Never touches the session."""
        ...

    async def end(self, ref: Ref) -> bool:
        """As Engine.end_session. Retries inside until it has an answer; the caller bounds it with a timeout."""
        ...

    async def close(self) -> None: ...
