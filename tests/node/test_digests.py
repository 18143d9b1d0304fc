"""Nodes whose states drift apart find out: the minority stops, and without a majority nothing is acknowledged."""

from __future__ import annotations

import msgspec
import pytest

from incumbent.consensus.api import Membership
from incumbent.errors import StateDiverged
from incumbent.ids import Index, NodeId
from incumbent.kv.api import Code, Put
from incumbent.node.api import Refused, RefusedReason
from incumbent.node.digests import INDEXES_MAX, Digests
from incumbent.node.node import Limits
from tests.node.network import Table, code, others, value

LIMITS = Limits(digest_entries=8)
A, B, C, D = map(NodeId, "abcd")
I8 = Index(8)


def members(voters: str, *, outgoing: str = "", witnesses: str = "") -> Membership:
    return Membership(
        frozenset(map(NodeId, voters)),
        frozenset(map(NodeId, outgoing)),
        witnesses=frozenset(map(NodeId, witnesses)),
    )


def write(table: Table, times: int) -> None:
    for n in range(times):
        assert code(table.answer(table.submit(table.leader(), Put(b"k", b"%d" % n)))) is Code.OK


def corrupt(table: Table, node: NodeId) -> None:
    """It applies a command as the others do not."""
    machine = table.nodes[node].machine
    found = machine._values[b"m"]
    machine._values[b"m"] = msgspec.structs.replace(found, value=found.value + node.encode())
    machine._digest.touch(b"m")


def marked(names: str, limits: Limits = LIMITS) -> Table:
    table = Table(names, limits=limits)
    assert code(table.answer(table.submit(table.leader(), Put(b"m", b"")))) is Code.OK
    table.run_for(100_000_000)
    return table


def test_equal_states_agree_and_everyone_knows() -> None:
    table = marked("abc")
    write(table, 40)
    table.run_for(200_000_000)
    agreed = {node.status().agreed for node in table.nodes.values()}
    assert len(agreed) == 1
    newest = agreed.pop()
    assert newest is not None
    assert newest.index >= 32
    assert not any(node.status().split for node in table.nodes.values())


@pytest.mark.parametrize("names", ["abc", "abcde"])
def test_a_minority_that_differs_stops(names: str) -> None:
    """The node that differs raises, and no other does."""
    table = marked(names)
    leader = table.leader()
    bad = others(table, leader)[0]
    corrupt(table, bad)
    with pytest.raises(StateDiverged, match=f"node {bad} has another state.*replace the node"):
        write(table, 40)
    table.crash(bad)
    write(table, 40)
    assert value(table, table.leader(), b"k") == b"39"


def test_a_leader_that_differs_stops_too() -> None:
    table = marked("abc")
    leader = table.leader()
    corrupt(table, leader)
    with pytest.raises(StateDiverged, match=f"node {leader} has another state"):
        write(table, 40)
    table.crash(leader)
    write(table, 20)


def test_without_a_majority_nothing_is_acknowledged() -> None:
    """2 of 4 differ from the others and from each other."""
    table = marked("abcd")
    leader = table.leader()
    for bad in others(table, leader)[:2]:
        corrupt(table, bad)
    refused = None
    for n in range(60):
        outcome = table.answer(table.submit(leader, Put(b"k", b"%d" % n)))
        table.run_for(20_000_000)
        if isinstance(outcome, Refused):
            refused = outcome.reason
            break
    assert refused is RefusedReason.DIVERGED
    assert table.nodes[leader].status().split is not None
    request = table.submit(leader, Put(b"k", b""))
    assert table.answer(request) == Refused(RefusedReason.DIVERGED)


def test_who_got_a_snapshot_in_between_is_not_accused() -> None:
    table = marked("abc", Limits(digest_entries=8, snapshot_entries=10))
    away = others(table, table.leader())[0]
    table.crash(away)
    write(table, 60)
    table.start(away)
    write(table, 40)
    table.run_for(500_000_000)
    assert len({node.status().agreed for node in table.nodes.values()}) == 1


def test_a_restart_replays_and_agrees() -> None:
    table = marked("abc")
    write(table, 30)
    for node in list(table.nodes):
        table.crash(node)
        table.start(node)
        write(table, 10)
    table.run_for(500_000_000)
    assert all(node.status().agreed is not None for node in table.nodes.values())


def test_the_first_word_counts_and_strangers_have_none() -> None:
    digests = Digests(A)
    digests.take(I8, b"x")
    three = members("abc")
    digests.tell(I8, A, b"x", three)
    digests.tell(I8, D, b"y", three)
    digests.tell(I8, A, b"y", three)
    digests.tell(I8, B, b"y", three)
    assert digests.split is None
    digests.tell(I8, C, b"x", three)
    assert digests.agreed == (8, b"x")


def test_witnesses_are_not_counted() -> None:
    digests = Digests(A)
    digests.take(I8, b"x")
    digests.tell(I8, A, b"x", members("abc", witnesses="c"))
    assert digests.agreed is None
    digests.tell(I8, B, b"y", members("abc", witnesses="c"))
    assert digests.split == 8  # two hold data, and they differ


def test_nothing_is_judged_in_the_middle_of_a_change() -> None:
    digests = Digests(A)
    digests.take(I8, b"x")
    for voter in (B, C):
        digests.tell(I8, voter, b"y", members("abc", outgoing="abd"))
    assert digests.agreed is None


def test_only_the_newest_indexes_are_remembered() -> None:
    digests = Digests(A)
    for n in range(1, 100):
        digests.take(Index(n), b"x")
        digests.tell(Index(n), A, b"x", members("abc"))
    digests.tell(Index(1), B, b"y", members("abc"))
    assert len(digests._own) == len(digests._told) == INDEXES_MAX
    assert Index(1) not in digests._told
