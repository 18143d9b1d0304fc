"""One seed's run, in either gear: everything goes wrong for a while, then nothing does, and progress is demanded."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Final

from incumbent.errors import InvariantViolated, invariant
from incumbent.kv.api import Put, Query, Range
from incumbent.node.api import Done, Outcome
from incumbent.sim.chaos import Chaos, choose, setting
from incumbent.sim.course import Course, Gear
from incumbent.sim.histories import check_linearizable
from incumbent.sim.kernel import START_NS
from incumbent.sim.network import MS
from incumbent.sim.world import World

LIVENESS_TIMEOUTS_MAX: Final = 40
"""After healing, a new write is done and everyone has caught up within this many of the longest election timeouts."""
HEALING_EVENTS_PER_VOTER: Final = 12_000
"""And within this many events for each voter."""
ASK_AGAIN_NS: Final = 50 * MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one run did. A violated predicate raises instead."""

    course: Course
    events: int
    simulated_ms: int
    committed: int
    acknowledged: int
    reads: int
    retried: int
    leaderships: int  # of candidates on leases
    leaders: int  # of terms
    changes: int  # joint memberships committed
    judged: int  # operations that the judge of linearizability looked at
    faults: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    failovers_ms: tuple[int, ...] = ()
    digest: str = ""  # the same for the same course


def build(course: Course, *, trace: bool = False) -> tuple[World, Chaos]:
    """The world of a course, at its beginning."""
    random = Random(f"{course.seed}/kinds")
    kinds = choose(random, course.plan, course.nodes)
    made = setting(
        course.seed,
        nodes=course.nodes,
        topology=course.topology,
        kinds=kinds,
        trace=trace,
        events_max=course.events + HEALING_EVENTS_PER_VOTER * course.nodes,
    )
    world = _kind_of_world(course.gear)(made)
    return world, Chaos(world, kinds, course.skipped)


def _kind_of_world(gear: Gear) -> type[World]:
    if gear is Gear.FAST:
        return World
    from incumbent.sim.whole.world import WholeWorld

    return WholeWorld


def run(course: Course, *, trace: bool = False) -> Report:
    """So many events of chaos, then healing, then progress.

    Raises InvariantViolated when a predicate breaks or progress fails; its notes hold the command that replays it and, with
    `trace`, the end of the trace.
    """
    world, chaos = build(course, trace=trace)
    try:
        world.kernel.run_events(course.events)
        world.at_rest()
        chaos.stop()
        _demand_progress(world)
        world.demand_more()
        check_linearizable(world.calls())
    except Exception as error:
        if world.trace is not None:
            error.add_note("\n".join(world.trace.lines))
        error.add_note(f"replay: {course.command()}")
        raise
    finally:
        world.close()
    return _report_of(course, world, chaos)


def _report_of(course: Course, world: World, chaos: Chaos) -> Report:
    return Report(
        course=course,
        events=world.kernel.events,
        simulated_ms=(world.kernel.now_ns - START_NS) // MS,
        committed=len(world.predicates.committed.entries),
        acknowledged=world.register.acknowledged,
        reads=world.register.reads,
        retried=sum(one.done for one in world.retriers),
        leaderships=world.elections.leaderships,
        leaders=world.tally.leaders,
        changes=world.predicates.chain.changes,
        judged=len(world.calls()),
        faults=dict(chaos.counts),
        notes=dict(world.tally.notes),
        failovers_ms=tuple(ns // MS for ns in world.tally.failovers_ns),
        digest=f"{world.kernel.digest:016x}",
    )


def _demand_progress(world: World) -> None:
    """A write and a read that are asked for now get done, every member applies everything that was acknowledged, no change
    of membership stays half-way, and everybody who waits for an answer gets one."""
    world.stop_clients()
    timing = world.setting.timing
    until_ns = world.kernel.now_ns + LIVENESS_TIMEOUTS_MAX * max(
        timing.election_timeout_max_ns, 2 * timing.adaptive_max_ns
    )
    done: list[Outcome] = []
    while len(done) < 2:
        invariant(world.kernel.now_ns < until_ns, "liveness: nothing is done after healing")
        _ask(world, done)
        world.run_for(ASK_AGAIN_NS)
    while not _settled(world):
        invariant(world.kernel.now_ns < until_ns, "liveness: not everyone catches up after healing")
        world.run_for(ASK_AGAIN_NS)
    world.at_rest()
    leader = world.leader()
    assert leader is not None
    node = leader.node
    assert node is not None

    def query(what: Query) -> Done:
        return Done(node.machine.query(what))

    for retrier in world.retriers:
        retrier.check(query)


def _ask(world: World, done: list[Outcome]) -> None:
    leader = world.leader()
    if leader is None:
        return

    def then(outcome: Outcome) -> None:
        if isinstance(outcome, Done):
            done.append(outcome)

    request = world.requests.open(then)
    if done:
        leader.ask(lambda node, now_ns: node.read(request, Range(b"end"), now_ns))
    else:
        leader.ask(lambda node, now_ns: node.submit(request, Put(b"end", b""), now_ns))


def _settled(world: World) -> bool:
    leader = world.leader()
    if leader is None or leader.standing is None or leader.standing.membership.joint:
        return False
    commit = max(leader.standing.commit, len(world.predicates.committed.entries))
    members = leader.standing.membership.everyone
    return all(
        voter.gone or (voter.standing is not None and voter.standing.applied >= commit)
        for name, voter in world.voters.items()
        if name in members
    )


def failure_of(course: Course) -> InvariantViolated | None:
    """What breaks on this course, if anything does."""
    try:
        run(course)
    except InvariantViolated as violation:
        return violation
    return None
