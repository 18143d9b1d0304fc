"""Looking at an election again whenever it may have changed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from incumbent.leadership.office import Office
from incumbent.leadership.scene import Scene, look
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import Backoff, until_answered

T = TypeVar("T")


async def until(
    office: Office, election: str, result: Callable[[Scene], T | None], timeout_s: float
) -> T | None:
    """Look, the history too, until `result` finds something. None when it finds nothing within `timeout_s`."""
    backoff = Backoff(office.world.rng)
    watch: Watch | None = None
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                office.check_open()
                scene = await until_answered(
                    lambda: look(office.engine, election, history=True), office.world.rng
                )
                found = result(scene)
                if found is not None:
                    return found
                former = watch
                watch = await renewed_watch(former, office, election, scene.roster.cursor, backoff)
                if (
                    watch is former
                ):  # else look once more: the cells may have been read before the watch began
                    await watch.wait(office.ttl)
    except TimeoutError:
        return None
    finally:
        if watch is not None:
            watch.close()


async def renewed_watch(
    watch: Watch | None, office: Office, group: str, cursor: object, backoff: Backoff
) -> Watch:
    """`watch` while it works, else a new one from `cursor`; after one that never worked, not before a pause."""
    if watch is not None and not watch.lost:
        return watch
    if watch is not None:
        if watch.woken:
            backoff.reset()
        await backoff.pause()
    return Watch(office.engine, group, cursor, office.tasks)
