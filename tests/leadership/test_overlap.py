"""Whole stories with drifting clocks and a bad network: bodies never run side by side, tokens always rise."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from incumbent.errors import EngineUnavailable, LeadershipLost, OutcomeUnknown, Overloaded
from incumbent.leadership.connect import Cluster
from incumbent.leadership.events import EventKind
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import TTL_S, Lab, cut, until

HOSTS = 4
STORY_S = 60 * TTL_S


@dataclass
class Record:
    """Who ran when, in real (simulated) time, as no participant sees it."""

    sim: Simulation
    bodies: list[tuple[int, int, int]] = field(default_factory=list)  # token, began, ended

    async def body(self, token: int) -> None:
        began_ns = self.sim.clock.now_ns()
        try:
            await asyncio.Event().wait()
        finally:
            self.bodies.append((token, began_ns, self.sim.clock.now_ns()))

    def overlaps(self) -> list[tuple[int, int]]:
        ordered = sorted(self.bodies)
        return [(one[0], two[0]) for one, two in pairwise(ordered) if two[1] < one[2]]


async def stand(cluster: Cluster, record: Record, lab: Lab, name: str, rest_s: float) -> None:
    election = cluster.election("e", candidate=name, fenced=True, listener=lab.events.append)
    while True:
        try:
            async with election.campaign() as term:
                await record.body(term.token)
        except LeadershipLost:
            await asyncio.sleep(rest_s)


@pytest.mark.parametrize("ppm", [-1000, 0, 1000])
def test_a_cut_off_leader_with_a_drifting_clock_ends_before_its_successor_begins(ppm: int) -> None:
    """P14: the successor claims in the very moment in which the engine lets go. Red without the holder's margin."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        record = Record(sim)
        engine = lab.engine()
        async with lab.connect(engine, ppm=ppm) as one, lab.connect() as two:
            tasks = [asyncio.create_task(stand(one, record, lab, "a", STORY_S))]
            await until(lab.kinds)
            tasks.append(asyncio.create_task(stand(two, record, lab, "b", STORY_S)))
            await until(lambda: len(lab.members()) == 2)
            cut(engine)
            await asyncio.sleep(3 * TTL_S)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            engine.on_request = None
        assert len(record.bodies) == 2
        assert record.overlaps() == []

    simulate(story)


async def misbehave(sim: Simulation, engine: StrangerEngine) -> None:
    """Now and then: slow, cut off in one direction, full, or away altogether."""
    rng = sim.rng

    async def delay(_: str) -> None:
        await asyncio.sleep(rng.expovariate(1 / delay_s))

    async def drop(_: str) -> None:
        raise rng.choice([EngineUnavailable, OutcomeUnknown, Overloaded])("dropped")

    while True:
        delay_s = rng.choice([0.001, 0.05, 0.5, TTL_S / 2])
        engine.on_request, engine.on_reply = {
            "well": (None, None),
            "slow there": (delay, None),
            "slow back": (None, delay),
            "deaf": (None, drop),
            "mute": (drop, None),
        }[rng.choice(["well", "well", "slow there", "slow back", "deaf", "mute"])]
        await asyncio.sleep(rng.uniform(0.1, 3 * TTL_S))


async def bad_weather(sim: Simulation) -> tuple[Record, Lab]:
    lab = Lab(sim, announces_expiry=sim.rng.random() < 0.8)
    record = Record(sim)
    async with asyncio.TaskGroup() as group:
        tasks: list[asyncio.Task[None]] = []

        async def host(name: str) -> None:
            engine = lab.engine()
            weather = asyncio.create_task(misbehave(sim, engine))
            try:
                async with lab.connect(engine, ppm=sim.rng.randint(-1000, 1000)) as cluster:
                    await stand(cluster, record, lab, name, sim.rng.uniform(0, TTL_S))
            finally:
                weather.cancel()

        tasks += [group.create_task(host(f"host-{i}")) for i in range(HOSTS)]
        for _ in range(30):
            await asyncio.sleep(STORY_S / 30)
            if sim.rng.random() < 0.2:
                lab.store.lose_watches()
            if sim.rng.random() < 0.2 and lab.store.sessions:
                waiting = [m.session for g in lab.store.groups.values() for m in g.members[1:]]
                if waiting:
                    lab.store.end_session(sim.rng.choice(waiting))
        for task in tasks:
            task.cancel()
    return record, lab


@pytest.mark.parametrize("seed", range(25))
def test_in_bad_weather_bodies_never_overlap(seed: int) -> None:
    """P10, P14, P24, P30. Replay one with ``pytest 'tests/leadership/test_overlap.py::…[<seed>]'``."""
    record, lab = simulate(bad_weather, seed=seed)
    assert record.overlaps() == []
    tokens = [e.token for e in lab.events if e.kind is EventKind.ELECTED]
    assert tokens == sorted(set(tokens)), "tokens rise in the order of election"
    ends = sorted(e.token for e in lab.events if e.kind in (EventKind.LOST, EventKind.RELEASED))
    assert ends == tokens, "exactly one end for each start"
    for token in tokens:
        kinds = [e.kind for e in lab.events if e.token == token]
        assert (kinds[0], kinds.index(EventKind.LOST) if EventKind.LOST in kinds else len(kinds) - 1) == (
            EventKind.ELECTED,
            len(kinds) - 1,
        )


@pytest.mark.slow
def test_the_weather_is_bad_enough() -> None:
    """The stories above are worth something: leaders are lost in several ways, and others follow."""
    reasons: set[str] = set()
    elected = 0
    for seed in range(25):
        _, lab = simulate(bad_weather, seed=seed)
        reasons |= {e.reason for e in lab.events if e.reason is not None}
        elected += lab.kinds().count(EventKind.ELECTED)
    assert {"renew_timeout", "body_ended"} <= reasons
    assert elected > 25 * 4


def test_the_record_sees_an_overlap() -> None:
    """The checker can fail."""

    async def story(sim: Simulation) -> Record:
        return Record(sim, [(1, 0, 10), (2, 9, 20), (3, 20, 30)])

    assert simulate(story).overlaps() == [(1, 2)]
