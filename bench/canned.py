"""Requests as h2load sends them: put together once, sent again and again over one connection, and every answer looked at.

So the driver costs as little of the two cores as the rival's does, and the nodes are what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from incumbent.runtime.formation import client_hello
from incumbent.runtime.frames import (
    FRAME_BYTES_MAX,
    Address,
    Answer,
    AnswerDone,
    Call,
    FrameReader,
    Hello,
    Request,
    decode_frame,
    encode_frame,
)

PATIENCE_S: Final = 10.0


class Canned(asyncio.Protocol):
    """Keeps one call of each request in flight until `until`."""

    def __init__(self, cluster: str, requests: Sequence[Request], seconds: float) -> None:
        self.samples: list[float] = []  # ms
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hello = encode_frame(client_hello(cluster))
        self._frames = [encode_frame(Call(number, request)) for number, request in enumerate(requests)]
        self._sent = [0.0] * len(requests)
        self._open = len(requests)
        self._seconds = seconds
        self._until = 0.0
        self._reader = FrameReader(FRAME_BYTES_MAX)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        now = time.perf_counter()
        again: list[bytes] = []
        self._reader.feed(data)
        while (body := self._reader.take()) is not None:
            frame = decode_frame(body)
            if isinstance(frame, Hello):
                if not self._until:
                    self._until = now + self._seconds
                    self._sent = [now] * len(self._frames)
                    again = list(self._frames)
            elif isinstance(frame, Answer) and isinstance(frame.outcome, AnswerDone):
                self.samples.append(1000 * (now - self._sent[frame.id]))
                if now < self._until:
                    self._sent[frame.id] = now
                    again.append(self._frames[frame.id])
                else:
                    self._open -= 1
            else:
                self._fail(ConnectionError(f"the node says {frame}"))
                return
        if again:
            self._transport.write(b"".join(again))
        if not self._open and not self.over.done():
            self.over.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(exc or ConnectionError("the node closed the connection"))

    def _fail(self, error: Exception) -> None:
        if not self.over.done():
            self.over.set_exception(error)


async def run(
    address: Address, cluster: str, requests: Sequence[Request], seconds: float
) -> tuple[float, list[float]]:
    """Of the node at `address`, which must lead: a rate, and every answer's delay in ms. Raises ConnectionError."""
    began = time.perf_counter()
    transport, driver = await asyncio.get_running_loop().create_connection(
        lambda: Canned(cluster, requests, seconds), *address
    )
    try:
        await asyncio.wait_for(driver.over, seconds + PATIENCE_S)
    finally:
        transport.close()
    return len(driver.samples) / (time.perf_counter() - began), driver.samples
