"""A few connections, and the one way to run a script on them: bounded in time, safe to cancel, honest about its outcome."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import Any, Final

from redis import exceptions

from incumbent.engines.redis.link import Link, translated
from incumbent.engines.redis.scripts import Script
from incumbent.engines.redis.settings import Settings
from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded, Unsupported

LINKS_MAX: Final = 4
"""Connections for calls, besides the one for renewals and the one that listens."""
PENDING_MAX: Final = 1024
"""Calls that may wait for a connection."""
REDIRECTIONS_MAX: Final = 3

Word = bytes | str | int


@dataclass(frozen=True, slots=True)
class Head:
    """Which data this is, and where it is in its history. Comes with every answer."""

    uuid: str
    format: str
    incarnation: int
    revision: int


class Pool:
    """`size` connections, made when needed."""

    def __init__(self, settings: Settings, size: int) -> None:
        self._settings = settings
        self._address = (settings.host, settings.port)
        self._places = asyncio.Semaphore(size)
        self._idle: list[Link] = []
        self._pending = 0
        self._pid = os.getpid()
        self._candidate = os.urandom(16).hex()  # the data's name, should it be new
        self.closed = False

    async def run(self, script: Script, *arguments: Word, reads: bool = False) -> tuple[Head, list[Any]]:
        """What the script answers. `reads`: it changes nothing that a caller could miss, so no answer means not done.

        Raises EngineUnavailable (nothing was done), OutcomeUnknown (it was sent, no answer came), Overloaded, NotAllowed.
        """
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")
        if self.closed:
            raise EngineUnavailable("this engine is closed")
        if self._places.locked():
            await self._wait_for_a_place()
        else:
            await self._places.acquire()  # at once
        try:
            return await self._redirected(script, arguments)
        except OutcomeUnknown as error:
            if reads:
                raise EngineUnavailable(str(error)) from error
            raise
        finally:
            self._places.release()

    async def close(self) -> None:
        self.closed = True
        for link in self._idle:
            await link.close()
        self._idle.clear()

    async def _wait_for_a_place(self) -> None:
        """The link times itself."""
        if self._pending >= PENDING_MAX:
            raise Overloaded(f"{PENDING_MAX} calls wait for the server already")
        self._pending += 1
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise EngineUnavailable("all connections are waiting for the server") from error
        finally:
            self._pending -= 1

    async def _redirected(self, script: Script, arguments: tuple[Word, ...]) -> tuple[Head, list[Any]]:
        for _ in range(REDIRECTIONS_MAX):
            link = await self._take()
            try:
                head, *answer = await self._evaluated(link, script, arguments)
            except exceptions.MovedError as moved:  # a cluster whose node this is not
                self._address = (moved.host or self._address[0], moved.port)
                await link.close()
                continue
            except exceptions.ResponseError as error:
                # A server that only follows now is left, so that a name that leads elsewhere is looked up again.
                await link.close()
                raise translated(error) from error
            if self.closed:
                await link.close()
            else:
                self._idle.append(link)
            uuid, version, incarnation, revision = head.decode().split(" ")
            return Head(uuid, version, int(incarnation), int(revision)), answer
        raise EngineUnavailable("the nodes of the cluster send us from one to the other")

    async def _evaluated(self, link: Link, script: Script, arguments: tuple[Word, ...]) -> Any:
        words = (1, "{" + self._settings.namespace + "}meta", self._candidate, *arguments)
        try:
            return await link.ask("EVALSHA", script.digest, *words)
        except exceptions.NoScriptError:
            return await link.ask("EVAL", script.text, *words)

    async def _take(self) -> Link:
        while self._idle:
            link = self._idle.pop()
            if await link.is_idle():
                return link
            await link.close()
        link = Link(self._settings, *self._address)
        try:
            await link.open()
        except EngineUnavailable:
            self._address = (self._settings.host, self._settings.port)  # from there we are sent on again
            raise
        return link
