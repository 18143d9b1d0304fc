"""Partial connectivity: whoever is connected both ways with a quorum makes a leader possible (PROTOCOLS 2.3)."""

from __future__ import annotations

from itertools import permutations, product

import pytest

from incumbent.ids import NodeId
from incumbent.sim.world import World

SECOND = 1_000_000_000
LINKS = list(permutations(("n1", "n2", "n3"), 2))


def someone_reaches_a_quorum(cut: set[tuple[NodeId, NodeId]], names: list[NodeId]) -> bool:
    def both_ways(a: NodeId, b: NodeId) -> bool:
        return (a, b) not in cut and (b, a) not in cut

    return any(1 + sum(both_ways(a, b) for b in names if b != a) > len(names) // 2 for a in names)


@pytest.mark.parametrize("block", range(8))
def test_every_matrix_of_three(block: int) -> None:
    """All 64: a half-dead switch leaves links that carry one way only (Cloudflare, 2020). Pre-vote, stickiness and
    check-quorum together keep or find a leader that commits, and the term stays calm."""
    for number, up in list(enumerate(product((True, False), repeat=len(LINKS))))[block::8]:
        world = World(number, 3)
        world.run_for(2 * SECOND)
        world.network.cut = {
            (NodeId(a), NodeId(b)) for (a, b), carries in zip(LINKS, up, strict=True) if not carries
        }
        world.run_for(4 * SECOND)
        done = len(world.checkers.acknowledged.entries)
        for voter in world.voters.values():
            world.propose(voter)
        world.run_for(SECOND)
        progressed = len(world.checkers.acknowledged.entries) > done
        possible = someone_reaches_a_quorum(world.network.cut, world.names)
        assert progressed >= possible, f"matrix {number}: cut {sorted(world.network.cut)}"
        terms = [voter.replica.status().term for voter in world.running() if voter.replica is not None]
        assert max(terms) <= 6, f"matrix {number}: the term runs away"
