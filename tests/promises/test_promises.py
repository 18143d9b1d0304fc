"""The page of promises says what the tests say, and claims no more."""

from __future__ import annotations

import pytest

from tests.promises import __main__ as command
from tests.promises.evidence import ENGINES, ROOT, Evidence, Proof, gather, named_in, numbers
from tests.promises.page import PAGE, render
from tests.promises.statements import PROMISES, Promise, Standing

TEST = Proof("tests/test_ids.py", "test_something")


@pytest.fixture(scope="module")
def found() -> dict[int, Evidence]:
    return gather()


def test_the_page_is_up_to_date(found: dict[int, Evidence]) -> None:
    assert PAGE.read_text() == render(found), "python -m tests.promises --rewrite"


def test_no_promise_claims_more_or_less_than_there_is(found: dict[int, Evidence]) -> None:
    assert command.complaints(found) == []


def test_every_promise_is_stated_once() -> None:
    assert [promise.number for promise in PROMISES] == list(range(1, 78))


def test_the_engines_run_the_conformance_checks() -> None:
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
