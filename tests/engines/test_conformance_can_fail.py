"""A checker that never failed proves nothing: each check of the suite sees the fault planted for it."""

from __future__ import annotations

import pytest

from incumbent.errors import IncumbentError
from incumbent.testing import CHECKS, Check, NotConforming, check_engine, run_check
from tests.engines.broken import FAULTS, TwoLead
from tests.engines.test_conformance_stranger import StrangerHarness


def name_of(check: Check) -> str:
    return getattr(check, "__name__", "")


@pytest.mark.parametrize("check", CHECKS, ids=name_of)
async def test_the_check_sees_the_fault_planted_for_it(check: Check) -> None:
    fault = FAULTS[name_of(check)]
    with pytest.raises((NotConforming, IncumbentError)):
        await run_check(check, StrangerHarness(fault.store, fault.engine, patience_s=0.05))


def test_every_fault_is_planted_for_a_check() -> None:
    assert set(FAULTS) == {name_of(check) for check in CHECKS}


async def test_all_failures_are_told_by_the_names_of_their_checks() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await check_engine(StrangerHarness(TwoLead, patience_s=0.05))
    named = {note for error in caught.value.exceptions for note in getattr(error, "__notes__", [])}
    assert {"check_only_the_first_claims", "check_never_two_first"} <= named
    assert "check_cell_sizes" not in named
