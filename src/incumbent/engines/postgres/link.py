"""One connection, and what its errors mean.

Statements are sent with their values in them and in one go, so that a connection pool between us and the server may hand each
transaction to another backend, and a whole transaction costs one round trip. What is asked often goes to libpq itself: psycopg's
cursor takes as long as the server does.
"""

from __future__ import annotations

import asyncio
import math
import os
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeAlias, cast

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq import Escaping, ExecStatus

from incumbent.engines.postgres.settings import Settings
from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    IncarnationChanged,
    IncumbentError,
    InvalidInput,
    NotAllowed,
)

Rows = list[tuple[Any, ...]]
Value: TypeAlias = "int | str | bytes | Sequence[int | str | bytes | None] | None"
Row: TypeAlias = tuple[bytes | None, ...]
"""As text."""
CLOSE_TIMEOUT_S: Final = 1.0


class Link:
    """Used by one call at a time."""

    def __init__(self, connection: AsyncConnection[tuple[Any, ...]]) -> None:
        self._connection = connection
        self._cursor = AsyncClientCursor(connection)
        self.warned = False  # the server warned since this was last set to False
        self.pooled = False  # a pool is in between: nothing of a session may be relied on
        connection.add_notice_handler(self._on_notice)

    @classmethod
    async def open(cls, settings: Settings) -> Link:
        """Raises EngineUnavailable."""
        try:
            async with asyncio.timeout(settings.timeout_s):
                connection = await AsyncConnection.connect(
                    "",
                    autocommit=True,
                    prepare_threshold=None,
                    connect_timeout=math.ceil(settings.timeout_s),
                    client_encoding="utf8",
                    **cast(dict[str, Any], settings.parameters),
                )
                link = cls(connection)
                try:
                    ((own,),) = await link.run("SELECT pg_backend_pid()")
                except BaseException:
                    await link.close()
                    raise
                link.pooled = own[0] != connection.info.backend_pid
        except TimeoutError as error:
            raise EngineUnavailable(f"{settings.shown}: no connection in {settings.timeout_s} s") from error
        except psycopg.Error as error:
            raise EngineUnavailable(f"{settings.shown}: {_first_line(error)}") from error
        return link

    async def run(self, statements: str, *values: object) -> list[Rows]:
        """The rows of each statement that gives rows. Raises psycopg.Error."""
        await self._cursor.execute(statements, values or None)
        found: list[Rows] = []
        while True:
            if self._cursor.description is not None:
                found.append(await self._cursor.fetchall())
            if not self._cursor.nextset():
                return found

    async def transact(self, statements: bytes) -> Row:
        """The row of a transaction's statements, of which one gives one, once it is committed. Raises psycopg.Error; after that, and
        when it is cancelled, the connection is of no more use."""
        connection = self._connection.pgconn
        row: Row | None = None
        last: bytes | None = None
        connection.send_query(statements)
        while connection.flush():
            await self._ready(sending=True)
            connection.consume_input()
        while True:
            while connection.is_busy():
                await self._ready()
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            if result.status == ExecStatus.TUPLES_OK:
                row = tuple(result.get_value(0, column) for column in range(result.nfields))
            elif result.status != ExecStatus.COMMAND_OK:
                raise error_from_result(result)
            last = result.command_status
        if row is None or last != b"COMMIT":
            raise psycopg.InterfaceError(f"the transaction ended with {last!r}")
        return row

    def literal(self, value: Value) -> bytes:
        """To stand where the server knows the type."""
        match value:
            case None:
                return b"NULL"
            case int():
                return b"%d" % value
            case str() | bytes():
                text = _text(value)
            case _:
                text = b"{%s}" % b",".join(map(_element, value))
        return bytes(Escaping(self._connection.pgconn).escape_literal(text))

    async def _ready(self, *, sending: bool = False) -> None:
        loop, descriptor = asyncio.get_running_loop(), self._connection.pgconn.socket
        ready = loop.create_future()

        def on_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(descriptor, on_ready)
        if sending:
            loop.add_writer(descriptor, on_ready)
        try:
            await ready
        finally:
            loop.remove_reader(descriptor)
            if sending:
                loop.remove_writer(descriptor)

    @property
    def usable(self) -> bool:
        """As far as is known here: what the server has said since, its farewell and the end behind it, is read first."""
        with suppress(psycopg.Error):
            self._connection.pgconn.consume_input()
            self._connection.pgconn.consume_input()
        return not self._connection.broken and not self._connection.closed

    def abort(self) -> None:
        """Make what waits for the server fail now. Not `close`: the loop still has the descriptor."""
        with (
            suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self._connection.fileno())) as copy,
        ):
            copy.shutdown(socket.SHUT_RDWR)

    async def close(self) -> None:
        with suppress(psycopg.Error, TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT_S):
                await self._connection.close()

    def notifications(self, timeout_s: float) -> Any:
        """Those that come in that time."""
        return self._connection.notifies(timeout=timeout_s)

    def _on_notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            self.warned = True


@asynccontextmanager
async def briefly(settings: Settings) -> AsyncIterator[Link]:
    """A connection for a few questions, within the timeout. Raises what their errors mean."""
    link = await Link.open(settings)
    try:
        async with asyncio.timeout(settings.timeout_s):
            yield link
    except TimeoutError as error:
        link.abort()
        raise EngineUnavailable(f"{settings.shown}: no answer in {settings.timeout_s} s") from error
    except psycopg.Error as error:
        raise translated(error) from error
    finally:
        await link.close()


def translated(error: psycopg.Error) -> IncumbentError:
    """What it means where nothing was committed."""
    state, words = error.sqlstate or "", _first_line(error)
    match state:
        case "42P01" | "42883" | "3F000":
            return IncarnationChanged(f"the engine's tables and functions are gone: {words}")
        case "3D000":
            return InvalidInput("url", words, "name a database that is there")
        case "42501":
            return NotAllowed(words)
        case "23514":
            return EngineError(f"a counter is used up: {words}")
        case "25006" | "0A000" | "55000":
            return EngineUnavailable(f"this server only follows another: {words}")
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) or state[:2] in (
        "40",
        "53",
        "55",
        "57",
    ):
        return EngineUnavailable(words)
    return EngineError(words)


def _text(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else b"\\x" + value.hex().encode()


def _element(value: int | str | bytes | None) -> bytes:
    """Of an array."""
    match value:
        case None:
            return b"NULL"
        case int():
            return b"%d" % value
        case _:
            return b'"%s"' % _text(value).replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def _first_line(error: psycopg.Error) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
