"""Between an engine and a ZooKeeper: hands frames on, and loses the answers to some requests together with the connection."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_LENGTH: Final = struct.Struct(">i")
_HEADER: Final = struct.Struct(">ii")


class Proxy:
    """`lose` holds kinds of requests: the answer to the next one of the first of them is lost, after the server gave it."""

    def __init__(self, host: str, port: int) -> None:
        self.lose: deque[int] = deque()
        self.lost: list[int] = []
        self.asked: list[int] = []  # kinds of all requests, in order
        self.frames = 0  # that went to the server
        self.port = 0
        self._server_at = host, port
        self._tasks = set[asyncio.Task[None]]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            upstream_reader, upstream_writer = await asyncio.open_connection(*self._server_at)
            try:
                doomed: dict[int, int] = {}  # xid: kind
                ways = [
                    asyncio.create_task(self._requests(reader, upstream_writer, doomed)),
                    asyncio.create_task(self._answers(upstream_reader, writer, doomed)),
                ]
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)
            finally:
                upstream_writer.close()
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: dict[int, int]
    ) -> None:
        first = True
        async for frame in _frames(reader):
            if not first and len(frame) >= _HEADER.size:
                xid, kind = _HEADER.unpack_from(frame)
                self.asked.append(kind)
                if self.lose and self.lose[0] == kind:
                    doomed[xid] = self.lose.popleft()
            first = False
            self.frames += 1
            writer.write(_LENGTH.pack(len(frame)) + frame)

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, doomed: dict[int, int]
    ) -> None:
        first = True
        async for frame in _frames(reader):
            (xid,) = _LENGTH.unpack_from(frame)
            if not first and xid in doomed:
                self.lost.append(doomed[xid])
                return
            first = False
            writer.write(_LENGTH.pack(len(frame)) + frame)

    async def close(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # transports close in the loop's next turn


async def _frames(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            (length,) = _LENGTH.unpack(await reader.readexactly(4))
            yield await reader.readexactly(length)


@asynccontextmanager
async def proxy_before(address: tuple[str, int]) -> AsyncIterator[Proxy]:
    proxy = Proxy(*address)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.close()
