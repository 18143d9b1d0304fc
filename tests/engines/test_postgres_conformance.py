"""The PostgreSQL engine passes the suite on the real server: directly, and behind a pool that hands out transactions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from incumbent.engines.api import Engine
from incumbent.engines.postgres import connect
from incumbent.engines.postgres.engine import PostgresEngine
from incumbent.testing import CHECKS, Check, run_check
from tests.servers.pgbouncer import PgBouncer, pgbouncer
from tests.servers.postgres import Postgres, postgres

pytestmark = pytest.mark.slow


class PostgresService:
    ttl_s = 0.4
    ttl_long_s = 600.0
    patience_s = 5.0  # shorter than a watch takes to look by itself

    def __init__(self, server: Postgres, url: str, expiry_late_max_s: float) -> None:
        self._server = server
        self._url = url
        self.expiry_late_max_s = expiry_late_max_s

    async def client(self) -> Engine:
        return await connect(self._url)

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
        assert isinstance(client, PostgresEngine)
        assert client._gravedigger is not None
        client._gravedigger.cancel()
        for pool in (client._calls, client._beats):
            for link in pool._idle:
                link.abort()
        return True


class PostgresHarness:
    def __init__(self, server: Postgres, url: str, expiry_late_max_s: float) -> None:
        self._service = PostgresService(server, url, expiry_late_max_s)

    @asynccontextmanager
    async def service(self) -> AsyncIterator[PostgresService]:
        yield self._service


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(fsync="off") as server:
        yield server


@pytest.fixture(scope="module")
def pool(server: Postgres) -> Iterator[PgBouncer]:
    with pgbouncer(server) as pool:
        yield pool


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_postgresql_engine_conforms(check: Check, server: Postgres) -> None:
    skipped = await run_check(check, PostgresHarness(server, server.url(), 0.3))
    if skipped:
        pytest.skip(skipped)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_postgresql_engine_conforms_behind_pgbouncer(
    check: Check, server: Postgres, pool: PgBouncer
) -> None:
    """P45: nothing is kept in a connection, and watches look by themselves."""
    skipped = await run_check(check, PostgresHarness(server, f"{pool.url}?poll=0.05", 0.3))
    if skipped:
        pytest.skip(skipped)
