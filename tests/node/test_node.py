"""The pure node: every request ends once and truthfully, and leases end only as their rules say."""

from __future__ import annotations

import pytest

from incumbent.consensus.raft.messages import Append
from incumbent.errors import InvariantViolated
from incumbent.ids import LeaseId, NodeId
from incumbent.kv.api import (
    Code,
    Compare,
    Condition,
    Is,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Txn,
    decode,
)
from incumbent.node.api import Done, Outcome, Refused, RefusedReason, Unknown
from incumbent.node.leases import LeaseDeadlines
from incumbent.node.node import Limits
from tests.node.network import MS, TIMING, S, Table

SEVEN = LeaseId(7)
TTL = S


def code(outcome: Outcome) -> Code:
    assert isinstance(outcome, Done), outcome
    return outcome.result.code


def value(table: Table, node: NodeId, key: bytes) -> bytes | None:
    outcome = table.answer(table.read(node, Range(key)))
    assert isinstance(outcome, Done)
    kvs = outcome.result.results[0].kvs
    return kvs[0].value if kvs else None


def granted(table: Table, ttl_ns: int = TTL) -> NodeId:
    """A leader that has granted lease 7 with one key."""
    leader = table.leader()
    assert code(table.answer(table.submit(leader, LeaseGrant(SEVEN, ttl_ns)))) is Code.OK
    assert code(table.answer(table.submit(leader, Put(b"m", b"", SEVEN)))) is Code.OK
    return leader


def others(table: Table, node: NodeId) -> list[NodeId]:
    return [each for each in table.ids if each != node]


# --- requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["a", "abc", "abcde"])
def test_a_command_is_applied_on_every_node(names: str) -> None:
    table = Table(names)
    leader = table.leader()
    assert code(table.answer(table.submit(leader, Put(b"k", b"v")))) is Code.OK
    table.run_for(100 * MS)
    assert {node.machine.snapshot() for node in table.nodes.values()} == {
        table.nodes[leader].machine.snapshot()
    }
    assert value(table, leader, b"k") == b"v"
    assert all([change.key for change in changes] == [b"k"] for changes in table.changes.values())


def test_a_follower_refuses_and_names_the_leader() -> None:
    table = Table()
    leader = table.leader()
    table.run_for(50 * MS)
    follower = others(table, leader)[0]
    refusals = [
        table.submit(follower, Put(b"k", b"")),
        table.read(follower, Range(b"k")),
        table.renew(follower, SEVEN),
    ]
    expected = Refused(RefusedReason.NOT_LEADER, leader)
    assert [table.answer(request) for request in refusals] == [expected] * 3


def test_many_commands_in_one_batch_are_answered_each() -> None:
    table = Table()
    leader = table.leader()
    requests = [table.submit(leader, Put(b"%d" % n, b"")) for n in range(200)]
    assert {code(table.answer(request)) for request in requests} == {Code.OK}


def test_a_node_takes_on_a_bounded_number_of_requests() -> None:
    table = Table(limits=Limits(requests_max=3))
    leader = table.leader()
    table.loses = lambda envelope: isinstance(envelope.message, Append)
    requests = [table.submit(leader, Put(b"k", b"")) for _ in range(5)]
    assert table.answer(requests[4]) == Refused(RefusedReason.OVERLOADED)
    table.loses = lambda _: False
    assert code(table.answer(requests[0])) is Code.OK


def test_a_command_that_is_too_large_is_refused() -> None:
    table = Table(limits=Limits(command_bytes_max=100))
    leader = table.leader()
    assert table.answer(table.submit(leader, Put(b"k", b"x" * 100))) == Refused(RefusedReason.TOO_LARGE)


def test_what_a_deposed_leader_proposed_is_unknown_and_not_failed() -> None:
    table = Table()
    old = table.leader()
    table.run_for(50 * MS)
    table.cut.add(old)
    request = table.submit(old, Put(b"k", b"v"))
    assert table.answer(request) == Unknown()
    new = table.leader()
    assert new != old
    table.cut.clear()
    table.run_for(300 * MS)
    assert value(table, table.leader(), b"k") is None, "here it was lost; nobody could have known"


def test_a_read_on_a_cut_off_leader_is_refused_and_never_stale() -> None:
    """The read round proves leadership after the request came in (dissertation 6.4)."""
    table = Table()
    old = table.leader()
    table.answer(table.submit(old, Put(b"k", b"old")))
    table.run_for(50 * MS)
    table.cut.add(old)
    new = table.leader()
    table.answer(table.submit(new, Put(b"k", b"new")))
    table.cut.clear()
    read = table.read(old, Range(b"k"))
    outcome = table.answer(read)
    assert isinstance(outcome, Refused) or outcome.result.results[0].kvs[0].value == b"new"  # type: ignore[union-attr]


def test_everything_acknowledged_survives_a_restart_of_all() -> None:
    table = Table()
    leader = table.leader()
    for n in range(20):
        table.answer(table.submit(leader, Put(b"%d" % n, b"v")))
    for node in table.ids:
        table.crash(node)
    for node in table.ids:
        table.start(node)
    leader = table.leader()
    assert [value(table, leader, b"%d" % n) for n in range(20)] == [b"v"] * 20


# --- leases --------------------------------------------------------------------------------------------------------


def test_a_silent_holder_s_lease_ends_after_its_ttl_and_not_before() -> None:
    table = Table()
    leader = granted(table)
    start = table.now_ns
    table.run_until(lambda: table.nodes[leader].machine.lease_ttl_ns(SEVEN) is None)
    assert table.now_ns - start + 10 * MS >= TTL
    assert table.now_ns - start < TTL + 100 * MS
    assert value(table, leader, b"m") is None


def test_renewals_keep_a_lease_and_cost_no_log_entry() -> None:
    table = Table()
    leader = granted(table)
    last = table.nodes[leader].status().replica.last_index
    for _ in range(10):
        assert code(table.answer(table.renew(leader, SEVEN))) is Code.OK
        table.run_for(TTL // 2)
    assert table.nodes[leader].machine.lease_ttl_ns(SEVEN) == TTL
    assert table.nodes[leader].status().replica.last_index == last


def test_an_acknowledged_renewal_is_good_for_a_full_ttl_from_its_receipt() -> None:
    table = Table()
    leader = granted(table)
    table.run_for(TTL - 50 * MS)
    received = table.now_ns
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.OK
    table.run_until(lambda: table.nodes[leader].machine.lease_ttl_ns(SEVEN) is None)
    assert table.now_ns - received >= TTL


def test_renewing_what_is_over_says_so() -> None:
    table = Table()
    leader = granted(table)
    table.answer(table.submit(leader, LeaseRevoke(SEVEN)))
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.LEASE_NOT_FOUND


def test_a_renewal_needs_proof_of_leadership_from_after_its_receipt() -> None:
    """Rule 3 (etcd #15247, second half): a deposed leader that does not know it acknowledges nothing."""
    table = Table()
    old = granted(table)
    table.run_for(50 * MS)
    table.cut.add(old)
    request = table.renew(old, SEVEN)
    assert isinstance(table.answer(request), Refused)


def test_a_leader_change_extends_leases_and_never_shortens_them() -> None:
    """P59: the new leader cannot know the last renewal, so it gives a full ttl from when it begins to serve."""
    table = Table()
    old = granted(table)
    table.run_for(TTL - 100 * MS)
    renewed = table.now_ns
    assert code(table.answer(table.renew(old, SEVEN))) is Code.OK
    table.crash(old)
    new = table.leader()
    table.run_until(lambda: table.nodes[new].machine.lease_ttl_ns(SEVEN) is None)
    assert table.now_ns - renewed >= TTL


def test_a_renewal_moves_to_the_new_leader() -> None:
    table = Table()
    old = granted(table)
    table.crash(old)
    for _ in range(6):
        assert code(table.answer(table.renew(table.leader(), SEVEN))) is Code.OK
        table.run_for(TTL // 2)


def test_while_an_expiry_is_in_flight_the_lease_is_neither_renewed_nor_claimed() -> None:
    """Rule 2. Appends are lost and heartbeats are not, so the expiry is proposed and cannot be decided."""
    table = Table()
    leader = granted(table)
    table.loses = lambda envelope: isinstance(envelope.message, Append)
    table.run_for(TTL + 30 * MS)
    assert table.nodes[leader].machine.lease_ttl_ns(SEVEN) == TTL, "not decided yet"
    claim = Txn((Condition(b"m", Compare.CREATE, Is.GREATER, 0),), (Range(b"m"),))
    refused = (table.renew(leader, SEVEN), table.read(leader, claim, lease=SEVEN))
    plain = table.read(leader, Range(b"m"))
    assert isinstance(table.answer(plain), Done)
    assert [table.answer(request) for request in refused] == [
        Refused(RefusedReason.LEASE_EXPIRING, leader)
    ] * 2
    table.loses = lambda _: False
    table.run_for(100 * MS)
    assert table.nodes[leader].machine.lease_ttl_ns(SEVEN) is None


def test_a_stalled_ex_leader_expires_nobody_s_lease() -> None:
    """P58 (etcd #15247): its disk hangs while it proposes the expiry; a new leader takes over and the holder renews there.
    When the disk goes on, the old expiry is of an old term and ends nothing."""
    table = Table()
    old = granted(table)
    table.stall(old)
    table.cut.add(old)
    table.run_for(TTL + 50 * MS)  # on its own clock the lease ran out, and the expiry hangs in its disk
    new = table.leader()
    assert new != old
    assert code(table.answer(table.renew(new, SEVEN))) is Code.OK
    table.unstall(old)
    table.cut.clear()
    for _ in range(8):
        table.run_for(TTL // 4)
        assert code(table.answer(table.renew(table.leader(), SEVEN))) is Code.OK
    assert value(table, table.leader(), b"m") == b""


def test_an_old_expiry_that_the_next_leader_commits_ends_no_lease_it_renewed() -> None:
    """The expiry reached a follower that becomes the next leader: it is committed there, under its own old term, before
    anything of the new term. So it ends the lease before the new leader acknowledges any renewal of it, never after."""
    table = Table()
    old = granted(table)
    table.run_until(lambda: _last_is_expiry(table, old), within_ns=2 * TTL)
    table.crash(old)
    new = table.leader()
    outcome = table.answer(table.renew(new, SEVEN))
    if code(outcome) is Code.OK:
        table.run_for(TTL // 2)
        assert value(table, table.leader(), b"m") == b""
    else:
        assert value(table, table.leader(), b"m") is None


def _last_is_expiry(table: Table, node: NodeId) -> bool:
    entries = table.disks[node].entries
    data = entries[max(entries)].data if entries else None
    return data is not None and isinstance(decode(data), LeaseExpire)


def test_a_grant_that_is_repeated_does_not_shorten_the_lease() -> None:
    table = Table()
    leader = granted(table)
    table.run_for(TTL // 2)
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.OK
    renewed = table.now_ns
    assert code(table.answer(table.submit(leader, LeaseGrant(SEVEN, TTL)))) is Code.OK
    table.run_until(lambda: table.nodes[leader].machine.lease_ttl_ns(SEVEN) is None)
    assert table.now_ns - renewed >= TTL - 10 * MS


def test_a_renewal_in_flight_holds_off_the_expiry() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100)], 0)
    leases.hold(SEVEN)
    assert leases.due(200) == []
    leases.decide(SEVEN, 250)
    assert leases.due(200) == []
    assert leases.deadline_ns(SEVEN) == 250
    assert leases.due(250) == [SEVEN]
    assert leases.due(300) == [], "an expiry is proposed once"
    leases.postpone(SEVEN, 310)
    assert leases.due(310) == [SEVEN]


def test_two_renewals_in_flight_both_count() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100)], 0)
    leases.hold(SEVEN)
    leases.hold(SEVEN)
    leases.decide(SEVEN, 150)
    assert leases.due(400) == [], "the second is not decided yet"
    leases.decide(SEVEN, 140)
    assert leases.deadline_ns(SEVEN) == 150, "a deadline never moves back"
    leases.invariants()


def test_a_timer_that_is_missing_is_noticed() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100)], 0)
    leases._heap.clear()
    with pytest.raises(InvariantViolated):
        leases.invariants()


def test_renewing_an_expiring_lease_is_a_bug() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100)], 0)
    leases.due(100)
    leases.hold(SEVEN)
    with pytest.raises(InvariantViolated):
        leases.decide(SEVEN, 300)


def test_the_same_seed_gives_the_same_course() -> None:
    def course(seed: int) -> object:
        table = Table(seed=seed)
        leader = granted(table)
        table.run_for(300 * MS)
        return leader, table.now_ns, table.nodes[leader].machine.snapshot()

    assert course(3) == course(3)
    assert TIMING.election_timeout_min_ns < TTL
