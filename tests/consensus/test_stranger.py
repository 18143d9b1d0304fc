"""What docs/reference/consensus.md promises, told with a driver that was written from it alone."""

import pytest

from incumbent.consensus.api import (
    DeadlinePassed,
    MembershipChange,
    MembershipProposed,
    Proposed,
    ReadRequested,
    ReplicaLimits,
    Role,
    TransferRequested,
    Why,
)
from incumbent.ids import NodeId
from tests.consensus.stranger import MS, Cluster, Done, Lost, Outcome

A, B, C, D = (NodeId(name) for name in "abcd")


def started(*, urgent: bool = False) -> tuple[Cluster, NodeId, NodeId, NodeId]:
    """Three voters that are at rest: the leader and the two that follow."""
    cluster = Cluster([A, B, C], urgent=urgent)
    leader = cluster.leader()
    cluster.rest(100 * MS)
    one, other = (name for name in cluster.hosts if name != leader)
    return cluster, leader, one, other


def done(outcome: Outcome) -> list[bytes]:
    assert isinstance(outcome, Done)
    return [data for _, data in outcome.machine]


def put(cluster: Cluster, name: NodeId, data: bytes) -> list[bytes]:
    return done(cluster.outcome(name, Proposed, data))


def everywhere(cluster: Cluster, expected: list[bytes]) -> None:
    cluster.run(lambda: all(machine == expected for machine in cluster.machines().values()))


def wait_for_another(cluster: Cluster, old: NodeId) -> NodeId:
    cluster.run(lambda: any(host.serving for host in cluster.hosts.values() if host.name != old))
    return cluster.leader()


# Elections and the log.


def test_a_voter_is_elected_and_what_it_commits_is_applied_everywhere() -> None:
    cluster, leader, _, _ = started()
    assert put(cluster, leader, b"x") == [b"x"]
    everywhere(cluster, [b"x"])


def test_what_was_acknowledged_outlives_the_leader() -> None:
    cluster, leader, _, _ = started()
    put(cluster, leader, b"x")
    put(cluster, leader, b"y")
    cluster.crash(leader)
    assert put(cluster, cluster.leader(), b"z") == [b"x", b"y", b"z"]
    everywhere(cluster, [b"x", b"y", b"z"])


def test_a_proposal_at_a_follower_is_refused_and_the_leader_named() -> None:
    cluster, leader, one, _ = started()
    assert cluster.outcome(one, Proposed, b"x") is Why.NOT_LEADER
    assert cluster.hosts[one].replica.standing().leader == leader


def test_an_entry_that_another_leader_overtook_is_certainly_lost() -> None:
    cluster, leader, _, _ = started()
    cluster.isolate(leader)
    alone = cluster.ask(leader, Proposed, b"alone")
    put(cluster, wait_for_another(cluster, leader), b"together")
    assert alone not in cluster.outcomes
    cluster.heal()
    everywhere(cluster, [b"together"])
    assert cluster.outcomes[alone] == Lost()


def test_an_entry_that_is_overtaken_before_it_is_written_is_lost_as_well() -> None:
    cluster, leader, _, _ = started()
    cluster.disks[leader].write_ns = 1000 * MS
    cluster.ask(leader, Proposed, b"sent")
    kept = cluster.ask(leader, Proposed, b"kept")  # its Ready waits for the write of the one before
    assert put(cluster, wait_for_another(cluster, leader), b"next") == [b"sent", b"next"]
    # One Ready says where it was placed, and has another entry written there.
    cluster.run(lambda: kept in cluster.outcomes)
    assert cluster.outcomes[kept] == Lost()


def test_an_early_deadline_does_nothing() -> None:
    cluster, leader, _, _ = started()
    replica = cluster.hosts[leader].replica
    before = replica.standing()
    replica.step(DeadlinePassed(), cluster.now_ns)
    assert replica.ready() is None
    assert replica.standing() == before


def test_news_of_a_crash_elects_sooner_than_waiting() -> None:
    took_ns = {}
    for seen in (False, True):
        cluster, leader, _, _ = started()
        crashed_ns = cluster.now_ns
        cluster.crash(leader, seen=seen)
        cluster.leader()
        took_ns[seen] = cluster.now_ns - crashed_ns
    assert took_ns[True] <= 20 * MS
    assert took_ns[False] >= 200 * MS


def test_false_news_of_a_crash_costs_no_term() -> None:
    cluster, leader, one, _ = started()
    cluster.lose(one, leader)
    cluster.rest(1000 * MS)
    assert cluster.hosts[leader].serving
    assert {host.replica.standing().term for host in cluster.hosts.values()} == set(cluster.served)


# Disks.


def test_all_come_back_from_their_disks_as_followers_that_lack_nothing() -> None:
    cluster, leader, _, _ = started()
    put(cluster, leader, b"x")
    for name in (A, B, C):
        cluster.crash(name)
    for name in (A, B, C):
        cluster.start(name)
    assert {host.replica.standing().role for host in cluster.hosts.values()} == {Role.FOLLOWER}
    assert put(cluster, cluster.leader(), b"y") == [b"x", b"y"]
    everywhere(cluster, [b"x", b"y"])


def test_a_crash_in_the_middle_of_a_write_leaves_nothing_of_it_here_and_an_unknown_outcome() -> None:
    cluster, leader, _, _ = started()
    before = cluster.disks[leader].saved()
    request = cluster.ask(leader, Proposed, b"x")
    assert cluster.hosts[leader].writing
    cluster.crash(leader)
    cluster.start(leader)
    assert cluster.disks[leader].saved() == before
    # The appends had left before the write, so the others have it all the same.
    everywhere(cluster, [b"x"])
    assert request not in cluster.outcomes


def test_while_a_write_hangs_the_end_of_leadership_is_seen_in_the_standing_only() -> None:
    cluster, leader, _, _ = started()
    cluster.disks[leader].write_ns = 2000 * MS
    cluster.ask(leader, Proposed, b"x")
    wait_for_another(cluster, leader)
    host = cluster.hosts[leader]
    assert host.serving
    assert host.replica.standing().role is Role.FOLLOWER
    cluster.run(lambda: not host.serving)


@pytest.mark.parametrize("urgent", [True, False])
def test_long_writes_look_like_a_death_unless_what_is_urgent_leaves(urgent: bool) -> None:  # noqa: FBT001
    cluster, leader, one, other = started(urgent=urgent)
    term = cluster.hosts[leader].serving
    for follower in (one, other):
        cluster.disks[follower].write_ns = 2000 * MS
    cluster.ask(leader, Proposed, b"x")
    cluster.rest(1500 * MS)
    assert (cluster.hosts[leader].serving == term) is urgent
    if urgent:
        everywhere(cluster, [b"x"])


# Reads and transfers.


def test_a_read_waits_for_no_write_when_what_is_urgent_leaves() -> None:
    cluster, leader, _, _ = started(urgent=True)
    cluster.disks[leader].write_ns = 200 * MS
    write = cluster.ask(leader, Proposed, b"x")
    began_ns = cluster.now_ns
    cluster.outcome(leader, ReadRequested)
    assert cluster.now_ns - began_ns < 10 * MS
    assert write not in cluster.outcomes


def test_a_read_shows_what_was_acknowledged_before_it() -> None:
    cluster, leader, one, _ = started()
    put(cluster, leader, b"x")
    assert done(cluster.outcome(leader, ReadRequested)) == [b"x"]
    assert cluster.outcome(one, ReadRequested) is Why.NOT_LEADER


def test_a_leader_that_is_cut_off_confirms_no_read() -> None:
    cluster, leader, _, _ = started()
    cluster.isolate(leader)
    read = cluster.ask(leader, ReadRequested)
    put(cluster, wait_for_another(cluster, leader), b"x")
    cluster.heal()
    cluster.rest(100 * MS)
    assert cluster.outcomes[read] is Why.NOT_LEADER


def test_leadership_is_handed_over_without_an_election_timeout() -> None:
    cluster, leader, one, _ = started()
    put(cluster, leader, b"x")
    asked_ns = cluster.now_ns
    done(cluster.outcome(leader, TransferRequested, one))
    cluster.run(lambda: cluster.hosts[one].serving > 0)
    assert cluster.now_ns - asked_ns <= 20 * MS
    assert not cluster.hosts[leader].serving
    assert put(cluster, one, b"y") == [b"x", b"y"]


def test_reads_go_on_while_leadership_is_handed_over_and_proposals_resume_when_it_fails() -> None:
    cluster, leader, one, _ = started()
    cluster.crash(one)
    transfer = cluster.ask(leader, TransferRequested, one)
    assert cluster.outcome(leader, Proposed, b"x") is Why.TRANSFERRING
    assert done(cluster.outcome(leader, ReadRequested)) == []
    assert transfer not in cluster.outcomes
    cluster.run(lambda: transfer in cluster.outcomes)
    assert cluster.outcomes[transfer] is Why.TRANSFER_FAILED
    assert put(cluster, leader, b"x") == [b"x"]


# Membership.


def change(cluster: Cluster, leader: NodeId, voters: set[NodeId], learners: set[NodeId]) -> Outcome:
    wanted = MembershipChange(voters=frozenset(voters), learners=frozenset(learners))
    return cluster.outcome(leader, MembershipProposed, wanted)


def wait_until_changed(cluster: Cluster, leader: NodeId) -> None:
    def is_over() -> bool:
        standing = cluster.hosts[leader].replica.standing()
        return not standing.membership.outgoing and standing.commit == standing.last_index

    cluster.run(is_over)


def test_a_learner_becomes_a_voter_in_the_place_of_an_old_one() -> None:
    cluster, leader, one, other = started()
    put(cluster, leader, b"x")
    cluster.start(D)
    assert change(cluster, leader, {leader, other, D}, set()) is Why.NOT_CAUGHT_UP
    done(change(cluster, leader, {A, B, C}, {D}))
    everywhere(cluster, [b"x"])
    cluster.rest(100 * MS)  # the leader hears how far the learner is

    done(change(cluster, leader, {leader, other, D}, set()))
    # What is done is the joint membership: the old half is needed until it is left.
    assert change(cluster, leader, {A, B, C}, set()) is Why.CHANGING
    wait_until_changed(cluster, leader)
    cluster.crash(one)
    cluster.crash(other)
    assert put(cluster, leader, b"y") == [b"x", b"y"]
    everywhere(cluster, [b"x", b"y"])


def test_a_leader_that_is_left_out_of_the_membership_hands_over() -> None:
    cluster, leader, one, other = started()
    put(cluster, leader, b"x")
    done(change(cluster, leader, {one, other}, set()))
    assert put(cluster, wait_for_another(cluster, leader), b"y") == [b"x", b"y"]
    assert not cluster.hosts[leader].serving


def test_a_replica_that_no_membership_names_keeps_quiet() -> None:
    cluster, leader, _, _ = started()
    cluster.start(D)
    cluster.rest(2000 * MS)
    assert cluster.hosts[leader].serving
    assert cluster.hosts[D].replica.standing().role is Role.FOLLOWER


def test_a_witness_elects_the_voter_that_has_the_data() -> None:
    cluster = Cluster([A, B, C], witnesses=[C])
    leader = cluster.leader()
    put(cluster, leader, b"x")
    cluster.crash(leader)
    other = cluster.leader()
    assert other != C
    assert put(cluster, other, b"y") == [b"x", b"y"]
    cluster.rest(100 * MS)
    assert cluster.hosts[C].applied == cluster.hosts[other].applied
    assert cluster.machines() == {other: [b"x", b"y"], C: []}


# Snapshots.


@pytest.mark.parametrize("witnesses", [[], [A]])
def test_a_late_follower_is_sent_the_snapshot_in_the_place_of_a_log_that_is_forgotten(
    witnesses: list[NodeId],
) -> None:
    limits = ReplicaLimits(compaction_tail=1, snapshot_chunk_bytes=8)
    cluster = Cluster([A, B, C], witnesses=witnesses, limits=limits)
    cluster.crash(A)
    leader = cluster.leader()
    for data in (b"1", b"2", b"3", b"4"):
        put(cluster, leader, data)
    cluster.take_snapshot(leader)
    put(cluster, leader, b"5")
    assert len(cluster.disks[leader].entries) == 1  # what the snapshot holds is deleted

    cluster.start(A)
    cluster.rest(200 * MS)
    assert cluster.disks[A].snapshot is not None
    everything = [b"1", b"2", b"3", b"4", b"5"]
    assert cluster.machines()[A] == ([] if witnesses else everything)
    assert cluster.hosts[A].applied == cluster.hosts[leader].applied

    cluster.crash(A)
    cluster.start(A)  # and it comes back from that snapshot
    cluster.rest(200 * MS)
    assert cluster.machines()[A] == ([] if witnesses else everything)
    assert cluster.hosts[A].applied == cluster.hosts[leader].applied
