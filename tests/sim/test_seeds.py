"""Random worlds: every predicate holds in every one. A red seed prints the command that replays it."""

from __future__ import annotations

import os
import subprocess
import sys
from random import Random

import pytest

from incumbent.consensus.api import Membership, Saved, Timing
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.replica import Raft
from incumbent.errors import InvariantViolated, invariant
from incumbent.ids import NodeId
from incumbent.sim import __main__ as command
from incumbent.sim.run import Report, replay_command, run

SEEDS = range(200)
STEPS = 1_500
# Most clusters are of three; the others have their own arithmetic.
SIZES = {0: 5, 1: 2, 2: 4, 3: 1}


@pytest.mark.parametrize("block", range(40))
def test_random_worlds_break_no_predicate_and_make_progress(block: int) -> None:
    """P51, P52 and the predicates of consensus, under crashes, pauses, cut links, torn writes and stale messages."""
    for seed in SEEDS[block::40]:
        report = run(seed, nodes=SIZES.get(seed % 10, 3), steps=STEPS)
        assert report.acknowledged > 0
        assert report.reads > 0


@pytest.mark.slow
def test_more_random_worlds() -> None:
    for seed in range(1_000, 1_200):
        run(seed, nodes=SIZES.get(seed % 10, 3), steps=4_000)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "nodes", "steps"), [(1107, 3, 4_000)])
def test_seeds_that_found_something_are_kept(seed: int, nodes: int, steps: int) -> None:
    """Each has a row in docs/track-record.md."""
    run(seed, nodes=nodes, steps=steps)


def reports() -> list[Report]:
    return [run(seed, steps=STEPS) for seed in range(12)]


@pytest.mark.slow
def test_the_worlds_are_worth_something() -> None:
    """They see elections, every kind of fault, and most branches of the core."""
    seen = reports()
    assert max(report.highest_term for report in seen) >= 5
    kinds = {kind for report in seen for kind in report.faults}
    assert kinds == {
        "crash", "crash_leader", "pause", "isolate_leader", "split", "one_way", "false_hint", "ambush",
    }  # fmt: skip
    notes = {code for report in seen for code in report.notes}
    never = {Code.FOLLOWER_LOST_ENTRIES}  # an honest disk forgets nothing
    rare = {
        Code.COMMIT_WAITS_FOR_OWN_TERM,
        Code.OWN_APPEND_OVERTAKEN,
        Code.VOTE_REFUSED_STICKY,
        Code.VOTE_REFUSED_LOG,
        Code.VOTE_REFUSED_TAKEN,
        Code.VOTE_LOST,
        Code.READ_WAITS,
    }
    assert set(Code) - notes <= never | rare
    assert not notes & never


def test_the_same_seed_gives_the_same_world() -> None:
    assert run(7, steps=STEPS) == run(7, steps=STEPS)
    assert run(7, steps=STEPS).trace != run(8, steps=STEPS).trace


def test_the_same_seed_gives_the_same_world_in_another_process() -> None:
    """Whatever the order of its sets and hashes."""
    outputs = {
        subprocess.run(
            [sys.executable, "-m", "incumbent.sim", "--seed", "11", "--nodes", "5", "--steps", "800"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert "trace" in outputs.pop()


class Broken(Raft):
    """Stops itself after a while."""

    def invariants(self) -> None:
        invariant(self.state.now_ns < 1_002_000_000_000, "planted: two seconds are enough")


def test_a_failure_says_how_to_replay_it() -> None:
    with pytest.raises(InvariantViolated, match="planted") as caught:
        run(3, nodes=3, steps=2_000, factory=Broken)
    trace, replay = caught.value.__notes__
    assert replay == f"replay: {replay_command(3, 3, 2_000)}"
    assert "starts at term" in trace or "became_leader" in trace or "durable" in trace


def test_the_replay_command_runs(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = replay_command(3, 5, 300).split()[3:]
    assert command.main(arguments) == 0
    assert "seed 3: ok; 5 voters, 300 steps" in capsys.readouterr().out

    def broken_run(seed: int, *, nodes: int, steps: int) -> Report:
        return run(seed, nodes=nodes, steps=steps, factory=Broken)

    monkeypatch.setattr(command, "run", broken_run)
    assert command.main(["--seed", "3", "--steps", "2000"]) == 1
    out = capsys.readouterr().out
    assert "seed 3: FAILED: planted" in out
    assert replay_command(3, 3, 2_000) in out


@pytest.mark.parametrize("argument", ["--nodes", "--steps", "--seeds"])
def test_a_world_of_nothing_is_refused(argument: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main([argument, "0"])
    assert argument in capsys.readouterr().err


def test_a_protocol_is_a_factory() -> None:
    """The laboratory asks for no more than the interface."""
    made: list[NodeId] = []

    def factory(
        me: NodeId, membership: Membership, saved: Saved, *, random: Random, now_ns: int, timing: Timing
    ) -> Raft:
        made.append(me)
        return Raft(me, membership, saved, random=random, now_ns=now_ns, timing=timing)

    run(1, steps=200, factory=factory)
    assert set(made) == {"n1", "n2", "n3"}
