"""The same verbs on the engines themselves: a directory of this machine, and three voters of a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

import incumbent
from incumbent.engines.api import Engine
from incumbent.engines.local.engine import LocalEngine
from incumbent.leadership.connect import Cluster
from incumbent.leadership.election import Election
from incumbent.leadership.outcome import Done
from incumbent.leadership.preference import Preference
from incumbent.leadership.roll import Leader, Sighting
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from tests.engines.cluster_service import ClusterService, steady_cluster
from tests.leadership.lab import lead_until_lost, until

pytestmark = pytest.mark.slow
TTL_S = 2.0


@asynccontextmanager
async def local(path: Path) -> AsyncIterator[Callable[[], Engine]]:
    """Gives an engine client for each call."""
    async with AsyncExitStack() as stack:
        engines = [await LocalEngine.open(path) for _ in range(4)]
        for engine in engines:
            stack.push_async_callback(engine.close)
        yield iter(engines).__next__


@asynccontextmanager
async def voters(path: Path) -> AsyncIterator[Callable[[], Engine]]:
    async with steady_cluster(path) as cluster:
        names = iter("abca")
        yield lambda: ClusterService(cluster).engine(next(names))


class Team:
    """Candidates a, b and c, each of a cluster object of its own, standing again after each loss; and an observer's d."""

    def __init__(self) -> None:
        self.terms: list[Term] = []
        self.elections: dict[str, Election] = {}
        self.seen: list[Sighting] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def leading(self) -> list[str]:
        return [term.candidate for term in self.terms if term.is_valid]

    async def members(self) -> list[str]:
        return [one.candidate for one in await self.elections["d"].candidates()]

    async def until_members(self, *names: str) -> None:
        async with asyncio.timeout(10):
            while await self.members() != list(names):
                await asyncio.sleep(0.02)

    async def work(self, term: Term) -> None:
        self.terms.append(term)
        await asyncio.Event().wait()

    def stand(self, name: str) -> None:
        self.tasks[name] = asyncio.create_task(self.elections[name].run(self.work))

    async def follow(self) -> None:
        async for sighting in self.elections["d"].observe():
            self.seen.append(sighting)


@pytest.fixture(params=[local, voters], ids=["local", "cluster"])
async def team(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Team]:
    made = Team()
    async with AsyncExitStack() as stack:
        new_engine = await stack.enter_async_context(request.param(tmp_path))
        for name, preference in (
            ("a", None),
            ("b", None),
            ("c", Preference(tags={"zone": "x"})),
            ("d", None),
        ):
            cluster = await stack.enter_async_context(incumbent.connect(engine=new_engine(), ttl=TTL_S))
            made.elections[name] = cluster.election("e", candidate=name, fenced=True, preference=preference)
        made.tasks["d"] = asyncio.create_task(made.follow())
        for number, name in enumerate("abc", 1):
            made.stand(name)
            await made.until_members(*"abc"[:number])
        await until(lambda: made.leading == ["a"])
        yield made
        for task in made.tasks.values():
            task.cancel()
        await asyncio.gather(*made.tasks.values(), return_exceptions=True)


async def test_leadership_is_handed_over_past_others(team: Team) -> None:
    """P39, P40, P41, on local and cluster: and who is not there leaves it where it is."""
    assert (await team.elections["a"].handover("x")).code is Done.NO_CANDIDATE
    done = await team.elections["a"].handover("c")
    assert done.ok
    assert done.leaderless_s is not None
    await until(lambda: team.leading == ["c"])
    assert [term.candidate for term in team.terms] == ["a", "c"]
    assert team.terms[0].reason is Reason.HANDED_OVER
    assert team.terms[1].token > team.terms[0].token
    await team.until_members("c", "b", "a")
    first, second = await team.elections["d"].operations.history()
    assert (first.candidate, first.reason, second.candidate) == ("a", "handed_over", "c")
    assert second.began_ms > 1_600_000_000_000


async def test_a_pause_keeps_everybody_out(team: Team) -> None:
    """P36, P42, on local and cluster: the queue is kept, observers are shown nobody, and resuming wakes the first."""
    operations = team.elections["d"].operations
    await operations.pause(why="disks")
    assert team.leading == ["a"]
    team.tasks["a"].cancel()
    await team.until_members("b", "c")
    await asyncio.sleep(0.5)
    assert team.leading == []
    assert await team.elections["d"].leader() is None
    await until(lambda: team.seen[-1] is None)
    await operations.resume()
    await until(lambda: team.leading == ["b"])


async def test_drained_evicted_and_anointed(team: Team) -> None:
    """P43 on local and cluster: who may not lead does not; P30: whatever operators do, tokens rise."""
    operations = team.elections["d"].operations
    await operations.drain("a")
    await until(lambda: team.leading == ["b"])
    await team.until_members("b", "c", "a")
    assert (await operations.evict("c")).ok
    await team.until_members("b", "a", "c")
    assert (await operations.anoint("c")).ok
    await until(lambda: team.leading == ["c"])
    assert (await operations.anoint("a")).code is Done.UNABLE
    assert (await operations.resign()).ok
    await until(lambda: team.leading == ["b"])
    await operations.undrain("a")
    tokens = [term.token for term in team.terms]
    assert tokens == sorted(set(tokens))
    assert await team.elections["b"].proclaim(b"here")
    await until(lambda: team.seen[-1] == Leader("b", tokens[-1], b"here"))
    # P37: and observers saw them rise.
    seen = [sighting.token for sighting in team.seen if isinstance(sighting, Leader)]
    assert seen == sorted(seen)


async def test_the_next_leader_keeps_its_distance_after_an_unclean_end_only(
    team: Team,
) -> None:
    """P44 on local and cluster: after a clean end nobody waits; after silence the engine does, for as long as the session was
    opened with. Who lost may lead again."""
    for name in "bc":
        team.tasks[name].cancel()
    await team.until_members("a")
    loop = asyncio.get_running_loop()
    engine = team.elections["a"]._office.engine
    session = await engine.open_session(0.3, "p44" * 11, release_delay=1.0)
    member = await engine.join(session, "distance", "p44" * 11, b"silent")
    terms: list[Term] = []
    asked_s = loop.time()
    other = team.elections["d"]._office

    task = asyncio.create_task(lead_until_lost(Cluster(other).election("distance").campaign(), terms))
    await until(lambda: terms)
    assert loop.time() - asked_s > 1.0
    assert terms[0].token > member.revision
    freed = Cluster(team.elections["b"]._office).election("distance")
    following = asyncio.create_task(lead_until_lost(freed.campaign(), terms))
    await asyncio.sleep(0.2)
    task.cancel()
    cleanly_s = loop.time()
    await until(lambda: len(terms) == 2)
    assert loop.time() - cleanly_s < 1.0
    following.cancel()
