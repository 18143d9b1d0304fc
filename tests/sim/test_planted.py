"""Faults planted in the core turn the laboratory red. Those that random worlds do not find are found by a story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from incumbent.consensus.api import Entry, Ready
from incumbent.consensus.quorum import reached
from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import (
    Append,
    AppendReply,
    Heartbeat,
    HeartbeatReply,
    PreVote,
    Vote,
    VoteReply,
)
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.replica import Raft
from incumbent.consensus.raft.state import State
from incumbent.errors import InvariantViolated
from incumbent.ids import Index, NodeId
from incumbent.sim.run import run
from tests.consensus import test_disruption, test_paper_replication, test_reads

SEEDS_MAX = 60


def found_by_seeds(factory: type[Raft] = Raft) -> str:
    """What the first red world says."""
    for seed in range(SEEDS_MAX):
        try:
            run(seed, nodes=5 if seed % 3 == 0 else 3, steps=1_500, factory=factory)
        except InvariantViolated as violation:
            return str(violation)
    raise AssertionError(f"{SEEDS_MAX} worlds saw nothing")


def sends_now(kind: type) -> type[Raft]:
    """A core that does not wait for the disk with messages of this kind."""

    class Hasty(Raft):
        def ready(self) -> Ready | None:
            ready = super().ready()
            if ready is None:
                return None
            early = [envelope for envelope in ready.messages if isinstance(envelope.message, kind)]
            late = [envelope for envelope in ready.messages if not isinstance(envelope.message, kind)]
            return replace(ready, now=[*ready.now, *early], messages=late)

    return Hasty


class Forgetful(Raft):
    """Does not write its vote."""

    def ready(self) -> Ready | None:
        ready = super().ready()
        if ready is None or ready.record is None:
            return ready
        return replace(ready, record=replace(ready.record, hard_state=None))


@pytest.mark.parametrize(
    ("factory", "says"),
    [
        (Forgetful, "P51"),
        (sends_now(VoteReply), "P51: a"),
        (sends_now(Vote), "P51: a"),
        (sends_now(AppendReply), "P51: a"),
    ],
    ids=["vote not persisted", "vote before durable", "vote request before durable", "ack before fsync"],
)
def test_what_leaves_too_early_is_seen(factory: type[Raft], says: str) -> None:
    """P51."""
    assert found_by_seeds(factory).startswith(says)


def pre_vote_that_bumps(state: State, sender: NodeId, message: PreVote) -> None:
    if message.term > state.term:
        state.become_follower(message.term, Code.HIGHER_TERM)


def commit_on_the_unstable_tail(state: State) -> None:
    held = {peer: progress.match for peer, progress in state.progress.items()} | {
        state.me: state.log.last_index
    }
    candidate = Index(reached(state.membership, held))
    if candidate > state.commit and state.log.term_at(candidate) == state.term:
        state.commit = candidate


def commit_of_any_term(state: State) -> None:
    held = {peer: progress.match for peer, progress in state.progress.items()} | {state.me: state.log.stable}
    state.commit = max(state.commit, Index(reached(state.membership, held)))


def any_answer_confirms(state: State, sender: NodeId, message: HeartbeatReply) -> None:
    real_heartbeat_reply(state, sender, HeartbeatReply(message.term, state.reads.number))


real_heartbeat_reply = replication.on_heartbeat_reply


def append_that_always_truncates(state: State, entries: tuple[Entry, ...]) -> None:
    if entries:
        first = entries[0].index
        if first <= state.log.last_index:
            state.log.truncate(first)
        state.log.append(entries)


def read_without_a_round(state: State) -> None:
    state.reads.begin(state.me, state.commit)
    for peer in state.peers():
        state.reads.answer(peer, state.reads.number)
    state.out.reads.extend(state.reads.confirmed(state.membership))


def append_that_trusts_the_commit_index(state: State, sender: NodeId, message: Append) -> None:
    real_on_append(state, sender, message)
    state.commit = max(state.commit, min(message.commit, state.log.last_index))


real_on_append = replication.on_append


def heartbeat_that_commits_everything(state: State) -> None:
    for peer in state.progress:
        state.out.send_now(peer, Heartbeat(state.term, state.commit, state.reads.number))
    state.heartbeat_ns = state.now_ns + state.timing.heartbeat_ns


FAULTS: dict[str, tuple[Any, str, Callable[..., object], str]] = {
    "pre-vote bumps the term": (election, "on_pre_vote", pre_vote_that_bumps, "no_prevote_bump"),
    "commit counted on the unstable tail": (
        replication,
        "advance_commit",
        commit_on_the_unstable_tail,
        "commit_rule",
    ),
    "commit of an older term": (replication, "advance_commit", commit_of_any_term, "commit_rule"),
    "vote for an outdated log": (State, "up_to_date", lambda *_: True, ""),
    "any append truncates": (replication, "_store", append_that_always_truncates, ""),
    "commit past the last new entry": (replication, "on_append", append_that_trusts_the_commit_index, ""),
    "read without a round": (replication, "begin_read_round", read_without_a_round, "read_lin"),
}


SLOW = {"commit past the last new entry"}  # needs several worlds


@pytest.mark.parametrize(
    "fault", [pytest.param(f, marks=pytest.mark.slow) if f in SLOW else f for f in FAULTS]
)
def test_a_core_with_a_fault_turns_a_world_red(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """Where no predicate is named, the core's own invariants may be the first to see it, depending on the seed."""
    module, name, instead, says = FAULTS[fault]
    monkeypatch.setattr(module, name, instead)
    assert found_by_seeds().startswith(says)


def figure_8() -> None:
    test_paper_replication.test_an_entry_of_an_older_term_commits_only_under_one_of_the_own()


# What needs more luck than a few seeds have.
TOLD: dict[str, tuple[Any, str, Callable[..., object], Callable[[], None]]] = {
    "commit of an older term": (
        replication,
        "advance_commit",
        commit_of_any_term,
        figure_8,
    ),
    "commit counted on the unstable tail": (
        replication,
        "advance_commit",
        commit_on_the_unstable_tail,
        test_paper_replication.test_a_leader_counts_itself_only_when_its_own_write_is_done,
    ),
    "an older round confirms": (
        replication,
        "on_heartbeat_reply",
        any_answer_confirms,
        test_reads.test_an_answer_to_an_older_round_confirms_nothing,
    ),
    "stickiness left out": (
        State,
        "hears_leader",
        lambda _: False,
        test_disruption.test_a_vote_request_is_ignored_while_a_leader_is_heard,
    ),
    "check-quorum left out": (
        election,
        "keeps_quorum",
        lambda _: True,
        test_disruption.test_an_isolated_leader_stops_leading_within_the_election_timeout,
    ),
    "a heartbeat commits everything": (
        replication,
        "heartbeat",
        heartbeat_that_commits_everything,
        test_paper_replication.test_a_heartbeat_never_commits_past_what_is_known_to_match,
    ),
}


@pytest.mark.parametrize("fault", TOLD)
def test_a_core_with_a_fault_turns_a_story_red(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    module, name, instead, story = TOLD[fault]
    story()
    monkeypatch.setattr(module, name, instead)
    with pytest.raises(AssertionError):
        story()
