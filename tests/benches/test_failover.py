"""The failover benchmarks run, print one object of the agreed shape, and hit the nodes that they name."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.benches.scripts import printed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def sampled(script: str) -> Any:
    report = printed(script, "--trials", "1")
    for case in report["cases"]:
        assert case["n"] == 1
        assert 0 < case["p50_ms"] <= case["p99_ms"] <= case["max_ms"]
    return report


def test_who_holds_an_election_is_replaced_in_every_case() -> None:
    report = sampled("failover_holder.py")
    assert report["bench"] == "failover_holder"
    assert [case["name"] for case in report["cases"]] == [
        "holder_killed", "raft_leader_killed", "holder_and_raft_leader_killed",
        "holder_stopped", "raft_leader_stopped", "holder_and_raft_leader_stopped", "resigned",
    ]  # fmt: skip


def test_a_process_killed_and_one_silent_stand_side_by_side() -> None:
    """Also with links that are cut, where there can be network namespaces."""
    report = sampled("failover.py")
    assert report["bench"] == "failover"
    cut = ["incumbent cut"] if os.geteuid() == 0 else []
    assert [case["name"] for case in report["cases"]] == [
        "incumbent killed", "incumbent stopped", *cut, "incumbent transferred"
    ]  # fmt: skip
    assert report["cases"][-1]["failed"] == 0
