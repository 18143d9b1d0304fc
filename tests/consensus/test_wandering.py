"""Whatever the order in which things happen, what Raft promises holds: a walk by chance, and faults that it must find.

A failing seed is in the test's id: ``pytest "tests/consensus/test_wandering.py::test_nothing_promised_is_broken[3]"``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import pytest

from incumbent.consensus import reads
from incumbent.consensus.api import Membership, Refusal, Why
from incumbent.consensus.log import Log
from incumbent.consensus.outbox import Outbox
from incumbent.consensus.quorum import reached
from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import Heartbeat, HeartbeatReply, Vote, VoteReply
from incumbent.consensus.raft.progress import Progress
from incumbent.consensus.raft.state import State
from incumbent.errors import InvariantViolated
from incumbent.ids import NodeId, RequestId
from tests.consensus.wandering import Broken, Walk

SEEDS_PER_TEST = 10
STEPS = 4000
FOUND_WITHIN_SEEDS = 150


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 100, SEEDS_PER_TEST))
def test_nothing_promised_is_broken(first: int) -> None:
    """P51, P52, P53, P54, P57, at every interleaving that chance finds: one leader per term, committed is on a quorum's disks
    and never differs or loses its data, reads see what was committed before, every request ends once; and when all is well
    again a leader leads and everybody has everything."""
    for seed in range(first, first + SEEDS_PER_TEST):
        Walk(seed, STEPS).go()


# --- what it would find ----------------------------------------------------------------------------------------------


def votes_for_everybody(patch: pytest.MonkeyPatch) -> None:
    def on_vote(state: State, sender: NodeId, message: Vote) -> None:
        state.out.send_after(sender, VoteReply(state.term, granted=True))

    patch.setattr(election, "on_vote", on_vote)


def votes_for_who_lacks_entries(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(State, "up_to_date", lambda state, index, term: True)


def witnesses_lead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Membership, "electable", property(lambda membership: membership.voting))


def witnesses_are_told_at_once(patch: pytest.MonkeyPatch) -> None:
    """Before it is agreed that they are to be witnesses."""
    patch.setattr(State, "settled", property(lambda state: state.membership))


def the_new_half_suffices(patch: pytest.MonkeyPatch) -> None:
    def new_half(membership: Membership, values: Mapping[NodeId, int]) -> int:
        return reached(Membership(membership.voters), values)

    patch.setattr(replication, "reached", new_half)


def memory_counts_as_disk(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Log, "stable", property(lambda log: log.last_index, lambda log, index: None), raising=False)


def reads_ask_nobody(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(reads, "reached", lambda membership, values: max(values.values()))


def commits_more_than_it_was_sent(patch: pytest.MonkeyPatch) -> None:
    """A heartbeat overtook what it speaks of, and another log is there."""

    def on_heartbeat(state: State, sender: NodeId, message: Heartbeat) -> None:
        state.commit = max(state.commit, state.log.last_index)
        state.out.send_after(sender, HeartbeatReply(state.term, message.round, message.sent_ns))

    patch.setattr(replication, "on_heartbeat", on_heartbeat)


def requests_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outbox, "refuse", lambda out, request, why: None)


def requests_are_answered_twice(patch: pytest.MonkeyPatch) -> None:
    def refuse(out: Outbox, request: RequestId, why: Why) -> None:
        out.refused += [Refusal(request, why)] * 2

    patch.setattr(Outbox, "refuse", refuse)


def nothing_is_sent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Progress, "unanswered", lambda progress: None)


FAULTS: dict[Callable[[pytest.MonkeyPatch], None], str] = {
    votes_for_everybody: "one leader per term",
    votes_for_who_lacks_entries: "a leader has all that is committed",
    witnesses_lead: "a witness never leads",
    witnesses_are_told_at_once: "data is whole|a snapshot is whole",
    the_new_half_suffices: "committed is what a quorum has on disk",
    memory_counts_as_disk: "committed is what a quorum has on disk",
    reads_ask_nobody: "a read sees all that was committed",
    commits_more_than_it_was_sent: "committed once|everybody applies the same",
    requests_are_forgotten: "every request ends",
    requests_are_answered_twice: "a request is answered once",
    nothing_is_sent_again: "its members have everything",
}


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "found"), FAULTS.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_fault_is_found(
    fault: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every promise that is looked at, broken on purpose. The voter's own invariants may stop some walks earlier."""
    fault(monkeypatch)
    for seed in range(FOUND_WITHIN_SEEDS):
        try:
            Walk(seed, STEPS).go()
        except InvariantViolated:
            continue
        except Broken as broken:
            if re.search(found, str(broken)):
                return
    pytest.fail("it was not noticed")
