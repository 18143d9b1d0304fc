"""Requests for other members and other leaders: each ends exactly once (Table sees to that), as what it was."""

from __future__ import annotations

from incumbent.consensus.api import Membership, ReplicaLimits, Role
from incumbent.consensus.raft.messages import Append, TimeoutNow
from incumbent.ids import NodeId
from incumbent.kv.api import Code, LeaseGrant, Put
from incumbent.node.api import Done, Refused, RefusedReason, Unknown
from incumbent.node.node import Limits
from tests.node.network import MS, SEVEN, TTL, S, Table, code, granted, others, value

OFTEN = Limits(snapshot_entries=5, replica=ReplicaLimits(compaction_tail=0))


def names(nodes: list[NodeId]) -> str:
    return "".join(sorted(nodes))


def refused(outcome: object) -> RefusedReason:
    assert isinstance(outcome, Refused), outcome
    return outcome.reason


def test_a_voter_is_replaced_by_a_newcomer_over_a_snapshot() -> None:
    """P57: as a learner first; it has everything, and the one that left nothing new."""
    table = Table(spare="d", limits=OFTEN)
    leader = granted(table, 60 * S)
    gone, stays = others(table, leader)[:2]
    for number in range(20):
        table.answer(table.submit(leader, Put(b"%d" % number, b"v")))
    assert code(table.answer(table.change(leader, "abc", "d"))) is Code.OK
    table.run_for(200 * MS)
    assert code(table.answer(table.change(leader, names([leader, stays, NodeId("d")])))) is Code.OK
    table.run_for(200 * MS)
    after = Membership(frozenset([leader, stays, NodeId("d")]))
    assert table.nodes[NodeId("d")].standing().membership == after
    table.crash(stays)
    assert value(table, leader, b"19") == b"v", "the newcomer counts"
    assert table.nodes[NodeId("d")].machine.snapshot() == table.nodes[leader].machine.snapshot()
    assert table.nodes[gone].standing().membership != after


def test_why_a_change_is_refused_is_told() -> None:
    table = Table(spare="d")
    leader = table.leader()
    assert refused(table.answer(table.change(leader, "abcd"))) is RefusedReason.NOT_CAUGHT_UP
    assert refused(table.answer(table.change(leader, ""))) is RefusedReason.INVALID
    first = table.change(leader, "abc", "d")
    second = table.change(leader, "abc")
    assert refused(table.answer(second)) is RefusedReason.CHANGING
    assert code(table.answer(first)) is Code.OK
    follower = others(table, leader)[0]
    outcome = table.answer(table.change(follower, "abc"))
    assert outcome == Refused(RefusedReason.NOT_LEADER, leader)


def test_a_change_that_a_deposed_leader_began_is_unknown() -> None:
    """It may be overwritten, and the next leader may complete it."""
    table = Table()
    old = table.leader()
    table.cut.add(old)
    request = table.change(old, names(others(table, old)))
    assert isinstance(table.answer(request), Unknown)
    table.leader()


def test_a_leader_that_is_removed_answers_and_leaves() -> None:
    """P57: what it was asked before is answered; afterwards it refuses, and another leads without a timeout."""
    table = Table()
    leader = granted(table)
    change = table.change(leader, names(others(table, leader)))
    before_ns = table.now_ns
    assert code(table.answer(change)) is Code.OK
    table.run_until(lambda: table.nodes[leader].standing().role is not Role.LEADER)
    new = table.leader()
    assert new != leader
    assert table.now_ns - before_ns < 50 * MS
    assert refused(table.answer(table.submit(leader, Put(b"x", b"")))) is RefusedReason.NOT_LEADER
    assert code(table.answer(table.renew(new, SEVEN))) is Code.OK


def test_a_transfer_is_done_once_the_target_leads() -> None:
    table = Table()
    leader = table.leader()
    to = others(table, leader)[1]
    assert code(table.answer(table.transfer(leader, to))) is Code.OK
    assert table.leader() == to


def test_a_transfer_that_fails_says_so_and_commands_are_taken_again() -> None:
    """P54: meanwhile they are refused, and none is lost."""
    table = Table()
    leader = table.leader()
    table.loses = lambda envelope: isinstance(envelope.message, TimeoutNow)
    request = table.transfer(leader, others(table, leader)[0])
    assert refused(table.answer(table.submit(leader, Put(b"x", b"")))) is RefusedReason.TRANSFERRING
    assert refused(table.answer(request)) is RefusedReason.TRANSFER_FAILED
    assert code(table.answer(table.submit(leader, Put(b"x", b"")))) is Code.OK
    assert table.leader() == leader


def test_renewals_around_a_transfer_count_for_a_full_ttl() -> None:
    """P54, P59: acknowledged by the old leader up to its end, or by the new one; never shortened."""
    table = Table()
    leader = granted(table)
    renewals = []
    request = None
    for step in range(20):
        if step == 10:
            request = table.transfer(leader, others(table, leader)[0])
        renewals.append((table.now_ns, table.renew(leader, SEVEN)))
        table.run_for(MS)
    assert request is not None
    assert isinstance(table.answer(request), Done)
    last_ns = max(
        at_ns
        for at_ns, renewal in renewals
        if isinstance(outcome := table.answer(renewal), Done) and outcome.result.code is Code.OK
    )
    new = table.leader()
    table.run_until(lambda: table.nodes[new].machine.lease_ttl_ns(SEVEN) is None)
    assert table.now_ns - last_ns >= TTL


def test_what_is_proposed_while_a_change_is_stuck_waits_for_it() -> None:
    """P57: both halves have to agree; nothing is answered before."""
    table = Table(spare="de")
    leader = table.leader()
    table.answer(table.change(leader, "abc", "de"))
    table.run_for(100 * MS)
    gone = {NodeId("d"), NodeId("e")}
    table.loses = lambda envelope: envelope.to in gone and isinstance(envelope.message, Append)
    change = table.change(leader, names([leader, NodeId("d"), NodeId("e")]))
    put = table.submit(leader, LeaseGrant(SEVEN, S))
    table.run_for(S)
    assert {change, put}.isdisjoint(table.outcomes)
    table.loses = lambda _: False
    assert code(table.answer(change)) is Code.OK
    assert code(table.answer(put)) is Code.OK
