"""The laboratory itself: what its disk, network, kernel and voters promise."""

from __future__ import annotations

from random import Random

import pytest

from incumbent.consensus.api import Entry, Record, Role
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.disk import SimDisk
from incumbent.sim.kernel import START_NS, Kernel
from incumbent.sim.network import STALE_DELAY_MAX_NS, Network
from incumbent.sim.world import World

SECOND = 1_000_000_000
A, B = NodeId("a"), NodeId("b")


def entry(index: int, term: int) -> Entry:
    return Entry(Index(index), Term(term), None)


def test_a_disk_cuts_first_and_then_puts() -> None:
    disk = SimDisk()
    disk.apply(Record(b"h", None, [entry(1, 1), entry(2, 1), entry(3, 1)]))
    disk.apply(Record(None, Index(2), [entry(2, 2)]))
    assert disk.saved().hard_state == b"h"
    assert disk.saved().entries == {1: entry(1, 1), 2: entry(2, 2)}
    assert (disk.last_index, disk.term_at(2), disk.term_at(3), disk.term_at(0)) == (2, 2, None, 0)


def test_a_put_deletes_nothing_else() -> None:
    disk = SimDisk()
    disk.apply(Record(entries=[entry(1, 1), entry(2, 1)]))
    disk.apply(Record(entries=[entry(1, 2)]))
    assert disk.term_at(2) == 1


def test_events_happen_in_the_order_of_their_times_and_then_of_their_making() -> None:
    kernel = Kernel(0)
    seen: list[str] = []
    kernel.after(5, seen.append, "late")
    kernel.after(1, seen.append, "first")
    kernel.after(1, seen.append, "second")
    for _ in range(3):
        kernel.run_one()
    assert seen == ["first", "second", "late"]
    assert kernel.now_ns == START_NS + 5


def test_a_cut_link_carries_nothing_one_way() -> None:
    network = Network(Random(0), cut={(A, B)})
    assert network.delays_ns(A, B) == []
    assert len(network.delays_ns(B, A)) == 1


def test_loss_duplication_and_staleness_happen() -> None:
    network = Network(Random(0), loss=0.3, duplication=0.3, staleness=0.1)
    copies = [network.delays_ns(A, B) for _ in range(1000)]
    assert {len(delays) for delays in copies} == {0, 1, 2}
    longest = max(delay for delays in copies for delay in delays)
    assert network.delay_max_ns < longest <= STALE_DELAY_MAX_NS
    network.heal()
    assert all(len(network.delays_ns(A, B)) == 1 for _ in range(100))


def test_a_quiet_world_has_one_leader_in_one_term() -> None:
    world = World(1, 3)
    world.run_for(5 * SECOND)
    leader = world.leader()
    assert leader is not None
    assert leader.replica is not None
    term = leader.replica.status().term
    for voter in world.voters.values():
        assert voter.replica is not None
        assert (voter.replica.status().term, voter.replica.status().leader) == (term, leader.me)


def test_a_crash_keeps_the_disk_and_nothing_else() -> None:
    world = World(1, 3)
    world.run_for(SECOND)
    leader = world.leader()
    assert leader is not None
    world.crash(leader)
    assert leader not in world.running()
    before = dict(leader.disk.entries)
    world.run_for(SECOND)
    assert leader.disk.entries == before
    leader.start()
    assert leader.replica is not None
    assert leader.replica.status().role is Role.FOLLOWER
    assert leader.replica.status().last_index == leader.disk.last_index


@pytest.mark.parametrize("seed", range(6))
def test_a_write_that_is_under_way_survives_a_crash_whole_or_not_at_all(seed: int) -> None:
    """Both happen, and which one is up to the seed."""
    outcomes = set()
    for number in range(20):
        world = World(seed * 100 + number, 1)
        voter = world.voters[NodeId("n1")]
        while voter.writing is None:
            world.kernel.run_one()
        record = voter.writing
        voter.crash()
        outcomes.add(voter.disk.hard_state == record.hard_state)
    assert outcomes == {True, False}


def test_a_paused_process_does_nothing_and_then_everything() -> None:
    world = World(2, 3)
    world.run_for(SECOND)
    leader = world.leader()
    assert leader is not None
    leader.pause()
    world.run_for(2 * SECOND)
    successor = world.leader()
    assert successor is not None
    assert successor is not leader
    leader.resume()
    world.run_for(SECOND)
    assert leader.replica is not None
    assert leader.replica.status().leader == successor.me


def failover_ns(seed: int, quiet_ns: int) -> int:
    """From the death of a leader, `quiet_ns` after its last heartbeat, until another leads."""
    world = World(seed, 3)
    world.run_for(2 * SECOND)  # ends with somebody's heartbeat
    leader = world.leader()
    assert leader is not None
    world.run_for(quiet_ns)
    died_ns = world.kernel.now_ns
    leader.crash()
    for other in world.running():
        world.hint(other, leader.me)
    while world.leader() is None:
        world.kernel.run_one()
    return world.kernel.now_ns - died_ns


def test_a_killed_leader_is_replaced_long_before_an_election_timeout() -> None:
    """When the others learn of it: PeerLost (PROTOCOLS 2.7)."""
    gaps = sorted(failover_ns(seed, 10_000_000) for seed in range(20))
    assert gaps[10] < 25_000_000
    assert gaps[-1] < 150_000_000


def test_so_is_one_whose_last_heartbeat_comes_after_the_news_of_its_death() -> None:
    """It was on its way, or in another connection."""
    gaps = sorted(failover_ns(seed, 0) for seed in range(20))
    assert gaps[-1] < 200_000_000


@pytest.mark.parametrize("victim", ["n1", "n2", "n3"])
def test_killed_at_any_event_of_an_election_nobody_votes_twice(victim: str) -> None:
    """P51: kill -9 at every event, in and between writes; the predicates hold, and the cluster comes back."""
    for moment in range(0, 60, 2):
        world = World(5, 3)
        while world.kernel.steps < moment:
            world.kernel.run_one()
        voter = world.voters[NodeId(victim)]
        voter.crash()
        voter.start()
        world.run_for(SECOND)
        assert world.leader() is not None, f"seed 5, {victim} killed at event {moment}"
