"""Which tick is due: computed alone."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.errors import InvalidInput
from incumbent.recipes.ticks import (
    TICKS_MAX,
    Mark,
    Missed,
    Policy,
    Tick,
    decode,
    due,
    encode,
    every,
    next_after,
)

TEN = every(10)
NOW = 1_795_000_000.0  # a tick of TEN


def policy(missed: Missed, *, on_time: float = 1, within: float = 3600, most: int = 100) -> Policy:
    return Policy(missed=missed, on_time=on_time, missed_within=within, missed_max=most)


def runs(last: float, now: float, of: Policy) -> list[Tick]:
    """All that is run when each takes no time."""
    found = list[Tick]()
    while (tick := due(TEN, last, now, of)) is not None:
        found.append(tick)
        last = tick.at
    return found


@pytest.mark.parametrize("missed", Missed)
def test_a_tick_is_due_from_its_time_on_and_once(missed: Missed) -> None:
    of = policy(missed)
    assert due(TEN, NOW - 10, NOW - 0.001, of) is None
    assert due(TEN, NOW - 10, NOW, of) == Tick(NOW, missed=False)
    assert due(TEN, NOW - 10, NOW + 0.999, of) == Tick(NOW, missed=False)
    assert due(TEN, NOW, NOW + 1, of) is None


def test_missed_ticks_are_skipped_run_as_one_or_all_run() -> None:
    last, now = NOW - 45, NOW + 0.5  # four are late, one is on time
    late = [Tick(NOW - s, missed=True) for s in (40, 30, 20, 10)]
    assert runs(last, now, policy(Missed.SKIP)) == [Tick(NOW, missed=False)]
    assert runs(last, now, policy(Missed.RUN_ONCE)) == [Tick(NOW, missed=False)]
    assert runs(last, now, policy(Missed.RUN_ALL)) == [*late, Tick(NOW, missed=False)]
    now = NOW + 5  # all are late
    late.append(Tick(NOW, missed=True))
    assert runs(last, now, policy(Missed.SKIP)) == []
    assert runs(last, now, policy(Missed.RUN_ONCE)) == late[-1:]
    assert runs(last, now, policy(Missed.RUN_ALL)) == late


def test_what_is_run_of_the_missed_has_bounds() -> None:
    last, now = NOW - 45, NOW + 5
    assert [tick.at for tick in runs(last, now, policy(Missed.RUN_ALL, most=2))] == [NOW - 10, NOW]
    assert [tick.at for tick in runs(last, now, policy(Missed.RUN_ALL, within=20))] == [NOW - 10, NOW]
    assert runs(last, now, policy(Missed.RUN_ONCE, within=2)) == []
    with pytest.raises(InvalidInput, match="^missed_within: "):
        due(every(0.01), 0, NOW, policy(Missed.RUN_ALL, within=TICKS_MAX))


@given(st.floats(0, 1e10), st.floats(0, 1e5), st.sampled_from(Missed))
def test_a_tick_that_is_run_is_later_than_the_last_and_not_in_the_future(
    last: float, since: float, missed: Missed
) -> None:
    """So a clock that was set back brings nothing back."""
    ticks, of = every(60), policy(missed, within=1e5)
    for now in (last + since, last - since):
        tick = due(ticks, last, now, of)
        assert tick is None or last < tick.at <= now
        assert tick is None or tick.missed == (now - tick.at >= 1)


@given(st.floats(0.01, 1e6), st.floats(0, 4e9))
def test_every_gives_later_ticks_and_leaves_none_out(seconds: float, after: float) -> None:
    ticks, first = every(seconds), next_after(every(seconds), after)
    series = [first := next_after(ticks, first) for _ in range(5)]
    assert first > after
    for one, other in pairwise(series):
        assert other - one == pytest.approx(seconds, rel=1e-3)


@pytest.mark.parametrize("gives", [lambda after: after, lambda after: math.nan, lambda after: after - 1])
def test_ticks_that_do_not_rise_are_refused(gives: object) -> None:
    assert callable(gives)
    with pytest.raises(InvalidInput, match="^at: "):
        next_after(gives, NOW)


def test_a_mark_survives_its_cell_and_something_else_is_refused() -> None:
    mark = Mark(NOW + 0.1, 2**63 - 1)
    assert decode(encode(mark)) == mark
    for value in (b"", b"{}", b"[]", b"\xff", b'{"at": "x", "token": 1}'):
        with pytest.raises(InvalidInput, match="^cell: "):
            decode(value)


def test_settings_that_cannot_be_are_refused() -> None:
    for seconds in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(InvalidInput, match="^every: "):
            every(seconds)
    with pytest.raises(InvalidInput, match="^on_time: "):
        policy(Missed.SKIP, on_time=0)
    with pytest.raises(InvalidInput, match="^missed_within: "):
        policy(Missed.SKIP, within=math.inf)
    with pytest.raises(InvalidInput, match="^missed_max: "):
        policy(Missed.SKIP, most=0)
