"""Lead, wait, or make room: the decisions, as tables."""

from __future__ import annotations

from itertools import permutations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.engines.api import Entry, Roster
from incumbent.errors import InvalidInput
from incumbent.leadership.control import Control, Paused, Successor
from incumbent.leadership.outcome import Done
from incumbent.leadership.preference import (
    YIELDS_MAX,
    Code,
    Lead,
    Preference,
    Queued,
    Wait,
    Yield,
    may_begin,
    may_go_on,
    may_stay,
    obstacle,
    queue_of,
    successor_of,
)
from incumbent.leadership.standing import PRIORITY_MAX, Standing, member_value
from incumbent.leadership.tenure import NS_PER_S

PAUSED = Control(paused=Paused())
NOTHING = Control()


def queue(*standings: tuple[str, Standing | None]) -> tuple[Queued, ...]:
    return tuple(
        Queued(f"m{order}", order, name, standing, b"") for order, (name, standing) in enumerate(standings, 1)
    )


def of(*priorities: int) -> tuple[Queued, ...]:
    """Candidates a, b, c, … of these priorities."""
    return queue(*((chr(97 + n), Standing(priority=p)) for n, p in enumerate(priorities)))


def name(one: Queued, handover: str = "") -> Control:
    return Control(successor=Successor(one.id, one.order, one.candidate, handover))


UNFIT = Standing(eligible=False)


# --- the first of the queue -------------------------------------------------------------------------------------------


def test_the_first_leads_unless_something_is_against_it() -> None:
    a, b, c = everybody = of(0, 0, 0)
    assert may_begin(everybody, a, NOTHING) == Lead()
    assert may_begin(everybody, a, PAUSED) == Wait(Code.PAUSED)
    assert may_begin(everybody, a, Control(drained=("a",))) == Yield(Code.DRAINED, "b")
    assert may_begin(everybody, a, Control(drained=("a", "b"))) == Yield(Code.DRAINED, "c")
    assert may_begin(everybody, a, name(c)) == Yield(Code.OTHER_NAMED, "c")
    assert may_begin(everybody, a, name(a)) == Lead()
    assert may_begin((a, b), a, name(c)) == Lead()  # it has gone: the word is void
    assert may_begin(everybody, a, Control(drained=("c",), successor=name(c).successor)) == Lead()


def test_who_is_not_to_lead_never_does_and_yields_only_to_one_who_may() -> None:
    """P43: nobody unfit is elected; and where nobody may lead, nobody runs in circles."""
    a, b = everybody = queue(("a", UNFIT), ("b", Standing()))
    assert may_begin(everybody, a, NOTHING) == Yield(Code.INELIGIBLE, "b")
    assert may_begin((a,), a, NOTHING) == Wait(Code.INELIGIBLE)
    assert may_begin(everybody, a, Control(drained=("b",))) == Wait(Code.INELIGIBLE)
    assert may_begin(everybody, a, name(a)) == Yield(Code.INELIGIBLE, "b")
    assert may_begin((b,), b, Control(drained=("b",))) == Wait(Code.DRAINED)
    assert may_begin((a,), a, NOTHING, yielded=YIELDS_MAX) == Wait(Code.INELIGIBLE)


def test_the_first_yields_to_a_strictly_higher_priority_that_may_lead() -> None:
    a, _, _ = everybody = of(1, 1, 2)
    assert may_begin(everybody, a, NOTHING) == Yield(Code.LESS_PREFERRED, "c")
    assert may_begin(everybody, a, Control(drained=("c",))) == Lead()
    assert may_begin(everybody, a, NOTHING, yielded=YIELDS_MAX) == Lead()
    equals = of(1, 1)
    assert may_begin(equals, equals[0], NOTHING) == Lead()


def test_a_foreign_candidate_says_nothing_and_is_yielded_to_only_by_who_may_not_lead() -> None:
    a, f = everybody = queue(("a", Standing(priority=-1)), ("f", None))
    assert may_begin(everybody, a, NOTHING) == Yield(Code.LESS_PREFERRED, "f")
    assert obstacle(f, Control(drained=("f",))) is None
    unfit, _ = both = queue(("a", UNFIT), ("f", None))
    assert may_begin(both, unfit, NOTHING) == Yield(Code.INELIGIBLE, "f")
    assert may_begin(both, unfit, PAUSED) == Wait(Code.PAUSED)  # it keeps the foreign one out as well


# --- who waits --------------------------------------------------------------------------------------------------------


def test_who_waits_makes_room_for_the_named_and_for_the_preferred() -> None:
    a, b, c = everybody = of(0, 0, 5)
    assert may_stay(everybody, b, NOTHING) == Yield(Code.LESS_PREFERRED, "c")
    assert may_stay(everybody, b, PAUSED) == Wait(Code.BEHIND)
    assert may_stay(everybody, c, NOTHING) == Wait(Code.BEHIND)
    assert may_stay(everybody, c, name(b)) == Wait(Code.BEHIND)
    assert may_stay(everybody, b, name(c)) == Yield(Code.OTHER_NAMED, "c")
    assert may_stay(everybody, b, name(b)) == Wait(Code.BEHIND)  # the word of an operator is above priorities
    assert may_stay(everybody, b, Control(drained=("c",))) == Wait(Code.BEHIND)
    equals = of(0, 5, 5)
    assert may_stay(equals, equals[1], NOTHING) == Wait(Code.BEHIND)
    assert a.priority == 0


@given(st.lists(st.integers(-2, 2), min_size=2, max_size=7), st.integers())
def test_making_room_comes_to_an_end_with_the_most_preferred_next(priorities: list[int], seed: int) -> None:
    """P43: whatever order they act in, those who wait stop changing places, equals never having passed each other twice."""
    rng = Random(seed)
    line = list(of(0, *priorities))
    order = len(line)
    for _ in range(len(line) ** 2):
        willing = [q for q in line[1:] if isinstance(may_stay(line, q, NOTHING), Yield)]
        if not willing:
            break
        one = rng.choice(willing)
        order += 1
        line = [q for q in line if q != one] + [one._replace(order=order)]
    else:
        pytest.fail("they still change places")
    waiting = [q.priority for q in line[1:]]
    assert waiting == sorted(waiting, reverse=True)


# --- the leader -------------------------------------------------------------------------------------------------------


def go_on(
    everybody: tuple[Queued, ...], control: Control, preference: Preference, led_s: float
) -> Lead | Wait | Yield:
    return may_go_on(
        everybody, everybody[0], control, preference, elected_ns=10, now_ns=10 + round(led_s * NS_PER_S)
    )


def test_a_leader_makes_room_for_a_higher_priority_once_in_each_delay_only() -> None:
    """P43: it has led for the delay, so two pre-emptions are at least that far apart."""
    everybody = of(1, 3)
    slow = Preference(priority=1, preempt_delay=30.0)
    due_ns = 10 + 30 * NS_PER_S
    assert go_on(everybody, NOTHING, slow, 29.9) == Wait(Code.LESS_PREFERRED, due_ns)
    assert go_on(everybody, NOTHING, slow, 30.0) == Yield(Code.LESS_PREFERRED, "b")
    assert go_on(everybody, PAUSED, slow, 99) == Lead()
    assert go_on(everybody, Control(drained=("b",)), slow, 99) == Lead()
    assert go_on(everybody, NOTHING, Preference(priority=1), 10**6) == Lead()
    sticky = Preference(priority=1, preempt_delay=30.0, stickiness=2)
    assert go_on(everybody, NOTHING, sticky, 99) == Lead()
    assert go_on(of(1, 4), NOTHING, sticky, 99) == Yield(Code.LESS_PREFERRED, "b")
    assert go_on(of(1, 1), NOTHING, slow, 99) == Lead()
    foreign = queue(("a", Standing(priority=-1)), ("f", None))
    assert go_on(foreign, NOTHING, Preference(priority=-1, preempt_delay=1.0), 99) == Lead()


def test_a_leader_obeys_operators() -> None:
    everybody = of(0, 0)
    preference = Preference()
    assert go_on(everybody, Control(drained=("a",)), preference, 0) == Yield(Code.DRAINED, "b")
    assert go_on(everybody[:1], Control(drained=("a",)), preference, 0) == Yield(Code.DRAINED, "")
    assert go_on(everybody, name(everybody[1]), preference, 0) == Yield(Code.OTHER_NAMED, "b")
    assert go_on(everybody, name(everybody[1], handover="h"), preference, 0) == Lead()  # it is warming up
    assert go_on(everybody, name(everybody[0]), preference, 0) == Lead()
    # P42: while it is paused nobody could follow, so who leads goes on, whatever else was said.
    assert go_on(everybody, Control(paused=Paused(), drained=("a",)), preference, 0) == Lead()


def test_to_whom_a_leader_can_hand_over() -> None:
    a, b, c = everybody = of(0, 1, 2)
    assert successor_of(everybody, a, NOTHING, None) == c
    assert successor_of(everybody, a, NOTHING, "b") == b
    assert successor_of(everybody, a, NOTHING, "x") is Done.NO_CANDIDATE
    assert successor_of((a,), a, NOTHING, None) is Done.NO_CANDIDATE
    assert successor_of(everybody, a, Control(drained=("b",)), "b") is Done.UNABLE
    assert successor_of(everybody, a, PAUSED, None) is Done.PAUSED
    first, _, last = mixed = queue(("a", Standing()), ("f", None), ("c", Standing()))
    assert successor_of(mixed, first, NOTHING, "c") is Done.FOREIGN
    assert successor_of((first, last), first, NOTHING, "c") == last


# --- whatever the queue -----------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(-1, 1), st.booleans(), st.booleans()), min_size=1, max_size=6))
def test_either_somebody_who_may_lead_comes_first_or_nobody_moves(
    facts: list[tuple[int, bool, bool]],
) -> None:
    """P43: playing the first's decisions ends after a bounded number of steps, with a leader exactly where one may lead."""
    standings = [(chr(97 + n), Standing(priority=p, eligible=fit)) for n, (p, fit, _) in enumerate(facts)]
    control = Control(drained=tuple(chr(97 + n) for n, (_, _, out) in enumerate(facts) if out))
    line = list(queue(*standings))
    order, yields = len(line), dict.fromkeys((q.candidate for q in line), 0)
    for _ in range(10 * len(line)):
        first = line[0]
        step = may_begin(line, first, control, yielded=yields[first.candidate])
        if not isinstance(step, Yield):
            break
        yields[first.candidate] += 1
        order += 1
        line = [*line[1:], first._replace(order=order)]
    else:
        pytest.fail("they run in circles")
    able = [q for q in line if obstacle(q, control) is None]
    assert isinstance(step, Lead) == bool(able)
    if able:
        assert line[0].priority == max(q.priority for q in able)


def test_a_queue_is_read_from_a_roster() -> None:
    said = Standing(priority=3, tags={"zone": "b"})
    entries = (
        Entry("m1", 1, member_value("a", b"v", said), ours=True),
        Entry("m2", 2, b"etcdctl", ours=False),
    )
    first, second = queue_of(Roster(1, entries, 1))
    assert first == Queued("m1", 1, "a", said, b"v")
    assert (second.candidate, second.standing, second.priority) == ("etcdctl", None, 0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"priority": PRIORITY_MAX + 1},
        {"stickiness": -1},
        {"preempt_delay": 0},
        {"preempt_delay": float("inf")},
        {"tags": {"zone": 1}},
    ],
)
def test_a_preference_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=next(iter(wrong))):
        Preference(**wrong)  # type: ignore[arg-type]


def test_every_order_of_three_ends_with_the_same_leader() -> None:
    for priorities in permutations((0, 1, 2)):
        line = list(of(*priorities))
        while isinstance(may_begin(line, line[0], NOTHING), Yield):
            line = [*line[1:], line[0]._replace(order=line[-1].order + 1)]
        assert line[0].priority == 2
