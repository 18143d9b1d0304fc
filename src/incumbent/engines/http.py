"""A small HTTP/1.1 client on asyncio streams, which always knows whether a request may have been done.

EngineUnavailable: not a byte of the request was answered for, and none can have been acted on. OutcomeUnknown: it was sent and
the answer was lost. Nothing is asked again behind the caller's back (docs/adr/0016-kubernetes-leases.md says why that decides).
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from incumbent.errors import EngineUnavailable, OutcomeUnknown

LINE_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a header, and of one event of a watch: a Lease has at most 256 KiB of annotations, and what JSON makes of them."""
BODY_BYTES_MAX: Final = 64 * 1024 * 1024
HEADERS_MAX: Final = 200
IDLE_MAX: Final = 8
"""Connections kept open between requests."""
CONNECT_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True)
class Head:
    status: int
    headers: Mapping[str, str]  # names in lower case


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class BadReply(Exception):
    """What came is no HTTP that this client understands, or it ended too early."""


class Connection:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self.reusable = True

    @property
    def is_stale(self) -> bool:
        """The server has closed it, which it may do at any time between requests."""
        return not self.reusable or self._reader.at_eof() or self._writer.is_closing()

    async def send(
        self, method: str, host: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> None:
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
        await self._writer.drain()

    async def head(self) -> Head:
        while True:
            head = await self._one_head()
            if head.status >= 200:
                if head.headers.get("connection", "").lower() == "close":
                    self.reusable = False
                return head

    async def _one_head(self) -> Head:
        version, _, rest = (await self._line()).partition(" ")
        code = rest[:3]
        if not version.startswith("HTTP/1.") or not code.isdecimal():
            raise BadReply("no HTTP status line")
        if version == "HTTP/1.0":
            self.reusable = False
        headers: dict[str, str] = {}
        while line := await self._line():
            name, colon, value = line.partition(":")
            if not colon or len(headers) >= HEADERS_MAX:
                raise BadReply("an unreadable header, or too many of them")
            headers[name.strip().lower()] = value.strip()
        return Head(int(code), headers)

    async def body(self, head: Head) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in self.parts(head):
            parts.append(part)
            size += len(part)
            if size > BODY_BYTES_MAX:
                raise BadReply("the body is too large")
        return b"".join(parts)

    async def parts(self, head: Head) -> AsyncIterator[bytes]:
        """The body as it comes."""
        if head.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := _chunk_size(await self._line()):
                yield await self._reader.readexactly(size)
                await self._line()
            while await self._line():  # trailers
                pass
        elif "content-length" in head.headers:
            length = head.headers["content-length"]
            if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
                raise BadReply("an unreadable length")
            yield await self._reader.readexactly(int(length))
        elif head.status not in (204, 304):
            self.reusable = False
            while part := await self._reader.read(1 << 16):
                yield part

    async def _line(self) -> str:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise BadReply("the connection was closed")
        return line.rstrip(b"\r\n").decode("latin-1")

    def close(self) -> None:
        self.reusable = False
        self._writer.transport.abort()


LOST: Final = (
    OSError,
    BadReply,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ValueError,
    TimeoutError,
)
"""What a lost connection or an unreadable answer looks like."""


class HttpClient:
    """A pool of connections to one server. Bound to the event loop that uses it first."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str = "") -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._server_name = server_name or host
        self._idle: list[Connection] = []
        self._closed = False
        bracketed = f"[{host}]" if ":" in host else host
        self.authority = f"{bracketed}:{port}"

    async def warm_up(self) -> None:
        """Have a connection open. Raises EngineUnavailable."""
        self._give_back(await self._connect())

    async def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, *, timeout: float
    ) -> Reply:
        """One request, one answer; never repeated. Raises EngineUnavailable, OutcomeUnknown."""
        try:
            async with asyncio.timeout(timeout):
                connection = await self._connection()
        except TimeoutError as error:
            raise EngineUnavailable(f"{self.authority} did not accept a connection in time") from error
        try:
            async with asyncio.timeout(timeout):
                await connection.send(method, self.authority, target, headers, body)
                head = await connection.head()
                reply = Reply(head.status, head.headers, await connection.body(head))
        except LOST as error:
            connection.close()
            raise OutcomeUnknown(
                f"{method} was sent to {self.authority}, and no answer came: {error!r}"
            ) from error
        except BaseException:
            connection.close()
            raise
        self._give_back(connection)
        return reply

    async def lines(
        self, target: str, headers: Mapping[str, str], *, silence_s_max: float
    ) -> AsyncIterator[Head | bytes]:
        """GET as a stream: first the head, then the body's lines. Raises EngineUnavailable when nothing comes for so long, or
        it breaks off; ends as the server ends it."""
        connection = await self._connect()
        try:
            async with asyncio.timeout(silence_s_max) as silence:
                loop = asyncio.get_running_loop()
                await connection.send("GET", self.authority, target, headers, b"")
                head = await connection.head()
                yield head
                pending = b""
                async for part in connection.parts(head):
                    silence.reschedule(loop.time() + silence_s_max)
                    *whole, pending = (pending + part).split(b"\n")
                    if len(pending) > LINE_BYTES_MAX:
                        raise EngineUnavailable("an event of the watch is too large")
                    for line in whole:
                        yield line
                if pending:
                    yield pending
        except LOST as error:
            raise EngineUnavailable(f"the stream from {self.authority} broke off: {error!r}") from error
        finally:
            connection.close()

    async def close(self) -> None:
        self._closed = True
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if not connection.is_stale:
                return connection
            connection.close()
        return await self._connect()

    async def _connect(self) -> Connection:
        if self._closed:
            raise EngineUnavailable("this client is closed")
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                reader, writer = await asyncio.open_connection(
                    self._host,
                    self._port,
                    ssl=self._tls,
                    server_hostname=None if self._tls is None else self._server_name,
                    limit=LINE_BYTES_MAX,
                )
        except (OSError, TimeoutError) as error:  # a bad certificate is an OSError too
            raise EngineUnavailable(f"{self.authority} cannot be reached: {error}") from error
        return Connection(reader, writer)

    def _give_back(self, connection: Connection) -> None:
        if self._closed or connection.is_stale or len(self._idle) >= IDLE_MAX:
            connection.close()
        else:
            self._idle.append(connection)


def _chunk_size(line: str) -> int:
    size = int(line.partition(";")[0].strip(), 16)
    if not 0 <= size <= BODY_BYTES_MAX:
        raise BadReply("an unreadable chunk")
    return size


def parse_retry_after(head: Mapping[str, str]) -> float | None:
    """Seconds; a date is read as "a while", since it would need a wall clock."""
    text = head.get("retry-after")
    if text is None:
        return None
    with suppress(ValueError):
        return max(0.0, float(text))
    return 1.0
