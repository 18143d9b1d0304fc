"""The benchmarks of what grows run on small numbers, and the judge of growth sees some."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from bench.churn import growth

from tests.benches.scripts import printed


def rows(*most: float) -> list[dict[str, Any]]:
    return [{"resident_mib": {"a": one, "b": one / 2}} for one in most]


def test_what_grows_at_the_beginning_only_is_no_growth() -> None:
    assert growth(rows(10, 35, 40, 40, 40, 40, 40, 40), "resident_mib") == 1.0


def test_what_grows_for_ever_is() -> None:
    assert growth(rows(10, 20, 30, 40, 50, 60, 70, 80), "resident_mib") == 2.0


@pytest.mark.slow
def test_a_churn_goes_on_where_it_was(tmp_path: Path) -> None:
    small = ("--every", "1000", "--directory", str(tmp_path))
    first = printed("churn.py", "--leaderships", "1000", *small)
    then = printed("churn.py", "--leaderships", "2000", *small)
    assert [row["leaderships"] // 1000 for row in then["rows"]] == [1, 2]
    assert then["rows"][0] == first["rows"][0]
    assert then["rows"][1]["log"]["a"][1] > first["rows"][0]["log"]["a"][1]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_what_one_more_costs_is_printed() -> None:
    report = printed("scale.py", "--quick")
    assert [row.get("elections") or row["watchers"] for row in report["rows"]] == [100, 1000, 10, 100]
