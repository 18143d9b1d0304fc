"""The fast gear: seeds are clean, replay to the same digest, and between them everything that can happen does.

A failing seed prints the command that replays it. ``make soak`` runs a hundred thousand of them.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from incumbent.errors import InvariantViolated
from incumbent.sim import soak as soaking
from incumbent.sim.chaos import KINDS_MIN, Chaos
from incumbent.sim.command import main
from incumbent.sim.course import Course, Gear
from incumbent.sim.network import MS, Topology
from incumbent.sim.plans import PLANS, STRIKES
from incumbent.sim.run import Report, build, failure_of, run
from incumbent.sim.shrink import shrink
from incumbent.sim.survey import Summary, from_json, run_batch, survey, to_json
from incumbent.sim.world import Setting, World

ROOT = Path(__file__).parents[2]
SLICE = 480
"""Seeds in every `make test`; of all cluster sizes and both topologies."""


def slice_of(first: int, count: int) -> list[Course]:
    far = (Topology.LAN, Topology.LAN, Topology.THREE_REGIONS)
    return [
        Course(seed=seed, nodes=(3, 5, 5, 7)[seed % 4], topology=far[seed % 3])
        for seed in range(first, first + count)
    ]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_slice_of_seeds_is_clean_and_everything_occurs() -> None:
    """P51 to P59, and P8 as far as consensus goes: safety at every step, and progress once a quorum is healed. Every kind
    of fault, every note, leader changes, snapshot installs, joint changes and parked pre-votes occur."""
    summary = survey(slice_of(0, SLICE), jobs=2)
    assert summary.broken == 0, [f"{v.what} replay: {v.course.command()}" for v in summary.violations]
    assert summary.never("all") == [], "what never occurs is not tested by any of these seeds"
    assert summary.failover_ms(0.5) is not None


def test_one_seed_of_each_size() -> None:
    for nodes in (1, 2, 3, 5):
        report = run(Course(seed=7, nodes=nodes, events=1_500))
        assert report.committed > 0
        assert report.digest == run(Course(seed=7, nodes=nodes, events=1_500)).digest


@pytest.mark.slow
def test_a_hundred_and_one_voters_elect_and_commit() -> None:
    report = run(Course(seed=1, nodes=101, events=40_000, plan="none"))
    assert report.leaders >= 1
    assert report.acknowledged > 0


@pytest.mark.slow
def test_the_same_seed_takes_the_same_way_in_another_process() -> None:
    """Whatever the hash seed: nothing depends on the order of a set."""
    digests = set()
    for hash_seed in ("0", "1", "12345"):
        code = "from incumbent.sim.run import *; print(run(Course(seed=3)).digest, run(Course(seed=4, nodes=7)).digest)"
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": hash_seed}, capture_output=True,
            text=True, check=True,
        )  # fmt: skip
        digests.add(done.stdout)
    assert len(digests) == 1


def test_leaving_out_a_fault_leaves_the_others_what_they_are() -> None:
    _, whole = build(Course(seed=5, plan="partitions"))
    world, chaos = build(Course(seed=5, plan="partitions", skipped=(1,)))
    assert whole.kinds == chaos.kinds
    world.kernel.run_events(3_000)
    assert chaos.strikes > sum(count for kind, count in chaos.counts.items() if kind in STRIKES)


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_draws_at_least_three_kinds(plan: str) -> None:
    for seed in range(20):
        _, chaos = build(Course(seed=seed, plan=plan))
        assert (
            len(chaos.kinds) >= min(KINDS_MIN, len(PLANS[plan])) - 1
        )  # two that exclude each other count once
        assert set(chaos.kinds) <= set(PLANS[plan])


# --- the laboratory can fail -----------------------------------------------------------------------------------------


def test_a_seed_that_goes_on_for_ever_fails() -> None:
    """A follower that lost entries can answer a leader for ever: every seed has a budget."""
    world = World(Setting(seed=1, events_max=100))
    with pytest.raises(InvariantViolated, match="budget"):
        world.kernel.run_events(200)


def test_a_cluster_that_makes_no_progress_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Chaos, "stop", lambda self: self.world.network.cut_links(
        [(a, b) for a in self.world.names for b in self.world.names]
    ))  # fmt: skip
    failure = failure_of(Course(seed=2, events=1_000, plan="none"))
    assert failure is not None
    assert "liveness" in str(failure)
    assert any("replay: python -m incumbent.sim --seed 2" in note for note in failure.__notes__)


def test_a_failing_course_is_made_smaller() -> None:
    """Fewer faults, fewer events, the same failure; and what is left is what it takes."""
    course = Course(seed=11, events=4_000, plan="crashes")
    world, chaos = build(course)
    world.kernel.run_events(4_000)
    culprit = next(n for n in range(1, chaos.strikes + 1) if n > 2)

    def fails(smaller: Course) -> object:
        return True if culprit not in smaller.skipped and smaller.events >= 3_900 else None

    smaller = shrink(course, fails)
    assert culprit not in smaller.skipped
    assert len(smaller.skipped) == chaos.strikes - 1
    assert 3_900 <= smaller.events <= 3_950


def test_what_a_run_raises_is_kept_with_its_command() -> None:
    summary = run_batch([Course(seed=1, events=200, skipped=(1, 2))])
    assert (summary.seeds, summary.broken) == (1, 0)
    summary.fail(Course(seed=9, skipped=(1,)), ValueError("x"))
    assert summary.broken == 1
    assert summary.violations[0].course.command().endswith("--skip 1")


# --- what it prints --------------------------------------------------------------------------------------------------


def test_summaries_add_up_and_survive_json() -> None:
    one, two = run_batch(slice_of(0, 2)), run_batch(slice_of(2, 2))
    one.fail(Course(seed=9, skipped=(3, 4)), ValueError("x"))
    both = Summary()
    both.merge(from_json(to_json(one)))
    both.merge(two)
    assert both.seeds == 5
    assert both.events == one.events + two.events
    assert both.violations == one.violations
    assert both.as_json("all")["violations"] == 1


def test_the_command_prints_json_and_its_exit_code_tells(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "2", "--events", "500", "--json"]) == 0
    printed = capsys.readouterr().out
    assert '"violations": 0' in printed
    assert main(["--seeds", "1", "--events", "300", "--faults", "none", "--cover"]) == 3
    assert "never: " in capsys.readouterr().out


def test_a_replay_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    report = run(Course(seed=1, events=300))
    assert isinstance(report, Report)
    assert main(["--seed", "1", "--events", "300", "--trace"]) == 0
    assert report.digest in capsys.readouterr().out


def test_a_soak_resumes_and_says_when_it_was_last_clean(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(soaking, "CHUNK", 2)
    ran: list[int] = []

    def chunk(first: int, *, jobs: int, gear: Gear) -> Summary:
        ran.append(first)
        assert gear is Gear.FAST
        return run_batch([Course(seed=first, events=200 * jobs), Course(seed=first + 1, events=200)])

    monkeypatch.setattr(soaking, "chunk", chunk)
    assert soaking.main(["--seeds", "4", "--dir", str(tmp_path)]) == 0
    assert ran == [0, 2]
    assert soaking.main(["--seeds", "6", "--dir", str(tmp_path)]) == 0
    assert ran == [0, 2, 4], "what is done is not done again"
    assert "last clean: 20" in capsys.readouterr().out


def test_a_leader_fails_over_in_simulated_time() -> None:
    world = World(Setting(seed=1, clients=0, retriers=0, candidates=0))
    world.run_for(1_000 * MS)
    leader = world.leader()
    assert leader is not None
    world.crash(leader)
    world.run_for(1_000 * MS)
    (failover_ns,) = world.tally.failovers_ns
    assert 0 < failover_ns < 1_000 * MS
