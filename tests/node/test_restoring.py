"""A node that begins with a snapshot, its own or another's, answers as if it had applied everything itself."""

from __future__ import annotations

from incumbent.consensus.api import ReplicaLimits
from incumbent.ids import NodeId
from incumbent.kv.api import Code, LeaseRevoke, Once, Put
from incumbent.node.api import Done
from incumbent.node.node import Limits
from tests.node.network import MS, SEVEN, Table, code, granted, others, value

OFTEN = Limits(snapshot_entries=5, replica=ReplicaLimits(compaction_tail=0))


def put_many(table: Table, leader: NodeId, count: int = 20) -> None:
    for number in range(count):
        assert code(table.answer(table.submit(leader, Put(b"%d" % number, b"v")))) is Code.OK


def restart(table: Table) -> NodeId:
    """Everybody at once. Gives the new leader."""
    for node in table.ids:
        table.crash(node)
    for node in table.ids:
        table.start(node)
    return table.leader()


def test_who_was_away_for_long_is_sent_a_snapshot() -> None:
    table = Table(limits=OFTEN)
    leader = table.leader()
    away = others(table, leader)[0]
    table.crash(away)
    put_many(table, leader)
    assert table.nodes[leader].status().replica.first_index > 1
    table.start(away)
    table.run_for(300 * MS)
    assert table.nodes[away].machine.snapshot() == table.nodes[leader].machine.snapshot()
    assert table.disks[away].snapshot is not None


def test_a_few_large_commands_are_as_good_a_reason_for_a_snapshot_as_many_small_ones() -> None:
    """The log in memory and on the disk is bounded by bytes, too."""
    table = Table(limits=Limits(snapshot_bytes=6000, replica=ReplicaLimits(compaction_tail=0)))
    leader = table.leader()
    for number in range(4):
        assert code(table.answer(table.submit(leader, Put(b"k", b"%d" % number + bytes(1200))))) is Code.OK
    table.run_for(300 * MS)
    assert table.disks[leader].snapshot is None
    put_many(table, leader)
    assert table.disks[leader].snapshot is None, "they are small"
    assert code(table.answer(table.submit(leader, Put(b"k", bytes(1200))))) is Code.OK
    table.run_for(300 * MS)
    assert table.disks[leader].snapshot is not None


def test_everything_acknowledged_survives_a_restart_of_all_from_snapshots() -> None:
    """P51."""
    table = Table(limits=OFTEN)
    put_many(table, table.leader())
    leader = restart(table)
    assert [value(table, leader, b"%d" % number) for number in range(20)] == [b"v"] * 20


def test_a_command_that_is_asked_again_after_a_restore_is_not_done_again() -> None:
    """P3: what was answered is part of the snapshot, for as long as the session lives."""
    table = Table(limits=OFTEN)
    leader = granted(table, 60_000 * MS)
    once = Once(SEVEN, 1, 0, Put(b"k", b"once"))
    first = table.answer(table.submit(leader, once))
    table.answer(table.submit(leader, Put(b"k", b"later")))
    put_many(table, leader)
    leader = restart(table)
    assert table.nodes[leader].status().replica.first_index > 5
    again = table.answer(table.submit(leader, once))
    assert isinstance(first, Done)
    assert again == first
    assert value(table, leader, b"k") == b"later"


def test_the_answers_end_with_their_session() -> None:
    table = Table(limits=OFTEN)
    leader = granted(table, 60_000 * MS)
    once = Once(SEVEN, 1, 0, Put(b"k", b"once"))
    table.answer(table.submit(leader, once))
    table.answer(table.submit(leader, LeaseRevoke(SEVEN)))
    assert code(table.answer(table.submit(leader, once))) is Code.LEASE_NOT_FOUND
