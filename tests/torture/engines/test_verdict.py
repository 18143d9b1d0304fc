"""The verdict on a failure run finds what must not be, and excuses only what the engine declares, as long as it declares it."""

from __future__ import annotations

import json

from incumbent.check import history
from incumbent.check.leadership import Fault
from tests.check.test_leadership import Line, accepted, acting, elected, ended, refused
from tests.torture.engines.faults import Kind, Verb, Whom
from tests.torture.engines.verdict import Report, Struck, report

TTL_S = 100e-9  # of the histories below, whose times are small
STEP = Kind(Verb.STEP, Whom.SERVERS)
KILL = Kind(Verb.KILL, Whom.HOLDER)
CLEAN = [
    elected(10, "a", 5, 110), acting(20, "a", 5), accepted(21, 5), ended(60, "a", 5),
    elected(90, "b", 7, 190), acting(95, "b", 7), accepted(96, 7), refused(97, 5, 7), ended(150, "b", 7),
]  # fmt: skip
TWO_LEAD = [elected(10, "a", 5, 110), elected(90, "b", 7, 190), acting(95, "b", 7), accepted(96, 7)]


def reported(lines: list[Line], *struck: Struck, excuse: float | None = None) -> Report:
    excuses = {} if excuse is None else {STEP: excuse}
    return report(history.parse(json.dumps(line) for line in lines), struck, excuses, TTL_S)


def test_a_clean_run_is_clean_and_counted() -> None:
    told = reported(CLEAN, Struck(KILL, ["a"], 60, 65), Struck(STEP, ["server"], 100, 100))
    assert told.clean
    assert told.leaderless_ns == (60, 90)
    counts = told.as_json()
    assert counts["faults"] == {"kill holder": 1, "step servers": 1}
    assert counts["leaderless_during"] == ["kill holder"]
    assert (counts["terms"], counts["accepted"], counts["refused"]) == (2, 2, 1)


def test_two_leaders_are_found() -> None:
    told = reported(TWO_LEAD, Struck(KILL, ["a"], 60, 65))
    assert [finding.fault for finding in told.faults] == [Fault.OVERLAP]
    assert not told.clean


def test_a_lower_token_is_found() -> None:
    told = reported([elected(10, "a", 7, 50), elected(60, "b", 5, 100)])
    assert [finding.fault for finding in told.faults] == [Fault.TOKEN_NOT_RISING]
    assert not told.clean


def test_a_sink_that_takes_a_lower_token_is_found_whatever_is_excused() -> None:
    late = [*CLEAN, accepted(98, 5)]
    told = reported(late, Struck(STEP, ["server"], 80, 80), excuse=1.0)
    assert [finding.fault for finding in told.faults] == [Fault.ACCEPTED_STALE]
    assert not told.clean


def test_an_overlap_is_excused_only_while_the_engine_declares_it() -> None:
    soon, long_ago, after = (Struck(STEP, ["server"], at, at) for at in (50, -20, 95))
    assert reported(TWO_LEAD, soon, excuse=1.0).clean
    assert len(reported(TWO_LEAD, soon, excuse=1.0).excused) == 1
    assert not reported(TWO_LEAD, soon).clean
    assert not reported(TWO_LEAD, long_ago, excuse=1.0).clean
    assert not reported(TWO_LEAD, after, excuse=1.0).clean


def test_what_else_went_wrong_is_not_clean() -> None:
    events = history.parse(json.dumps(line) for line in CLEAN)
    assert not report(events, [], {}, TTL_S, broken=["nobody led in the end"]).clean
    assert not report([], [], {}, TTL_S).clean, "there is nothing to judge"
