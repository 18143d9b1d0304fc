"""Many candidates and many elections at once: everybody comes back from an outage, and nobody renews in step."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from incumbent.leadership.connect import Cluster
from incumbent.leadership.election import RELEASE_DELAY_S
from incumbent.leadership.term import Term
from incumbent.leadership.world import BACKOFF_MAX_S
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import TTL_S, Lab, cut, lead_until_lost, mend, until

SEEDS = 1000
BOUND_S = TTL_S + RELEASE_DELAY_S + BACKOFF_MAX_S
"""After an outage: the dead one's lease runs out, and whoever tried in vain tries again."""


async def come_back(sim: Simulation, candidates: int) -> None:
    """All processes die with the service away, others start in their place, and the service comes back."""
    lab = Lab(sim)
    terms: list[Term] = []

    async def process(engine: StrangerEngine) -> None:
        async with lab.connect(engine) as cluster:
            await lead_until_lost(cluster.election("e").campaign(), terms)

    def start() -> list[tuple[StrangerEngine, asyncio.Task[None]]]:
        engines = [lab.engine() for _ in range(candidates)]
        return [(engine, asyncio.create_task(process(engine))) for engine in engines]

    before = start()
    await until(lambda: terms)
    await asyncio.sleep(sim.rng.uniform(0, TTL_S))
    first = terms.pop()
    for engine, task in before:  # killed: nothing of them reaches the service any more
        cut(engine)
        task.cancel()
    after = start()
    for engine, _ in after:
        cut(engine)
    await asyncio.sleep(sim.rng.uniform(0, 2 * TTL_S))
    lab.store.lose_watches()
    for engine, _ in after:
        mend(engine)
    await until(lambda: any(term.is_valid for term in terms), within_s=BOUND_S)
    assert len(terms) == 1
    assert terms[0].token > first.token
    for engine, _ in before:
        mend(engine)
    for _, task in (*before, *after):
        task.cancel()
    await asyncio.wait([task for _, task in (*before, *after)])


@pytest.mark.slow
def test_all_together_get_a_leader_after_an_outage() -> None:
    """P8: a thousand times, never later than the dead one's lease and one pause."""
    for seed in range(SEEDS):
        simulate(lambda sim: come_back(sim, 3), seed=seed)


@pytest.mark.slow
def test_a_hundred_candidates_get_a_leader_after_an_outage() -> None:
    """P8."""
    simulate(lambda sim: come_back(sim, 100))


@pytest.mark.slow
def test_many_sessions_do_not_renew_in_step() -> None:
    """P23: begun in one moment, their renewals are spread over a quarter of the interval from the first one on, and more
    with each."""
    hosts, tick_s = 300, 0.02

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        began_s = lab.now_s
        renewals: list[Counter[int]] = [Counter() for _ in range(4)]

        async def host(ready: asyncio.Event) -> None:
            engine = lab.engine()

            async def note(method: str) -> None:
                if method == "renew":
                    turn = engine.calls.count("renew") - 1
                    if turn < len(renewals):
                        renewals[turn][int((lab.now_s - began_s) / tick_s)] += 1

            engine.on_request = note
            async with lab.connect(engine) as cluster, cluster.election(str(id(engine))).campaign():
                await ready.wait()

        end = asyncio.Event()
        tasks = [asyncio.create_task(host(end)) for _ in range(hosts)]
        await asyncio.sleep(2 * TTL_S)
        end.set()
        await asyncio.wait(tasks)
        for turn in renewals:
            assert turn.total() == hosts
            assert max(turn.values()) < hosts / 10
        assert len(renewals[3]) > 1.3 * len(renewals[0])

    simulate(story)


@pytest.mark.slow
def test_many_elections_of_one_session_are_one_renewal() -> None:
    """P23: a thousand elections cost what one costs."""
    elections = 1000

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []

        def stand(cluster: Cluster, number: int) -> asyncio.Task[None]:
            return asyncio.create_task(lead_until_lost(cluster.election(f"e{number}").campaign(), terms))

        async with lab.connect(engine) as cluster:
            tasks = [stand(cluster, number) for number in range(elections)]
            await until(lambda: len(terms) == elections)
            renewals = engine.calls.count("renew")
            await asyncio.sleep(10 * TTL_S)
            assert all(term.is_valid for term in terms)
            assert engine.calls.count("renew") - renewals <= 41  # 10 TTLs, an interval of at least a quarter
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    simulate(story)
