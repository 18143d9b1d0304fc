"""Ends Redis sessions by reference, for the guardian: a plain socket, kept warm. No client library is imported.

RESP 2 (redis.io/docs/reference/protocol-spec): arrays of byte strings go out; what comes back begins with its kind.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final

from incumbent.engines.api import Ref
from incumbent.engines.redis.scripts import END, HELLO, Script
from incumbent.engines.redis.settings import Settings
from incumbent.engines.reference import Reference
from incumbent.errors import EngineError, EngineUnavailable

RETRY_EVERY_S: Final = 0.1
ANSWER_BYTES_MAX: Final = 1 << 16
"""The answers to these scripts are a few dozen bytes."""
_LOST: Final = (OSError, EOFError, TimeoutError, ValueError)


def make_ender() -> RedisEnder:
    return RedisEnder()


class RedisEnder:
    """One server at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._url = ""
        self._settings: Settings | None = None
        self._address: tuple[str, int] = ("", 0)
        self._reader = asyncio.StreamReader()
        self._writer: asyncio.StreamWriter | None = None

    async def prepare(self, ref: Ref) -> None:
        """Also has the server load the scripts' common part. Raises EngineUnavailable."""
        reference = Reference.from_bytes(ref, "redis")
        try:
            await self._run(reference, HELLO)
        except EngineError as error:
            self._follow(str(error))  # `end` will get there
            await self.close()
        except _LOST as error:
            await self.close()
            raise EngineUnavailable(f"the server is not reached: {error!r}") from error

    async def end(self, ref: Ref) -> bool:
        """True = ended now, False = was already over. A request without an answer is sent again, and then says False."""
        reference = Reference.from_bytes(ref, "redis")
        while True:
            try:
                _, ended, *_ = await self._run(reference, END, reference.session.hex())
                return bool(ended)
            except _LOST:
                self._settings = None  # from where it says we are sent on again
            except EngineError as error:
                self._follow(str(error))
            await self.close()
            await asyncio.sleep(RETRY_EVERY_S)

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    async def _run(self, reference: Reference, script: Script, *arguments: str) -> Any:
        if self._settings is None or self._url != reference.url:
            await self.close()
            self._url, self._settings = reference.url, Settings.parse(reference.url)
            self._address = (self._settings.host, self._settings.port)
        settings = self._settings
        async with asyncio.timeout(settings.timeout_s):
            if self._writer is None:
                await self._connect(settings)
            # In full: it is one round trip also where the server does not know the script yet.
            words = ("EVAL", script.text, "1", "{" + settings.namespace + "}meta", secrets.token_hex(16))
            return await self._ask(*words, *arguments)

    def _follow(self, error: str) -> None:
        """A cluster whose node this is not says which one it is."""
        kind, *place = error.split(" ")
        if kind == "MOVED" and len(place) == 2:
            host, _, port = place[1].rpartition(":")
            self._address = (host or self._address[0], int(port))
        else:
            self._settings = None

    async def _connect(self, settings: Settings) -> None:
        self._reader, self._writer = await asyncio.open_connection(
            *self._address, ssl=settings.context(), limit=ANSWER_BYTES_MAX
        )
        if settings.password is not None:
            user = () if settings.user is None else (settings.user,)
            await self._ask("AUTH", *user, settings.password)
        if settings.database:
            await self._ask("SELECT", str(settings.database))

    async def _ask(self, *words: str) -> Any:
        """Raises EngineError for an answer that is an error, EOFError, ValueError for one that cannot be read."""
        assert self._writer is not None
        parts = [word.encode() for word in words]
        self._writer.write(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
        await self._writer.drain()
        return await self._answer()

    async def _answer(self) -> Any:
        line = (await self._reader.readuntil(b"\r\n"))[:-2]
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest
            case b"-":
                raise EngineError(rest.decode(errors="replace"))
            case b":":
                return int(rest)
            case b"$":
                size = int(rest)
                if size > ANSWER_BYTES_MAX:
                    raise ValueError(f"an answer of {size} bytes")
                return None if size < 0 else (await self._reader.readexactly(size + 2))[:-2]
            case b"*":
                return [await self._answer() for _ in range(min(int(rest), ANSWER_BYTES_MAX))]
            case _:
                raise ValueError(f"an answer of kind {kind!r}")
