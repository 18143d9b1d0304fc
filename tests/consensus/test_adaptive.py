"""Timeouts that follow the round trips which the leader measures, between a floor and a ceiling."""

from __future__ import annotations

from random import Random

import pytest

from incumbent.consensus.api import DeadlinePassed, Role, Timing
from tests.consensus.script import MS, Script, Wire

ADAPTIVE = Timing(adaptive_max_ns=2000 * MS)
FLOOR = ADAPTIVE.election_timeout_min_ns


class Slow(Script):
    """Every message takes half a round trip, which may change."""

    def __init__(self, timing: Timing) -> None:
        super().__init__(timing=timing)
        self.round_trip_ns = 0
        self._flying: list[tuple[int, Wire]] = []

    def run(self, duration_ns: int, alive: str = "abc") -> None:
        end_ns = self.now_ns + duration_ns
        while self.now_ns < end_ns:
            self.now_ns += 5 * MS
            for name in alive:
                if self[name].raft.deadline_ns <= self.now_ns:
                    self.do(name, DeadlinePassed())
            self._flying += [(self.now_ns + self.round_trip_ns // 2, wire) for wire in self.take()]
            arrived = [wire for at_ns, wire in self._flying if at_ns <= self.now_ns]
            self._flying = [(at_ns, wire) for at_ns, wire in self._flying if at_ns > self.now_ns]
            self.deliver(wire for wire in arrived if wire.to in alive)

    def minima(self) -> set[int]:
        return {one.state.election_min_ns for one in self.voters.values()}


def led(round_trip_ns: int = 0, timing: Timing = ADAPTIVE) -> Slow:
    """`a` leads, and the network has become as slow as that. (One that is slower than the floor from the start never lets
    a leader measure it: the floor has to be more than a round trip.)"""
    story = Slow(timing)
    story.elect("a")
    for share in (4, 2, 1):
        story.round_trip_ns = round_trip_ns // share
        story.run(5000 * MS)
    assert story.leaders() == ["a"]
    return story


@pytest.mark.parametrize(
    ("round_trip_ms", "low_ms", "high_ms"),
    [(0, 300, 300), (10, 300, 300), (100, 1000, 1700), (500, 2000, 2000)],
)
def test_the_minimum_is_ten_round_trips_within_its_bounds(
    round_trip_ms: int, low_ms: int, high_ms: int
) -> None:
    """Never below what was configured, never above the ceiling; the leader and its followers agree."""
    (minimum,) = led(round_trip_ms * MS).minima()
    assert low_ms * MS <= minimum <= high_ms * MS


def test_all_three_numbers_are_stretched_together() -> None:
    state = led(500 * MS)["b"].state
    assert state.heartbeat_interval_ns == 2000 * MS // 6
    state.random = Random(1)
    drawn = []
    for _ in range(100):
        state.reset_election_timer()
        drawn.append(state.election_ns - state.now_ns)
    assert 2000 * MS <= min(drawn) < 2200 * MS
    assert 3800 * MS < max(drawn) < 4000 * MS


def test_they_shrink_again_with_the_round_trips() -> None:
    story = led(100 * MS)
    story.round_trip_ns = 0
    story.run(20_000 * MS)
    assert story.minima() == {FLOOR}
    assert story.role("a") is Role.LEADER


def test_without_leave_to_adapt_they_stay_as_they_are() -> None:
    story = led(100 * MS, timing=Timing())
    assert story.minima() == {FLOOR}


def test_a_new_leader_begins_with_what_the_last_one_measured() -> None:
    """Before it has measured anything itself. Else the timeouts would drop below what the network allows just when there is
    no other leader."""
    story = led(100 * MS)
    before = story["b"].state.election_min_ns
    assert before > FLOOR
    story.transfer("a", "b")
    while story.role("b") is not Role.LEADER:
        story.run(5 * MS)
    assert story["b"].state.election_min_ns == before
    story.run(3000 * MS)
    assert story.leaders() == ["b"]
    assert min(story.minima()) > FLOOR
