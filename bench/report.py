"""What every benchmark prints, so that all can be read by one reader.

    {"bench": "…", "machine": {…}, "cases": [{"name": "…", "n": 20, "p50_ms": 1.0, "p99_ms": 2.0, "max_ms": 2.1}]}

One line with ``--json``, a table for people without.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


def machine() -> dict[str, Any]:
    """The facts without which a figure means nothing."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_1min": round(os.getloadavg()[0], 2),
    }


def case(name: str, samples_ms: Sequence[float], **more: Any) -> dict[str, Any]:
    """One row. Percentiles are measured values (nearest rank), never interpolated. `more` is added as it is."""
    ordered = sorted(samples_ms)
    return {
        "name": name,
        "n": len(ordered),
        "p50_ms": round(percentile(ordered, 50), 3),
        "p99_ms": round(percentile(ordered, 99), 3),
        "max_ms": round(ordered[-1], 3),
        **more,
    }


def percentile(ordered: Sequence[float], percent: float) -> float:
    """The smallest value that at least `percent` of all do not exceed."""
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """With ``--json``, which every benchmark has."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--json", action="store_true", help="print one object instead of a table")
    return made


def show(bench: str, cases: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bench": bench, "machine": machine(), "cases": list(cases)}))
        return
    width = max(len(c["name"]) for c in cases)
    print(f"{bench} on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    print(f"{'':{width}}  {'n':>5} {'p50 ms':>10} {'p99 ms':>10} {'max ms':>10}")
    for c in cases:
        print(
            f"{c['name']:{width}}  {c['n']:>5} {c['p50_ms']:>10.3f} {c['p99_ms']:>10.3f} {c['max_ms']:>10.3f}"
        )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )
