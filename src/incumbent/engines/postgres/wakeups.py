"""Who waits for which group, and who wakes them: NOTIFY on a connection of our own, or a look every so often.

Behind a pool that hands out a connection per transaction LISTEN does nothing, so there it is a look.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import psycopg

from incumbent.engines.postgres.link import Link
from incumbent.engines.postgres.settings import Settings
from incumbent.errors import EngineError, WatchLost

logger = logging.getLogger(__name__)

PROBE_EVERY_S: Final = 1.0
"""How often the listening connection is asked whether it still is one. A silent server wakes nobody."""
LOOK_EVERY_S: Final = 10.0
"""A watch that nobody wakes looks by itself, in case somebody between us and the server swallows notifications."""


class Wakeups:
    """The listening connection is opened for the first watch, and anew after it was lost."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._news: dict[str, asyncio.Event] = {}
        self._listener: asyncio.Task[None] | None = None
        self._ready: asyncio.Future[None] | None = None
        self._polls = settings.wakeups == "poll"
        self._losses = 0  # rises when the connection is lost: watches of before are lost
        self._closed = False

    @property
    def losses(self) -> int:
        return self._losses

    async def prepare(self) -> None:
        """After this, what is committed wakes. Raises WatchLost."""
        if self._closed:
            raise WatchLost("this engine is closed")
        if self._polls:
            return
        if self._listener is None or self._listener.done():
            self._ready = asyncio.get_running_loop().create_future()
            self._listener = asyncio.create_task(self._listen(self._ready))
        assert self._ready is not None
        try:
            await asyncio.shield(self._ready)
        except EngineError as error:
            raise WatchLost(f"no connection to listen on: {error}") from error

    def news(self, group: str) -> asyncio.Event:
        """Set at the next wake-up of that group. Taken before looking at the group."""
        event = self._news.get(group)
        if event is None or event.is_set():
            event = self._news[group] = asyncio.Event()
        return event

    async def wait(self, news: asyncio.Event, losses: int) -> None:
        """Until it is time to look. Raises WatchLost."""
        try:
            async with asyncio.timeout(self._settings.poll_s if self._polls else LOOK_EVERY_S):
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

    async def _listen(self, ready: asyncio.Future[None]) -> None:
        link: Link | None = None
        try:
            link = await Link.open(self._settings)
            if link.pooled and self._settings.wakeups == "auto":
                logger.info(
                    "%s: behind a pool; watches look every %s s", self._settings.shown, self._settings.poll_s
                )
                self._polls = True
                ready.set_result(None)
                return
            await self._bounded(link, f"LISTEN {self._settings.schema}")
            ready.set_result(None)
            while True:
                async for notification in link.notifications(PROBE_EVERY_S):
                    self._wake(notification.payload)
                await self._bounded(link, "SELECT 1")
        except (EngineError, psycopg.Error, TimeoutError) as error:
            logger.info("%s: the connection that listens is lost: %s", self._settings.shown, error)
            if not ready.done():
                ready.set_exception(WatchLost(str(error)))
                ready.exception()  # nobody may be waiting any more
        finally:
            if not ready.done():
                ready.cancel()
            if not self._polls:
                self._lose()
            if link is not None:
                link.abort()
                await link.close()

    async def _bounded(self, link: Link, statement: str) -> None:
        """One that does not outlive the server's silence. Not cancelled: see `pool`."""
        asking = asyncio.ensure_future(link.run(statement))
        done, _ = await asyncio.wait({asking}, timeout=self._settings.timeout_s)
        if not done:
            link.abort()
        await asking

    def _wake(self, group: str) -> None:
        news = self._news.pop(group, None)
        if news is not None:
            news.set()

    def _lose(self) -> None:
        self._losses += 1
        for news in self._news.values():
            news.set()
        self._news.clear()
