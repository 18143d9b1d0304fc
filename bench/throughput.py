"""How many durable writes, renewals and leaderships a second: three real nodes, one client process, real disks.

Each case keeps 1, 16 or 64 requests in flight for some seconds. `write` puts a value; `renew` extends one of as many sessions
as are in flight, each by a request of its own; `acquire_release` joins an election that nobody else wants, finds itself first
and leaves; `contended` has 16 candidates for one election, each leaving as soon as it leads. ``--rival`` runs the same against three
members of another system in the same minute, through the fastest client that could be had (`bench/rivals`). Writes and renewals of ours are
driven twice: by our own client, and `canned`, as h2load drives etcd's.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Protocol

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import canned
from bench.nodes import CLUSTER, Nodes, running
from bench.report import case, parser, show

from incumbent.engines.api import Claimed, Engine, Session
from incumbent.engines.cluster import connect
from incumbent.engines.cluster.reference import Reference
from incumbent.errors import WatchLost
from incumbent.ids import LeaseId
from incumbent.kv.api import Put
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.frames import Renew, Request, Submit

IN_FLIGHT: Final = (1, 16, 64)
CANDIDATES: Final = 16
VALUE: Final = b"v" * 100
RIVALS: Final = ("etcd", "zookeeper")
TTL_S: Final = 60.0

Step = Callable[[], Awaitable[int]]
"""Does something and says how many that were."""


class Subject(Protocol):
    """Who is measured: each makes the step of one worker. No `renewer`: there is nothing to renew."""

    @property
    def renewer(self) -> Callable[[int], Awaitable[Step]] | None: ...
    @property
    def cpu_s(self) -> Callable[[], float]: ...
    async def writer(self, worker: int) -> Step: ...
    async def acquirer(self, worker: int) -> Step: ...
    async def candidate(self, worker: int) -> Step: ...


class Ours:
    def __init__(self, engine: Engine, client: ClusterClient, cpu_s: Callable[[], float]) -> None:
        self._engine = engine
        self._client = client
        self._sessions: dict[int, Session] = {}
        self.cpu_s = cpu_s

    async def _session(self, worker: int) -> Session:
        if worker not in self._sessions:
            self._sessions[worker] = await self._engine.open_session(TTL_S, f"{time.time_ns()}-{worker}")
        return self._sessions[worker]

    async def writer(self, worker: int) -> Step:
        key = b"key/%d" % worker

        async def step() -> int:
            await self._client.submit(Put(key, VALUE), timeout=10.0)
            return 1

        return step

    async def lease(self, worker: int) -> LeaseId:
        """To be renewed without the engine's renew(), which waits for the next heartbeat where there is time."""
        return Reference.from_bytes((await self._session(worker)).ref).lease

    async def renewer(self, worker: int) -> Step:
        lease = await self.lease(worker)

        async def step() -> int:
            await self._client.renew(lease, timeout=10.0)
            return 1

        return step

    async def acquirer(self, worker: int) -> Step:
        session = await self._session(worker)

        async def step() -> int:
            member, found = await self._engine.stand(session, f"own/{worker}", "r", b"")
            assert isinstance(found, Claimed)
            await self._engine.leave(member)
            return 1

        return step

    async def candidate(self, worker: int) -> Step:
        session = await self._session(worker)
        engine = self._engine

        async def step() -> int:
            member, found = await engine.stand(session, "contended", "r", b"")
            while not isinstance(found, Claimed):
                try:
                    async for _ in engine.watch("contended", found.cursor):
                        break
                except WatchLost:
                    pass
                found = await engine.claim(member)
            await engine.leave(member)
            return 1

        return step


async def run(steps: list[Step], seconds: float) -> tuple[float, list[float]]:
    """Everybody steps again and again. Gives a rate and every step's duration in ms."""
    samples: list[float] = []
    done = 0

    async def work(step: Step, until: float) -> None:
        nonlocal done
        while (began := time.perf_counter()) < until:
            did = await step()
            done += did  # not in one: `done` would be read before the step
            samples.append(1000 * (time.perf_counter() - began))

    began = time.perf_counter()
    await asyncio.gather(*(work(step, began + seconds) for step in steps))
    return done / (time.perf_counter() - began), samples


async def cases(who: str, subject: Subject, seconds: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    async def one(name: str, make: Callable[[int], Awaitable[Step]], workers: int) -> None:
        steps = [await make(worker) for worker in range(workers)]
        servers, client = subject.cpu_s(), time.process_time()
        began = time.perf_counter()
        rate, samples = await run(steps, seconds)
        took = time.perf_counter() - began
        shares = {
            "per_s": round(rate, 1),
            "servers_cpu": round((subject.cpu_s() - servers) / took, 2),
            "client_cpu": round((time.process_time() - client) / took, 2),
        }
        rows.append(case(f"{who} {name} {workers}", samples, **shares))

    for workers in IN_FLIGHT:
        await one("write", subject.writer, workers)
        if subject.renewer is not None:
            await one("renew", subject.renewer, workers)
        await one("acquire_release", subject.acquirer, workers)
    await one("contended", subject.candidate, CANDIDATES)
    return rows


async def canned_cases(nodes: Nodes, subject: Ours, seconds: float) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []

    async def one(name: str, requests: list[Request]) -> None:
        for address in nodes.addresses.values():
            servers, client, began = subject.cpu_s(), time.process_time(), time.perf_counter()
            try:
                rate, samples = await canned.run(address, CLUSTER, requests, seconds)
            except ConnectionError:
                continue  # it does not lead
            took = time.perf_counter() - began
            shares = {
                "per_s": round(rate, 1),
                "servers_cpu": round((subject.cpu_s() - servers) / took, 2),
                "client_cpu": round((time.process_time() - client) / took, 2),
            }
            rows.append(case(f"incumbent {name} {len(requests)} canned", samples, **shares))
            return

    for count in IN_FLIGHT:
        await one("write", [Submit(Put(b"key/%d" % worker, VALUE)) for worker in range(count)])
        await one("renew", [Renew(await subject.lease(worker)) for worker in range(count)])
    return rows


async def ours(directory: Path, seconds: float) -> list[dict[str, Any]]:
    async with running(directory) as nodes:
        engine, client = await connect(nodes.url), nodes.client()
        subject = Ours(engine, client, lambda: sum(nodes.cpu_s().values()))
        try:
            rows = await cases("incumbent", subject, seconds)
            return rows + await canned_cases(nodes, subject, seconds)
        finally:
            await client.close()
            await engine.close()


def with_ratios(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Ours by the rivals', where both were measured."""
    rates = {row["name"]: row["per_s"] for row in rows}

    def ratio(name: str) -> dict[str, float]:
        who, _, what = name.partition(" ")
        if who != "incumbent":
            return {}
        theirs = {rival: rates.get(f"{rival} {what.removesuffix(' canned')}") for rival in RIVALS}
        return {f"by_{rival}": round(rates[name] / rate, 2) for rival, rate in theirs.items() if rate}

    return [{**row, **ratio(row["name"])} for row in rows]


def table(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        print(
            f"{row['name']:<32} {row['per_s']:>9.1f}/s  p50 {row['p50_ms']:>8.3f} ms  p99 {row['p99_ms']:>8.3f} ms"
            f"  cores: nodes {row['servers_cpu']:.2f}, client {row['client_cpu']:.2f}"
            + "".join(f"  {row[key]:.2f} x {key[3:]}" for key in row if key.startswith("by_"))
        )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rival", choices=RIVALS, help="measure it too, in the same minute")
    arguments.add_argument("--seconds", type=float, default=3.0, help="of each case (3)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        rows = asyncio.run(ours(Path(directory), options.seconds))
    if options.rival is not None:
        from bench.rivals import etcd, zookeeper

        with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
            if options.rival == "etcd":
                rows += etcd.cases(Path(directory), IN_FLIGHT, CANDIDATES, options.seconds)
            else:
                rows += asyncio.run(zookeeper.cases(Path(directory), options.seconds))
    rows = with_ratios(rows)
    if options.json:
        show("throughput", rows, as_json=True)
    else:
        table(rows)


if __name__ == "__main__":
    main()
