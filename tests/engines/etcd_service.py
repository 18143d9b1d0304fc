"""Engines on a real etcd, each as another process would open it: what the suite and the failure tests run against."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Final

import pytest

from incumbent.engines import registry
from incumbent.engines.api import Engine
from tests.servers.etcd import VERSION, Etcd, etcd
from tests.servers.packages import NotAvailable

FAST: Final = ("--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync")
"""The least TTL is then 1 s."""


class EtcdService:
    ttl_s = 1.0
    ttl_long_s = 600.0
    expiry_late_max_s = 1.5  # it looks twice a second, and then asks a quorum
    patience_s = 10.0

    def __init__(self, server: Etcd) -> None:
        self.server = server
        self._turn = count()

    def url(self, turn: int = 0, path: str = "") -> str:
        """All members, another one first each time."""
        addresses = [f"{host}:{port}" for host, port in self.server.clients.values()]
        turn %= len(addresses)
        return f"etcd://{','.join(addresses[turn:] + addresses[:turn])}{path}"

    async def client(self) -> Engine:
        return await registry.connect(self.url(next(self._turn), "/suite"))

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        await asyncio.to_thread(self.server.restart)
        return True

    async def kill(self, client: Engine) -> bool:
        await client.close()  # which ends nothing; test_etcd_failures.py kills real ones
        return True


@contextmanager
def serving(
    directory: Path, members: int = 1, *options: str, version: str = VERSION, **settings: object
) -> Iterator[EtcdService]:
    """Skips on a machine that cannot have the packages; under CI that is a failure."""
    try:
        with etcd(directory, members, *FAST, *options, version=version, **settings) as server:  # type: ignore[arg-type]
            yield EtcdService(server)
    except NotAvailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
