"""Three real voters in this process, and engines on them: what the suite and the ender's tests run against."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

from incumbent.consensus.api import Timing
from incumbent.engines.api import Engine
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.engines.cluster.voter_link import VoterLink
from incumbent.errors import WatchLost
from incumbent.ids import Revision
from incumbent.runtime.config import VoterConfig
from incumbent.runtime.voter import Voter
from tests.runtime.cluster import CLUSTER, Cluster

MS = 1_000_000
TIMING = Timing(heartbeat_ns=40 * MS, election_timeout_min_ns=250 * MS, election_timeout_max_ns=500 * MS)
NAMES = ("a", "b", "c")


class SharedLink(VoterLink):
    """Closing it leaves the voter running, for others. Its own watches end as they would with the voter."""

    def __init__(self, voter: Voter) -> None:
        super().__init__(voter, AsyncExitStack())
        self._closed = asyncio.Event()

    async def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        wakes = super().watch(key, end, after)
        closed = asyncio.create_task(self._closed.wait())
        try:
            while not closed.done():
                wake = asyncio.ensure_future(anext(wakes))
                try:
                    await asyncio.wait({wake, closed}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    if not wake.done():
                        wake.cancel()
                        await asyncio.gather(wake, return_exceptions=True)
                if not closed.done():
                    yield wake.result()
            raise WatchLost("this link is closed")
        finally:
            closed.cancel()
            await wakes.aclose()  # type: ignore[attr-defined]

    async def close(self) -> None:
        self._closed.set()
        await super().close()


class SteadyCluster(Cluster):
    """Its elections are slow enough that a busy machine changes no leader: a new one gives every lease a full TTL."""

    def config(self, name: str) -> VoterConfig:
        return replace(super().config(name), timing=TIMING)


class ClusterService:
    ttl_s = 0.4
    ttl_long_s = 600.0
    expiry_late_max_s = 0.3
    patience_s = 10.0

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._turn = count()

    async def client(self) -> Engine:
        return self.engine(NAMES[next(self._turn) % len(NAMES)])

    def engine(self, name: str) -> ClusterEngine:
        link = SharedLink(self.cluster.voters[name])
        return ClusterEngine(link, cluster=CLUSTER, voters=lambda: self.cluster.addresses)

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        await self.cluster.stop()
        await self.cluster.start()
        return True

    async def kill(self, client: Engine) -> bool:
        await client.close()
        return True


@asynccontextmanager
async def steady_cluster(path: Path) -> AsyncIterator[SteadyCluster]:
    cluster = SteadyCluster(path, *NAMES)
    try:
        await cluster.start()
        await cluster.leader()
        yield cluster
    finally:
        await cluster.stop()
