"""What `incumbent doctor` learns of a local directory: its SQLite, its disk, and what this platform can prove."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from typing import Final

from incumbent.engines.api import TTL_MAX_S, TTL_MIN_S
from incumbent.engines.examination import Examination, Finding, Severity
from incumbent.engines.local import parse
from incumbent.engines.local.engine import LocalEngine
from incumbent.runtime.clock import BoottimeClock

FREE_BYTES_LOW: Final = 100 * 1024 * 1024


async def examine(url: str) -> Examination:
    """Opens the directory, and makes it when it is not there, as `connect` does. Raises what that raises."""
    directory, busy_timeout_s = parse(url)
    await (await LocalEngine.open(directory, busy_timeout_s=busy_timeout_s)).close()
    clock = BoottimeClock()
    findings: list[Finding] = []
    if not clock.counts_suspend:
        findings.append(
            Finding(
                Severity.WARNING,
                "clock-stands-in-suspend",
                "this platform's clock may stand still in suspend: after one only the fencing token protects",
            )
        )
    if not hasattr(os, "pidfd_open"):
        findings.append(
            Finding(
                Severity.WARNING,
                "no-proof-of-death",
                "no pidfd on this platform: a dead holder is waited for a TTL",
            )
        )
    free = (await asyncio.to_thread(shutil.disk_usage, directory)).free
    if free < FREE_BYTES_LOW:
        findings.append(
            Finding(
                Severity.WARNING,
                "disk-nearly-full",
                f"{free >> 20} MiB are free; a full disk ends every renewal",
            )
        )
    return Examination(
        server=f"SQLite {sqlite3.sqlite_version} in {directory}",
        ttl_min_s=TTL_MIN_S,
        ttl_max_s=TTL_MAX_S,
        clock=clock.describe().removeprefix("clock: "),
        findings=tuple(findings),
    )
