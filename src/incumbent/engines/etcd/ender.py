"""Ends sessions by reference, for the guardian: one HTTP request on a socket, and no library for it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

import msgspec

from incumbent.engines.api import Ref
from incumbent.engines.etcd.access import Access, Address, show
from incumbent.engines.etcd.reference import Reference
from incumbent.errors import EngineUnavailable, NotAllowed

ATTEMPT_S: Final = 1.0
RETRY_PAUSE_S: Final = 0.05
ANSWER_BYTES_MAX: Final = 1 << 16
LEASE_NOT_FOUND: Final = "requested lease not found"
FAILED: Final = (
    OSError,
    TimeoutError,
    asyncio.IncompleteReadError,
    asyncio.LimitOverrunError,
    ValueError,
)
"""What an attempt may end with that gave no answer."""
TOKEN_WORDS: Final = ("invalid auth token", "revision of auth store is old", "user name is empty")


def make_ender() -> EtcdEnder:
    return EtcdEnder()


class EtcdEnder:
    """One etcd at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._line: _Line | None = None

    async def prepare(self, ref: Ref) -> None:
        """Connected and logged in. Raises EngineUnavailable when no endpoint can be reached, NotAllowed."""
        line = await self._line_to(Reference.from_bytes(ref).access)
        for _ in line.access.endpoints:
            with suppress(*FAILED):
                async with asyncio.timeout(ATTEMPT_S):
                    await line.connect()
                    return
            await line.drop()
        raise EngineUnavailable(f"none of {line.access!r} can be reached")

    async def end(self, ref: Ref) -> bool:
        """Asks one endpoint after the other until there is an answer; the caller bounds it. True also when an attempt's answer
        was lost and the next one found the session over. Raises NotAllowed."""
        reference = Reference.from_bytes(ref)
        line = await self._line_to(reference.access)
        asked_before = False
        while True:
            try:
                async with asyncio.timeout(ATTEMPT_S):
                    await line.connect()
                    asked = asked_before
                    asked_before = True
                    told = await line.ask("/v3/lease/revoke", {"ID": str(reference.lease)})
            except FAILED:
                await line.drop()
                await asyncio.sleep(RETRY_PAUSE_S)
                continue
            words = str(told.get("error", ""))
            if not words:
                return True
            if LEASE_NOT_FOUND in words:
                return asked
            if "permission denied" in words:
                raise NotAllowed(words)
            asked_before = asked or not _is_about_token(words)
            await line.drop()  # logs in anew, at the next endpoint
            await asyncio.sleep(RETRY_PAUSE_S)

    async def close(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            await line.drop()

    async def _line_to(self, access: Access) -> _Line:
        if self._line is None or self._line.access != access:
            await self.close()
            self._line = _Line(access)
        return self._line


class _Line:
    """A connection to one of the endpoints; after `drop` the next `connect` takes the next one."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self._at = 0
        self._context = access.context()
        self._token = ""
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def connect(self) -> None:
        """Nothing when it is connected and the other side did not hang up. Raises OSError, NotAllowed."""
        if self._writer is not None and self._reader is not None and not self._reader.at_eof():
            return
        host, port = self.access.endpoints[self._at]
        self._reader, self._writer = await asyncio.open_connection(host, port, ssl=self._context)
        if self.access.user:
            told = await self.ask(
                "/v3/auth/authenticate", {"name": self.access.user, "password": self.access.password}
            )
            words = str(told.get("error", ""))
            if "authentication failed" in words:
                raise NotAllowed(words)
            self._token = str(told.get("token", ""))

    async def ask(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        """One request and its answer (RFC 9112). Raises OSError, IncompleteReadError, ValueError for what is no answer."""
        assert self._reader is not None
        assert self._writer is not None
        data = msgspec.json.encode(body)
        token = f"Authorization: {self._token}\r\n" if self._token else ""
        head = f"POST {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Type: application/json\r\n{token}"
        self._writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
        if not fields[0].startswith("http/1.1 "):
            raise ValueError("no answer of HTTP/1.1")
        length = [field.partition(":")[2] for field in fields if field.startswith("content-length:")]
        # What this asks for is answered in one piece.
        told = await self._reader.readexactly(min(int(length[0]), ANSWER_BYTES_MAX)) if length else b""
        answer: dict[str, Any] = msgspec.json.decode(told, type=dict)
        return answer

    async def drop(self) -> None:
        writer, self._reader, self._writer, self._token = self._writer, None, None, ""
        self._at = (self._at + 1) % len(self.access.endpoints)
        if writer is not None:
            writer.close()
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(RETRY_PAUSE_S):
                    await writer.wait_closed()

    @property
    def _host(self) -> str:
        address: Address = self.access.endpoints[self._at]
        return show(address)


def _is_about_token(words: str) -> bool:
    return any(known in words for known in TOKEN_WORDS)
