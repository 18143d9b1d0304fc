"""The page of promises says what the tests say, and claims no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest

from incumbent.engines.registry import BUILT_IN
from tests.promises import __main__ as command
from tests.promises.evidence import ENGINES, LED_ON, ROOT, Evidence, Proof, gather, named_in, numbers
from tests.promises.page import PAGE, render
from tests.promises.statements import ELSEWHERE, ENGINE_BY_ENGINE, PROMISES, Promise, Standing

TEST = Proof("tests/test_ids.py", "test_something")


@pytest.fixture(scope="module")
def found() -> dict[int, Evidence]:
    return gather()


def test_the_page_is_up_to_date(found: dict[int, Evidence]) -> None:
    assert PAGE.read_text() == render(found), "python -m tests.promises --rewrite"


def test_no_promise_claims_more_or_less_than_there_is(found: dict[int, Evidence]) -> None:
    assert command.complaints(found) == []


def empty_cells(found: Mapping[int, Evidence]) -> list[str]:
    """Promises of leadership that have neither a test on an engine nor a reason; and reasons that nobody needs."""
    empty = [
        f"P{number} on {engine}"
        for number in ENGINE_BY_ENGINE
        for engine in LED_ON
        if number not in ELSEWHERE and not found.get(number, Evidence()).on[engine]
    ]
    idle = [f"P{n} has tests on every engine" for n in ELSEWHERE if all(found[n].on[e] for e in LED_ON)]
    return empty + idle


def test_leadership_has_a_test_or_a_reason_on_every_engine(found: dict[int, Evidence]) -> None:
    assert empty_cells(found) == []


def test_a_missing_test_is_noticed(found: dict[int, Evidence]) -> None:
    assert "P24 on cluster" in empty_cells({**found, 24: Evidence(on=Counter(local=1))})
    assert "P23 has tests on every engine" in empty_cells(
        {**found, 23: Evidence(on=Counter(local=1, cluster=1))}
    )


def test_the_stories_of_leadership_are_run_on_every_engine() -> None:
    driver = (ROOT / "tests" / "engines" / "test_leadership.py").read_text()
    assert driver.count('@pytest.mark.parametrize("story", STORIES') == len(LED_ON)


def test_every_promise_is_stated_once() -> None:
    assert [promise.number for promise in PROMISES] == list(range(1, 78))


def test_every_engine_runs_the_conformance_checks() -> None:
    assert ENGINES.keys() == BUILT_IN.keys()
    for files in ENGINES.values():
        assert any("CHECKS" in (ROOT / file).read_text() for file in files), files


@pytest.mark.parametrize(
    ("promise", "evidence", "says"),
    [
        (Promise(1, "", Standing.HELD), Evidence(faults=["x"]), "no test names it"),
        (Promise(1, "", Standing.HELD), Evidence(tests=[TEST]), "no planted fault names it"),
        (Promise(1, "", Standing.IN_PART, "much"), Evidence(), "by which test"),
        (Promise(1, "", Standing.IN_PART), Evidence(tests=[TEST]), "what is lacking"),
        (Promise(1, ""), Evidence(tests=[TEST]), "not claimed"),
        (Promise(2, "", Standing.HELD), Evidence(tests=[TEST], faults=["x"]), "P1 is no promise"),
    ],
)
def test_a_claim_that_does_not_fit_is_noticed(promise: Promise, evidence: Evidence, says: str) -> None:
    assert any(says in line for line in command.complaints({1: evidence}, [promise]))


def test_a_claim_that_fits_is_not() -> None:
    good = Evidence(tests=[TEST], faults=["x"])
    assert command.complaints({1: good}, [Promise(1, "", Standing.HELD)]) == []


def test_a_page_that_is_out_of_date_is_noticed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: object) -> None:  # fmt: skip
    old = PAGE.with_name("promises.md")
    monkeypatch.setattr(command, "render", lambda found: old.read_text() + "| P78 | news |\n")
    assert command.main([]) == 1
    assert "+| P78 | news |" in capsys.readouterr().out


def test_docstrings_name_promises() -> None:
    assert numbers("P51, P7 and P7's rule; IP4, P512") == [7, 51]
    assert numbers("P3, and P51 to P53") == [3, 51, 52, 53]
    here = ROOT / "tests" / "fencing" / "suite.py"
    assert {number for number, _ in named_in(here, ("test_",))} >= {33, 34}
