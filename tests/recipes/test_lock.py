"""A lock is an election of its own name space, held for one piece of work."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

import incumbent
from incumbent.errors import InvalidInput, LeadershipLost
from incumbent.leadership.roll import Leader
from incumbent.recipes.lock import Lock
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut


def test_one_holds_it_at_a_time_in_order_and_tokens_rise() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        holding, order, tokens = 0, list[str](), list[int]()

        async def work(lock: Lock, name: str) -> None:
            nonlocal holding
            async with lock.hold() as term:
                holding += 1
                assert holding == 1
                order.append(name)
                tokens.append(term.token)
                await asyncio.sleep(1)
                holding -= 1

        async with AsyncExitStack() as stack:
            tasks = list[asyncio.Task[None]]()
            for name in "abc":
                cluster = await stack.enter_async_context(lab.connect())
                tasks.append(asyncio.create_task(work(Lock(cluster, "x", holder=name), name)))
                await asyncio.sleep(0.1)
            await asyncio.gather(*tasks)
        assert order == ["a", "b", "c"]
        assert tokens == sorted(set(tokens))
        assert lab.members("lock/x") == []

    simulate(story, seed=1)


def test_a_lock_is_no_election_of_the_same_name() -> None:
    async def story(sim: Simulation) -> None:
        async with (
            Lab(sim).connect() as cluster,
            Lock(cluster, "x").hold(),
            cluster.election("x").campaign(),
        ):
            pass

    simulate(story, seed=2)


def test_who_tries_waits_no_longer_than_it_said() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            mine, other = Lock(one, "x", holder="a"), Lock(two, "x")
            async with mine.hold():
                before = lab.now_s
                async with other.try_hold(2) as term:
                    assert term is None
                assert lab.now_s - before == pytest.approx(2, abs=0.1)
                holder = await other.holder()
                assert isinstance(holder, Leader)
                assert holder.candidate == "a"
            async with other.try_hold(2) as term:
                assert term is not None
                assert term.is_valid
            with pytest.raises(InvalidInput, match="^timeout: "):
                async with other.try_hold(0):
                    pass

    simulate(story, seed=3)


def test_a_holder_that_is_cut_off_is_stopped_before_the_next_one_begins() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        ends, begins = list[float](), list[float]()
        async with lab.connect(engine) as one, lab.connect() as two:

            async def hold() -> None:
                with pytest.raises(LeadershipLost):
                    async with Lock(one, "x").hold():
                        cut(engine)
                        try:
                            await asyncio.Event().wait()
                        finally:
                            ends.append(lab.now_s)

            holding = asyncio.create_task(hold())
            await asyncio.sleep(1)
            async with Lock(two, "x").hold():
                begins.append(lab.now_s)
            await holding
        assert ends[0] < begins[0] < ends[0] + TTL_S

    simulate(story, seed=4)


@pytest.mark.slow
async def test_the_lock_on_a_real_engine(tmp_path: Path) -> None:
    async with incumbent.connect(f"local://{tmp_path / 'x'}", ttl=2.0) as one:
        async with Lock(one, "x").hold() as first:
            pass
        async with Lock(one, "x").try_hold(5) as second:
            assert second is not None
            assert second.token > first.token
