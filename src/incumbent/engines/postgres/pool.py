"""A few connections, and the one way to run a transaction on them: bounded in time, safe to cancel, honest about its outcome.

Nothing was done until COMMIT has left; once it has, only its answer tells. A call that is given up shuts its connection, since
a server that says nothing says nothing to a request to cancel either.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import psycopg

from incumbent.engines.postgres.link import CLOSE_TIMEOUT_S, Link, Rows, translated
from incumbent.engines.postgres.settings import Settings
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    OutcomeUnknown,
    Overloaded,
    Unsupported,
)

T = TypeVar("T")
LINKS_MAX: Final = 4
"""Connections for calls, besides the one for renewals and the one that listens."""
PENDING_MAX: Final = 1024
"""Calls that may wait for a connection."""

_PROLOGUE: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
SELECT set_config('search_path', %s, true), set_config('synchronous_commit', 'on', true),
       set_config('statement_timeout', %s, true), set_config('lock_timeout', %s, true),
       set_config('idle_in_transaction_session_timeout', %s, true);
SELECT uuid::text, incarnation,
       ('x' || substr(pg_walfile_name(pg_current_wal_flush_lsn()), 1, 8))::bit(32)::bigint,
       (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint, pg_postmaster_start_time()::text
FROM meta
"""


@dataclass(frozen=True, slots=True)
class Head:
    """Which server this is, and where it is in its history. Read at the beginning of every transaction."""

    uuid: str  # of the schema
    incarnation: int
    timeline: int
    flushed: (
        int  # bytes of the log that are on disk: never less than before, unless an older copy is in place
    )
    started: (
        str  # when the server was started: what was seen of another run of it proves nothing about this one
    )


@dataclass(frozen=True, slots=True)
class Beat:
    """A session's counter of renewals, and how long it may stand still."""

    session: bytes
    beats: int
    lasts_ns: int


class Transaction:
    """What a piece of work gets. Statements see all that was committed before each of them."""

    def __init__(self, link: Link, head: Head) -> None:
        self._link = link
        self.head = head
        # What the work has read: true only once it is committed.
        self.seen: list[Beat] = []
        self.changes: dict[str, int] = {}  # how much has happened, by group

    async def all(self, statement: str, *values: object) -> Rows:
        found = await self._link.run(statement, *values)
        return found[-1] if found else []

    async def find(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        rows = await self.all(statement, *values)
        return rows[0] if rows else None


Work = Callable[[Transaction], Awaitable[T]]


@dataclass(slots=True)
class _Call:
    """How far one call has come."""

    link: Link | None = None
    begun: bool = False  # the server has answered
    committing: bool = False
    given_up: bool = False


class Pool:
    """`size` connections, made when needed."""

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        self._places = asyncio.Semaphore(size)
        self._idle: list[Link] = []
        self._calls: dict[asyncio.Task[Any], _Call] = {}
        self._pid = os.getpid()
        self.closed = False

    async def transact(self, work: Work[T]) -> T:
        """Run `work` in a transaction and commit it. Whatever it raises undoes it.

        Raises EngineUnavailable (nothing was done), OutcomeUnknown (COMMIT was sent, no answer came), Overloaded.
        """
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")
        if self.closed:
            raise EngineUnavailable("this engine is closed")
        if len(self._calls) >= PENDING_MAX:
            raise Overloaded(f"{PENDING_MAX} calls wait for the server already")
        call = _Call()
        task = asyncio.create_task(self._run(call, work))
        self._calls[task] = call
        task.add_done_callback(self._done)
        try:
            await asyncio.wait({task}, timeout=self._settings.timeout_s)
        finally:
            if not task.done():
                _give_up(call, task)
        if task.cancelled():
            raise EngineUnavailable("this engine is closed")
        if task.done():
            return task.result()
        words = f"{self._settings.shown}: no answer in {self._settings.timeout_s} s"
        raise OutcomeUnknown(words) if call.committing else EngineUnavailable(words)

    async def close(self) -> None:
        self.closed = True
        for task, call in self._calls.items():
            _give_up(call, task)
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=CLOSE_TIMEOUT_S)
        for link in self._idle:
            await link.close()
        self._idle.clear()

    async def _run(self, call: _Call, work: Work[T]) -> T:
        async with self._places:
            while True:
                link = call.link = await self._take()
                try:
                    return await self._transaction(call, link, work)
                except IncarnationChanged:
                    await link.close()  # of several hosts, another may be the one that counts now
                    raise
                except psycopg.Error as error:
                    if call.committing:
                        raise OutcomeUnknown(f"no word of the commit: {error}") from error
                    if call.given_up or call.begun or link.usable or link.fresh:
                        raise translated(error) from error
                    # It died while it was idle: the server was started anew, or a pool was. The next one, or a fresh one.
                finally:
                    await self._give_back(link)
                    call.link = None

    async def _transaction(self, call: _Call, link: Link, work: Work[T]) -> T:
        timeout = str(max(1, round(self._settings.timeout_s * 1000)))
        path = f"{self._settings.schema}, pg_temp"
        *_, rows = await link.run(_PROLOGUE, path, timeout, timeout, timeout)
        call.begun = True
        answer = await work(Transaction(link, Head(*rows[0])))
        link.warned = False
        call.committing = True
        await link.run("COMMIT")
        if link.warned:  # the wait for the standby was broken off, and the server calls that a success
            raise OutcomeUnknown("the server warned while it committed: perhaps no standby has it")
        return answer

    async def _take(self) -> Link:
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
            await link.close()
        return await Link.open(self._settings)

    async def _give_back(self, link: Link) -> None:
        try:
            if link.usable and link.in_transaction:
                await link.run("ROLLBACK")
        except psycopg.Error:
            await link.close()
            return
        if link.usable and not self.closed:
            link.fresh = False
            self._idle.append(link)
        else:
            await link.close()

    def _done(self, task: asyncio.Task[Any]) -> None:
        del self._calls[task]
        if not task.cancelled():
            task.exception()  # of a call that was given up there is nobody to tell


def _give_up(call: _Call, task: asyncio.Task[Any]) -> None:
    call.given_up = True
    if call.link is None:
        task.cancel()  # it has no connection yet, so nothing was done
    else:
        call.link.abort()
