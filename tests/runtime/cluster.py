"""Real voters in one process: real sockets on loopback, real logs, real clocks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tests.runtime.ports import free_addresses

from incumbent.consensus.api import Role, Timing
from incumbent.ids import name_of
from incumbent.node.node import Limits
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.frames import Address
from incumbent.runtime.tls import TlsFiles
from incumbent.runtime.voter import Voter, VoterConfig

MS = 1_000_000
TIMING = Timing(heartbeat_ns=20 * MS, election_timeout_min_ns=100 * MS, election_timeout_max_ns=200 * MS)
CLUSTER = "app"


class Cluster:
    def __init__(
        self,
        path: Path,
        *names: str,
        timing: Timing = TIMING,
        tls: Callable[[str], TlsFiles] | None = None,
        limits: Limits = Limits(),
    ) -> None:
        self._tls = tls  # the files of a node; no TLS without
        self._limits = limits
        self.path = path
        self.timing = timing
        self.names = names
        self.addresses: dict[str, Address] = free_addresses(*names)
        self.voters: dict[str, Voter] = {}
        self._stacks: dict[str, AsyncExitStack] = {}

    def config(self, name: str) -> VoterConfig:
        return VoterConfig(
            cluster=CLUSTER,
            node=name,
            data_dir=self.path / name,
            peers=self.addresses,
            timing=self.timing,
            limits=self._limits,
            tls=None if self._tls is None else self._tls(name),
        )

    async def start(self, *names: str) -> None:
        async with asyncio.timeout(10):
            await asyncio.gather(*map(self._start, names or self.names))

    async def _start(self, name: str) -> None:
        stack = AsyncExitStack()
        self.voters[name] = await stack.enter_async_context(Voter.open(self.config(name)))
        self._stacks[name] = stack

    async def stop(self, *names: str) -> None:
        await asyncio.gather(*map(self._stop, names or list(self.voters)))

    async def _stop(self, name: str) -> None:
        del self.voters[name]
        await self._stacks.pop(name).aclose()

    async def kill(self, name: str) -> None:
        """As much of a SIGKILL as one process can do to a part of itself: no goodbye, no answer, no more steps."""
        voter = self.voters[name]
        voter._network.abort()
        voter._task.cancel()
        await self._stop(name)

    def leaders(self) -> list[str]:
        return [name for name, v in self.voters.items() if v.driver.leadership.serving]

    async def leader(self) -> str:
        """The name of the leader, once one serves and every running voter agrees."""

        def agreed() -> bool:
            known = {v.driver.leadership.leader for v in self.voters.values()}
            return len(self.leaders()) == 1 and {name_of(k) for k in known if k} == set(self.leaders())

        await until(lambda: agreed() and self.no_candidates())
        return self.leaders()[0]

    def no_candidates(self) -> bool:
        return all(v.driver.leadership.role in (Role.LEADER, Role.FOLLOWER) for v in self.voters.values())

    @asynccontextmanager
    async def client(self, name: str | None = None) -> AsyncIterator[ClusterClient]:
        """A client beside the voter `name`, or one from outside."""
        made = ClusterClient(self.addresses, CLUSTER) if name is None else self.voters[name].client()
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def cluster(
    path: Path,
    *names: str,
    timing: Timing = TIMING,
    tls: Callable[[str], TlsFiles] | None = None,
    limits: Limits = Limits(),
) -> AsyncIterator[Cluster]:
    made = Cluster(path, *names, timing=timing, tls=tls, limits=limits)
    try:
        await made.start()
        yield made
    finally:
        await made.stop()


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)
