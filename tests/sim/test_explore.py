"""The explorer sees every world within its bounds, and finds what random seeds do not."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from incumbent.consensus.raft import election, replication
from incumbent.consensus.raft.messages import Append, Vote, VoteReply
from incumbent.consensus.raft.state import State
from incumbent.errors import InvalidInput
from incumbent.ids import Index, NodeId, Term
from incumbent.sim.explore import main
from incumbent.sim.explorer.frozen import MESSAGE_FIXED, PROGRESS_FIXED, STATE_FIXED, digest
from incumbent.sim.explorer.search import explore, follow
from incumbent.sim.explorer.voter import NAMES, Voter, Voters
from incumbent.sim.explorer.world import Budget, Worlds

SMALL = Budget(terms=1, proposals=0, crashes=0, campaigns=1)
SMALL_OPTIONS = ["--terms", "1", "--proposals", "0", "--crashes", "0", "--campaigns", "1"]


def test_a_small_world_is_seen_to_its_end() -> None:
    found = explore(SMALL, 100_000)
    assert found.ended
    assert found.violation is None
    assert found.states > 100


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_an_election_a_proposal_and_a_crash_are_safe() -> None:
    """P51: a crash before a record is durable, after it and before anything leaves, and after that."""
    found = explore(Budget(terms=1, proposals=1, crashes=1, campaigns=1), 25_000)
    assert found.violation is None
    assert found.ended


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_links_that_lose_and_repeat_and_disks_that_are_overtaken_are_safe() -> None:
    budget = Budget(losses=1, duplications=1, heartbeats=1, resignations=1, retries=1, overtakes=2)
    found = explore(budget, 25_000)
    assert found.violation is None
    assert found.states == 25_000


def test_what_is_taken_out_of_a_voter_is_about_time_only() -> None:
    """Every other field makes another voter, also one that is added to the core later."""
    assert set(STATE_FIXED) == {
        "now_ns", "heard_ns", "election_ns", "heartbeat_ns", "quorum_check_ns", "preemption_ns", "written_ns", "rank",
    }  # fmt: skip
    assert set(PROGRESS_FIXED) == {"heard_ns", "sent_ns", "rank"}
    assert set(MESSAGE_FIXED) == {"rank"}


def test_a_field_that_differs_makes_another_voter() -> None:
    names: dict[str, str] = {name: name for name in NAMES}
    voter = Voter.start(NAMES[0], None, ())
    before = digest(voter, names)
    assert digest(Voter.start(NAMES[0], None, ()), names) == before
    voter.raft.state.hint_retries = 1
    assert digest(voter, names) != before


def test_worlds_that_differ_in_names_only_are_one() -> None:
    worlds = Worlds(SMALL)
    after = [world for action, world in worlds.successors(worlds.first) if action.step[0] == "campaigns"]
    assert len(after) == len(set(after)) == 3
    assert len({worlds.key(world) for world in after}) == 1


def test_a_busy_disk_goes_first_unless_it_is_paid_for() -> None:
    for overtakes, others in ((0, False), (1, True)):
        worlds = Worlds(Budget(overtakes=overtakes))
        world, layer, busy = worlds.first, [worlds.first], list[int]()
        while not busy:
            layer = [after for world in layer for _, after in worlds.successors(world)]
            for world in layer:
                voters = [worlds.voters.frozen[number] for number in world[:3]]
                busy = busy or [voter.place for voter in voters if voter.disk_steps]
                if busy:
                    break
        places = {action.place for action, _ in worlds.successors(world)}
        assert (places != set(busy)) is others


def test_a_message_of_an_old_term_is_gone() -> None:
    """And only when the core does nothing with it."""
    voters = Voters()
    voter = Voter.start(NAMES[0], msgspec.msgpack.encode((5, None)), ())
    voter.go_on()
    voter.raft.invariants()  # remembers the term that it saw, as every step does
    frozen = voters.freeze(voter)
    old = voters.message_number(VoteReply(Term(4), True))
    new = voters.message_number(VoteReply(Term(5), True))
    append = voters.message_number(Append(Term(4), Index(0), Term(0), (), Index(0), 1))
    assert voters.is_dead(frozen, 1, old)
    assert not voters.is_dead(frozen, 1, new)
    assert not voters.is_dead(frozen, 1, append), "it is told the newer term"


def test_it_stops_where_it_is_told() -> None:
    found = explore(Budget(), 200)
    assert not found.ended
    assert found.states == 200


def test_the_command_prints_what_it_saw(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(SMALL_OPTIONS) == 0
    assert "to its end" in capsys.readouterr().out


def test_a_way_can_be_taken_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*SMALL_OPTIONS, "--way", "0,0"]) == 0
    assert capsys.readouterr().out.splitlines()[0].split()[:3] == ["1", "a", "campaigns:"]


def test_a_step_that_is_not_there_is_refused() -> None:
    with pytest.raises(InvalidInput, match="step 1 is not possible"):
        list(follow(SMALL, [99]))


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
    assert main(SMALL_OPTIONS) == 1
    printed = capsys.readouterr().out
    assert "P51" in printed
    assert "1 a campaigns" in printed
