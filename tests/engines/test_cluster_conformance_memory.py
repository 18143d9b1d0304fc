"""The cluster engine passes the suite on a machine in memory, in injected time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from incumbent.engines.api import Engine
from incumbent.testing import CHECKS, Check, run_check
from tests.engines.memory_client import MemoryCluster


class MemoryService:
    ttl_s = 0.2
    ttl_long_s = 3000.0
    expiry_late_max_s = 0.02
    patience_s = 2.0

    def __init__(self) -> None:
        self.cluster = MemoryCluster()

    async def client(self) -> Engine:
        return self.cluster.engine()

    def now_s(self) -> float:
        return self.cluster.now_ns / 1e9

    async def pass_time(self, seconds: float) -> None:
        self.cluster.pass_time(seconds)

    async def restart(self) -> bool:
        for link in self.cluster.links:
            await link.close()
        return True

    async def kill(self, client: Engine) -> bool:
        await client.close()
        return True


class MemoryHarness:
    @asynccontextmanager
    async def service(self) -> AsyncIterator[MemoryService]:
        yield MemoryService()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_cluster_engine_conforms_in_memory(check: Check) -> None:
    assert await run_check(check, MemoryHarness()) is None
