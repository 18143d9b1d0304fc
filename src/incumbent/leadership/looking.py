"""Looking at a group again and again, for as long as somebody wants to know: with bounds on silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from incumbent.errors import EngineError
from incumbent.leadership.following import renewed_watch
from incumbent.leadership.office import Office
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import TRANSIENT, Backoff, log

T = TypeVar("T")


async def answer_in_time(office: Office, group: str, look: Callable[[], Awaitable[T]]) -> T | None:
    """What `look` finds, asked for during at most a TTL. None when no answer came."""
    office.check_open()
    backoff = Backoff(office.world.rng, max_s=office.ttl / 4)
    try:
        async with asyncio.timeout(office.ttl):
            while True:
                try:
                    return await look()
                except TRANSIENT as error:
                    log.info("%s: how it stands is not known: %r", group, error)
                await backoff.pause()
    except TimeoutError:
        return None
    except EngineError as error:
        log.warning("%s: how it stands is not known: %r", group, error)
        return None


async def looks(
    office: Office, group: str, look: Callable[[], Awaitable[T]], cursor: Callable[[T], object]
) -> AsyncGenerator[T | None, None]:
    """What `look` finds: as of now, then after each change, the latest only; None when no answer came for a TTL. It may find the
    same again. `cursor` gives the cursor of the roster that was read."""
    backoff = Backoff(office.world.rng)
    watch: Watch | None = None
    try:
        while True:
            found = await answer_in_time(office, group, look)
            yield found
            if found is None:
                await backoff.pause()
                continue
            watch = await renewed_watch(watch, office, group, cursor(found), backoff)
            # Bounded, because engines differ in what they announce, and because silence is not contact.
            await watch.wait(office.ttl)
    finally:
        if watch is not None:
            watch.close()
