"""The explorer sees every world within its bounds, and finds what random seeds do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import Vote
from incumbent.consensus.raft.state import State
from incumbent.ids import NodeId
from incumbent.sim import explore as explorer
from incumbent.sim.explore import (
    ABSTRACTED,
    KEPT,
    Budget,
    explore,
    fields_of_state,
    first_world,
    key_of,
    main,
)

SMALL = Budget(terms=1, proposals=0, crashes=0, campaigns=1)


def test_a_small_world_is_seen_to_its_end() -> None:
    found = explore(SMALL, 100_000)
    assert found.ended
    assert found.violation is None
    assert found.states > 500


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_election_a_proposal_and_a_crash_are_safe() -> None:
    """P51: a crash before or after every record is durable."""
    found = explore(Budget(terms=1, proposals=1, crashes=1, campaigns=1), 25_000)
    assert found.violation is None, (found.way, found.violation)
    assert found.states == 25_000 or found.ended


def test_every_field_of_the_state_is_kept_or_left_out_on_purpose() -> None:
    """A field that is neither would make two different worlds one."""
    assert fields_of_state() == KEPT | ABSTRACTED
    assert not KEPT & ABSTRACTED


def test_worlds_that_differ_in_names_only_are_one() -> None:
    keys = set()
    for number in range(3):
        steps = dict(explorer.successors(first_world(SMALL)))
        keys.add(key_of(steps[f"{'abc'[number]} campaigns"]))
    assert len(keys) == 1


def test_it_stops_where_it_is_told() -> None:
    found = explore(Budget(), 200)
    assert not found.ended
    assert found.states == 200


def test_the_command_prints_what_it_saw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--terms", "1", "--proposals", "0", "--crashes", "0", "--campaigns", "1"]) == 0
    assert "to its end" in capsys.readouterr().out


# --- faults that random seeds hardly find ----------------------------------------------------------------------------


def vote_before_it_is_durable(patch: pytest.MonkeyPatch) -> None:
    real = election.on_vote

    def on_vote(state: State, sender: NodeId, message: Vote) -> None:
        real(state, sender, message)
        state.out.now += state.out.after
        state.out.after = []

    patch.setattr(election, "on_vote", on_vote)


def ask_for_votes_before_the_own_is_durable(patch: pytest.MonkeyPatch) -> None:
    def campaign(state: State, *, handed_over: bool) -> None:
        state.become_candidate()
        for peer in state.peers():
            state.out.send_now(peer, Vote(state.term, state.log.last_index, state.log.last_term, handed_over))

    patch.setattr(election, "campaign", campaign)


def count_the_unstable_tail(patch: pytest.MonkeyPatch) -> None:
    def advance_commit(state: State) -> None:
        replication._commit(state, state.log.last_index)

    patch.setattr(replication, "advance_commit", advance_commit)


def vote_for_everyone(patch: pytest.MonkeyPatch) -> None:
    real = election.on_vote

    def on_vote(state: State, sender: NodeId, message: Vote) -> None:
        state.vote = None
        real(state, sender, message)

    patch.setattr(election, "on_vote", on_vote)


def acknowledge_at_once(patch: pytest.MonkeyPatch) -> None:
    real = replication.on_append

    def on_append(state: State, *rest: object) -> None:
        real(state, *rest)  # type: ignore[arg-type]
        state.out.now += state.out.after
        state.out.after = []

    patch.setattr(replication, "on_append", on_append)


PLANTED: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], Budget]] = {
    "a vote leaves before it is durable": (vote_before_it_is_durable, SMALL),
    "votes are asked for before the own is durable": (ask_for_votes_before_the_own_is_durable, SMALL),
    "the unstable tail counts": (count_the_unstable_tail, SMALL),
    "a voter votes for everyone": (vote_for_everyone, Budget(terms=1, proposals=0, crashes=0, campaigns=2)),
    "an append is acknowledged at once": (acknowledge_at_once, SMALL),
}


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_by_the_shortest_way(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    plant, budget = PLANTED[fault]
    plant(monkeypatch)
    found = explore(budget, 60_000)
    assert found.violation is not None
    assert found.way, "it says how to get there"


def test_a_violation_is_printed_with_its_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ask_for_votes_before_the_own_is_durable(monkeypatch)
    assert main(["--terms", "1", "--proposals", "0", "--crashes", "0", "--campaigns", "1"]) == 1
    printed = capsys.readouterr().out
    assert "P51" in printed
    assert "1 a campaigns" in printed
