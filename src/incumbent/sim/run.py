"""One seed's run: everything goes wrong for a while, then nothing does, and progress is demanded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incumbent.consensus.api import Timing
from incumbent.consensus.raft.replica import Raft
from incumbent.errors import InvariantViolated, invariant
from incumbent.sim.chaos import Chaos
from incumbent.sim.kernel import START_NS
from incumbent.sim.voter import ReplicaFactory
from incumbent.sim.world import World

NODES_DEFAULT: Final = 3
STEPS_DEFAULT: Final = 2_000
LIVENESS_TIMEOUTS_MAX: Final = 20
"""After healing, a new write is done and everyone has caught up within this many of the longest election timeouts."""
ASK_AGAIN_NS: Final = 50_000_000
TRACE_LINES_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class Report:
    """What one seed did. A violated predicate raises instead."""

    seed: int
    nodes: int
    steps: int  # asked for; the healing comes on top
    simulated_ms: int
    highest_term: int
    committed: int
    acknowledged: int
    reads: int
    faults: dict[str, int]
    notes: dict[str, int]
    trace: str  # the same for the same seed, nodes and steps


def replay_command(seed: int, nodes: int, steps: int) -> str:
    return f"python -m incumbent.sim --seed {seed} --nodes {nodes} --steps {steps}"


def run(
    seed: int,
    *,
    nodes: int = NODES_DEFAULT,
    steps: int = STEPS_DEFAULT,
    factory: ReplicaFactory = Raft,
    timing: Timing = Timing(),
) -> Report:
    """`steps` events of chaos, then healing, then progress.

    Raises InvariantViolated when a predicate breaks or progress fails; its notes hold the end of the trace and the
    command that replays it.
    """
    world = World(seed, nodes, factory=factory, timing=timing)
    try:
        chaos = Chaos(world)
        while world.kernel.steps < steps:
            world.kernel.run_one()
        chaos.stop()
        _demand_progress(world)
    except InvariantViolated as violation:
        violation.add_note("\n".join(list(world.trace.lines)[-TRACE_LINES_SHOWN:]))
        violation.add_note(f"replay: {replay_command(seed, nodes, steps)}")
        raise
    status = [voter.replica.status() for voter in world.running() if voter.replica is not None]
    return Report(
        seed=seed,
        nodes=nodes,
        steps=steps,
        simulated_ms=(world.kernel.now_ns - START_NS) // 1_000_000,
        highest_term=max(one.term for one in status),
        committed=len(world.checkers.machines.committed),
        acknowledged=len(world.checkers.acknowledged.entries),
        reads=world.checkers.reads.served,
        faults=dict(sorted(chaos.counts.items())),
        notes=dict(sorted(world.trace.notes.items())),
        trace=world.trace.fingerprint,
    )


def _demand_progress(world: World) -> None:
    """A write and a read that are asked for now get done, and every voter applies everything that was acknowledged."""
    checkers = world.checkers
    until_ns = world.kernel.now_ns + LIVENESS_TIMEOUTS_MAX * world.timing.election_timeout_max_ns
    writes, reads = checkers.acknowledged.entries, checkers.reads
    writes_before, reads_before = len(writes), reads.served
    while len(writes) == writes_before or reads.served == reads_before:
        invariant(world.kernel.now_ns < until_ns, "liveness: nothing is done after healing")
        leader = world.leader()
        if leader is not None:
            world.propose(leader)
            world.read(leader)
        world.run_for(ASK_AGAIN_NS)
    while any(voter.applied < writes[-1].index for voter in world.voters.values()):
        invariant(world.kernel.now_ns < until_ns, "liveness: not everyone catches up after healing")
        world.run_for(ASK_AGAIN_NS)
    checkers.acknowledged.check({voter.me: voter.applied for voter in world.voters.values()})
