"""Each tick once, whoever leads and whatever dies."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

import incumbent
from incumbent.engines.api import Cell, CellWrite, Claimed
from incumbent.errors import EngineError, InvalidInput, OutcomeUnknown
from incumbent.leadership.connect import Cluster
from incumbent.leadership.term import Term
from incumbent.recipes.schedule import CELL, Schedule, Work
from incumbent.recipes.ticks import Mark, Missed, Tick, encode
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import TTL_S, Lab, cut, mend, until

GROUP = "schedule/s"
EPOCH_S = 1_795_000_000.0


class Diary:
    """What was started, and what was done, by all."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.started: list[tuple[str, Tick, int]] = []
        self.done: list[float] = []
        self.ahead_s = 0.0  # what the clocks on the wall are set by

    def wall(self) -> float:
        return EPOCH_S + self.lab.now_s + self.ahead_s

    @property
    def ticks(self) -> list[float]:
        return [tick.at for _, tick, _ in self.started]

    def start(
        self, cluster: Cluster, name: str = "a", *, work_s: float = 0.0, **settings: Any
    ) -> asyncio.Task[None]:
        async def work(tick: Tick, term: Term) -> None:
            self.started.append((name, tick, term.token))
            await asyncio.sleep(work_s)
            self.done.append(tick.at)

        return asyncio.create_task(self.schedule(cluster, name, **settings).run(work))

    def schedule(self, cluster: Cluster, name: str = "a", **settings: Any) -> Schedule:
        return Schedule(cluster, "s", candidate=name, wall=self.wall, **({"every": 10.0} | settings))


async def end(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def test_each_tick_is_started_at_its_time_by_one_of_them() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one, lab.connect() as two:
            assert await diary.schedule(one).last() is None
            a, b = diary.start(one, "a"), diary.start(two, "b")
            await asyncio.sleep(0.5)
            begun = await diary.schedule(two).last()
            assert begun is not None
            for count in (1, 2, 3):
                await until(lambda count=count: len(diary.started) == count)  # type: ignore[misc]
                _, tick, token = diary.started[-1]
                assert 0 <= diary.wall() - tick.at < 0.1
                assert not tick.missed
                assert tick.at % 10 == 0
                assert tick.at > begun.at
                last = await diary.schedule(two).last()
                assert last == Mark(tick.at, token)
            await end(a)  # the other one goes on
            await asyncio.sleep(25)
            assert [later - tick for tick, later in pairwise(diary.ticks)] == [10.0] * (len(diary.ticks) - 1)
            assert [name for name, _, _ in diary.started] == ["a"] * 3 + ["b"] * (len(diary.ticks) - 3)
            await end(b)

    simulate(story, seed=1)


def nobody_for(seconds: float, **settings: Any) -> list[Tick]:
    """What is run by a leader that comes after nobody led for so long."""
    found = list[Tick]()

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one, lab.connect() as two:
            a = diary.start(one, **settings)
            await until(lambda: len(diary.started) == 1)
            await end(a)
            await asyncio.sleep(seconds)
            b = diary.start(two, **settings)
            await asyncio.sleep(2)
            found.extend(tick for _, tick, _ in diary.started[1:])
            assert len(set(diary.ticks)) == len(diary.ticks)
            await end(b)

    simulate(story, seed=2)
    return found


def test_missed_ticks_are_skipped_or_run_as_one_or_all_run() -> None:
    assert nobody_for(44, missed=Missed.SKIP) == []
    (one,) = nobody_for(44, missed=Missed.RUN_ONCE)
    assert one.missed
    four = nobody_for(44, missed=Missed.RUN_ALL)
    assert [tick.at - one.at for tick in four] == [-30, -20, -10, 0]
    assert [tick.at - one.at for tick in nobody_for(44, missed="run_all", missed_max=2)] == [-10, 0]


def test_ticks_that_pass_during_the_work_are_missed() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one:
            a = diary.start(one, work_s=27, missed=Missed.SKIP)
            await asyncio.sleep(75)
            assert [tick - diary.ticks[0] for tick in diary.ticks] == [0, 30, 60]
            await end(a)

    simulate(story, seed=3)


def test_a_clock_that_is_set_back_brings_no_tick_back() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one, lab.connect() as two:
            a, b = diary.start(one, "a"), diary.start(two, "b")
            await until(lambda: len(diary.started) == 3)
            diary.ahead_s = -25.0
            await asyncio.sleep(12)
            await end(a)
            await asyncio.sleep(30)
            assert len(set(diary.ticks)) == len(diary.ticks)
            assert diary.ticks == sorted(diary.ticks)
            assert len(diary.ticks) > 3, "and it goes on"
            await end(b)

    simulate(story, seed=4)


@pytest.mark.parametrize("at_least_once", [False, True])
def test_who_dies_in_the_work_leaves_its_tick_as_promised(at_least_once: bool) -> None:  # noqa: FBT001
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            a = diary.start(one, "a", work_s=1000, at_least_once=at_least_once)
            await until(lambda: diary.started)
            b = diary.start(two, "b", at_least_once=at_least_once)
            cut(engine)
            await until(lambda: diary.done)
            starts = Counter(diary.ticks)
            first = diary.ticks[0]
            if at_least_once:
                assert diary.started[1][0] == "b"
                assert starts[first] == 2, "again, by the next one"
                assert diary.started[1][2] > diary.started[0][2], "which has a higher token"
            else:
                assert starts[first] == 1
            await end(a, b)

    simulate(story, seed=5)


def test_no_tick_is_started_twice_while_leaders_come_and_go() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with AsyncExitStack() as stack:
            engines = [lab.engine() for _ in range(3)]
            clusters = [await stack.enter_async_context(lab.connect(engine)) for engine in engines]
            tasks = [
                diary.start(cluster, str(n), every=1.0, missed=Missed.RUN_ALL)
                for n, cluster in enumerate(clusters)
            ]
            for _ in range(8):
                engine = sim.rng.choice(engines)
                await trouble(engine, sim)
            await asyncio.sleep(3 * TTL_S)
            assert len(set(diary.ticks)) == len(diary.ticks)
            assert diary.ticks == sorted(diary.ticks)
            tokens = [token for _, _, token in diary.started]
            assert tokens == sorted(tokens)
            leaders.append(len(set(tokens)))
            await end(*tasks)

    leaders = list[int]()
    for seed in range(10):
        simulate(story, seed=seed)
    assert max(leaders) > 2


async def trouble(engine: StrangerEngine, sim: Simulation) -> None:
    match sim.rng.randrange(3):
        case 0:
            cut(engine)
        case 1:
            engine.fail_next("write_cells", OutcomeUnknown("lost"), after_effect=True, times=2)
        case _:
            engine.fail_next("write_cells", OutcomeUnknown("lost"), times=2)
    await asyncio.sleep(sim.rng.uniform(1, 2 * TTL_S))
    mend(engine)


def test_a_mark_whose_answer_was_lost_is_taken_for_ones_own() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        engine = lab.engine()
        async with lab.connect(engine) as one:
            a = diary.start(one)
            await until(lambda: diary.started)
            await asyncio.sleep(5)
            engine.fail_next("write_cells", OutcomeUnknown("lost"), after_effect=True)
            await asyncio.sleep(30)
            assert [tick - diary.ticks[0] for tick in diary.ticks] == [0, 10, 20, 30]
            await end(a)

    simulate(story, seed=6)


def test_who_was_removed_and_does_not_know_it_starts_nothing() -> None:
    """The engine's word on who is first decides, and not what the term believes."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        engine = lab.engine()
        async with lab.connect(engine) as one, lab.connect() as two:
            a = diary.start(one)
            await until(lambda: diary.started)
            token = diary.started[0][2]
            await asyncio.sleep(8)
            cut(engine, "claim", "roster", "renew")  # nothing tells it, but what it writes is refused
            (entry,) = (await two.engine.roster(GROUP)).members
            await two.engine.remove(GROUP, entry.id, entry.order)
            await asyncio.sleep(3)  # over the next tick, and less than what it has of its lease
            assert len(diary.started) == 1
            mend(engine)
            await until(lambda: len(diary.started) == 2)
            assert diary.ticks[1] - diary.ticks[0] == 10
            assert diary.started[1][2] > token, "in another term"
            await end(a)

    simulate(story, seed=7)


class Repeating(StrangerEngine):
    """A network that brings each write again, much later."""

    async def write_cells(
        self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None
    ) -> tuple[Cell, ...]:
        self.repeats: set[asyncio.Task[None]] = getattr(self, "repeats", set())
        self.repeats.add(asyncio.create_task(self._again(group, writes, claimed)))
        return await super().write_cells(group, writes, claimed)

    async def _again(self, group: str, writes: Sequence[CellWrite], claimed: Claimed | None) -> None:
        await asyncio.sleep(15)
        with suppress(EngineError):
            await super().write_cells(group, writes, claimed)


def test_a_mark_that_comes_late_takes_nothing_back() -> None:
    """P3."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect(Repeating(lab.store)) as one, lab.connect() as two:
            a = diary.start(one)
            await until(lambda: len(diary.started) == 3)
            await asyncio.sleep(7)  # the mark of the second tick has come again
            last = await diary.schedule(two).last()
            assert last is not None
            assert last.at == diary.ticks[-1]
            await end(a)
            b = diary.start(two)
            await asyncio.sleep(25)
            assert len(set(diary.ticks)) == len(diary.ticks)
            await end(b)

    simulate(story, seed=11)


def test_a_mark_of_somebody_else_is_obeyed() -> None:
    """Operators may move it: over what is not to be run, or away, to begin anew."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one, lab.connect() as two:
            a = diary.start(one)
            await until(lambda: diary.started)
            ahead = encode(Mark(diary.ticks[0] + 30, 0))
            await two.engine.write_cells(GROUP, [CellWrite(CELL, ahead, None)], None)
            await until(lambda: len(diary.started) == 2)
            assert diary.ticks[1] - diary.ticks[0] == 40
            await two.engine.write_cells(GROUP, [CellWrite(CELL, None, None)], None)
            await asyncio.sleep(25)
            assert len(set(diary.ticks)) == len(diary.ticks) > 2
            await end(a)

    simulate(story, seed=12)


def test_a_hand_over_lets_the_work_end_and_the_next_tick_is_the_successor_s() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        async with lab.connect() as one, lab.connect() as two:
            a = diary.start(one, "a", work_s=3)
            await until(lambda: diary.started)
            b = diary.start(two, "b")
            await until(lambda: lab.members(GROUP) == ["a", "b"])
            done = await one.election(GROUP, candidate="a").handover(drain_s=5)
            assert done.ok
            assert diary.done == diary.ticks, "what was begun was ended"
            await asyncio.sleep(10)
            assert [(name, tick.at - diary.ticks[0]) for name, tick, _ in diary.started] == [
                ("a", 0),
                ("b", 10),
            ]
            assert lab.members(GROUP) == ["b", "a"], "and it stands again"
            before = lab.now_s
            done = await two.election(GROUP, candidate="b").handover(drain_s=5)
            assert done.ok
            assert lab.now_s - before < 2, "who has nothing to do goes at once"
            await end(a, b)

    simulate(story, seed=13)


def test_an_error_of_the_work_ends_the_run_and_leaves_the_tick_marked_or_not() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)

        async def fail(tick: Tick, term: Term) -> None:
            diary.started.append(("a", tick, term.token))
            raise ZeroDivisionError

        async with lab.connect() as one:
            for at_least_once in (False, True):
                schedule = diary.schedule(one, at_least_once=at_least_once)
                with pytest.raises(ZeroDivisionError):
                    await schedule.run(fail)
                last = await schedule.last()
                assert last is not None
                assert (last.at == diary.ticks[-1]) is not at_least_once

    simulate(story, seed=8)


def test_ticks_may_be_given_by_a_function_and_may_end() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        diary = Diary(lab)
        times = [diary.wall() + s for s in (20, 21, 50)]

        def at(after: float) -> float:
            return next((time for time in times if time > after), float("inf"))

        async with lab.connect() as one:
            a = diary.start(one, every=None, at=at)
            await asyncio.sleep(100)
            assert diary.ticks == times
            await end(a)

    simulate(story, seed=9)


def test_what_cannot_be_is_refused() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        work: Work = _nothing
        async with lab.connect() as one:
            give: list[dict[str, Any]] = [{}, {"every": 1.0, "at": lambda after: after + 1}]
            for settings in give:
                with pytest.raises(InvalidInput, match="^every: "):
                    Schedule(one, "s", **settings)
            await one.engine.write_cells(GROUP, [CellWrite(CELL, b"no mark", None)], None)
            with pytest.raises(InvalidInput, match="^cell: "):
                await Schedule(one, "s", every=1).run(work)

    simulate(story, seed=10)


async def _nothing(tick: Tick, term: Term) -> None: ...


@pytest.mark.slow
async def test_a_schedule_reads_the_host_s_clock_by_default(tmp_path: Path) -> None:
    async with incumbent.connect(f"local://{tmp_path / 'x'}", ttl=2.0) as cluster:
        schedule = Schedule(cluster, "s", every=0.05)
        started = list[float]()

        async def work(tick: Tick, term: Term) -> None:
            started.append(tick.at)
            if len(started) == 3:
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await schedule.run(work)
        assert started == sorted(set(started))
        last = await schedule.last()
        assert last is not None
        assert last.at == started[-1]
