"""The whole gear: the real driver, engine and leadership code, under the same faults and judges."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

import pytest

from incumbent.consensus.api import Role
from incumbent.errors import InvariantViolated
from incumbent.leadership import tenure
from incumbent.node.node import Node
from incumbent.sim.course import Course, Gear
from incumbent.sim.network import MS
from incumbent.sim.plans import STRIKES, WEATHER
from incumbent.sim.run import build, run
from incumbent.sim.survey import survey
from incumbent.sim.whole import candidate
from incumbent.sim.whole.candidate import Resource
from incumbent.sim.whole.world import WholeWorld

SLICE = 60
"""Seeds in every `make test`."""


def courses(first: int, count: int, events: int = 5_000) -> list[Course]:
    return [
        Course(seed=seed, nodes=(3, 3, 5)[seed % 3], events=events, gear=Gear.WHOLE)
        for seed in range(first, first + count)
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_slice_of_seeds_is_clean() -> None:
    """P8, P10, P12, P30, P34, P39, P51 to P59 in real code: leaderships never overlap while clocks keep their bound, tokens rise, the
    resource accepts nothing stale, and after healing somebody is elected and writes."""
    summary = survey(courses(0, SLICE), jobs=2)
    assert summary.broken == 0, [f"{v.what} replay: {v.course.command()}" for v in summary.violations]
    assert [kind for kind in (*STRIKES, *WEATHER) if not summary.faults[kind]] == []
    assert summary.totals["leaderships"] > SLICE


def test_one_seed() -> None:
    report = run(Course(seed=3, nodes=3, events=1_500, gear=Gear.WHOLE))
    assert report.leaderships > 0
    assert report.course.command().count("--gear whole") == 1


@pytest.mark.slow
def test_the_same_seed_takes_the_same_way_in_another_process() -> None:
    digests = set()
    for hash_seed in ("0", "1", "12345"):
        code = (
            "from incumbent.sim.run import *; from incumbent.sim.course import Gear; "
            "print(run(Course(seed=3, nodes=3, gear=Gear.WHOLE)).digest)"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout)
    assert len(digests) == 1


# --- the judges can fail ---------------------------------------------------------------------------------------------


def found_by_seeds(seeds: int = 40) -> str:
    """What the first red world says; worlds without leaps of clocks, so that overlaps count."""
    for seed in range(
        0, 2 * seeds, 2
    ):  # even ones keep no distance between leaders: the resource checks tokens
        try:
            run(
                Course(
                    seed=seed,
                    nodes=3,
                    events=5_000,
                    plan="partitions",
                    gear=Gear.WHOLE,
                )
            )
        except InvariantViolated as violation:
            return str(violation)
    return "nothing"


def believe_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A holder that counts on more than it was promised, as one does that counts from the reply."""
    monkeypatch.setattr(tenure, "hold_ns", lambda ttl_ns, _: 3 * ttl_ns)


def accept_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resource that does not look at tokens, and candidates whose writes take long."""
    real_write = Resource.write

    def write(self: Resource, token: int) -> None:
        self._highest = 0
        real_write(self, token)

    monkeypatch.setattr(Resource, "write", write)
    monkeypatch.setattr(candidate, "WRITE_DELAY_MAX_NS", 4_000_000_000)


def never_elect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's write reaches the resource."""
    monkeypatch.setattr(Resource, "write", lambda *_: None)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "a holder believes too long": (believe_too_long, "leadership"),
    "a resource accepts everything": (accept_everything, "leadership"),
    "nobody acts": (never_elect, "liveness: nobody is elected"),
}


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_turns_a_world_red(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    plant, says = PLANTED[fault]
    plant(monkeypatch)
    assert found_by_seeds().startswith(says)


def test_what_ends_a_driver_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error inside a simulated process is a finding, never lost in a task."""

    def broken(self: Node, now_ns: int) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(Node, "ready", broken)
    with pytest.raises(RuntimeError, match="planted"):
        run(Course(seed=1, nodes=3, gear=Gear.WHOLE))


def test_a_crashed_process_has_no_effect_any_more() -> None:
    world, _ = build(Course(seed=1, nodes=3, plan="none", gear=Gear.WHOLE))
    assert isinstance(world, WholeWorld)
    world.run_for(2_000 * MS)
    leader = world.leader()
    assert leader is not None
    process = world.whole[leader.me].process
    assert process is not None
    leader.crash()
    assert process.loop.is_closed()
    assert leader.node is None
    world.run_for(2_000 * MS)
    assert world.leader() not in (None, leader)
    world.close()


def test_a_paused_process_does_nothing_until_it_goes_on() -> None:
    world, _ = build(Course(seed=1, nodes=3, plan="none", gear=Gear.WHOLE))
    world.run_for(2_000 * MS)
    leader = world.leader()
    assert leader is not None
    before = leader.standing
    leader.pause()
    world.run_for(2_000 * MS)
    assert leader.standing == before
    leader.resume()
    world.run_for(1_000 * MS)
    assert leader.standing is not None
    assert leader.standing.role is Role.FOLLOWER, "somebody else leads a later term"
    world.close()
