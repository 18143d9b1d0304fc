"""Does what has to be done in one session's name: everything that waits, in one visit.

The last visit's connection is kept until the next one, which any server may take. Nothing is sent over it meanwhile: a session
is alive by its renewals, and by nothing else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from incumbent.engines.zookeeper import visit, wire
from incumbent.engines.zookeeper.place import Place
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.visit import Visit, refusal
from incumbent.errors import EngineUnavailable, IncumbentError, OutcomeUnknown, Overloaded, SessionGone

BATCH_MAX: Final = 64
"""Requests in one visit: with the largest member values they are a megabyte, which a server reads one by one."""
WAITING_MAX: Final = 8192
HOST_TIMEOUT_MAX_S: Final = 2.0
HOST_TIMEOUT_PARTS: Final = 8
"""One server has at most an eighth of the TTL to answer: three that hang leave time for a fourth."""
PAUSE_S: Final = 0.02
ROUNDS: Final = 2
"""How often all servers are tried for one visit."""


class Attendant:
    """For one live session. Bound to its event loop."""

    def __init__(self, place: Place, reference: Reference) -> None:
        self.reference = reference
        self.unsettled = False
        """An answer was lost: what was asked may still be done, until the next visit has begun."""
        self._place = place
        self._hosts = deque(place.hosts)  # the one that answered last comes first
        self._host_timeout_s = min(HOST_TIMEOUT_MAX_S, reference.timeout_ms / 1000 / HOST_TIMEOUT_PARTS)
        self._waiting: deque[tuple[wire.Request, asyncio.Future[wire.Answer]]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._visit: Visit | None = None
        self._closed = False

    async def do(self, request: wire.Request) -> wire.Answer:
        """Done as soon as may be; also when the caller is cancelled meanwhile.

        Raises SessionGone, NotAllowed, EngineUnavailable, Overloaded, OutcomeUnknown.
        """
        if self._closed:
            raise EngineUnavailable("this engine is closed")
        if len(self._waiting) >= WAITING_MAX:
            raise Overloaded(f"{WAITING_MAX} requests wait for this session")
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((request, done))
        if self._runner is None:
            self._runner = asyncio.create_task(self._run(), name="incumbent-zookeeper-session")
        answer: wire.Answer = await done
        refused = refusal(answer)
        if refused is not None:
            raise refused
        return answer

    def keep(self, first: Visit) -> None:
        """The visit that opened the session."""
        self._visit = first

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
                batch = [self._waiting.popleft() for _ in range(min(BATCH_MAX, len(self._waiting)))]
                try:
                    await self._visit_with(batch)
                except asyncio.CancelledError:
                    self._fail(batch, OutcomeUnknown("this engine was closed before the answer"))
                    raise
                except IncumbentError as error:
                    self._fail(batch, error)
        finally:
            self._runner = None

    async def _visit_with(self, batch: list[tuple[wire.Request, asyncio.Future[wire.Answer]]]) -> None:
        former = self._visit
        self._visit = await self._attach()
        if former is not None:
            former.close()
        self.unsettled = False  # what an earlier visit left behind is done by now, or will never be
        try:
            async with asyncio.timeout(self._host_timeout_s * 2):
                answers = await self._visit.ask(*(request for request, _ in batch))
        except TimeoutError:
            self._hosts.rotate(-1)
            answers = [OutcomeUnknown("the server did not answer in time")] * len(batch)
        for (_, done), answer in zip(batch, answers, strict=True):
            if isinstance(answer, OutcomeUnknown):
                self.unsettled = True
                _set(done, answer)
                continue
            if not done.done():
                done.set_result(answer)

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
                    )
            except SessionGone:
                raise
            except (EngineUnavailable, TimeoutError) as error:
                trouble = error
            self._hosts.rotate(-1)
            await asyncio.sleep(PAUSE_S)
        raise EngineUnavailable(f"no server answered: {trouble}")

    def _fail(
        self,
        requests: deque[tuple[wire.Request, asyncio.Future[wire.Answer]]]
        | list[tuple[wire.Request, asyncio.Future[wire.Answer]]],
        error: IncumbentError,
    ) -> None:
        for _, done in requests:
            _set(done, error)
        requests.clear()


def _set(done: asyncio.Future[wire.Answer], error: IncumbentError) -> None:
    if not done.done():
        done.set_exception(error)
        done.exception()  # whoever was cancelled does not ask for it
