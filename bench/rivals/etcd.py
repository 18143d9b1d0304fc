"""Three etcd members under load: writes and renewals by h2load (C, nghttp2), elections by grpcio without protobuf objects.

h2load sends the same gRPC request again and again, so it costs as little as a client can. An acquire with a release depends on
answers, and so does an election: these run in Python, over grpc.aio with messages put together by hand. What etcd's recipe for
an election does is done: put under a lease if it is not there, look who is first, watch the one right before, delete.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import re
import resource
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bench.nodes import cpu_s
from bench.report import case
from tests.servers.etcd import VERSION, Etcd
from tests.servers.packages import debian, libraries, wheel

H2LOAD_PACKAGES: Final = ("nghttp2-client", "libnghttp2-14", "libev4", "libjemalloc2", "libjansson4")
GRPCIO_VERSION: Final = "1.85.1"
TTL_S: Final = 60
Message = dict[int, list[Any]]


# --- protobuf, as little of it as is needed --------------------------------------------------------------------------


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def parsed(data: bytes) -> Message:
    found: Message = {}
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            value: Any = number()
        elif tag & 7 == 1:
            (value,) = struct.unpack_from("<Q", data, at)
            at += 8
        else:
            length = number()
            value = data[at : at + length]
            at += length
        found.setdefault(tag >> 3, []).append(value)
    return found


def framed(message: bytes) -> bytes:
    return b"\0" + struct.pack(">I", len(message)) + message


# --- what is asked ---------------------------------------------------------------------------------------------------


def put_if_absent(key: bytes, lease: int) -> bytes:
    absent = field(1, 0) + field(2, 1) + field(3, key) + field(5, 0)  # create revision == 0
    put = field(2, field(1, key) + field(2, b"") + field(3, lease))
    read = field(1, field(1, key))
    return field(1, absent) + field(2, put) + field(3, read)


def first_before(prefix: bytes, revision: int) -> bytes:
    """The youngest of those that are older than a revision."""
    end = prefix[:-1] + bytes([prefix[-1] + 1])
    order = field(5, 2) + field(6, 2)  # descending, by create revision
    return field(1, prefix) + field(2, end) + field(3, 1) + order + field(13, revision - 1)


class Client:
    """One channel to one member."""

    def __init__(self, address: tuple[str, int]) -> None:
        grpc = _grpc()
        self._channel = grpc.aio.insecure_channel(f"{address[0]}:{address[1]}")
        self.txn = self._channel.unary_unary("/etcdserverpb.KV/Txn")
        self.range = self._channel.unary_unary("/etcdserverpb.KV/Range")
        self.delete = self._channel.unary_unary("/etcdserverpb.KV/DeleteRange")
        self.grant = self._channel.unary_unary("/etcdserverpb.Lease/LeaseGrant")
        self.watch = self._channel.stream_stream("/etcdserverpb.Watch/Watch")
        self._keep_alive = self._channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive")
        self._keeping: Any = None  # the one stream of all leases

    async def close(self) -> None:
        await self._channel.close()

    async def lease(self, ttl_s: int = TTL_S) -> int:
        granted = parsed(await self.grant(field(1, ttl_s)))
        lease: int = granted[2][0]
        return lease

    async def keep_alive(self, lease: int) -> None:
        if self._keeping is None:
            self._keeping = self._keep_alive()
        await self._keeping.write(field(1, lease))
        await self._keeping.read()

    async def campaign(self, prefix: bytes, key: bytes, lease: int) -> None:
        """Return as the leader."""
        entered = parsed(await self.txn(put_if_absent(prefix + key, lease)))
        revision = parsed(entered[1][0])[3][0]
        while True:
            found = parsed(await self.range(first_before(prefix, revision)))
            if 2 not in found:
                return
            before = parsed(found[2][0])
            await self._wait_for_end(before[1][0], parsed(found[1][0])[3][0])

    async def resign(self, prefix: bytes, key: bytes) -> None:
        await self.delete(field(1, prefix + key))

    async def _wait_for_end(self, key: bytes, revision: int) -> None:
        call = self.watch()
        await call.write(field(1, field(1, key) + field(3, revision + 1)))
        async for answer in call:
            for event in parsed(answer).get(11, []):
                if parsed(event).get(1) == [1]:  # deleted
                    call.cancel()
                    return


def _grpc() -> Any:
    path = str(wheel("grpcio", GRPCIO_VERSION))
    if path not in sys.path:
        sys.path.append(path)
        typing = wheel("typing-extensions", "4.15.0")
        sys.path.append(str(typing))
    importlib.import_module("grpc.aio")
    return importlib.import_module("grpc")


# --- under load ------------------------------------------------------------------------------------------------------


class Load:
    def __init__(self, server: Etcd, directory: Path) -> None:
        self._server = server
        self._directory = directory
        tree = debian(*H2LOAD_PACKAGES)
        self._h2load = tree / "usr" / "bin" / "h2load"
        self._environment = {**os.environ, "LD_LIBRARY_PATH": libraries(tree)}

    def servers_cpu_s(self) -> float:
        return sum(cpu_s(process.pid) for process in self._server.processes.values())

    def cases(self, in_flight: tuple[int, ...], candidates: int, seconds: float) -> Iterator[dict[str, Any]]:
        leader = self._server.wait()
        lease = int(self._server.ask(leader, "/v3/lease/grant", TTL=TTL_S * 10)["ID"])
        write = field(1, b"key/1") + field(2, b"v" * 100)
        for streams in in_flight:
            yield self._h2("write", "/etcdserverpb.KV/Put", write, streams, seconds)
            yield self._h2("renew", "/etcdserverpb.Lease/LeaseKeepAlive", field(1, lease), streams, seconds)
            yield asyncio.run(self._acquire("acquire_release", streams, seconds, shared=False))
        yield asyncio.run(self._acquire("contended", candidates, seconds, shared=True))

    def _h2(self, name: str, path: str, message: bytes, streams: int, seconds: float) -> dict[str, Any]:
        host, port = self._server.clients[self._server.wait()]
        body = self._directory / "request.bin"
        body.write_bytes(framed(message))
        before, servers = resource.getrusage(resource.RUSAGE_CHILDREN), self.servers_cpu_s()
        done = subprocess.run(
            [
                str(self._h2load), "-c", "1", "-m", str(streams), "-D", str(max(1, round(seconds))), "-d", str(body),
                "-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{host}:{port}{path}",
            ],
            env=self._environment, capture_output=True, text=True, check=True,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = float(_find(r"finished in ([\d.]+)s", done.stdout))
        client = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        mean_ms = _milliseconds(done.stdout)
        return case(
            f"etcd {name} {streams}",
            [mean_ms],  # h2load tells the mean
            per_s=float(_find(r"([\d.]+) req/s", done.stdout)),
            servers_cpu=round((self.servers_cpu_s() - servers) / took, 2),
            client_cpu=round(client / took, 2),
            client="h2load",
        )

    async def _acquire(self, name: str, workers: int, seconds: float, *, shared: bool) -> dict[str, Any]:
        from bench.throughput import run

        client = Client(self._server.clients[self._server.wait()])
        steps: list[Callable[[], Awaitable[int]]] = []
        for worker in range(workers):
            lease, key = await client.lease(), b"%d" % worker
            prefix = b"contended/" if shared else b"own/%d/" % worker

            async def step(prefix: bytes = prefix, key: bytes = key, lease: int = lease) -> int:
                await client.campaign(prefix, key, lease)
                await client.resign(prefix, key)
                return 1

            steps.append(step)
        servers, mine, began = self.servers_cpu_s(), time.process_time(), time.perf_counter()
        rate, samples = await run(steps, seconds)
        took = time.perf_counter() - began
        shares = {
            "per_s": round(rate, 1),
            "servers_cpu": round((self.servers_cpu_s() - servers) / took, 2),
            "client_cpu": round((time.process_time() - mine) / took, 2),
            "client": f"grpcio {GRPCIO_VERSION}",
        }
        await client.close()
        return case(f"etcd {name} {workers}", samples, **shares)


def cases(
    directory: Path, in_flight: tuple[int, ...], candidates: int, seconds: float
) -> list[dict[str, Any]]:
    """etcd with three members, as it comes."""
    from tests.servers.etcd import etcd

    with etcd(directory) as server:
        return [
            {**row, "version": VERSION}
            for row in Load(server, directory).cases(in_flight, candidates, seconds)
        ]


@asynccontextmanager
async def held(
    directory: Path, elections: int, sessions: int
) -> AsyncIterator[Mapping[str, subprocess.Popen[bytes]]]:
    """See ``bench/idle.py``: so many keys, each alone under its prefix, with so many leases."""
    from bench.idle import each, keep
    from tests.servers.etcd import etcd

    with etcd(directory) as server:
        leader = server.wait()
        client = Client(server.clients[leader])
        leases = [await client.lease() for _ in range(sessions)]
        keeping = asyncio.create_task(keep([lambda n=n: client.keep_alive(n) for n in leases]))  # type: ignore[misc]

        async def join(number: int) -> None:
            lease = leases[number % sessions]
            await client.txn(put_if_absent(b"election/%d/%x" % (number, lease), lease))

        await each(range(elections), join)
        yield server.processes
        keeping.cancel()
        await client.close()


def _find(pattern: str, text: str) -> str:
    found = re.search(pattern, text)
    if found is None:
        raise ValueError(f"h2load did not say {pattern}: {text[-400:]}")
    return found.group(1)


def _milliseconds(text: str) -> float:
    """The mean of `time for request`."""
    found = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", text)
    if found is None:
        return float("nan")
    return float(found.group(1)) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[found.group(2)]
