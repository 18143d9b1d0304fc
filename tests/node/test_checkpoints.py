"""What is left of a lease is put into the log, so that leaders who follow each other quickly keep no dead holder alive."""

from __future__ import annotations

from incumbent.consensus.api import Role
from incumbent.consensus.raft.messages import Append
from incumbent.ids import RequestId
from incumbent.kv.api import Code, Put
from incumbent.node.api import Refused
from tests.node.network import MS, SEVEN, TTL, Table, code, granted


def change_leaders(table: Table) -> None:
    """The leader's process is killed and comes back."""
    leader = table.leader()
    table.crash(leader)
    table.leader()
    table.start(leader)


def is_over(table: Table) -> bool:
    return all(node.machine.lease_ttl_ns(SEVEN) is None for node in table.nodes.values())


def test_leaders_that_follow_each_other_quickly_keep_no_dead_holder_alive() -> None:
    """P59: each one gives what the last checkpoint left, and not the whole ttl again."""
    table = Table()
    granted(table)
    died_ns = table.now_ns
    while not is_over(table):
        assert table.now_ns - died_ns < 5 * TTL, "its time begins anew with every leader"
        table.run_for(7 * TTL // 10)
        change_leaders(table)


def test_a_renewal_after_a_checkpoint_counts_for_the_next_leader() -> None:
    """P59: it is in the log before it is acknowledged, or the next leader would give what the checkpoint left."""
    table = Table()
    leader = granted(table)
    table.run_for(9 * TTL // 10)
    received_ns = table.now_ns
    last = table.nodes[leader].status().replica.last_index
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.OK
    assert table.nodes[leader].status().replica.last_index == last + 1
    change_leaders(table)
    table.run_until(lambda: is_over(table))
    assert table.now_ns - received_ns >= TTL


def test_a_renewal_whose_answer_comes_after_the_end_of_the_leadership_is_refused() -> None:
    """P59: its round was answered, but what a checkpoint left stands in the log, and the next leader goes by that."""
    table = Table()
    old = granted(table)
    table.run_for(9 * TTL // 10)
    table.stall(old)
    request = RequestId(1_000_000)
    table.nodes[old].renew(request, SEVEN, table.now_ns)
    table.submit(old, Put(b"x", b""))  # its record hangs, and with it everything of this Ready
    table.run_for(10 * MS)  # the round is answered meanwhile
    table.cut.add(old)
    new = table.leader()
    assert new != old
    table.cut.clear()
    table.run_for(50 * MS)
    assert request not in table.outcomes
    table.unstall(old)
    assert isinstance(table.answer(request), Refused)


def test_a_renewal_that_came_before_the_leader_served_holds_off_checkpoints_too() -> None:
    """P59: it came in while the leader had no entry of its term committed, and it has to go into the log. A checkpoint
    put after it would say less than what is acknowledged from then on."""
    table = Table()
    old = granted(table)
    table.run_for(6 * TTL // 10)  # half of it is over: a checkpoint is in the log
    table.crash(old)
    table.run_until(lambda: any(n.status().replica.role is Role.LEADER for n in table.nodes.values()))
    new = next(n for n, node in table.nodes.items() if node.status().replica.role is Role.LEADER)
    assert not table.nodes[new].status().replica.serving
    early = table.renew(new, SEVEN)
    table.run_until(lambda: bool(table.nodes[new].status().replica.serving))
    table.loses = lambda envelope: isinstance(envelope.message, Append)
    table.run_for(3 * TTL // 10)  # more than half of what was left
    assert early not in table.outcomes
    table.loses = lambda _: False
    assert code(table.answer(early)) is Code.OK
    received_ns = table.now_ns
    assert code(table.answer(table.renew(new, SEVEN))) is Code.OK
    table.start(old)
    table.crash(new)
    table.run_until(lambda: is_over(table))
    assert table.now_ns - received_ns >= TTL
