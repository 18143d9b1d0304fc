"""What the engine needs of a cluster: a client to ask it, and the local voter's machine to watch.

The engine's tests link it to a machine in memory; `connect` links it to an embedded voter.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import NO_LEASE, Command, Query, Result


class Link(Protocol):
    async def submit(self, command: Command, *, timeout: float) -> Result:
        """Have `command` applied. Raises EngineUnavailable (certainly not applied), OutcomeUnknown, Overloaded."""
        ...

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        """A linearizable read; with `lease`, only while that lease's expiry is not under way. Raises as `submit`."""
        ...

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        """Extend a lease by its full ttl, counted no sooner than this call. It may wait `patience` seconds for a round that
        begins anyway. Raises as `submit`."""
        ...

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        """Wake-ups for changes in a key range after a revision. Raises WatchLost, also when the link is closed."""
        ...

    async def close(self) -> None: ...


async def any_of(watches: Sequence[AsyncIterator[None]]) -> AsyncIterator[None]:
    """The wake-ups of all of them. Ends as the first that ends."""
    waiting = {asyncio.ensure_future(_next(watch)): watch for watch in watches}
    try:
        while True:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for woken in [task for task in waiting if task.done()]:
                watch = waiting.pop(woken)
                woken.result()
                waiting[asyncio.ensure_future(_next(watch))] = watch
            yield None
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for watch in watches:
            await watch.aclose()  # type: ignore[attr-defined]  # they are generators


async def _next(watch: AsyncIterator[None]) -> None:
    await anext(watch)
