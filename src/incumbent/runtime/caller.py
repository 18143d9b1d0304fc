"""The asking side of one connection: dial a voter as a client, ask, and have every question end exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    IncumbentError,
    NotAllowed,
    Overloaded,
    ProtocolViolation,
    WatchLost,
)
from incumbent.ids import Revision
from incumbent.node.api import RefusedReason
from incumbent.runtime.connection import Connection, NetworkLimits, ended_early
from incumbent.runtime.formation import client_hello
from incumbent.runtime.frames import (
    Address,
    Answer,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Bye,
    Call,
    Follow,
    Frame,
    Hello,
    Led,
    Ping,
    Pong,
    Refuse,
    Request,
    Unwatch,
    Watch,
    WatchOver,
    Woken,
    refusal_error,
)
from incumbent.runtime.tls import Tls, dial, examine_certificate

AnswerOutcome = AnswerDone | AnswerRefused | AnswerUnknown

PING_INTERVAL_S: Final = 1.0
"""While something is watched, a voter that said nothing for so long is asked whether it is there; after as long again it is
given up: its host may be gone without a word, and whoever watches would wait for ever."""


@dataclass(slots=True, eq=False)
class _Watching:
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    over: EngineError | None = None


class Caller:
    """One connection to one voter. Made by `dial`; over for good once `is_open` is false."""

    def __init__(
        self,
        cluster: str,
        address: Address,
        limits: NetworkLimits,
        on_hello: Callable[[Hello], None] = lambda _: None,
        on_led: Callable[[Led], None] | None = None,
        secrets: Sequence[str] = (),
    ) -> None:
        self.hello: Hello | None = None
        """Who answered, and where it says that the others are; the newest."""
        self._on_hello = on_hello
        self._on_led = on_led
        self._watches: dict[int, _Watching] = {}
        self._pinger: asyncio.TimerHandle | None = None
        self._asked = False  # whether it is there, and nothing was heard since
        self._hello = client_hello(cluster, secrets)
        self._address = address
        self._limits = limits
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting: dict[int, asyncio.Future[AnswerOutcome]] = {}
        self._last_id = 0
        self._connection = Connection(
            limits,
            on_connected=self._say_hello,
            on_frame=self._on_frame,
            on_closed=self._on_closed,
        )

    @classmethod
    async def dial(
        cls,
        cluster: str,
        address: Address,
        limits: NetworkLimits,
        on_hello: Callable[[Hello], None] = lambda _: None,
        on_led: Callable[[Led], None] | None = None,
        tls: Tls | None = None,
        secrets: Sequence[str] = (),
    ) -> Caller:
        """Connect and introduce ourselves. `on_hello` is told what the voter says of its cluster, each time it does;
        `on_led`, of its leader.

        Raises EngineUnavailable when nobody answers in time, and what the voter refused us with.
        """
        caller = cls(cluster, address, limits, on_hello, on_led, secrets)
        try:
            async with asyncio.timeout(limits.connect_timeout_s):
                await dial(lambda: caller._connection, address, tls)
                await caller._greeted
        except (OSError, TimeoutError) as error:
            caller.abort()
            reason = str(error) or f"no answer within {limits.connect_timeout_s} s"
            raise EngineUnavailable(f"{address[0]}:{address[1]} was not reached: {reason}") from error
        except BaseException:
            caller.abort()
            raise
        return caller

    @property
    def is_open(self) -> bool:
        return self._connection.is_open

    def ask(self, request: Request) -> asyncio.Future[AnswerOutcome]:
        """Send `request`. The future ends as answered, as Refused when it was certainly never sent, or as Unknown when
        the connection ended first. Cancel it to stop waiting."""
        future: asyncio.Future[AnswerOutcome] = asyncio.get_running_loop().create_future()
        self._last_id += 1
        if not self._connection.is_open:
            future.set_result(AnswerRefused(RefusedReason.NOT_LEADER))
        elif not self._connection.send(Call(self._last_id, request)):
            future.set_result(AnswerRefused(RefusedReason.OVERLOADED))
        else:
            self._waiting[self._last_id] = future
            future.add_done_callback(partial(self._forget, self._last_id))
        return future

    async def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        """Wake-ups for changes in a key range after a revision, as that voter applies them. Raises WatchLost when it has
        forgotten them, was lost, or said nothing for two `PING_INTERVAL_S`; Overloaded; NotAllowed."""
        self._last_id += 1
        number, watching = self._last_id, _Watching()
        if not self._connection.send(Watch(number, key, end, after)):
            raise WatchLost("the connection to the voter is over or full")
        self._watches[number] = watching
        self._keep_asking()
        try:
            while True:
                await watching.woken.wait()
                watching.woken.clear()
                if watching.over is not None:
                    raise watching.over
                yield None
        finally:
            del self._watches[number]
            if watching.over is None:
                self._connection.send(Unwatch(number))

    def _keep_asking(self) -> None:
        if self._pinger is None:
            self._asked = False
            self._pinger = asyncio.get_running_loop().call_later(PING_INTERVAL_S, self._ask_for_life)

    def _ask_for_life(self) -> None:
        self._pinger = None
        heard, self._connection.heard = self._connection.heard, False
        if not self._watches or not self._connection.is_open:
            return
        if not heard and self._asked:
            self.abort()
            return
        self._keep_asking()
        if not heard:
            self._asked = True
            self._connection.send(Ping())

    async def close(self) -> None:
        """Say goodbye. Takes at most `linger_max_s`."""
        self._connection.bye()
        if not self._connection.closed.is_set():
            await self._connection.closed.wait()

    def abort(self) -> None:
        self._connection.abort()

    def _forget(self, call: int, _answered: asyncio.Future[AnswerOutcome]) -> None:
        del self._waiting[call]

    def _say_hello(self, connection: Connection) -> None:
        connection.send(self._hello)

    def _on_frame(self, connection: Connection, frame: Frame) -> None:
        match frame:
            case Hello() if (refuse := examine_certificate(connection.names, frame)) is not None:
                connection.refuse(refuse)
                self._fail(refusal_error(refuse, "{}:{}".format(*self._address)))
            case Hello() if self._hello.cluster in ("", frame.cluster):
                connection.opened(
                    frame
                )  # a voter introduces itself anew when its cluster is formed, or its members change
                self.hello = frame
                self._on_hello(frame)
                if not self._greeted.done():
                    self._greeted.set_result(None)
                    if self._on_led is not None:
                        connection.send(Follow())
            case Led():
                if self._on_led is not None:
                    self._on_led(frame)
            case Answer():
                future = self._waiting.get(frame.id)
                if future is not None and not future.done():
                    future.set_result(frame.outcome)
            case Refuse():
                host, port = self._address
                self._fail(refusal_error(frame, f"{host}:{port}"))
            case Woken():
                if (watching := self._watches.get(frame.id)) is not None:
                    watching.woken.set()
            case WatchOver():
                self._end_watch(frame.id, _why_over(frame))
            case Bye() | Pong():
                pass
            case _:
                raise ProtocolViolation("a voter answers a client and does nothing else")

    def _end_watch(self, number: int, why: EngineError) -> None:
        watching = self._watches.get(number)
        if watching is not None:
            watching.over = why
            watching.woken.set()

    def _on_closed(self, _connection: Connection) -> None:
        self._fail(EngineUnavailable("{}:{} {}".format(*self._address, ended_early(self._connection))))
        if self._pinger is not None:
            self._pinger.cancel()
        for number in list(self._watches):
            self._end_watch(number, WatchLost("the connection to the voter ended"))
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_result(AnswerUnknown())

    def _fail(self, error: IncumbentError) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(error)
            self._greeted.exception()  # seen, also when nobody waits for it any more


def _why_over(over: WatchOver) -> EngineError:
    if over.not_allowed:
        return NotAllowed(over.why)
    return Overloaded(over.why) if over.overloaded else WatchLost(over.why)
