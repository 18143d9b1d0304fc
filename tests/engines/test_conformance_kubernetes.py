"""The engine on Kubernetes passes the suite, on the strict fake of the Lease API, over real HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from incumbent.engines.api import Engine
from incumbent.engines.kubernetes import connect
from incumbent.testing import CHECKS, Check, run_check
from incumbent.testing.kubernetes import KubernetesFake


class KubernetesService:
    ttl_s = 0.5
    ttl_long_s = 600.0
    expiry_late_max_s = 0.6  # an observer that comes late waits for the whole duration
    patience_s = 5.0

    def __init__(self, fake: KubernetesFake, url: str) -> None:
        self._fake = fake
        self._url = url

    async def client(self) -> Engine:
        return await connect(self._url)

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    async def pass_time(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def restart(self) -> bool:
        await self._fake.stop()
        await self._fake.start()
        return True

    async def kill(self, client: Engine) -> bool:
        await client.close()  # to the server it is the same; test_kubernetes_processes.py kills real ones
        return True


class KubernetesHarness:
    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def service(self) -> AsyncIterator[KubernetesService]:
        async with KubernetesFake() as fake:
            # A replica that lags must not matter: nothing may be read from a watch cache.
            fake.store.replica_lag = 50
            url = f"kubernetes://default?kubeconfig={fake.kubeconfig(self._path / 'kubeconfig')}"
            yield KubernetesService(fake, url)


@pytest.mark.slow
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_kubernetes_engine_conforms(check: Check, tmp_path: Path) -> None:
    skipped = await run_check(check, KubernetesHarness(tmp_path))
    if skipped:
        pytest.skip(skipped)
