"""The pure node's leases: they end only as their rules say, over leader changes, stalled disks and lost messages."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from incumbent.consensus.api import Envelope
from incumbent.consensus.raft.messages import Append, AppendReply
from incumbent.errors import InvariantViolated
from incumbent.ids import LeaseId, NodeId
from incumbent.kv.api import (
    Code,
    Compare,
    Condition,
    DeleteRange,
    Is,
    LeaseExpire,
    LeaseGrant,
    LeaseRevoke,
    Put,
    Range,
    Txn,
    decode,
)
from incumbent.node.api import Done, Refused, RefusedReason
from incumbent.node.leases import DUE_MAX, LeaseDeadlines
from tests.node.network import MS, SEVEN, TTL, Table, code, granted, others, value


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
        table.run_for(TTL // 3)
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


def test_a_claim_finds_what_was_proposed_before_it() -> None:
    """It comes while the member in front is leaving: it is answered once that one has left, and not before. Who asks under no lease
    waits for nobody."""
    table = Table()
    leader = granted(table)
    table.answer(table.submit(leader, Put(b"front", b"")))
    table.loses = lambda envelope: isinstance(envelope.message, Append)
    leaving = table.submit(leader, DeleteRange(b"front"))
    claim, plain = table.read(leader, Range(b"front"), lease=SEVEN), table.read(leader, Range(b"front"))
    found = table.answer(plain)
    assert isinstance(found, Done)
    assert found.result.results[0].kvs
    table.run_for(50 * MS)
    assert not {claim, leaving} & table.outcomes.keys()
    table.loses = lambda _: False
    found = table.answer(claim)
    assert isinstance(found, Done)
    assert not found.result.results[0].kvs
    assert isinstance(table.answer(leaving), Done)


def test_a_claim_that_waits_for_a_proposal_is_refused_when_the_leader_is_deposed() -> None:
    """What it waits for may never come, and another leads now."""
    table = Table()
    leader = granted(table)
    table.answer(table.submit(leader, Put(b"front", b"")))
    table.loses = lambda envelope: isinstance(envelope.message, Append) and envelope.message.term == term
    term = table.nodes[leader].status().replica.term
    table.submit(leader, DeleteRange(b"front"))
    claim = table.read(leader, Range(b"front"), lease=SEVEN)
    table.run_for(50 * MS)
    assert claim not in table.outcomes
    table.cut.add(leader)
    table.leader()
    table.cut.clear()
    refused = table.answer(claim)
    assert isinstance(refused, Refused)
    assert refused.reason is RefusedReason.NOT_LEADER


def test_a_stalled_ex_leader_expires_nobody_s_lease() -> None:
    """P58 (etcd #15247; rule 2): the expiry is proposed and hangs in the old leader's disk; a new leader takes over and the
    holder renews there. When the disk goes on, the old expiry stands in the old leader's log, and ends nothing."""
    table = Table()
    old = granted(table)
    deadline_ns = table.nodes[old]._leases.deadline_ns(SEVEN) or 0
    table.run_until(lambda: table.now_ns >= deadline_ns - 10 * MS)  # the last checkpoint is behind us
    table.answer(table.submit(old, Put(b"x", b"")))  # so that no probe of the disk comes before the expiry
    table.stall(old)
    table.loses = lambda envelope: isinstance(
        envelope.message, Append
    )  # it still leads, and reaches nobody's log
    table.run_until(lambda: expiry_hangs(table, old), within_ns=TTL)
    table.loses = lambda _: False
    table.cut.add(old)
    new = table.leader()
    assert new != old
    assert code(table.answer(table.renew(new, SEVEN))) is Code.OK
    table.unstall(old)
    assert _last_is_expiry(table, old), "it became durable, after all"
    table.cut.clear()
    for _ in range(8):
        table.run_for(TTL // 4)
        assert code(table.answer(table.renew(table.leader(), SEVEN))) is Code.OK
    assert not _last_is_expiry(table, old), "it was overwritten"
    assert value(table, table.leader(), b"m") == b""


def expiry_hangs(table: Table, node: NodeId) -> bool:
    ready = table.stalled[node]
    entries = ready.record.entries if ready is not None and ready.record is not None else ()
    return any(entry.data is not None and isinstance(decode(entry.data), LeaseExpire) for entry in entries)


def test_an_expiry_in_flight_covers_a_lease_that_was_revoked_and_granted_again() -> None:
    """Rule 2, for an id that comes back: the expiry of the old lease stands in the log behind the new one and will end
    it, so nothing may be acknowledged for the new one until then."""
    table = Table()
    leader = granted(table)
    table.run_for(TTL - 20 * MS)
    near, far = others(table, leader)
    table.cut.add(far)
    replies: list[AppendReply] = []

    def keeps_replies(envelope: Envelope) -> bool:
        if isinstance(envelope.message, AppendReply):
            replies.append(envelope.message)
        return isinstance(envelope.message, AppendReply)

    table.loses = keeps_replies  # so what comes next is held by a quorum, and the leader does not know it yet
    table.submit(leader, LeaseRevoke(SEVEN))
    grant = table.submit(leader, LeaseGrant(SEVEN, TTL))
    table.run_until(lambda: len(replies) > 0)
    table.loses = lambda envelope: isinstance(envelope.message, Append)
    table.run_for(40 * MS)
    assert _last_is_expiry(table, leader)
    for reply in replies:
        table.receive(leader, near, reply)
    assert code(table.answer(grant)) is Code.OK
    assert table.nodes[leader].machine.lease_ttl_ns(SEVEN) == TTL, (
        "the new lease lives, its end stands in the log"
    )
    refused = (table.renew(leader, SEVEN), table.read(leader, Range(b"m"), lease=SEVEN))
    expected = Refused(RefusedReason.LEASE_EXPIRING, leader)
    assert [table.answer(request) for request in refused] == [expected] * 2
    table.loses = lambda _: False
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.LEASE_NOT_FOUND
    assert code(table.answer(table.submit(leader, LeaseGrant(SEVEN, TTL)))) is Code.OK
    assert code(table.answer(table.renew(leader, SEVEN))) is Code.OK, "and then the id is free again"


def test_nobody_but_the_leader_s_own_node_expires_a_lease() -> None:
    """Rule 2: an expiry that the leader did not propose would not hold off renewals."""
    table = Table()
    leader = granted(table)
    for node in table.ids:
        term = table.nodes[node].status().replica.term
        assert code(table.answer(table.submit(node, LeaseExpire(SEVEN, term)))) is Code.INVALID
    assert table.nodes[leader].machine.lease_ttl_ns(SEVEN) == TTL


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


# --- the deadlines alone -------------------------------------------------------------------------------------------


def test_a_renewal_in_flight_holds_off_the_expiry() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100, 100)], 0)
    leases.hold(SEVEN)
    assert leases.due(200).over == []
    leases.decide(SEVEN, 150)
    assert leases.due(200).over == []
    assert leases.deadline_ns(SEVEN) == 250
    assert leases.due(250).over == [SEVEN]
    assert leases.due(300).over == [], "an expiry is proposed once"
    leases.postpone(SEVEN, 310)
    assert leases.due(310).over == [SEVEN]


def test_two_renewals_in_flight_both_count() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100, 100)], 0)
    leases.hold(SEVEN)
    leases.hold(SEVEN)
    leases.decide(SEVEN, 50)
    assert leases.due(400).over == [], "the second is not decided yet"
    leases.decide(SEVEN, 40)
    assert leases.deadline_ns(SEVEN) == 150, "a deadline never moves back"
    leases.invariants([SEVEN])


def test_leases_that_run_out_together_expire_in_bounded_lots() -> None:
    """After a leader change every dead holder's lease has the same deadline; heartbeats must not wait for all of them."""
    leases = LeaseDeadlines()
    leases.start([(LeaseId(n), 100, 100) for n in range(DUE_MAX + 1)], 0)
    assert len(leases.due(100).over) == DUE_MAX
    assert leases.next_ns == 100, "so it is called again at once"
    assert len(leases.due(100).over) == 1
    assert leases.next_ns is None


def test_an_id_that_is_revoked_stays_expiring_until_its_expiry_is_resolved() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100, 100)], 0)
    assert leases.due(100).over == [SEVEN]
    leases.ended(SEVEN)
    leases.granted(SEVEN, 100, 110)
    assert leases.expiring(SEVEN)
    leases.expired(SEVEN)
    assert not leases.expiring(SEVEN)
    leases.invariants([])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda leases: leases._heap.clear(), "one timer per lease at most"),
        (
            lambda leases: (leases._heap.clear(), leases._queued.clear()),
            "every lease that may expire has a timer",
        ),
        (lambda leases: leases._live.clear(), "every live lease has a deadline, and no other"),
    ],
)
def test_a_contradiction_is_noticed(harm: Callable[[LeaseDeadlines], object], says: str) -> None:
    """Every invariant, broken on purpose."""
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100, 100)], 0)
    leases.invariants([SEVEN])
    harm(leases)
    with pytest.raises(InvariantViolated, match=says):
        leases.invariants([SEVEN])


def test_renewing_an_expiring_lease_is_a_bug() -> None:
    leases = LeaseDeadlines()
    leases.start([(SEVEN, 100, 100)], 0)
    leases.due(100)
    leases.hold(SEVEN)
    with pytest.raises(InvariantViolated):
        leases.decide(SEVEN, 300)
