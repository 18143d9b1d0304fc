"""A real ZooKeeper for the engine's tests: what the conformance suite runs against."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Final

from incumbent.engines.api import Engine
from incumbent.engines.zookeeper.engine import ZooKeeperEngine
from incumbent.engines.zookeeper.place import parse
from tests.servers.zookeeper import ZooKeeper, zookeeper

TICK_S: Final = 0.1
PATIENT: Final = ("tickTime=100", "maxSessionTimeout=700000", "initLimit=200", "syncLimit=100")
"""Ticks short enough for short TTLs, and servers that bear with each other on a busy machine."""


class ZooKeeperService:
    ttl_s = 0.6
    ttl_long_s = 600.0
    expiry_late_max_s = 0.5
    patience_s = 10.0

    def __init__(self, server: ZooKeeper) -> None:
        self.server = server

    def url(self, path: str = "", options: str = "") -> str:
        return f"zookeeper://{self.server.hosts}/{path}{options}"

    async def client(self) -> Engine:
        return await ZooKeeperEngine.open(parse(self.url()))

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        await asyncio.to_thread(self.server.restart)
        return True

    async def kill(self, client: Engine) -> bool:
        return False  # test_zookeeper_processes.py kills real ones


class ZooKeeperHarness:
    def __init__(self, service: ZooKeeperService) -> None:
        self._service = service

    @asynccontextmanager
    async def service(self) -> AsyncIterator[ZooKeeperService]:
        yield self._service


@contextmanager
def service(directory: Path, members: int, *options: str) -> Iterator[ZooKeeperService]:
    with zookeeper(directory, members, *PATIENT, *options) as server:
        yield ZooKeeperService(server)
