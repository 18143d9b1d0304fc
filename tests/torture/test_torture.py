"""A slice of the torture run. `make torture` is the whole."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tests.torture.run import can_run, torture

SECONDS = 60.0


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_slice_of_torture_is_survived(tmp_path: Path) -> None:
    """Kills, stops, partitions, full and broken disks, clock steps: histories are linearizable, nothing acknowledged is lost, no
    two lead. Real processes cannot be replayed; the seed says which faults there were."""
    if (why := can_run()) is not None:
        assert "CI" not in os.environ, why
        pytest.skip(why)
    summary = asyncio.run(torture(tmp_path, SECONDS, seed=int(time.time())))
    assert summary["clean"], json.dumps(summary, indent=2)
    assert summary["operations"] > 500
    assert summary["faults_total"] >= 8
    assert summary["terms"] > 0
