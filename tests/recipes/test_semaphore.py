"""A semaphore: never more than n holders, each in a slot of its own, and no slot lies idle while somebody waits."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import pytest

from incumbent.engines.api import CellWrite
from incumbent.errors import EngineUnavailable, InvalidInput, LeadershipLost, OutcomeUnknown
from incumbent.leadership.connect import Cluster
from incumbent.leadership.roll import Leader
from incumbent.recipes.semaphore import CELL, SLOTS_MAX, Semaphore
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import TTL_S, Lab, cut, mend, until

QUEUE = "semaphore/s/queue"


class Floor:
    """Where holders work: counts them, and sees that no slot has two, and that its tokens rise."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.inside = dict[int, str]()
        self.tokens = defaultdict[int, list[int]](list)
        self.order = list[str]()
        self.most = 0

    async def work(self, semaphore: Semaphore, name: str, work_s: float) -> None:
        async with semaphore.hold() as slot:
            assert slot.number not in self.inside, "two holders in one slot"
            assert slot.fence == f"s#{slot.number}"
            assert slot.term.token > max(self.tokens[slot.number], default=0)
            self.inside[slot.number] = name
            self.tokens[slot.number].append(slot.term.token)
            self.order.append(name)
            self.most = max(self.most, len(self.inside))
            assert self.most <= self.slots
            try:
                await asyncio.sleep(work_s)
            finally:
                del self.inside[slot.number]


def members(lab: Lab, slots: int) -> list[str]:
    """Of all the semaphore's groups."""
    return [m for group in (QUEUE, *(f"semaphore/s/{n}" for n in range(slots))) for m in lab.members(group)]


def test_as_many_as_there_are_slots_hold_at_a_time_in_the_order_in_which_they_came() -> None:
    async def story(sim: Simulation) -> None:
        lab, floor = Lab(sim), Floor(3)
        async with AsyncExitStack() as stack:
            tasks = list[asyncio.Task[None]]()
            names = [str(n) for n in range(8)]
            for name in names:
                cluster = await stack.enter_async_context(lab.connect())
                semaphore = Semaphore(cluster, "s", 3, holder=name)
                tasks.append(asyncio.create_task(floor.work(semaphore, name, sim.rng.uniform(2, 4))))
                await asyncio.sleep(0.2)
            waiting = members(lab, 3)
            assert sorted(waiting) == names, "each is one member, of one group"
            await asyncio.gather(*tasks)
            assert floor.most == 3
            assert floor.order == names
            assert members(lab, 3) == [], "nothing is left behind"

    for seed in range(5):
        simulate(story, seed=seed)


def test_a_slot_that_becomes_free_anywhere_is_given_to_the_one_who_waits_longest() -> None:
    async def story(sim: Simulation) -> None:
        lab, floor = Lab(sim), Floor(3)
        async with lab.connect() as one, lab.connect() as two:
            mine = Semaphore(one, "s", 3)
            works = [asyncio.create_task(floor.work(mine, str(n), s)) for n, s in enumerate((90, 2, 90))]
            await until(lambda: len(floor.inside) == 3)
            began = lab.now_s
            async with Semaphore(two, "s", 3).hold() as slot:
                assert slot.number == 1
                assert lab.now_s - began < 2.5, "at once, not after a time-out"
                holders = await mine.holders()
                assert all(isinstance(holder, Leader) for holder in holders)
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await until(lambda: members(lab, 3) == [])
            assert await mine.holders() == (None, None, None)

    simulate(story, seed=1)


def test_holders_that_are_cut_off_are_followed_and_never_joined() -> None:
    """Whoever loses its lease is out before the next one is in; slots of the lost come back."""

    async def story(sim: Simulation) -> None:
        lab, floor = Lab(sim), Floor(2)

        async def worker(cluster: Cluster, name: str) -> None:
            semaphore = Semaphore(cluster, "s", 2, holder=name)
            for _ in range(6):
                try:
                    await floor.work(semaphore, name, sim.rng.uniform(0.1, 3))
                except LeadershipLost:
                    await asyncio.sleep(0.1)

        async with AsyncExitStack() as stack:
            engines = [lab.engine() for _ in range(5)]
            clusters = [await stack.enter_async_context(lab.connect(engine)) for engine in engines]
            tasks = [asyncio.create_task(worker(cluster, str(n))) for n, cluster in enumerate(clusters)]
            for _ in range(6):
                engine = sim.rng.choice(engines)
                cut(engine)
                await asyncio.sleep(sim.rng.uniform(0.5, 3 * TTL_S))
                mend(engine)
            await asyncio.gather(*tasks)
            assert floor.most == 2
            await until(lambda: members(lab, 2) == [])

    for seed in range(10):
        simulate(story, seed=seed)


def test_who_gives_up_waiting_leaves_nothing_and_holds_nothing() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            mine, other = Semaphore(one, "s", 1), Semaphore(two, "s", 1, holder="b")
            async with mine.hold() as slot:
                before = lab.now_s
                async with other.try_hold(3) as none:
                    assert none is None
                assert lab.now_s - before == pytest.approx(3, abs=0.1)
                cancelled = asyncio.create_task(other.hold().__aenter__())
                await asyncio.sleep(1)
                assert lab.members(QUEUE) == ["b"]
                cancelled.cancel()
                await until(lambda: lab.members(QUEUE) == [])
            async with other.try_hold(3) as had:
                assert had is not None
                assert had.term.token > slot.term.token

    simulate(story, seed=3)


def test_one_who_was_first_of_the_queue_and_does_not_know_it_blocks_nobody() -> None:
    """Evicted from the queue just as it stood for a slot, it has that slot; the next one finds another."""

    async def story(sim: Simulation) -> None:
        lab, floor = Lab(sim), Floor(2)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            first, second = Semaphore(one, "s", 2, holder="a"), Semaphore(two, "s", 2, holder="b")
            stuck = asyncio.Event()

            async def hold_back(method: str) -> None:
                if method == "stand" and lab.members("semaphore/s/0"):
                    await stuck.wait()

            engine.on_reply = hold_back
            works = [asyncio.create_task(floor.work(first, "a", 1))]
            await until(lambda: lab.members("semaphore/s/0") == ["a"])
            works.append(asyncio.create_task(floor.work(second, "b", 1)))
            (member,) = (await two.engine.roster(QUEUE)).members[:1]
            await two.engine.remove(QUEUE, member.id, member.order)
            await until(lambda: floor.order == ["b"])
            stuck.set()
            await asyncio.gather(*works)
            assert sorted(floor.order) == ["a", "b"]

    simulate(story, seed=4)


def test_a_paused_slot_is_gone_around() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one:
            await one.election("semaphore/s/0").operations.pause()
            async with Semaphore(one, "s", 2).try_hold(3 * TTL_S) as slot:
                assert slot is not None
                assert slot.number == 1

    simulate(story, seed=5)


def test_another_number_of_slots_is_refused_whoever_came_first() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            # The answer to the first write is lost: it is found, and taken for what it is.
            engine.fail_next("write_cells", OutcomeUnknown("lost"), after_effect=True)
            async with Semaphore(one, "s", 2).hold():
                pass
            with pytest.raises(InvalidInput, match="^slots: is 3, and 's' was made with 2"):
                async with Semaphore(two, "s", 3).hold():
                    pass
            assert lab.members(QUEUE) == []
            await one.engine.write_cells("semaphore/t/queue", [CellWrite(CELL, b"\xff", None)], None)
            with pytest.raises(InvalidInput, match="^slots: "):
                async with Semaphore(two, "t", 3).hold():
                    pass
            for slots in (0, SLOTS_MAX + 1):
                with pytest.raises(InvalidInput, match="^slots: "):
                    Semaphore(one, "s", slots)

    simulate(story, seed=6)


def test_a_name_is_no_slot_of_another() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with (
            lab.connect() as one,
            Semaphore(one, "s", 1).hold(),
            Semaphore(one, "s/0", 1).hold(),
        ):
            assert len(lab.members("semaphore/s/0")) == 1

    simulate(story, seed=7)


def test_who_waits_when_the_cluster_object_is_closed_is_told() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        async def wait(semaphore: Semaphore) -> None:
            async with semaphore.hold():
                pass

        async with lab.connect() as one:
            async with Semaphore(one, "s", 1).hold(), lab.connect() as two:
                waiting = asyncio.create_task(wait(Semaphore(two, "s", 1)))
                await asyncio.sleep(1)
            with pytest.raises(EngineUnavailable):
                await waiting

    simulate(story, seed=8)


class Silent(StrangerEngine):
    """Watches say nothing, and do not say that they are lost either."""

    async def watch(self, group: str, after: object) -> AsyncGenerator[None, None]:
        await asyncio.Event().wait()
        yield


def test_a_free_slot_is_found_without_being_told_of_it() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect(Silent(lab.store)) as two:
            work = asyncio.create_task(Floor(1).work(Semaphore(one, "s", 1), "a", 2))
            await asyncio.sleep(1)
            async with Semaphore(two, "s", 1).try_hold(2 * TTL_S) as slot:
                assert slot is not None
            await work

    simulate(story, seed=9)
