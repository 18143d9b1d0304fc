"""Benchmarks as a user runs them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

BENCH = Path(__file__).parents[2] / "bench"


def printed(script: str, *options: str) -> Any:
    """What it says with ``--json``."""
    command = [sys.executable, str(BENCH / script), "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {"cores", "python"} <= set(report["machine"])
    return report
