"""How the engine asks: again after a conflict, to the end although the caller was cancelled, and never after it was closed."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar
from weakref import WeakValueDictionary

from incumbent.engines.kubernetes.cell_store import Undecidable
from incumbent.engines.kubernetes.client import Conflict, Exists, Leases, NotThere, Server
from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded, Unsupported

T = TypeVar("T")
CONFLICT_PAUSE_S_MIN: Final = 0.002
CONFLICT_PAUSE_S_MAX: Final = 0.25
UNKNOWN_PAUSE_S: Final = 0.05


class Calls:
    """Of one engine: bound to the process and the event loop that made it."""

    def __init__(self, server: Server, timeout_s: float) -> None:
        self._server = server
        self._timeout_s = timeout_s
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._tasks: set[asyncio.Task[object]] = set()
        self._rng = random.Random()
        self._pid = os.getpid()
        self._closed = False

    async def close(self) -> bool:
        """Cancel what is under way. False: there was nothing to close, here or any more."""
        if self._closed or os.getpid() != self._pid:
            return False  # in a forked child all of it is the parent's
        self._closed = True
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        return True

    def check(self) -> None:
        """Raises Unsupported in a forked child, EngineUnavailable when closed."""
        if os.getpid() != self._pid:
            raise Unsupported(f"this engine belongs to process {self._pid}; after a fork, connect anew")
        if self._closed:
            raise EngineUnavailable("this client is closed")

    def leases(self) -> Leases:
        """For one call, with its deadline."""
        return self._server.until(asyncio.get_running_loop().time() + self._timeout_s)

    async def settle(self) -> None:
        """Until nothing is under way in the background."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def finish(self, act: Callable[[Leases], Awaitable[T]], *, one_at_a_time: str = "") -> T:
        """Do `act` to its end, also when the caller is cancelled: a request that was sent is not left alone with its answer."""
        self.check()

        async def run() -> T:
            if not one_at_a_time:
                return await self.ask(act)
            lock = self._locks.setdefault(one_at_a_time, asyncio.Lock())
            async with lock:
                return await self.ask(act)

        task = self.spawn(run)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            caller = asyncio.current_task()
            if task.cancelled() and not (caller is not None and caller.cancelling()):
                raise OutcomeUnknown("this client was closed while it waited for an answer") from None
            raise

    async def ask(self, act: Callable[[Leases], Awaitable[T]]) -> T:
        """Again after a conflict, and after an answer that was lost: all that is done here may be done twice."""
        self.check()
        loop = asyncio.get_running_loop()
        leases = self.leases()
        deadline_s = loop.time() + self._timeout_s
        unknown: OutcomeUnknown | None = None
        pause_s = CONFLICT_PAUSE_S_MIN
        while True:
            try:
                return await act(leases)
            except Undecidable:
                raise
            except OutcomeUnknown as error:
                unknown = error
                wait_s = UNKNOWN_PAUSE_S
            except (Conflict, Exists, NotThere):
                wait_s = pause_s * self._rng.uniform(0.5, 1.5)
                pause_s = min(2 * pause_s, CONFLICT_PAUSE_S_MAX)
            except (EngineUnavailable, Overloaded) as error:
                if unknown is not None or leases.wrote:
                    raise unknown or OutcomeUnknown(f"a part of it was done, and then: {error}") from error
                raise
            if loop.time() + wait_s >= deadline_s:
                if leases.wrote:
                    raise unknown or OutcomeUnknown(
                        "a part of it was done; others changed the same Lease all the time"
                    )
                raise unknown or EngineUnavailable("others changed the same Lease all the time")
            await asyncio.sleep(wait_s)

    def spawn(self, act: Callable[[], Awaitable[T]]) -> asyncio.Task[T]:
        """In the background, until it is done or this is closed."""

        async def run() -> T:
            return await act()

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[object]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # its caller has it, or was cancelled and does not want it
