"""Three ZooKeeper members under load and through failures, by a pipelining client of our own: what is asked is put together by hand.

Its wire (jute: big-endian integers, and bytes with their length in front) is spoken as ZooKeeper's own client speaks it, over
eight connections with as many requests in flight as wanted and no threads.
Elections are the recipe: an ephemeral sequential node, who is first leads, who is not watches the one right before.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any, Final

from bench.nodes import cpu_s
from bench.throughput import Step
from tests.servers.spaces import Spaces
from tests.servers.zookeeper import ZooKeeper

JVM: Final = ("-Xmx512m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
"""The compilers and the collector as they come."""
AS_IT_COMES: Final = ("tickTime=2000", "initLimit=10", "syncLimit=5")
"""As in the configuration that it ships."""
AGGRESSIVE: Final = ("tickTime=25", "initLimit=200", "syncLimit=2")
"""A follower gives its leader up after 50 ms."""
SESSION_MS: Final = 30_000
ATTEMPT_TIMEOUT_S: Final = 2.0
CONNECTIONS: Final = 8
WARM_UP_S: Final = 8.0
"""So long the virtual machines compile before anything is counted."""
VALUE: Final = b"v" * 100

CREATE, DELETE, EXISTS, SET_DATA, GET_CHILDREN = 1, 2, 3, 5, 8
WATCH_EVENT: Final = -1
PING, PING_XID = 11, -2
EPHEMERAL: Final = 1
EPHEMERAL_SEQUENTIAL: Final = 3
NO_NODE, NODE_EXISTS = -101, -110


class ZooError(OSError):
    def __init__(self, code: int) -> None:
        super().__init__(f"ZooKeeper answered {code}")
        self.code = code


# --- jute ------------------------------------------------------------------------------------------------------------


def text(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


def framed(body: bytes) -> bytes:
    return struct.pack(">i", len(body)) + body


def connect_request() -> bytes:
    return framed(struct.pack(">iqiq", 0, 0, SESSION_MS, 0) + text(bytes(16)) + b"\0")


def request(xid: int, kind: int, body: bytes) -> bytes:
    return framed(struct.pack(">ii", xid, kind) + body)


def create(path: bytes, value: bytes = b"", flags: int = 0) -> bytes:
    everybody = struct.pack(">ii", 1, 31) + text(b"world") + text(b"anyone")
    return text(path) + text(value) + everybody + struct.pack(">i", flags)


def set_data(path: bytes, value: bytes) -> bytes:
    return text(path) + text(value) + struct.pack(">i", -1)


def delete(path: bytes) -> bytes:
    return text(path) + struct.pack(">i", -1)


def look(path: bytes, *, watch: bool) -> bytes:
    return text(path) + bytes([watch])


def texts(body: bytes) -> list[bytes]:
    (count,) = struct.unpack_from(">i", body)
    at, found = 4, []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", body, at)
        found.append(body[at + 4 : at + 4 + length])
        at += 4 + length
    return found


# --- clients ---------------------------------------------------------------------------------------------------------


class Client(asyncio.Protocol):
    """One session. Answers come in the order of the requests."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._watched: dict[bytes, asyncio.Event] = {}
        self._transport: asyncio.Transport | None = None
        self._last = 0
        self.connected = asyncio.get_running_loop().create_future()

    @classmethod
    async def connect(cls, address: tuple[str, int]) -> Client:
        _, client = await asyncio.get_running_loop().create_connection(cls, *address)
        await client.connected
        return client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(connect_request())

    def ask(self, kind: int, body: bytes) -> asyncio.Future[bytes]:
        """The answer's body. Raises ZooError."""
        assert self._transport is not None
        self._last += 1
        self._transport.write(request(self._last, kind, body))
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        return future

    async def gone(self, path: bytes) -> None:
        """Return when there is no such node, or something else happened to it."""
        changed = self._watched.setdefault(path, asyncio.Event())
        try:
            await self.ask(EXISTS, look(path, watch=True))
        except ZooError:
            return
        await changed.wait()

    async def ping(self) -> None:
        """Keeps the session; who waits for the answer waits for nothing that matters."""
        assert self._transport is not None
        self._transport.write(request(PING_XID, PING, b""))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        at = 0
        while len(self._buffer) - at >= 4:
            (length,) = struct.unpack_from(">i", self._buffer, at)
            if len(self._buffer) - at - 4 < length:
                break
            self._take(bytes(self._buffer[at + 4 : at + 4 + length]))
            at += 4 + length
        del self._buffer[:at]

    def _take(self, body: bytes) -> None:
        if not self.connected.done():
            self.connected.set_result(None)
            return
        xid, _, error = struct.unpack_from(">iqi", body)
        if xid == PING_XID:
            return
        if xid == WATCH_EVENT:
            (length,) = struct.unpack_from(">i", body, 24)
            changed = self._watched.pop(body[28 : 28 + length], None)
            if changed is not None:
                changed.set()
        elif error:
            self._waiting.popleft().set_exception(ZooError(error))
        else:
            self._waiting.popleft().set_result(body[16:])


def write_once(address: tuple[str, int], path: bytes) -> None:
    """Over a connection of its own. Raises OSError."""
    with socket.create_connection(address, ATTEMPT_TIMEOUT_S) as connection:
        connection.settimeout(ATTEMPT_TIMEOUT_S)
        connection.sendall(connect_request() + request(1, CREATE, create(path)))
        _answer(connection)
        if _answer(connection) == NODE_EXISTS:
            connection.sendall(request(2, SET_DATA, set_data(path, VALUE)))
            if (code := _answer(connection)) != 0:
                raise ZooError(code)


def _answer(connection: socket.socket) -> int:
    """The error of the next answer; of the first of all it means nothing."""
    (length,) = struct.unpack(">i", _exactly(connection, 4))
    (error,) = struct.unpack_from(">i", _exactly(connection, length), 12)
    return int(error)


def _exactly(connection: socket.socket, count: int) -> bytes:
    found = b""
    while len(found) < count:
        if not (more := connection.recv(count - len(found))):
            raise ConnectionError("ZooKeeper closed the connection")
        found += more
    return found


# --- under load ------------------------------------------------------------------------------------------------------


class Load:
    """See `bench.throughput.Subject`. There are no leases to be renewed: a session lives by its connection's pings."""

    renewer = None

    def __init__(self, server: ZooKeeper, clients: Sequence[Client]) -> None:
        self._server = server
        self._clients = clients

    def cpu_s(self) -> float:
        return sum(cpu_s(process.pid) for process in self._server.processes.values())

    async def writer(self, worker: int) -> Step:
        client, path = self._of(worker), b"/key-%d" % worker
        await self._made(client, path)
        body = set_data(path, VALUE)

        async def step() -> int:
            await client.ask(SET_DATA, body)
            return 1

        return step

    async def acquirer(self, worker: int) -> Step:
        return await self._candidate(worker, b"/own-%d" % worker)

    async def candidate(self, worker: int) -> Step:
        return await self._candidate(worker, b"/contended")

    async def _candidate(self, worker: int, parent: bytes) -> Step:
        client = self._of(worker)
        await self._made(client, parent)
        body = create(parent + b"/n-", flags=EPHEMERAL_SEQUENTIAL)

        async def step() -> int:
            (path,) = texts(struct.pack(">i", 1) + await client.ask(CREATE, body))
            mine = path.rpartition(b"/")[2]
            while True:
                queue = sorted(texts(await client.ask(GET_CHILDREN, look(parent, watch=False))))
                if (place := queue.index(mine)) == 0:
                    break
                await client.gone(parent + b"/" + queue[place - 1])
            await client.ask(DELETE, delete(path))
            return 1

        return step

    def _of(self, worker: int) -> Client:
        return self._clients[worker % len(self._clients)]

    async def _made(self, client: Client, path: bytes) -> None:
        try:
            await client.ask(CREATE, create(path))
        except ZooError as error:
            if error.code != NODE_EXISTS:
                raise


async def cases(directory: Path, seconds: float) -> list[dict[str, Any]]:
    """ZooKeeper with three members, as it comes, asked through its leader."""
    from bench import throughput

    with running(directory, None, AS_IT_COMES) as server:
        address = server.clients[server.wait()]
        clients = [await Client.connect(address) for _ in range(CONNECTIONS)]
        load = Load(server, clients)
        await throughput.run(
            [await load.writer(worker) for worker in range(max(throughput.IN_FLIGHT))], WARM_UP_S
        )
        rows = await throughput.cases("zookeeper", load, seconds)
        for client in clients:
            client.close()
    return [{**row, "client": "jute by hand, asyncio"} for row in rows]


@asynccontextmanager
async def held(directory: Path, elections: int, sessions: int) -> AsyncIterator[Mapping[str, Popen[bytes]]]:
    """See ``bench/idle.py``: so many ephemeral nodes, each with a parent of its own, of so many sessions."""
    from bench.idle import each, keep

    with running(directory, None, AS_IT_COMES) as server:
        addresses = list(server.clients.values())
        clients = [await Client.connect(addresses[number % 3]) for number in range(sessions)]
        keeping = asyncio.create_task(keep([client.ping for client in clients]))

        async def join(number: int) -> None:
            client, parent = clients[number % sessions], b"/election-%d" % number
            await client.ask(CREATE, create(parent))
            await client.ask(CREATE, create(parent + b"/held", flags=EPHEMERAL))

        await each(range(elections), join)
        yield server.processes
        keeping.cancel()
        for client in clients:
            client.close()


@contextmanager
def running(directory: Path, network: Spaces | None, options: Sequence[str]) -> Iterator[ZooKeeper]:
    """All three serve; with `network`, each in its namespace there."""
    within = None if network is None else {name: network.inside(name) for name in network.addresses}
    hosts = None if network is None else network.addresses
    server = ZooKeeper(directory, 3, *options, hosts=hosts, within=within, jvm=JVM)
    try:
        for name in server.clients:
            server.start(name)
        server.wait()
        yield server
    finally:
        server.close()
