"""The Redis engine passes the suite on the real server, with every write on disk and with nothing on disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from incumbent.engines.api import Engine
from incumbent.engines.redis import connect
from incumbent.engines.redis.engine import RedisEngine
from incumbent.testing import CHECKS, Check, run_check
from tests.servers.redis import Redis, redis

pytestmark = pytest.mark.slow


class RedisService:
    ttl_s = 0.4
    ttl_long_s = 600.0
    expiry_late_max_s = 0.2
    patience_s = 5.0  # shorter than a watch takes to look by itself

    def __init__(self, server: Redis) -> None:
        self._server = server

    async def client(self) -> Engine:
        return await connect(f"{self._server.url()}?accept=advisory")

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        self._server.kill()
        self._server.start()
        return True

    async def kill(self, client: Engine) -> bool:
        """It says nothing any more and ends nothing, as if its process were gone."""
        assert isinstance(client, RedisEngine)
        for pool in (client._calls, client._beats):
            for link in pool._idle:
                await link.close()
        return True


class RedisHarness:
    def __init__(self, server: Redis) -> None:
        self._service = RedisService(server)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[RedisService]:
        yield self._service


@pytest.fixture(scope="module", params=["persistent", "forgetful"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis"), persistent=request.param == "persistent") as server:
        yield server


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_redis_engine_conforms(check: Check, server: Redis) -> None:
    """P46: tokens rise over a restart, also one that forgot everything, since they are never below the clock."""
    skipped = await run_check(check, RedisHarness(server))
    if skipped:
        pytest.skip(skipped)
