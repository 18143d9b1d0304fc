"""The benchmark of all engines runs on one of them, ours beside its recipe, and prints ratios."""

from __future__ import annotations

import pytest
from bench.engines import RIVALS

from incumbent.engines.registry import BUILT_IN
from tests.benches.scripts import printed


def test_no_engine_is_left_out() -> None:
    assert RIVALS.keys() == BUILT_IN.keys()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_ours_and_the_recipe_stand_side_by_side() -> None:
    report = printed("engines.py", "--engine", "redis", "--trials", "1")
    assert report["bench"] == "engines"
    cases = {case["name"]: case for case in report["cases"]}
    assert list(cases) == [
        "redis turns: alone", "redis turns: redis-py Lock", "redis resign: alone", "redis resign: redis-py Lock",
        "redis killed: guarded", "redis killed: alone", "redis killed: redis-py Lock",
    ]  # fmt: skip
    for name, case in cases.items():
        assert 0 < case["p50_ms"] <= case["max_ms"]
        assert ("ours_to_rival_p50" in case) == ("Lock" not in name)
