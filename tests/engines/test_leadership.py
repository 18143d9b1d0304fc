"""Every story of leadership on every engine: a directory, and three real voters."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from incumbent.engines.api import Engine
from incumbent.engines.local.engine import LocalEngine
from tests.engines.cluster_service import ClusterService, steady_cluster
from tests.engines.leadership_stories import STORIES, Story, perform
from tests.runtime.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with steady_cluster(tmp_path_factory.mktemp("voters")) as running:
        yield running


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_on_a_directory(story: Story, tmp_path: Path) -> None:
    async def client() -> Engine:
        return await LocalEngine.open(tmp_path / "engine")

    await perform(story, client)


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
async def test_on_three_voters(story: Story, cluster: Cluster) -> None:
    await perform(story, ClusterService(cluster).client)
