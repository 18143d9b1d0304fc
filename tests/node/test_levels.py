"""No command goes into the log before the log says that every member can read it (ADR 20)."""

from __future__ import annotations

import pytest

from incumbent.consensus.api import ReplicaLimits
from incumbent.errors import Unsupported
from incumbent.ids import Index, NodeId, Term
from incumbent.kv import api, machine
from incumbent.kv.api import Code, Command, DeleteRange, LeaseGrant, Once, Put, RaiseLevel
from incumbent.kv.machine import Machine
from incumbent.node.api import Done, Refused, RefusedReason
from incumbent.node.node import Limits
from tests.node.network import MS, SEVEN, Table, code, others

NEW = DeleteRange(b"k")


@pytest.fixture(autouse=True)
def newer(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if `DeleteRange` had come with a second level, and this release had it."""
    monkeypatch.setattr(api, "LEVELS", {DeleteRange: 2})
    monkeypatch.setattr(machine, "LEVEL", 2)


def raised(table: Table) -> NodeId:
    leader = table.leader()
    table.nodes[leader].raise_level(2, table.now_ns)
    table.run_for(100 * MS)
    return leader


@pytest.mark.parametrize("command", [NEW, Once(SEVEN, 1, 0, NEW)])
def test_a_new_command_waits_until_the_log_says_that_all_read_it(command: Command) -> None:
    table = Table()
    leader = table.leader()
    assert code(table.answer(table.submit(leader, LeaseGrant(SEVEN, 60_000 * MS)))) is Code.OK
    last = table.nodes[leader].status().replica.last_index
    assert table.answer(table.submit(leader, command)) == Refused(RefusedReason.LEVEL)
    assert table.nodes[leader].status().replica.last_index == last
    leader = raised(table)
    assert code(table.answer(table.submit(leader, command))) is Code.OK


def test_whoever_leads_next_knows_it_also_from_a_snapshot() -> None:
    table = Table(limits=Limits(snapshot_entries=3, replica=ReplicaLimits(compaction_tail=0)))
    leader = raised(table)
    for number in range(10):
        table.answer(table.submit(leader, Put(b"%d" % number, b"v")))
    for node in table.ids:
        table.crash(node)
    for node in table.ids:
        table.start(node)
    leader = table.leader()
    assert table.nodes[leader].status().replica.first_index > 3, "the word itself is forgotten"
    assert table.nodes[leader].machine.level == 2
    assert code(table.answer(table.submit(leader, NEW))) is Code.OK


def test_only_a_leader_raises_and_nobody_from_outside() -> None:
    table = Table()
    leader = table.leader()
    follower = others(table, leader)[0]
    table.nodes[follower].raise_level(2, table.now_ns)
    asked = table.answer(table.submit(leader, RaiseLevel(2)))
    assert isinstance(asked, Done)
    assert asked.result.code is Code.INVALID
    table.run_for(100 * MS)
    assert {node.machine.level for node in table.nodes.values()} == {1}


def test_an_older_release_stops_at_the_word_and_not_at_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and it has applied nothing that it would have read otherwise than the others."""
    newer = Machine()
    newer.apply(Index(1), Term(1), RaiseLevel(2))
    monkeypatch.setattr(machine, "LEVEL", 1)
    with pytest.raises(Unsupported, match="upgrade this node"):
        Machine().apply(Index(1), Term(1), RaiseLevel(2))
    older = Machine()
    with pytest.raises(Unsupported, match="upgrade this node"):
        older.restore(Index(1), newer.snapshot())
    assert (older.applied, older.level) == (0, 1)


def test_the_level_never_falls_and_is_part_of_the_state() -> None:
    one, other = Machine(), Machine()
    one.apply(Index(1), Term(1), RaiseLevel(2))
    other.skip(Index(1))
    assert one.digest() != other.digest()
    one.apply(Index(2), Term(1), RaiseLevel(1))
    assert one.level == 2
