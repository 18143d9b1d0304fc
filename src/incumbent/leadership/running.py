"""Campaigning again and again: `Election.run`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Final, TypeVar

from incumbent.errors import LeadershipLost
from incumbent.leadership.campaign import Campaign
from incumbent.leadership.office import Office
from incumbent.leadership.tenure import RELEASED, YIELDED, Reason
from incumbent.leadership.term import Term
from incumbent.leadership.world import Backoff

T = TypeVar("T")

STAND_AGAIN_S_MAX: Final = 2.0
STEADY_TTLS: Final = 2
"""A term that held for so many TTLs was no flap: the pause before the next candidacy is a short one again."""


async def run(
    office: Office,
    new_campaign: Callable[[], Campaign],
    work: Callable[[Term], Awaitable[T]],
    standby: Callable[[], Awaitable[object]] | None,
) -> T:
    """See `Election.run`."""
    clock = office.world.clock
    backoff = Backoff(office.world.rng, max_s=STAND_AGAIN_S_MAX)
    while True:
        campaign = new_campaign()
        elected_ns: int | None = None
        try:
            async with Standby(standby) as waiting, campaign as term:
                elected_ns = clock.now_ns()
                # Inside the term, so that a standby which does not end cannot outlast the lease (P25).
                await waiting.stop()
                return await work(term)
        except LeadershipLost:
            # Another election's loss may pass through `work`; ours is the one for which our own term ended.
            if campaign.ended_for in RELEASED - YIELDED - {Reason.RESIGNED}:
                raise
        if elected_ns is not None and clock.now_ns() - elected_ns > STEADY_TTLS * office.ttl * 1e9:
            backoff.reset()
        await backoff.pause()


class Standby:
    """What runs while this candidate does not lead. Its failure ends the block at once, with its own exception."""

    def __init__(self, work: Callable[[], Awaitable[object]] | None) -> None:
        self._work = work
        self._task: asyncio.Task[object] | None = None
        self._stopping = False
        self._home: asyncio.Task[Any] | None = None
        self._cancelling_before = 0
        self._cancel_sent = False

    async def __aenter__(self) -> Standby:
        if self._work is not None:
            self._home = asyncio.current_task()
            assert self._home is not None
            self._cancelling_before = self._home.cancelling()
            self._task = asyncio.get_running_loop().create_task(_as_coroutine(self._work()))
            self._task.add_done_callback(self._on_done)
        return self

    async def stop(self) -> None:
        """Cancel it and wait until it has ended. Raises what it raised."""
        task = self._task
        if task is None:
            return
        self._stopping = True
        task.cancel()
        await asyncio.wait({task})
        self._task = None
        if not task.cancelled():
            task.result()

    def _on_done(self, task: asyncio.Task[object]) -> None:
        if not self._stopping and not task.cancelled() and task.exception() is not None:
            assert self._home is not None
            self._cancel_sent = True
            self._home.cancel("standby failed")

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._cancel_sent:
            assert self._home is not None
            ours_alone = self._home.uncancel() <= self._cancelling_before
            if not ours_alone and isinstance(exc, asyncio.CancelledError):
                return  # a cancellation from outside stays one
        await self.stop()


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work
