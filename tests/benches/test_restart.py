"""The benchmark of restarts runs, and waiting for a TTL stands beside what makes it needless."""

from __future__ import annotations

import pytest

from tests.benches.scripts import printed

pytestmark = pytest.mark.slow


def test_resuming_and_waiting_stand_side_by_side() -> None:
    report = printed("restart.py", "--engine", "etcd", "--trials", "1")
    cases = {case["name"]: case for case in report["cases"]}
    assert list(cases) == ["etcd ready", "etcd resumed", "etcd waited"]
    assert cases["etcd waited"]["p50_ms"] > cases["etcd resumed"]["p50_ms"] > cases["etcd ready"]["p50_ms"]
    assert 0 < cases["etcd resumed"]["of_waiting"] < 1
