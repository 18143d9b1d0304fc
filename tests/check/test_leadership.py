"""The judge says ok to a clean history, and finds each way in which one can be bad."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.check import history
from incumbent.check.leadership import Fault, Judgement, Verdict, judge
from incumbent.errors import InvalidInput

Line = dict[str, object]


def elected(at: int, who: str, token: int, deadline: int, process: str = "") -> Line:
    return candidate("elected", at, who, token, process) | {"deadline_ns": deadline}


def extended(at: int, who: str, token: int, deadline: int) -> Line:
    return candidate("extended", at, who, token) | {"deadline_ns": deadline}


def ended(at: int, who: str, token: int) -> Line:
    return candidate("ended", at, who, token) | {"reason": "expired"}


def acting(at: int, who: str, token: int) -> Line:
    return candidate("acting", at, who, token)


def candidate(event: str, at: int, who: str, token: int, process: str = "") -> Line:
    return {
        "event": event, "time_ns": at, "election": "e", "candidate": who, "process": process or f"p-{who}", "token": token,
    }  # fmt: skip


def accepted(at: int, token: int) -> Line:
    return {"event": "accepted", "time_ns": at, "election": "e", "token": token}


def refused(at: int, token: int, highest: int) -> Line:
    return {"event": "refused", "time_ns": at, "election": "e", "token": token, "highest": highest}


def killed(at: int, who: str) -> Line:
    return {"event": "killed", "time_ns": at, "process": f"p-{who}"}


def judged(lines: Sequence[Line]) -> Judgement:
    return judge(history.parse(json.dumps(line) for line in lines))


CLEAN = [
    elected(10, "a", 5, 110),
    acting(20, "a", 5),
    accepted(21, 5),
    extended(60, "a", 5, 160),
    {"event": "stopped", "time_ns": 100, "process": "p-a"},
    elected(160, "b", 8, 260),
    accepted(170, 8),
    {"event": "continued", "time_ns": 180, "process": "p-a"},
    refused(181, 5, 8),
    ended(182, "a", 5),  # recorded late, but its deadline was 160
    killed(200, "b"),
    elected(201, "c", 9, 300),
]


def test_a_clean_history_is_ok() -> None:
    verdict = judged(CLEAN)
    assert verdict.findings == ()
    assert verdict.verdict is Verdict.OK
    assert (verdict.overlaps, verdict.accepted, verdict.refused) == (0, 2, 1)
    assert verdict.tokens == {"e": [5, 8, 9]}


def test_the_order_of_lines_does_not_matter() -> None:
    assert judged(CLEAN[::-1]).verdict is Verdict.OK


@pytest.mark.parametrize(
    ("fault", "lines"),
    [
        (Fault.OVERLAP, [elected(10, "a", 5, 110), elected(109, "b", 8, 200)]),
        (Fault.OVERLAP, [elected(10, "a", 5, 110), extended(50, "a", 5, 150), elected(149, "b", 8, 200)]),
        (Fault.OVERLAP, [elected(10, "a", 5, 500), elected(600, "b", 6, 800), elected(700, "c", 7, 750)]),
        (Fault.OVERLAP, [elected(10, "a", 5, 900), ended(300, "a", 5), elected(299, "b", 8, 400)]),
        (Fault.OVERLAP, [elected(10, "a", 5, 900), killed(300, "b"), elected(301, "b", 8, 400)]),
        (Fault.TOKEN_NOT_RISING, [elected(10, "a", 5, 110), elected(110, "b", 4, 200)]),
        (Fault.TOKEN_TWICE, [elected(10, "a", 5, 110), elected(110, "b", 5, 200)]),
        (Fault.TOKEN_TWICE, [elected(10, "a", 5, 110), ended(20, "a", 5), elected(30, "a", 5, 200)]),
        (Fault.TOKEN_TWICE, [elected(10, "a", 5, 110), elected(110, "b", 5, 200), refused(150, 5, 5)]),
        (Fault.ACTED_OUTSIDE_TERM, [elected(10, "a", 5, 110), acting(111, "a", 5)]),
        (Fault.ACTED_OUTSIDE_TERM, [elected(10, "a", 5, 110), ended(50, "a", 5), acting(51, "a", 5)]),
        (Fault.ACTED_OUTSIDE_TERM, [elected(10, "a", 5, 110), acting(50, "b", 5)]),
        (Fault.ACTED_OUTSIDE_TERM, [elected(10, "a", 5, 110), acting(9, "a", 5)]),
        (Fault.ACCEPTED_STALE, [elected(1, "a", 5, 2), elected(2, "b", 8, 9), accepted(3, 8), accepted(4, 5)]),
        (Fault.ACCEPTED_FROM_NOBODY, [elected(1, "a", 5, 9), accepted(3, 6)]),
        (Fault.REFUSED_WRONGLY, [elected(1, "a", 5, 9), refused(3, 5, 5)]),
    ],
)  # fmt: skip
def test_a_bad_history_is_found_out(fault: Fault, lines: list[Line]) -> None:
    verdict = judged(lines)
    assert verdict.verdict is Verdict.VIOLATED
    assert [finding.fault for finding in verdict.findings] == [fault]
    assert verdict.findings[0].lines, "the finding points at the events that show it"


def test_every_fault_has_a_history_that_shows_it() -> None:
    """A fault that no test can produce is a fault that the judge may never find."""
    cases = test_a_bad_history_is_found_out.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {case[0] for case in cases} == set(Fault)


def test_elections_are_judged_apart() -> None:
    other = elected(50, "b", 3, 200) | {"election": "other"}
    assert judged([elected(10, "a", 5, 110), other]).verdict is Verdict.OK


@pytest.mark.parametrize("lines", [[], [killed(5, "a")], [refused(3, 5, 8)]])
def test_nothing_to_judge_is_unknown_and_never_ok(lines: list[Line]) -> None:
    assert judged(lines).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("number", range(len(CLEAN)))
def test_a_history_that_lost_a_beginning_is_never_ok(number: int) -> None:
    """Whatever single line is taken away: where that hides a leadership, the judge does not say ok."""
    verdict = judged([*CLEAN[:number], *CLEAN[number + 1 :]])
    lost = CLEAN[number]
    if lost["event"] == "killed" or (lost["event"] == "elected" and lost["candidate"] != "c"):
        # Of c the history says nothing else; a death that is not recorded leaves its process believing in itself.
        assert verdict.verdict is not Verdict.OK
        assert verdict.findings or verdict.gaps
    else:
        assert verdict.verdict is Verdict.OK


def test_a_refusal_because_of_an_unknown_leader_is_a_gap() -> None:
    verdict = judged([elected(1, "a", 5, 9), refused(3, 5, 8)])
    assert verdict.verdict is Verdict.UNKNOWN
    assert verdict.gaps == ("line 2: the resource had seen token 8, and nobody was elected with it",)


def test_what_was_found_outweighs_what_is_missing() -> None:
    assert judged([elected(1, "a", 5, 9), acting(10, "a", 5), refused(3, 5, 8)]).verdict is Verdict.VIOLATED


INTERVALS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12)), min_size=1, max_size=8)


@given(INTERVALS)
def test_overlaps_are_those_that_comparing_all_pairs_finds(intervals: list[tuple[int, int]]) -> None:
    """Against a judge that is too simple to be wrong. Tokens rise with the start, so that nothing else is found."""
    intervals = sorted(intervals)
    lines = [elected(start, f"n{i}", i + 1, start + length) for i, (start, length) in enumerate(intervals)]
    overlapping = any(
        intervals[j][0] < intervals[i][0] + intervals[i][1]
        for i in range(len(intervals))
        for j in range(i + 1, len(intervals))
    )
    assert bool(judged(lines).overlaps) is overlapping


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("{", "line 2:"),
        ("[]", "line 2:"),
        pytest.param("[" * 100_000, "line 2:", id="deep"),
        pytest.param(
            '{"event": "accepted", "time_ns": 1, "election": "e", "token": "' + "9" * 5000 + '"}',
            "line 2, token",
            id="many digits",
        ),
        ('{"event": "elected"}', "line 2, time_ns"),
        ('{"event": "crowned", "time_ns": 1}', "line 2, event"),
        ('{"event": "killed", "time_ns": 1}', "line 2, process"),
        ('{"event": "accepted", "time_ns": 1, "election": "e", "token": 1.5}', "line 2, token"),
        ('{"event": "accepted", "time_ns": 1, "election": "e", "token": -1}', "line 2, token"),
        ('{"event": "accepted", "time_ns": true, "election": "e", "token": 1}', "line 2, time_ns"),
    ],
)
def test_a_bad_line_is_refused_by_number_and_field(line: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}"):
        history.parse(["", line])


def test_a_token_may_stand_as_text() -> None:
    big = 2**62 + 1
    (event,) = history.parse([json.dumps(accepted(1, 1) | {"token": str(big)})])
    assert event.token == big
