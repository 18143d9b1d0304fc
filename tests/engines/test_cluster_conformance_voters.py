"""The cluster engine passes the suite on three real voters: real sockets, real logs, real clocks. Once beside the voters, once
from outside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from incumbent.engines.api import Engine
from incumbent.engines.cluster.remote import open_remote
from incumbent.testing import CHECKS, Check, run_check
from tests.engines.cluster_service import NAMES, ClusterService, steady_cluster
from tests.runtime.cluster import CLUSTER, Cluster

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


class VotersHarness:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @asynccontextmanager
    async def service(self) -> AsyncIterator[ClusterService]:
        yield ClusterService(self._cluster)


class RemoteService(ClusterService):
    async def client(self) -> Engine:
        """Each knows one voter, each time another one."""
        name = NAMES[next(self._turn) % len(NAMES)]
        return await open_remote([self.cluster.addresses[name]], CLUSTER)


class RemoteHarness:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    @asynccontextmanager
    async def service(self) -> AsyncIterator[ClusterService]:
        yield RemoteService(self._cluster)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    """One for all checks: each uses names of its own, as the elections of a real cluster do."""
    path: Path = tmp_path_factory.mktemp("voters")
    async with steady_cluster(path) as running:
        yield running


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_cluster_engine_conforms(check: Check, cluster: Cluster) -> None:
    assert await run_check(check, VotersHarness(cluster)) is None


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_the_engine_conforms_from_outside(check: Check, cluster: Cluster) -> None:
    assert await run_check(check, RemoteHarness(cluster)) is None
