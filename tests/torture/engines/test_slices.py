"""A slice of the failure run of each engine. `make torture` is the whole."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

import pytest

from tests.servers.packages import NotAvailable
from tests.torture.chunks import replay
from tests.torture.engines.run import run
from tests.torture.engines.worlds import SETTINGS
from tests.torture.run import can_run

SECONDS = 9.0


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("engine", SETTINGS)
def test_a_slice_of_torture_is_survived(engine: str, tmp_path: Path) -> None:
    """P10, P11, P30: leaderships do not overlap, tokens rise, the sink takes no lower one, and in the end each candidate leads. The
    seed says which faults there were."""
    if (why := can_run()) is not None:
        assert "CI" not in os.environ, why
        pytest.skip(why)
    seed = int(time.time())
    try:
        summary = asyncio.run(run(engine, tmp_path, SECONDS, seed))
    except NotAvailable as reason:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(reason))
    assert summary["clean"], f"{replay(engine, seed, SECONDS)}\n{json.dumps(summary, indent=2)}"
    assert summary["faults_total"] > 0
    assert summary["accepted"] > 0
