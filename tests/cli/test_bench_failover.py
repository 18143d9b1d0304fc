"""The failover benchmark runs, prints one object of the agreed shape, and hits the nodes that it names."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent.parent / "bench" / "failover.py"


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_it_prints_every_case() -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--json", "--trials", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["bench"] == "failover"
    assert {"cores", "python"} <= set(report["machine"])
    assert [case["name"] for case in report["cases"]] == [
        "holder_killed", "raft_leader_killed", "holder_and_raft_leader_killed",
        "holder_stopped", "raft_leader_stopped", "holder_and_raft_leader_stopped", "resigned",
    ]  # fmt: skip
    for case in report["cases"]:
        assert case["n"] == 1
        assert 0 < case["p50_ms"] <= case["p99_ms"] <= case["max_ms"]
