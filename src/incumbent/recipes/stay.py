"""One member that is to be in a group for as long as a block runs, whatever becomes of its session.

All calls about the member are made by one task, one after another, so that none overtakes another: a join that was sent is known
to have happened, or not, before the member leaves.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from incumbent.engines.api import Member
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    IncumbentError,
    MemberGone,
    SessionGone,
)
from incumbent.leadership.keeper import Keeper
from incumbent.leadership.office import Office
from incumbent.leadership.tenure import Reason
from incumbent.leadership.world import Backoff, until_answered

logger = logging.getLogger(__name__)

LEAVE_WAIT_PARTS: Final = 3
"""The end of the block waits up to TTL/3 for the engine to know; after that, leaving goes on in the background."""


class Stay:
    """Made within the place of its group, which it gives back when it is over: one stay of a cluster object at a time."""

    def __init__(self, office: Office, group: str, value: bytes) -> None:
        self._office = office
        self._group = group
        self._place = office.place(group)
        self._value = value
        self._wanted = 1  # rises with every value that was said
        self._told = 0  # which of them the engine has
        self._ended = False
        self._wake = asyncio.Event()  # the task is to look: something to say, the session over, or the end
        self._news = asyncio.Event()  # set and replaced when the engine was told something
        self._task: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Until it is a member. You owe an `end`, also when this raises."""
        await self._place.acquire()
        self._task = self._office.tasks.spawn(self._run(), f"incumbent-stay-{self._group}")
        await self._until_told()

    async def say(self, value: bytes) -> None:
        """Until the others can see it. Raises MemberGone when the stay ends meanwhile."""
        self._value = value
        self._wanted += 1
        self._wake.set()
        await self._until_told()

    async def end(self) -> None:
        """Leave. Not waited for longer than TTL/3; whoever stays here next waits for it."""
        self._ended = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=self._office.ttl / LEAVE_WAIT_PARTS)

    async def _until_told(self) -> None:
        assert self._task is not None
        wanted = self._wanted
        while self._told < wanted:
            news = asyncio.ensure_future(self._news.wait())
            try:
                await asyncio.wait({news, self._task}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                news.cancel()
            if self._told < wanted and self._task.done():
                if self._task.cancelled() or self._office.closed:
                    raise EngineUnavailable("this cluster object was closed")
                self._task.result()
                raise MemberGone("the block of `join` ended meanwhile")

    # --- the task -------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        backoff = Backoff(self._office.world.rng)
        try:
            while not self._is_over():
                keeper = await self._office.sessions.live(0.0)
                keeper.attach(self)
                try:
                    await self._stay(keeper)
                except (SessionGone, IncarnationChanged) as gone:
                    restored = isinstance(gone, IncarnationChanged)
                    keeper.end(Reason.ENGINE_RESET if restored else Reason.SESSION_GONE)
                except MemberGone:
                    logger.warning("%s: removed; joining again", self._group)
                except IncumbentError:
                    if not self._told:
                        raise  # whoever began it is told
                    logger.exception("%s: joining again failed; it is tried again", self._group)
                finally:
                    keeper.detach(self)
                if not self._is_over():
                    await backoff.pause()
        finally:
            self._place.release()

    async def _stay(self, keeper: Keeper) -> None:
        """Be a member until the end, or until it is over for another reason."""
        if self._is_over():
            return
        engine, rng = self._office.engine, self._office.world.rng
        request_id = rng.randbytes(16).hex()
        said, value = self._wanted, self._value
        member = await until_answered(
            lambda: engine.join(keeper.session, self._group, request_id, value), rng
        )
        self._tell(said)
        while not self._is_over():
            if self._told < self._wanted:
                await self._say(member)
                continue
            keeper.check()
            self._wake.clear()
            try:
                async with asyncio.timeout(self._office.ttl):
                    await self._wake.wait()
            except TimeoutError:
                # An operator may have removed it. A claim asks that of the engine, and changes nothing.
                await until_answered(lambda: engine.claim(member), rng)
        if not self._office.closed:  # else the session ends, and the member with it
            await until_answered(lambda: engine.leave(member), rng)

    async def _say(self, member: Member) -> None:
        said, value = self._wanted, self._value
        await until_answered(lambda: self._office.engine.update(member, value), self._office.world.rng)
        self._tell(said)

    def _tell(self, said: int) -> None:
        self._told = said
        self._news.set()
        self._news = asyncio.Event()

    def _is_over(self) -> bool:
        return self._ended or self._office.closed

    # --- what becomes of the session --------------------------------------------------------------------------------

    def on_session_over(self, reason: Reason) -> None:
        logger.info("%s: the session is over: %s", self._group, reason)
        self._wake.set()

    def on_renewed(self) -> None: ...

    def on_overdue(self) -> None: ...

    def on_deadline(self) -> None: ...
