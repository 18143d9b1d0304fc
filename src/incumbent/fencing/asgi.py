"""ASGI middleware that refuses the requests of a stale leader. It needs asyncio; the fences do not."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Final

from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    OutcomeUnknown,
    Overloaded,
    StaleToken,
    Unsupported,
)
from incumbent.fencing.api import Fence
from incumbent.fencing.http import ADMITTED, HOLDER_HEADER, TOKEN_HEADER, Admitted, Answer, Door, Required
from incumbent.fencing.turn import WAIT_S, check_wait

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

WAITERS_MAX: Final = 1000
"""Requests of one worker that wait for the fence; the next one is answered 503."""
POLICY_VIOLATION: Final = 1008
"""RFC 6455, 7.4.1."""


class Fenced:
    """``app = Fenced(app, fence)`` What `incumbent.fencing.wsgi.Fenced` does, for ASGI.

    The admitted token is in ``scope["incumbent.fencing"]``. The fence is asked in a thread of its own, one request after the other;
    a request that has not had its turn after `wait_s` is answered 503.

    Lifespan passes through. A WebSocket is refused, since no check at its opening says anything of its later messages; with
    ``pass_websockets=True`` it passes unchecked, and the application checks each message. The event loop must be asyncio's.

    Raises InvalidInput; Unsupported when the fence has no lock to hold.
    """

    def __init__(
        self,
        app: Application,
        fence: Fence,
        *,
        exclusive: bool = False,
        required: str = Required.WRITES,
        pass_websockets: bool = False,
        wait_s: float = WAIT_S,
    ) -> None:
        self._app = app
        self._fence = fence
        self._exclusive = exclusive
        self._pass_websockets = pass_websockets
        self._wait_s = check_wait(wait_s)
        self._door = Door(fence, exclusive=exclusive, required=required)
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="incumbent-fence")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "websocket" if not self._pass_websockets:
                await receive()  # websocket.connect
                await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "not fenced"})
            case "lifespan" | "websocket":
                await self._app(scope, receive, send)
            case other:
                raise Unsupported(f"{self._fence.name}: nobody knows what a fence means for {other!r}")

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._door.read(scope["method"], _lines(scope, TOKEN_HEADER), _lines(scope, HOLDER_HEADER))
        if isinstance(found, Answer):
            await _reply(found, send)
        elif found is None:
            await self._app(scope, receive, send)
        else:
            await self._admit(found, scope, receive, send)

    async def _admit(self, admitted: Admitted, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        ran = False
        try:
            async with self._passed(admitted):
                ran = True
                await self._app({**scope, ADMITTED: admitted}, receive, watched)
        except StaleToken as stale:  # the fence's, or that of the application's own transaction
            if begun:
                raise
            await _reply(self._door.answer(stale), send)
        except (EngineError, OutcomeUnknown) as error:
            if ran:
                raise  # the application's own, or the fence could not be left: something may have been done
            await _reply(self._door.answer(error), send)

    @asynccontextmanager
    async def _passed(self, admitted: Admitted) -> AsyncIterator[None]:
        """The fence is raised when the block begins, and held until it ends if that is asked for."""
        if not self._exclusive:
            async with self._its_turn():
                await self._in_thread(lambda: self._fence.prime(admitted.token, admitted.holder))
            yield
            return
        async with self._its_turn(), self._held(admitted):
            yield

    @asynccontextmanager
    async def _its_turn(self) -> AsyncIterator[None]:
        if self._waiting >= WAITERS_MAX:
            raise Overloaded(f"{self._fence.name}: {WAITERS_MAX} requests wait for the fence")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._turn.acquire()
        except TimeoutError as error:
            raise EngineUnavailable(f"{self._fence.name}: no turn within {self._wait_s} s") from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    @asynccontextmanager
    async def _held(self, admitted: Admitted) -> AsyncIterator[None]:
        """One thread enters the fence's block and leaves it again; it never stays inside, whenever this task is cancelled."""
        loop, entered, leave = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

        def hold() -> None:
            self._fence.prime(admitted.token, admitted.holder)  # durable before the application does anything
            with self._fence.write(admitted.token, admitted.holder):
                loop.call_soon_threadsafe(entered.set)
                leave.wait()

        holding = loop.run_in_executor(self._thread, hold)
        holding.add_done_callback(lambda _: entered.set())
        try:
            await entered.wait()
            if not holding.done():
                yield
        finally:
            leave.set()
            await asyncio.wait({holding})
            failed = holding.exception()
        if failed is not None:
            raise failed

    async def _in_thread(self, act: Callable[[], None]) -> None:
        # Shielded: who is cancelled meanwhile keeps the turn until the thread is free again.
        acting = asyncio.get_running_loop().run_in_executor(self._thread, act)
        try:
            await asyncio.shield(acting)
        except asyncio.CancelledError:
            await asyncio.wait({acting})
            acting.exception()  # seen: nobody is left to tell
            raise


def _lines(scope: Scope, header: str) -> list[str]:
    wanted = header.lower().encode()
    return [
        value.decode(errors="surrogateescape") for name, value in scope["headers"] if name.lower() == wanted
    ]


async def _reply(answer: Answer, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers]
    await send({"type": "http.response.start", "status": answer.status.value, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
