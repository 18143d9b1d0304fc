"""The asking side of one connection: dial a voter as a client, ask, and have every question end exactly once."""

from __future__ import annotations

import asyncio
from functools import partial

from incumbent.errors import EngineUnavailable, IncumbentError, ProtocolViolation
from incumbent.node.api import RefusedReason
from incumbent.runtime.connection import Connection, NetworkLimits
from incumbent.runtime.formation import client_hello
from incumbent.runtime.frames import (
    Address,
    Answer,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Bye,
    Call,
    Frame,
    Hello,
    Refuse,
    Request,
    refusal_error,
)

AnswerOutcome = AnswerDone | AnswerRefused | AnswerUnknown


class Caller:
    """One connection to one voter. Made by `dial`; over for good once `is_open` is false."""

    def __init__(self, cluster: str, address: Address, limits: NetworkLimits) -> None:
        self._hello = client_hello(cluster)
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
    async def dial(cls, cluster: str, address: Address, limits: NetworkLimits) -> Caller:
        """Connect and introduce ourselves.

        Raises EngineUnavailable when nobody answers in time, and what the voter refused us with.
        """
        caller = cls(cluster, address, limits)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(limits.connect_timeout_s):
                await loop.create_connection(lambda: caller._connection, *address)
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
            case Hello() if frame.cluster == self._hello.cluster:
                connection.opened(frame)  # a voter introduces itself anew when its cluster is formed
                if not self._greeted.done():
                    self._greeted.set_result(None)
            case Answer():
                future = self._waiting.get(frame.id)
                if future is not None and not future.done():
                    future.set_result(frame.outcome)
            case Refuse():
                host, port = self._address
                self._fail(refusal_error(frame, f"{host}:{port}"))
            case Bye():
                pass
            case _:
                raise ProtocolViolation("a voter answers a client and does nothing else")

    def _on_closed(self, _connection: Connection) -> None:
        self._fail(EngineUnavailable("the connection ended before it began"))
        for future in list(self._waiting.values()):
            if not future.done():
                future.set_result(AnswerUnknown())

    def _fail(self, error: IncumbentError) -> None:
        if not self._greeted.done():
            self._greeted.set_exception(error)
            self._greeted.exception()  # seen, also when nobody waits for it any more
