"""Partial connectivity: whoever is connected both ways with a quorum makes a leader possible (dissertation 9.6, 6.2; the
chained cases that remain are those of OmniPaxos)."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from itertools import combinations, permutations

import pytest

from incumbent.ids import NodeId, RequestId
from incumbent.kv.api import Put
from incumbent.node.api import Done, Outcome
from incumbent.node.node import Node
from incumbent.sim.network import MS
from incumbent.sim.world import Setting, World

SECOND = 1_000 * MS
Link = tuple[NodeId, NodeId]


def world_of(seed: int, nodes: int) -> World:
    return World(Setting(seed=seed, nodes=nodes, clients=0, retriers=0, candidates=0))


def matrices(links: list[list[Link]]) -> list[list[Link]]:
    """Every way to cut some of these groups of links."""
    return [
        [link for bit, group in enumerate(links) if number >> bit & 1 for link in group]
        for number in range(2 ** len(links))
    ]


def directed(names: list[NodeId]) -> list[list[Link]]:
    return [[link] for link in permutations(names, 2)]


def symmetric(names: list[NodeId]) -> list[list[Link]]:
    return [[(a, b), (b, a)] for a, b in combinations(names, 2)]


def neighbours(world: World, name: NodeId) -> list[NodeId]:
    """Who is connected with it both ways."""
    cut = world.network.cut
    return [other for other in world.others(name) if (name, other) not in cut and (other, name) not in cut]


def quorum(world: World) -> int:
    return len(world.names) // 2 + 1


def connected(world: World) -> list[NodeId]:
    """Who is connected both ways with a quorum."""
    return [name for name in world.names if 1 + len(neighbours(world, name)) >= quorum(world)]


def can_win(world: World, name: NodeId) -> bool:
    """Whether a quorum of its neighbours, with itself, has no newer log than it (Raft section 5.4.1)."""
    mine = world.voters[name].disk

    def not_newer(other: NodeId) -> bool:
        theirs = world.voters[other].disk
        return (theirs.last_term, theirs.last_index) <= (mine.last_term, mine.last_index)

    return 1 + sum(map(not_newer, neighbours(world, name))) >= quorum(world)


def submit(request: RequestId, node: Node, now_ns: int) -> None:
    node.submit(request, Put(b"k", b""), now_ns)


def write_everywhere(world: World) -> list[Outcome]:
    """Ask every voter for a write; the outcomes come later."""
    outcomes: list[Outcome] = []
    for voter in world.voters.values():
        request = world.requests.open(outcomes.append)
        voter.ask(partial(submit, request))
    return outcomes


def progresses(world: World) -> bool:
    """Whether a write is done within a second."""
    outcomes = write_everywhere(world)
    world.run_for(SECOND)
    return any(isinstance(outcome, Done) for outcome in outcomes)


def terms_are_calm(world: World, before: int) -> bool:
    return max(voter.standing.term for voter in world.running() if voter.standing) <= before + 5


def cut_off(number: int, nodes: int, links: Iterable[Link], *, in_flight: bool) -> World:
    """A cluster at peace, then some links carry no more; with writes on their way when they are cut, or without."""
    world = world_of(number, nodes)
    world.run_for(SECOND)
    if in_flight:
        for _ in range(3):
            write_everywhere(world)
            world.run_for(MS // 2)
    world.network.cut_links(list(links))
    world.run_for(3 * SECOND)
    return world


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_every_directed_matrix_of_three() -> None:
    """All 64: a half-dead switch leaves links that carry one way only (Cloudflare, 2020). Pre-vote, stickiness and
    check-quorum together keep or find a leader that commits, and the term stays calm. P52, P53."""
    names = world_of(0, 3).names
    for number, cut in enumerate(matrices(directed(names))):
        world = cut_off(number, 3, cut, in_flight=False)
        assert progresses(world) >= bool(connected(world)), f"matrix {number}: cut {sorted(cut)}"
        assert terms_are_calm(world, 1), f"matrix {number}: the term runs away"


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("block", range(8))
def test_every_symmetric_matrix_of_five(block: int) -> None:
    """All 1,024, from equal logs."""
    names = world_of(0, 5).names
    for number, cut in list(enumerate(matrices(symmetric(names))))[block::8]:
        world = cut_off(number, 5, cut, in_flight=False)
        assert progresses(world) >= bool(connected(world)), f"matrix {number}: cut {sorted(cut)}"
        assert terms_are_calm(world, 1), f"matrix {number}: the term runs away"


def hopeless(world: World) -> bool:
    """No voter that is connected with a quorum has a log which that quorum would vote for."""
    return not any(can_win(world, name) for name in connected(world))


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("block", range(8))
def test_every_symmetric_matrix_of_five_with_writes_on_their_way(block: int) -> None:
    """Where nothing is done although somebody is connected with a quorum, the logs forbid it: that is shown for each, and
    such cases are few."""
    names = world_of(0, 5).names
    forbidden = 0
    for number, cut in list(enumerate(matrices(symmetric(names))))[block::8]:
        world = cut_off(number, 5, cut, in_flight=True)
        if connected(world) and not progresses(world):
            assert hopeless(world), f"matrix {number}: cut {sorted(cut)}"
            forbidden += 1
    assert forbidden <= len(matrices(symmetric(names))) // 8 // 20, "the exception became the rule"


def test_a_hub_behind_its_spokes_cannot_win() -> None:
    """The exception: a star of five whose hub alone is connected with a quorum, and lacks what three spokes have."""
    world = world_of(1, 5)
    world.run_for(SECOND)
    leader = world.leader()
    assert leader is not None
    hub, *_ = world.others(leader.me)
    world.network.cut_links([(a, hub) for a in world.others(hub)])
    write_everywhere(world)
    world.run_for(50 * MS)
    leader.crash()
    world.network.heal()
    world.network.cut_links([link for link in permutations(world.names, 2) if hub not in link])
    world.run_for(3 * SECOND)
    assert connected(world) == [hub]
    assert not can_win(world, hub)
    assert not progresses(world)
