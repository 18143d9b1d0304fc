"""The engine from outside: this process has no voter, and asks those of others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Final

from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.engines.cluster.reference import Address
from incumbent.errors import EngineUnavailable, IncumbentError
from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import NO_LEASE, Command, Query, Result
from incumbent.runtime.caller import Caller
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.connection import LIMITS
from incumbent.runtime.tls import Tls, TlsFiles

CONNECT_TIMEOUT_S: Final = 10.0
"""How long to look for a voter of a formed cluster at the given addresses."""
PAUSE_S: Final = 0.1


async def open_remote(
    seeds: Sequence[Address], cluster: str, files: TlsFiles | None = None, secrets: Sequence[str] = ()
) -> ClusterEngine:
    """Find the cluster through any of `seeds`; it tells where the others are. `cluster`: its name, or empty for whichever is
    there.

    Raises EngineUnavailable when none of them answers as a member of a formed cluster; IdentityMismatch when they are of another.
    """
    tls = None if files is None else Tls(files)
    deadline = asyncio.get_running_loop().time() + CONNECT_TIMEOUT_S
    trouble: IncumbentError | None = None
    while True:
        for seed in seeds:
            try:
                caller = await Caller.dial(cluster, seed, LIMITS, tls=tls, secrets=secrets)
            except EngineUnavailable as error:
                trouble = error
                continue
            hello = caller.hello
            await caller.close()
            if hello is not None and hello.voters is not None:
                return _engine(
                    ClusterClient(dict(hello.addresses), hello.cluster, tls=tls, secrets=secrets),
                    hello.cluster,
                    files,
                )
            trouble = EngineUnavailable(f"{seed[0]}:{seed[1]} is of no formed cluster yet")
        if asyncio.get_running_loop().time() > deadline:
            raise EngineUnavailable(f"no voter of a formed cluster was found: {trouble}")
        await asyncio.sleep(PAUSE_S)


def _engine(client: ClusterClient, cluster: str, files: TlsFiles | None) -> ClusterEngine:
    return ClusterEngine(RemoteLink(client), cluster=cluster, voters=lambda: client.addresses, tls=files)


class RemoteLink:
    """Owns the client."""

    def __init__(self, client: ClusterClient) -> None:
        self._client = client

    async def submit(self, command: Command, *, timeout: float) -> Result:
        return await self._client.submit(command, timeout=timeout)

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        return await self._client.read(query, lease=lease, timeout=timeout)

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        return await self._client.renew(lease, patience=patience, timeout=timeout)

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        return self._client.watch(key, end, after)

    async def close(self) -> None:
        await self._client.close()
