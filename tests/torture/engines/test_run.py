"""What is done to servers and candidates: planned by the seed, never twice to one at a time, and always undone."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from incumbent.cli.demo.recorder import CLOCK
from tests.torture.engines import run
from tests.torture.engines.faults import CANDIDATES, Fault, Kind, Verb, Whom, plan
from tests.torture.engines.run import Run
from tests.torture.engines.worlds import SETTINGS

Done = tuple[str, Verb, tuple[str, ...]]
FAST = 0.01


class World:
    members = ("m0", "m1", "m2")

    def __init__(self, done: list[Done]) -> None:
        self._done = done
        self.started = list[str]()

    def url(self, turn: int) -> str:
        return ""

    def leader(self) -> str | None:
        return "m1"

    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None:
        self._done.append(("begin", verb, tuple(members)))

    def end(self, verb: Verb, members: Sequence[str]) -> None:
        self._done.append(("end", verb, tuple(members)))

    @property
    def processes(self) -> Mapping[str, Any]:
        return {"m0": SimpleNamespace(poll=lambda: -6), "m1": SimpleNamespace(poll=lambda: None)}

    def start(self, member: str) -> None:
        self.started.append(member)

    def wait(self) -> None:
        pass


class Standing:
    def __init__(self, done: list[Done]) -> None:
        self.history = SimpleNamespace(holder="b", led=("", 0))
        self.over: dict[str, int] = {}
        self._done = done

    def begin(self, verb: Verb, name: str, step_s: int) -> None:
        self._done.append(("begin", verb, (name,)))

    def end(self, verb: Verb, name: str) -> None:
        self._done.append(("end", verb, (name,)))

    def ended(self) -> dict[str, int]:
        return self.over


@pytest.fixture
def done() -> list[Done]:
    return []


@pytest.fixture
def standing(done: list[Done]) -> Standing:
    return Standing(done)


@pytest.fixture
def running(done: list[Done], standing: Any) -> Run:
    return Run(World(done), standing)


@pytest.mark.parametrize("engine", SETTINGS)
def test_a_seed_says_which_faults_there_are(engine: str) -> None:
    kinds = SETTINGS[engine].kinds
    planned, again, other = (list(islice(plan(seed, kinds, 2.0), 2 * len(kinds))) for seed in (1, 1, 2))
    assert planned == again
    assert planned != other
    assert {fault.kind for fault in planned[: len(kinds)]} == set(kinds), (
        "all come once before any comes again"
    )
    assert any(fault.next_s < fault.lasts_s for fault in planned), "some overlap"


def test_every_fault_is_documented() -> None:
    page = (Path(__file__).parents[3] / "docs" / "explanation" / "failure-runs.md").read_text()
    assert [verb for verb in Verb if f"| `{verb}` (" not in page] == []


async def test_what_is_begun_is_ended_and_nobody_is_hurt_twice_at_a_time(
    running: Run, done: list[Done]
) -> None:
    kinds = [Kind(verb, whom) for verb in (Verb.KILL, Verb.STOP, Verb.CUT) for whom in Whom]
    faults = [Fault(kind, 0.4, 5, 3 * FAST, FAST) for kind in kinds]
    await running.faults_until(time.monotonic() + 60, iter(faults))
    hurt = set[str]()
    for when, _, names in done:
        assert hurt.isdisjoint(names) if when == "begin" else hurt.issuperset(names)
        hurt = hurt | set(names) if when == "begin" else hurt - set(names)
    assert not hurt
    assert len(running.struck) * 2 == len(done)
    skipped = sum(times for note, times in running.notes.items() if note.startswith("nobody"))
    assert len(running.struck) + skipped == len(kinds)


async def test_it_strikes_whom_it_means(running: Run, done: list[Done]) -> None:
    faults = [Fault(Kind(Verb.STOP, whom), 0.99, 5, FAST / 4, FAST) for whom in Whom]
    await running.faults_until(time.monotonic() + 60, iter(faults))
    struck = {one.kind.whom: tuple(one.victims) for one in running.struck}
    assert struck[Whom.HOLDER] == ("b",)
    assert "b" not in struck[Whom.WAITING]
    assert struck[Whom.LEADER] == ("m1",)
    assert struck[Whom.SERVERS] == World.members


@pytest.mark.parametrize("whom", [*CANDIDATES, Whom.SERVERS])
async def test_a_step_of_a_clock_is_not_ended(running: Run, done: list[Done], whom: Whom) -> None:
    await running.faults_until(
        time.monotonic() + 60, iter([Fault(Kind(Verb.STEP, whom), 0.0, 5, 60.0, FAST)])
    )
    assert [when for when, _, _ in done] == ["begin"]


async def test_a_server_that_does_not_come_back_ends_the_run(
    running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(*_: object) -> None:
        raise TimeoutError("it does not start")

    monkeypatch.setattr(running.world, "end", end)
    faults = [Fault(Kind(Verb.KILL, Whom.MEMBER), 0.0, 5, FAST, FAST) for _ in range(10)]
    with pytest.raises(ExceptionGroup):
        await running.faults_until(time.monotonic() + 60, iter(faults))


async def test_a_run_in_which_nobody_leads_in_the_end_is_broken(
    running: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "HEALED_TIMEOUT_S", FAST)
    await running.roll_call()
    assert running.broken == [f"nobody of 4 led within {FAST} s after the last fault"]


async def test_every_candidate_is_called_in_the_end(
    running: Run, standing: Standing, done: list[Done]
) -> None:
    class Led:
        holder = "a"

        @property
        def led(self) -> tuple[str, int]:
            return "a", CLOCK.now_ns()

    standing.history = Led()  # type: ignore[assignment]
    await running.roll_call()
    assert running.broken == []
    assert done == [("begin", Verb.KILL, ("a",))] * 4


async def test_a_candidate_that_ends_by_itself_is_broken_and_a_server_is_started_again(
    running: Run, standing: Standing
) -> None:
    standing.over = {"a": 1}
    await running.look_for_ended()
    assert running.broken == ["candidate a ended by itself with status 1"]
    assert running.notes == {"server m0 ended with status -6": 1}
    assert isinstance(running.world, World)
    assert running.world.started == ["m0"]
