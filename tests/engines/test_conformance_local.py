"""The local engine passes the suite: several engines on one directory, each as another process would open it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from incumbent.engines.api import Engine
from incumbent.engines.local.engine import LocalEngine
from incumbent.testing import CHECKS, Check, run_check


class LocalService:
    ttl_s = 0.25
    ttl_long_s = 600.0
    expiry_late_max_s = 0.1
    patience_s = 3.0  # shorter than a watch takes to look by itself

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def client(self) -> Engine:
        return await LocalEngine.open(self._directory)

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        return True  # there is no server: once all clients are closed, nothing runs

    async def kill(self, client: Engine) -> bool:
        return False  # test_local_processes.py kills real ones


class LocalHarness:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @asynccontextmanager
    async def service(self) -> AsyncIterator[LocalService]:
        yield LocalService(self._directory)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_local_engine_conforms(check: Check, tmp_path: Path) -> None:
    skipped = await run_check(check, LocalHarness(tmp_path / "engine"))
    if skipped:
        pytest.skip(skipped)
