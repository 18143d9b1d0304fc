"""The pure node: every request ends once and truthfully, and what it knows of itself can be checked."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from incumbent.consensus.api import Envelope, Placed, ReplicaLimits, Role
from incumbent.consensus.raft.messages import Append, Heartbeat
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, RequestId, Term
from incumbent.kv.api import Code, Put, Range, Txn
from incumbent.node.api import Done, NodeReady, Refused, RefusedReason, Unknown
from incumbent.node.node import Limits, Node
from tests.node.network import MS, SEVEN, TIMING, TTL, Table, code, granted, others, value


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


@pytest.mark.parametrize("names", ["a", "abc"])
def test_a_read_that_writes_is_answered_and_stops_nobody(names: str) -> None:
    """It may come from any client, so it is no bug of ours."""
    table = Table(names)
    leader = table.leader()
    answer = table.answer(table.read(leader, Txn(orelse=(Put(b"k", b""),))))
    assert code(answer) is Code.INVALID
    assert value(table, leader, b"k") is None


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


def test_a_read_waits_until_its_index_is_applied() -> None:
    """Dissertation 6.4, step 4: with so much to apply that it takes several turns."""
    table = Table("a", limits=Limits(replica=ReplicaLimits(committed_max=1)))
    name = table.leader()
    node = table.nodes[name]
    for number in range(3):
        node.submit(RequestId(10 + number), Put(b"k", b"%d" % number), table.now_ns)
    table._finish(
        name, expect(node.ready(table.now_ns))
    )  # durable, and so committed, but nothing of it is applied
    node.read(RequestId(20), Range(b"k"), table.now_ns)
    table._finish(name, expect(node.ready(table.now_ns)))
    assert RequestId(20) not in table.outcomes
    outcome = table.answer(RequestId(20))
    assert isinstance(outcome, Done)
    assert outcome.result.results[0].kvs[0].value == b"2"


def expect(ready: NodeReady | None) -> NodeReady:
    assert ready is not None
    return ready


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


def test_what_was_overwritten_is_certainly_lost() -> None:
    """At its index another term's entry is applied, here the expiry of a lease: Refused, so safe to retry. Our Raft hardly
    lets it come to this, since a leader that is overtaken mostly hears of that first; the contract of Placed allows it."""
    table = Table("a")
    leader = granted(table)
    node = table.nodes[leader]
    deadline_ns = node._leases.deadline_ns(SEVEN) or 0
    table.run_until(lambda: table.now_ns >= deadline_ns - 10 * MS)  # the last checkpoint is behind us
    status = node.status().replica
    request = RequestId(99)
    node._flight.placed[Index(status.last_index + 1)] = (request, Term(status.term - 1))
    assert table.answer(request) == Refused(RefusedReason.NOT_LEADER, leader)


# --- the invariants can fail ---------------------------------------------------------------------------------------


def _apply_the_uncommitted(node: Node) -> None:
    node.machine.applied = Index(node.status().replica.commit + 1)


def _keep_a_proposal(node: Node) -> None:
    node._leadership = node._leadership._replace(role=Role.FOLLOWER)
    node._flight.placed[Index(99)] = (RequestId(1), Term(1))


def _forget_a_deadline(node: Node) -> None:
    node._leases._live.clear()


def _time_leases_without_serving(node: Node) -> None:
    node._leadership = node._leadership._replace(serving=False)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_apply_the_uncommitted, "only what is committed is applied"),
        (_keep_a_proposal, "only a leader has proposals"),
        (_forget_a_deadline, "every live lease has a deadline"),
        (_time_leases_without_serving, "every live lease has a deadline"),
    ],
)
def test_a_contradiction_is_noticed(harm: Callable[[Node], None], says: str) -> None:
    """Every invariant, broken on purpose."""
    table = Table()
    node = table.nodes[granted(table)]
    harm(node)
    with pytest.raises(InvariantViolated, match=says):
        node.invariants()
        node.invariants_at_rest()


def test_a_place_is_given_once() -> None:
    table = Table("a")
    node = table.nodes[table.leader()]
    node._place(Placed(RequestId(1), Index(99), Term(1)))
    with pytest.raises(InvariantViolated, match="a place is given once"):
        node._place(Placed(RequestId(2), Index(99), Term(1)))


def test_the_same_seed_gives_the_same_course() -> None:
    def course(seed: int) -> object:
        table = Table(seed=seed)
        leader = granted(table)
        table.run_for(300 * MS)
        return leader, table.now_ns, table.nodes[leader].machine.snapshot()

    assert course(3) == course(3)
    assert TIMING.election_timeout_min_ns < TTL


def heartbeats(table: Table) -> list[int]:
    """When one leaves, from here on."""
    left: list[int] = []

    def note(envelope: Envelope) -> bool:
        if isinstance(envelope.message, Heartbeat) and envelope.message.sent_ns:
            left.append(table.now_ns)
        return False

    table.loses = note
    return left


def test_a_renewal_with_time_to_spare_goes_with_the_next_heartbeat() -> None:
    table = Table()
    leader = granted(table)
    left = heartbeats(table)
    for _ in range(20):
        assert code(table.answer(table.renew(leader, SEVEN, patience_ns=TIMING.heartbeat_ns))) is Code.OK
    times = sorted(set(left))
    assert all(later - sooner >= TIMING.heartbeat_ns for sooner, later in itertools.pairwise(times))
    assert len(left) == 2 * len(times)  # one to each: none has a round of its own


def test_a_renewal_waits_no_longer_than_it_may() -> None:
    table = Table()
    leader = granted(table)
    for _ in range(20):
        asked_ns = table.now_ns
        assert code(table.answer(table.renew(leader, SEVEN, patience_ns=3 * MS))) is Code.OK
        assert table.now_ns - asked_ns <= 3 * MS + 4 * MS  # and a round trip


def test_what_is_urgent_is_answered_also_when_nothing_is_outstanding() -> None:
    """Else a read that is confirmed by its own voter alone would wait for something else to happen."""
    table = Table("a")
    leader = granted(table)
    node = table.nodes[leader]
    node.read(RequestId(99), Range(b"m"), table.now_ns)
    urgent = node.urgent(table.now_ns)
    assert [request for request, _ in urgent.outcomes] == [RequestId(99)]
