"""Does what has to be done in one session's name, over one connection: everything that waits, in one send.

The connection stays from one renewal to the next, which attaches anew, to whichever server answers. So does whatever follows an
answer that was lost. What is asked in between is a sign of life to the server and none to the holder, who counts from renewals.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Final, NamedTuple

from incumbent.engines.api import Member
from incumbent.engines.zookeeper import visit, wire
from incumbent.engines.zookeeper.place import Place
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.visit import Visit, refusal
from incumbent.errors import EngineUnavailable, IncumbentError, OutcomeUnknown, Overloaded, SessionGone

BATCH_MAX: Final = 64
"""Requests in one send, about: with the largest member values they are a megabyte, which a server reads one by one."""
WAITING_MAX: Final = 8192
"""Calls."""
HOST_TIMEOUT_MAX_S: Final = 2.0
HOST_TIMEOUT_PARTS: Final = 8
"""One server has at most an eighth of the TTL to answer: three that hang leave time for a fourth."""
PAUSE_S: Final = 0.02
ROUNDS: Final = 2
"""How often all servers are tried for one visit."""


class _Call(NamedTuple):
    requests: tuple[wire.Request, ...]
    anew: bool
    done: asyncio.Future[list[wire.Answer]]


class Attendant:
    """For one live session. Bound to its event loop."""

    def __init__(self, place: Place, reference: Reference) -> None:
        self.reference = reference
        self.unsettled = False
        """An answer was lost: what was asked may still be done, until it has attached anew."""
        self.members: dict[str, Member | None] = {}
        """The session's own, by group, as far as this process made them. None: it does not know."""
        self._place = place
        self._hosts = deque(place.hosts)  # the one that answered last comes first
        self._host_timeout_s = min(HOST_TIMEOUT_MAX_S, reference.timeout_ms / 1000 / HOST_TIMEOUT_PARTS)
        self._waiting: deque[_Call] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._visit: Visit | None = None
        self._xids = visit.fresh_xids()  # over all connections of the session
        self._closed = False

    async def do(self, *requests: wire.Request, anew: bool = False) -> list[wire.Answer]:
        """Done in this order, as soon as may be; also when the caller is cancelled meanwhile. `anew`: attach first. What the
        first is refused for is raised, and what the others are for is in their answers.

        Raises SessionGone, NotAllowed, EngineUnavailable, Overloaded, OutcomeUnknown: an answer was lost.
        """
        if self._closed:
            raise EngineUnavailable("this engine is closed")
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} calls wait for this session")
        call = _Call(requests, anew, asyncio.get_running_loop().create_future())
        self._waiting.append(call)
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="incumbent-zookeeper-session")
        answers = await call.done
        refused = refusal(answers[0])
        if refused is not None:
            raise refused
        return answers

    def keep(self, first: Visit) -> None:
        """The visit that opened the session."""
        self._visit, self._xids = first, first.xids

    async def close(self) -> None:
        self._closed = True
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.cancel()
            await asyncio.gather(runner, return_exceptions=True)
        self._fail(self._waiting, EngineUnavailable("this engine is closed"))
        if self._visit is not None:
            self._visit.close()

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch = list[_Call]()
                while self._waiting and sum(len(call.requests) for call in batch) < BATCH_MAX:
                    batch.append(self._waiting.popleft())
                try:
                    await self._ask(batch)
                except asyncio.CancelledError:
                    self._fail(batch, OutcomeUnknown("this engine was closed before the answer"))
                    raise
                except IncumbentError as error:
                    self._fail(batch, error)
        finally:
            self._runner = None

    async def _ask(self, batch: list[_Call]) -> None:
        former = self._visit
        if former is None or former.over or self.unsettled or any(call.anew for call in batch):
            self._visit = await self._attach()
            if former is not None:
                former.close()
            self.unsettled = False  # what was asked before is done by now, or will never be
        assert self._visit is not None
        requests = [request for call in batch for request in call.requests]
        try:
            async with asyncio.timeout(self._host_timeout_s * 2):
                answers = iter(await self._visit.ask(*requests))
        except TimeoutError:
            self._hosts.rotate(-1)
            answers = iter([OutcomeUnknown("the server did not answer in time")] * len(requests))
        for call in batch:
            given = list[wire.Answer]()
            for answer in islice(answers, len(call.requests)):
                if isinstance(answer, OutcomeUnknown):
                    self.unsettled = True
                    _set(call.done, answer)
                else:
                    self.unsettled |= answer.error == wire.SESSION_MOVED
                    given.append(answer)
            if not call.done.done():
                call.done.set_result(given)

    async def _attach(self) -> Visit:
        """Raises SessionGone, EngineUnavailable."""
        reference = self.reference
        trouble: Exception | None = None
        for _ in range(len(self._hosts) * ROUNDS):
            try:
                async with asyncio.timeout(self._host_timeout_s):
                    return await visit.pay(
                        self._place,
                        self._hosts[0],
                        reference.timeout_ms,
                        reference.session,
                        reference.password,
                        self._xids,
                    )
            except SessionGone:
                raise
            except (EngineUnavailable, TimeoutError) as error:
                trouble = error
            self._hosts.rotate(-1)
            await asyncio.sleep(PAUSE_S)
        raise EngineUnavailable(f"no server answered: {trouble}")

    def _fail(self, calls: deque[_Call] | list[_Call], error: IncumbentError) -> None:
        for call in calls:
            _set(call.done, error)
        calls.clear()


def _set(done: asyncio.Future[list[wire.Answer]], error: IncumbentError) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # whoever was cancelled does not ask for it
