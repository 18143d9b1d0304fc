"""A few connections, and the one way to ask the database something: a transaction in one trip, bounded in time, safe to cancel,
honest about its outcome.

Once a question that writes has left, only its answer tells what became of it. A call that is given up closes its connection, since
a server that says nothing says nothing to a request to cancel either.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

import psycopg

from incumbent.engines.postgres.functions import function
from incumbent.engines.postgres.link import CLOSE_TIMEOUT_S, Link, Row, Value, translated
from incumbent.engines.postgres.settings import Settings
from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded, Unsupported

T = TypeVar("T")
LINKS_MAX: Final = 4
"""Connections for calls, besides the one for renewals and the one that listens."""
PENDING_MAX: Final = 1024
"""Calls that may wait for a connection."""


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


@dataclass(frozen=True, slots=True)
class Reply:
    """What a function said, and what its reader found in it."""

    head: Head
    said: str  # why nothing was done; "" = it was
    found: Row
    seen: list[Beat] = field(default_factory=list)
    changes: dict[str, int] = field(default_factory=dict)  # how much has happened, by group
    before: dict[str, int] = field(default_factory=dict)  # and without what was asked now


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """A call of a function, and how to read what it says."""

    operation: str
    values: tuple[Value, ...]
    read: Callable[[Reply], T]
    writes: bool = True


@dataclass(slots=True)
class _Call:
    """How far one call has come."""

    sent: bool = False
    refused: bool = False  # the server said no, so nothing was done


class Pool:
    """`size` connections, made when needed."""

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._idle: list[Link] = []
        self._busy: set[Link] = set()
        self._pending = 0
        self._pid = os.getpid()
        self.closed = False
        timeout_ms = max(1, round(settings.timeout_s * 1000))
        self._prologue = (
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; "
            f"SET LOCAL search_path = {settings.schema}, pg_temp; SET LOCAL synchronous_commit = on; "
            f"SET LOCAL statement_timeout = {timeout_ms}; SET LOCAL lock_timeout = {timeout_ms}; "
        ).encode()

    async def ask(self, question: Question[Any]) -> Reply:
        """What the database replied, once it is committed.

        Raises EngineUnavailable (nothing was done), OutcomeUnknown (it was sent, and no answer came), Overloaded.
        """
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")
        if self._pending >= PENDING_MAX:
            raise Overloaded(f"{PENDING_MAX} calls wait for the server already")
        self._pending += 1
        call = _Call()
        try:
            async with asyncio.timeout(self._settings.timeout_s), self._places:
                return await self._ask(question, call)
        except TimeoutError as error:
            words = f"{self._settings.shown}: no answer in {self._settings.timeout_s} s"
            raise _lost(question, call, words) from error
        except psycopg.Error as error:
            if call.refused:
                raise translated(error) from error
            raise _lost(question, call, f"no answer: {error}") from error
        finally:
            self._pending -= 1

    def forget(self) -> None:
        """Connect anew: of several hosts, another may be the one that counts now."""
        for link in self._idle:
            link.abort()

    async def close(self) -> None:
        self.closed = True
        for link in self._busy:
            link.abort()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                for _ in range(self._size):  # each call gives its place back when it is over
                    await self._places.acquire()
        for link in self._idle:
            await link.close()
        self._idle.clear()

    async def _ask(self, question: Question[Any], call: _Call) -> Reply:
        link = await self._take()
        self._busy.add(link)
        try:
            statements = self._statements(link, question)
            link.warned = False
            call.sent = True
            row = await link.transact(statements)
        except BaseException as error:
            call.refused = isinstance(error, psycopg.Error) and error.sqlstate is not None and link.usable
            self._busy.discard(link)
            await link.close()
            raise
        self._busy.discard(link)
        if self.closed:
            await link.close()
        else:
            self._idle.append(link)
        if link.warned and question.writes:
            # The wait for the standby was broken off, and the server calls that a success.
            raise OutcomeUnknown("the server warned while it committed: perhaps no standby has it")
        return _reply(row)

    def _statements(self, link: Link, question: Question[Any]) -> bytes:
        values = b", ".join(map(link.literal, question.values))
        return b"%sSELECT * FROM %s(%s); COMMIT" % (
            self._prologue,
            function(question.operation).encode(),
            values,
        )

    async def _take(self) -> Link:
        if self.closed:
            raise EngineUnavailable("this engine is closed")
        while self._idle:
            link = self._idle.pop()
            if link.usable:
                return link
            await link.close()
        return await Link.open(self._settings)


def _lost(question: Question[Any], call: _Call, words: str) -> EngineUnavailable | OutcomeUnknown:
    return OutcomeUnknown(words) if call.sent and question.writes else EngineUnavailable(words)


def _reply(row: Row) -> Reply:
    uuid, incarnation, timeline, flushed, started, said, *found = row
    assert uuid and incarnation and timeline and flushed and started  # noqa: PT018 - every function gives its head
    head = Head(uuid.decode(), int(incarnation), int(timeline), int(flushed), started.decode())
    return Reply(head, "" if said is None else said.decode(), tuple(found))
