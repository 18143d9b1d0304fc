"""The local engine: the async face of a directory. SQLite runs on a thread of its own, so the loop never blocks."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from incumbent.engines.api import Cell, CellWrite, Claimed, Guarantees, Member, Ref, Roster, Session, Waiting
from incumbent.engines.inputs import (
    check_beside,
    check_cell_writes,
    check_member_value,
    check_name,
    check_release_delay,
    check_request_id,
    check_ttl,
)
from incumbent.engines.local.boot import Boot, this_boot
from incumbent.engines.local.desk import Desk
from incumbent.engines.local.guarantees import GUARANTEES
from incumbent.engines.local.holder import Holder
from incumbent.engines.local.reference import Reference
from incumbent.engines.local.store import Peek, Store
from incumbent.engines.local.wakeup import Mailbox, mark_of
from incumbent.errors import EngineUnavailable, InvalidInput, Overloaded, Unsupported, WatchLost
from incumbent.runtime.clock import BoottimeClock

T = TypeVar("T")
INBOX_MAX: Final = 1024
"""Calls that may wait for the thread."""
LOOK_EVERY_S: Final = 5.0
"""How often a watch that nobody wakes looks whether its directory is still there: a deleted one wakes nobody."""


@dataclass(slots=True, eq=False)
class News:
    """One wake-up."""

    told: asyncio.Event = field(default_factory=asyncio.Event)
    changed: Mapping[int, int] = field(default_factory=dict)
    """At which revision a group changed, by its mark, where that was said."""


class LocalEngine:
    """One process's engine on a directory. Bound to the event loop that opened it, and to this process."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="incumbent-local")
        self._pid = os.getpid()
        self._desk: Desk | None = None
        self._holder = Holder.this_process()
        self._clock = BoottimeClock()
        self._mailbox: Mailbox | None = None
        self._openings = 0  # rises when the directory was deleted and opened anew: watches of before are lost
        self._news = News()  # told and replaced at every wake-up
        self._pending = 0

    @classmethod
    async def open(
        cls, directory: Path, *, busy_timeout_s: float = 5.0, boot: Boot | None = None
    ) -> LocalEngine:
        """Open, or make, the directory. `boot` is for tests."""
        engine = cls(asyncio.get_running_loop())
        engine._desk = Desk(
            directory,
            now_ns=engine._clock.now_ns,
            boot=this_boot() if boot is None else boot,
            holder=engine._holder,
            busy_timeout_s=busy_timeout_s,
            on_open=engine._on_open,
        )
        try:
            await engine._call(lambda _: None)
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def guarantees(self) -> Guarantees:
        return GUARANTEES

    async def open_session(self, ttl: float, request_id: str, *, release_delay: float = 0.0) -> Session:
        check_ttl(ttl)
        check_release_delay(release_delay)
        check_request_id(request_id)
        return await self._call(lambda store: store.open_session(ttl, request_id, release_delay))

    async def renew(self, session: Session) -> None:
        secret = Reference.from_bytes(session.ref).secret
        await self._call(lambda store: store.renew(secret))

    async def end_session(self, ref: Ref) -> bool:
        reference = Reference.from_bytes(ref)
        return await self._call(lambda store: store.end_session(reference))

    async def join(self, session: Session, group: str, request_id: str, value: bytes) -> Member:
        secret = Reference.from_bytes(session.ref).secret
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        return await self._call(lambda store: store.join(secret, group, value))

    async def claim(self, member: Member, cell: str | None = None) -> Claimed | Waiting:
        check_beside(cell)
        return await self._call(lambda store: store.claim(member, cell))

    async def stand(
        self, session: Session, group: str, request_id: str, value: bytes, cell: str | None = None
    ) -> tuple[Member, Claimed | Waiting]:
        secret = Reference.from_bytes(session.ref).secret
        check_name("group", group)
        check_request_id(request_id)
        check_member_value(value)
        check_beside(cell)
        return await self._call(lambda store: store.stand(secret, group, value, cell))

    async def update(self, member: Member, value: bytes) -> None:
        check_member_value(value)
        await self._call(lambda store: store.update(member, value))

    async def leave(self, member: Member) -> None:
        await self._call(lambda store: store.remove(member))

    async def remove(self, group: str, id: str, revision: int) -> bool:  # noqa: A002  - the member's id
        member = Member(check_name("group", group), id, revision)
        return await self._call(lambda store: store.remove(member))

    async def roster(self, group: str) -> Roster:
        check_name("group", group)
        return await self._call(lambda store: store.roster(group))

    async def read_cell(self, group: str, name: str) -> Cell:
        check_name("group", group)
        check_name("name", name)
        return await self._call(lambda store: store.read_cell(group, name))

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        check_name("group", group)
        check_cell_writes(writes, GUARANTEES.cell_bytes_max)
        return await self._call(lambda store: store.write_cells(group, writes, claimed))

    async def close(self) -> None:
        desk, self._desk = self._desk, None
        if desk is None or os.getpid() != self._pid:
            return  # closed already; or a forked child, where all of it is the parent's
        self._take_mailbox(None)
        self._wake()
        await asyncio.shield(self._loop.run_in_executor(self._thread, desk.close))
        self._thread.shutdown(wait=False)

    # --- watching -------------------------------------------------------------------------------------------------

    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        """Wakes by datagram from who changed something, by the holder's pidfd, or when a session's time is up."""
        check_name("group", group)
        if not isinstance(after, int):
            raise InvalidInput("after", "is no cursor", "pass the one of a Waiting or a Roster")
        seen, openings, mark = after, self._openings, mark_of(group)
        while True:
            news = self._news  # taken before looking: what changes from here on sets it
            try:
                peek = await self._call(lambda store: store.peek(group))
            except EngineUnavailable as error:
                raise WatchLost(f"the watch cannot go on: {error}") from error
            if self._openings != openings:
                raise WatchLost("the directory was deleted and made anew")
            if peek.changed_at > seen:
                seen = peek.changed_at
                yield
                continue
            await self._wait(news, peek)
            told = news.changed.get(mark, 0)
            if told > seen and self._openings == openings:
                seen = told
                yield  # without a look: whoever is woken looks

    async def _wait(self, news: News, peek: Peek) -> None:
        """Until a poke, the first's death, the next end of a session, or it is time to look by ourselves."""
        limit_s = LOOK_EVERY_S
        if peek.next_end_ns is not None:
            limit_s = min(limit_s, max(0.0, (peek.next_end_ns - self._clock.now_ns()) / 1e9))
        try:
            pidfd = None if peek.first is None else peek.first.open_pidfd(self._holder.namespace)
        except ProcessLookupError:
            return
        try:
            if pidfd is not None:
                self._loop.add_reader(pidfd, self._on_death, pidfd)
            async with asyncio.timeout(limit_s):
                await news.told.wait()
        except TimeoutError:
            return
        finally:
            if pidfd is not None:
                self._loop.remove_reader(pidfd)
                os.close(pidfd)

    def _on_death(self, pidfd: int) -> None:
        self._loop.remove_reader(pidfd)  # it stays readable for ever
        self._wake()

    def _on_mail(self) -> None:
        self._wake(None if self._mailbox is None else self._mailbox.drain())

    def _wake(self, changed: Mapping[int, int] | None = None) -> None:
        news, self._news = self._news, News()
        news.changed = changed or {}
        news.told.set()

    # --- the thread -----------------------------------------------------------------------------------------------

    async def _call(self, act: Callable[[Store], T]) -> T:
        """Do `act` on the thread. When the caller is cancelled it may still be done, but never half."""
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")
        desk = self._desk
        if desk is None:
            raise EngineUnavailable("this engine is closed")
        if self._pending >= INBOX_MAX:
            raise Overloaded(f"{INBOX_MAX} calls wait for the disk already")
        self._pending += 1
        future = self._loop.run_in_executor(self._thread, desk.run, act)
        future.add_done_callback(self._done)
        return await future

    def _done(self, _: asyncio.Future[T]) -> None:
        self._pending -= 1

    def _on_open(self, mailbox: Mailbox) -> None:
        """On the thread, each time the directory was opened."""
        self._loop.call_soon_threadsafe(self._take_mailbox, mailbox)

    def _take_mailbox(self, mailbox: Mailbox | None) -> None:
        if self._mailbox is not None:
            self._loop.remove_reader(self._mailbox)
            self._mailbox.close()
        if mailbox is not None and self._desk is None:
            mailbox.close()  # closed while it was being opened
            mailbox = None
        self._mailbox = mailbox
        if mailbox is not None:
            self._openings += 1
            self._loop.add_reader(mailbox, self._on_mail)
            self._wake()
