"""A group's wake-ups, pumped by a task, so that a wait for them can be bounded, cancelled and poked."""

from __future__ import annotations

import asyncio

from incumbent.engines.api import Engine
from incumbent.errors import EngineError
from incumbent.leadership.world import Tasks, log


class Watch:
    """Wakes whoever waits when the group may have changed since `after`, or when the watch is lost.

    A bounded wait on the engine's own iterator would end the iterator with the wait. You owe a `close`. Watches with the
    same `news` wake together: whoever waits for one of them waits for all.
    """

    def __init__(
        self, engine: Engine, group: str, after: object, tasks: Tasks, news: asyncio.Event | None = None
    ) -> None:
        self.lost = False  # it cannot go on: read anew, and watch from there
        self.woken = False  # it worked at least once
        self._news = asyncio.Event() if news is None else news
        self._pump = tasks.spawn(self._run(engine, group, after), f"incumbent-watch-{group}")

    async def wait(self, timeout_s: float | None = None) -> None:
        """Until the group may have changed, the watch is lost, somebody called `wake`, or the time is up."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            return
        self._news.clear()

    def wake(self) -> None:
        self._news.set()

    def close(self) -> None:
        self._pump.cancel()

    async def _run(self, engine: Engine, group: str, after: object) -> None:
        try:
            async for _ in engine.watch(group, after):
                self.woken = True
                self._news.set()
            log.warning("a watch ended without saying why")
        except EngineError as error:
            log.info("a watch was lost: %r", error)
        except Exception:
            log.exception("a watch failed in an unknown way")
        finally:
            self.lost = True
            self._news.set()
