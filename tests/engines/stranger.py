"""An engine as a stranger would write it: from `incumbent.engines.api` alone, in memory, with time injected.

A `StrangerStore` is the service; each `StrangerEngine` on it is one client process. Every operation of the store is one
synchronous step, so it is atomic; the awaits around it are where other tasks interleave. The engine also has hooks that
lose requests and replies or delay them, which is what tests of the layers above need:

    store = StrangerStore(now_ns=clock.now_ns)
    engine = StrangerEngine(store)
    engine.fail_next("renew", OutcomeUnknown("reply lost"), after_effect=True)   # done, but the caller is not told
    engine.fail_next("claim", EngineUnavailable("no route"), times=3)            # not done
    engine.on_reply = hold                                                       # async def hold(method: str) -> None
    store.tick()                                                                 # after moving an injected clock
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from incumbent.engines.api import (
    CELL_BYTES_MIN,
    MEMBER_VALUE_BYTES_MAX,
    NAME_BYTES_MAX,
    TTL_MAX_S,
    TTL_MIN_S,
    Cell,
    CellWrite,
    Claimed,
    Entry,
    Guarantees,
    Member,
    Ref,
    Roster,
    Session,
    Waiting,
)
from incumbent.engines.inputs import check_beside
from incumbent.errors import (
    EngineUnavailable,
    InvalidInput,
    MemberGone,
    NotFirst,
    SessionGone,
    VersionConflict,
    WatchLost,
)

T = TypeVar("T")
REF_PREFIX = b"stranger/1/"
NS = 1_000_000_000

GUARANTEES = Guarantees(
    linearizable=True,
    fenced=True,
    survives_partition=True,
    survives_pause=True,
    survives_clock_step=True,
    survives_failover=False,
    fifo=True,
    fifo_with_foreign=False,
    detects_process_death=False,
    server_clock="monotonic",
    renew_writes="one",
    token_source="the revision at which the member joined",
    cell_bytes_max=CELL_BYTES_MIN,
)


@dataclass
class _Session:
    ref: Ref
    request_id: str
    ttl: float
    release_delay: float
    renewed_ns: int

    @property
    def ends_ns(self) -> int:
        return self.renewed_ns + round((self.ttl + self.release_delay) * NS)


@dataclass
class _Member:
    session: Ref
    id: str
    revision: int
    value: bytes


@dataclass
class _Group:
    members: list[_Member] = field(default_factory=list)  # in join order
    cells: dict[str, Cell] = field(default_factory=dict)  # deleted cells stay, for their version
    changed_at: int = 0


class StrangerStore:
    """The service that several engines share. All methods are synchronous and atomic."""

    def __init__(self, now_ns: Callable[[], int], *, announces_expiry: bool = True) -> None:
        self.now_ns = now_ns
        self.announces_expiry = announces_expiry
        self.revision = 0
        self.sessions: dict[Ref, _Session] = {}
        self.groups: dict[str, _Group] = {}
        self.watch_epoch = 0
        self._pulse = asyncio.Event()

    # --- time -----------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End what has expired and wake the watchers. Call it after moving an injected clock."""
        self.expire()

    def lose_watches(self) -> None:
        """What a restart of the service does to its watchers: every watch raises WatchLost."""
        self.watch_epoch += 1
        self._wake()

    def expire(self) -> None:
        now = self.now_ns()
        for session in [s for s in self.sessions.values() if now >= s.ends_ns]:
            self._end(session)

    def next_expiry_s(self) -> float | None:
        """Seconds until the next session would end, if nobody renews."""
        if not self.sessions:
            return None
        return max(0.0, (min(s.ends_ns for s in self.sessions.values()) - self.now_ns()) / NS)

    # --- sessions -------------------------------------------------------------------------------------------------

    def open_session(self, ttl: float, request_id: str, release_delay: float) -> Session:
        _check_seconds("ttl", ttl, TTL_MIN_S, TTL_MAX_S)
        _check_seconds("release_delay", release_delay, 0.0, TTL_MAX_S)
        if not request_id:
            raise InvalidInput("request_id", "is empty", "give at least 128 random bits as text")
        self.expire()
        found = next((s for s in self.sessions.values() if s.request_id == request_id), None)
        if found is None:
            ref = REF_PREFIX + secrets.token_hex(16).encode()
            found = _Session(ref, request_id, ttl, release_delay, self.now_ns())
            self.sessions[ref] = found
        found.renewed_ns = self.now_ns()
        return Session(found.ref, found.ttl)

    def renew(self, ref: Ref) -> None:
        self._session(ref).renewed_ns = self.now_ns()

    def end_session(self, ref: Ref) -> bool:
        if not ref.startswith(REF_PREFIX) or len(ref) != len(REF_PREFIX) + 32:
            raise InvalidInput("ref", "is no session reference of this engine", "pass Session.ref unchanged")
        self.expire()
        session = self.sessions.get(ref)
        if session is None:
            return False
        self._end(session)
        return True

    def _session(self, ref: Ref) -> _Session:
        self.expire()
        session = self.sessions.get(ref)
        if session is None:
            raise SessionGone("the session is over")
        return session

    def _end(self, session: _Session) -> None:
        del self.sessions[session.ref]
        for group in self.groups.values():
            left = [m for m in group.members if m.session != session.ref]
            if len(left) != len(group.members):
                group.members = left
                self._changed(group)

    # --- members --------------------------------------------------------------------------------------------------

    def join(self, ref: Ref, name: str, value: bytes) -> Member:
        _check_value(value)
        group = self._group(name)
        session = self._session(ref)
        mine = next((m for m in group.members if m.session == ref), None)
        if mine is None:
            revision = self._changed(group)
            mine = _Member(ref, f"member-{revision}", revision, value)
            group.members.append(mine)
        assert mine.session == session.ref
        return Member(name, mine.id, mine.revision)

    def claim(self, member: Member) -> Claimed | Waiting:
        group, mine = self._member(member)
        position = group.members.index(mine)
        if position == 0:
            return Claimed(member, mine.revision)
        ahead = group.members[position - 1]
        retry_after = None
        if not self.announces_expiry:
            retry_after = (self.sessions[ahead.session].ends_ns - self.now_ns()) / NS
        return Waiting(ahead.id, self.revision, retry_after)

    def claim_with(self, member: Member, cell: str | None) -> Claimed | Waiting:
        answer = self.claim(member)
        if cell is None or isinstance(answer, Waiting):
            return answer
        return replace(answer, cell=self.read_cell(member.group, cell))

    def stand(self, ref: Ref, name: str, value: bytes, cell: str | None) -> tuple[Member, Claimed | Waiting]:
        member = self.join(ref, name, value)
        return member, self.claim_with(member, cell)

    def update(self, member: Member, value: bytes) -> None:
        _check_value(value)
        group, mine = self._member(member)
        mine.value = value
        self._changed(group)

    def remove(self, name: str, member_id: str, revision: int) -> bool:
        group = self._group(name)
        self.expire()
        left = [m for m in group.members if (m.id, m.revision) != (member_id, revision)]
        if len(left) == len(group.members):
            return False
        group.members = left
        self._changed(group)
        return True

    def roster(self, name: str) -> Roster:
        group = self._group(name)
        self.expire()
        entries = tuple(Entry(m.id, m.revision, m.value, ours=True) for m in group.members)
        return Roster(self.revision, entries, entries[0].order if entries else None)

    def _member(self, member: Member) -> tuple[_Group, _Member]:
        group = self._group(member.group)
        self.expire()
        for mine in group.members:
            if (mine.id, mine.revision) == (member.id, member.revision):
                return group, mine
        raise MemberGone(f"{member.id} is no member any more")

    # --- cells ----------------------------------------------------------------------------------------------------

    def read_cell(self, group: str, name: str) -> Cell:
        _check_name("name", name)
        return self._group(group).cells.get(name, Cell(None, 0))

    def write_cells(
        self, name: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        group = self._group(name)
        for write in writes:
            _check_name("name", write.name)
            if write.value is not None and len(write.value) > GUARANTEES.cell_bytes_max:
                raise InvalidInput("value", "is too large", f"at most {GUARANTEES.cell_bytes_max} bytes")
        if len({w.name for w in writes}) != len(writes):
            raise InvalidInput("writes", "name a cell twice", "one write per cell")
        if claimed is not None:
            self._check_first(claimed)
        for write in writes:
            version = group.cells.get(write.name, Cell(None, 0)).version
            if write.expected_version not in (None, version):
                raise VersionConflict(f"{write.name} has version {version}, not {write.expected_version}")
        revision = self._changed(group)
        cells = tuple(Cell(w.value, revision) for w in writes)
        group.cells.update({w.name: cell for w, cell in zip(writes, cells, strict=True)})
        return cells

    def _check_first(self, claimed: Claimed) -> None:
        try:
            group, mine = self._member(claimed.member)
        except MemberGone as gone:
            raise NotFirst("the member is gone") from gone
        if group.members[0] is not mine:
            raise NotFirst("another member is first")

    # --- changes --------------------------------------------------------------------------------------------------

    def changed_at(self, name: str) -> int:
        return self._group(name).changed_at

    async def wait_for_change(self) -> None:
        """Until anything changed or the next session may have expired. May return early."""
        pulse = self._pulse
        try:
            async with asyncio.timeout(self.next_expiry_s() if self.announces_expiry else None):
                await pulse.wait()
        except TimeoutError:
            self.expire()

    def _group(self, name: str) -> _Group:
        _check_name("group", name)
        return self.groups.setdefault(name, _Group())

    def _changed(self, group: _Group) -> int:
        self.revision += 1
        group.changed_at = self.revision
        self._wake()
        return self.revision

    def _wake(self) -> None:
        self._pulse.set()
        self._pulse = asyncio.Event()


def _check_name(what: str, name: str) -> None:
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(what, "is no UTF-8", "leave out lone surrogates") from error
    if not 1 <= size <= NAME_BYTES_MAX or "\0" in name:
        raise InvalidInput(what, f"{name[:20]!r} is no name", f"1 to {NAME_BYTES_MAX} bytes, no NUL")


def _check_value(value: bytes) -> None:
    if len(value) > MEMBER_VALUE_BYTES_MAX:
        raise InvalidInput("value", f"has {len(value)} bytes", f"at most {MEMBER_VALUE_BYTES_MAX}")


def _check_seconds(what: str, seconds: float, least: float, most: float) -> None:
    if math.isnan(seconds) or not least <= seconds <= most:
        raise InvalidInput(what, f"{seconds} s cannot be honoured", f"from {least} to {most} s")


@dataclass
class _Fault:
    method: str
    error: Exception
    after_effect: bool


class StrangerEngine:
    """One client process of a `StrangerStore`."""

    def __init__(self, store: StrangerStore) -> None:
        self.store = store
        self.on_request: Callable[[str], Awaitable[None]] | None = None  # awaited before the effect
        self.on_reply: Callable[[str], Awaitable[None]] | None = None  # awaited after it, errors included
        self.calls: list[str] = []
        self._faults: list[_Fault] = []
        self._closed = False

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES

    def fail_next(self, method: str, error: Exception, *, after_effect: bool = False, times: int = 1) -> None:
        """Make the next `times` calls of `method` raise `error`: before anything happened, or after all of it did."""
        self._faults += [_Fault(method, error, after_effect)] * times

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        return await self._call(
            "open_session", lambda: self.store.open_session(ttl, request_id, release_delay)
        )

    async def renew(self, session: Session) -> None:
        await self._call("renew", lambda: self.store.renew(session.ref))

    async def end_session(self, ref: Ref) -> bool:
        return await self._call("end_session", lambda: self.store.end_session(ref))

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        return await self._call("join", lambda: self.store.join(session.ref, group, value))

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        check_beside(cell)
        return await self._call("claim", lambda: self.store.claim_with(member, cell))

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        check_beside(cell)
        return await self._call("stand", lambda: self.store.stand(session.ref, group, value, cell))

    async def update(self, member: Member, value: bytes) -> None:
        await self._call("update", lambda: self.store.update(member, value))

    async def leave(self, member: Member) -> None:
        await self._call("leave", lambda: self.store.remove(member.group, member.id, member.revision))

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002
        return await self._call("remove", lambda: self.store.remove(group, id, revision))

    async def roster(self, group: str) -> Roster:
        return await self._call("roster", lambda: self.store.roster(group))

    async def read_cell(self, group: str, name: str) -> Cell:
        return await self._call("read_cell", lambda: self.store.read_cell(group, name))

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        return await self._call("write_cells", lambda: self.store.write_cells(group, writes, claimed))

    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        if not isinstance(after, int):
            raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")
        seen, epoch = after, self.store.watch_epoch
        while True:
            if self._closed or self.store.watch_epoch != epoch:
                raise WatchLost("the client was closed or the service restarted")
            changed_at = self.store.changed_at(group)
            if changed_at > seen:
                seen = changed_at
                yield
            else:
                await self.store.wait_for_change()

    async def close(self) -> None:
        self._closed = True
        self.store._wake()

    async def _call(self, method: str, act: Callable[[], T]) -> T:
        self.calls.append(method)
        await asyncio.sleep(0)
        if self._closed:
            raise EngineUnavailable("this client is closed")
        if self.on_request is not None:
            await self.on_request(method)
        fault = self._take_fault(method)
        if fault is not None and not fault.after_effect:
            raise fault.error
        try:
            return act()
        finally:
            await asyncio.sleep(0)
            if self.on_reply is not None:
                await self.on_reply(method)
            if fault is not None:
                raise fault.error

    def _take_fault(self, method: str) -> _Fault | None:
        for fault in self._faults:
            if fault.method == method:
                self._faults.remove(fault)
                return fault
        return None


class StrangerEnder:
    """What a guardian would use: ends sessions by reference and does nothing else."""

    def __init__(self, store: StrangerStore) -> None:
        self._engine = StrangerEngine(store)

    async def prepare(self, ref: Ref) -> None:
        """Nothing to warm up."""

    async def end(self, ref: Ref) -> bool:
        return await self._engine.end_session(ref)

    async def close(self) -> None:
        await self._engine.close()
