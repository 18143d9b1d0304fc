"""The same recipes on three voters of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest

from incumbent.leadership.connect import Cluster, connect
from incumbent.leadership.term import Term
from incumbent.recipes.lock import Lock
from incumbent.recipes.membership import Membership, News
from incumbent.recipes.schedule import Schedule
from incumbent.recipes.semaphore import Semaphore
from incumbent.recipes.ticks import Tick
from tests.engines.cluster_service import ClusterService, steady_cluster
from tests.leadership.lab import until
from tests.recipes.test_semaphore import Floor

pytestmark = pytest.mark.slow
TTL_S = 2.0


@pytest.fixture
async def clusters(tmp_path: Path) -> AsyncIterator[list[Cluster]]:
    """Three cluster objects, each on another voter."""
    async with AsyncExitStack() as stack:
        voters = await stack.enter_async_context(steady_cluster(tmp_path))
        engines = [ClusterService(voters).engine(name) for name in "abc"]
        yield [await stack.enter_async_context(connect(engine=engine, ttl=TTL_S)) for engine in engines]


async def test_a_lock_goes_from_one_to_the_next(clusters: list[Cluster]) -> None:
    tokens = list[int]()

    async def hold(cluster: Cluster) -> None:
        async with Lock(cluster, "x").hold() as term:
            tokens.append(term.token)

    await asyncio.gather(*(hold(cluster) for cluster in clusters))
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 3


async def test_two_slots_serve_three(clusters: list[Cluster]) -> None:
    floor = Floor(2)

    async def work(cluster: Cluster, name: str) -> None:
        for _ in range(5):
            await floor.work(Semaphore(cluster, "s", 2, holder=name, fenced=True), name, 0.05)

    async with asyncio.timeout(30):
        await asyncio.gather(*(work(cluster, str(n)) for n, cluster in enumerate(clusters)))
    assert floor.most == 2
    assert len(floor.order) == 15


async def test_members_know_each_other(clusters: list[Cluster]) -> None:
    mine, other = (
        Membership(cluster, "m", member=name) for cluster, name in zip(clusters, "ab", strict=False)
    )
    async with aclosing(mine.watch()) as told, mine.join("1"):
        assert isinstance(await anext(told), News)
        async with other.join("2"):
            await other.update("3")
            news = await anext(told)
            assert isinstance(news, News)
            assert [(peer.name, peer.metadata) for peer in news.members] == [("a", b"1"), ("b", b"3")]
        news = await anext(told)
        assert isinstance(news, News)
        assert [peer.name for peer in news.left] == ["b"]


async def test_each_tick_is_started_once(clusters: list[Cluster]) -> None:
    started = list[tuple[float, int, str]]()

    async def work(tick: Tick, term: Term) -> None:
        started.append((tick.at, term.token, term.candidate))

    runs = {
        name: asyncio.create_task(Schedule(cluster, "s", every=0.1, candidate=name, fenced=True).run(work))
        for name, cluster in zip("abc", clusters, strict=True)
    }
    while runs:  # who leads goes, and the next one goes on
        await until(lambda: started and started[-1][2] in runs)
        leader = runs.pop(started[-1][2])
        leader.cancel()
        await asyncio.gather(leader, return_exceptions=True)
    ticks, tokens = [tick for tick, _, _ in started], [token for _, token, _ in started]
    assert ticks == sorted(set(ticks))
    assert tokens == sorted(tokens)
    assert len(set(tokens)) == 3
