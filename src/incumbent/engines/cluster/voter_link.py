"""The engine on an embedded voter: asks through the voter's client, watches the voter's own machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import NO_LEASE, Command, Query, Result
from incumbent.runtime.config import VoterConfig
from incumbent.runtime.voter import Voter


async def open_engine(config: VoterConfig) -> ClusterEngine:
    """Start the voter. Raises as `Voter.open`."""
    async with AsyncExitStack() as stack:
        voter = await stack.enter_async_context(Voter.open(config))
        link = VoterLink(voter, stack.pop_all())
        return ClusterEngine(
            link, cluster=config.cluster, voters=voter.addresses, voter=voter, tls=config.tls
        )


class VoterLink:
    """Owns the voter through `stack`."""

    def __init__(self, voter: Voter, stack: AsyncExitStack) -> None:
        self.voter = voter
        self._client = voter.client()
        self._stack = stack
        stack.push_async_callback(self._client.close)

    async def submit(self, command: Command, *, timeout: float) -> Result:
        return await self._client.submit(command, timeout=timeout)

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        return await self._client.read(query, lease=lease, timeout=timeout)

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        return await self._client.renew(lease, patience=patience, timeout=timeout)

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        return self.voter.driver.watch(key, end, after)

    async def close(self) -> None:
        """Stop the voter. Raises what had stopped it before, if anything had."""
        await self._stack.aclose()
