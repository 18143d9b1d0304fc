"""Who waits for which group of a server that others run, and who wakes them: a connection that listens, or a look every so often."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from incumbent.errors import EngineError, WatchLost

logger = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 10.0
"""A watch that nobody wakes looks by itself, in case somebody between us and the server swallows notifications."""

Ready: TypeAlias = Callable[[], None]
Wake: TypeAlias = Callable[[str], None]
Listen: TypeAlias = Callable[[Ready, Wake], Awaitable[None]]
"""Calls the first once what is committed from then on is heard, the second for each group that changed. Raises EngineError when
it is lost; returns at once where nothing can be heard: then watches look every `poll_s` seconds."""


class Wakeups:
    """Listening begins with the first watch, and anew after it was lost."""

    def __init__(self, listen: Listen | None, *, poll_s: float) -> None:
        self._listen = listen
        self._poll_s = poll_s
        self._news: dict[str, asyncio.Event] = {}
        self._listener: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._losses = 0  # rises when the connection is lost: watches of before are lost
        self._closed = False

    @property
    def losses(self) -> int:
        return self._losses

    @property
    def polls(self) -> bool:
        """Nothing can be heard."""
        return self._listen is None

    async def prepare(self) -> None:
        """After this, what is committed wakes. Raises WatchLost."""
        if self._closed:
            raise WatchLost("this engine is closed")
        if self._listen is None:
            return
        if self._listener is None or self._listener.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._listener = asyncio.create_task(self._hear(self._listen, self._ready))
        assert self._ready is not None
        await asyncio.shield(self._ready)

    def news(self, group: str) -> asyncio.Event:
        """Set at the next wake-up of that group. Taken before looking at the group."""
        event = self._news.get(group)
        if event is None or event.is_set():
            event = self._news[group] = asyncio.Event()
        return event

    async def wait(self, news: asyncio.Event, losses: int, limit_s: float = LOOK_EVERY_S) -> None:
        """Until it is time to look, at most `limit_s` seconds. Raises WatchLost."""
        try:
            async with asyncio.timeout(min(limit_s, self._poll_s if self.polls else LOOK_EVERY_S)):
                await news.wait()
        except TimeoutError:
            pass
        if losses != self._losses:
            raise WatchLost("the connection that listened was lost")

    async def close(self) -> None:
        self._closed = True
        self._lose()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)

    async def _hear(self, listen: Listen, ready: asyncio.Future[None]) -> None:
        def on_ready() -> None:
            if not ready.done():
                ready.set_result(None)

        try:
            await listen(on_ready, self._wake)
            self._listen = None
            on_ready()
        except EngineError as error:
            logger.info("the connection that listens is lost: %s", error)
            if not ready.done():
                ready.set_exception(WatchLost(f"no connection to listen on: {error}"))
                ready.exception()  # nobody may be waiting any more
        finally:
            if not ready.done():
                ready.cancel()
            if not self.polls:
                self._lose()

    def _wake(self, group: str) -> None:
        news = self._news.pop(group, None)
        if news is not None:
            news.set()

    def _lose(self) -> None:
        self._losses += 1
        for news in self._news.values():
            news.set()
        self._news.clear()
