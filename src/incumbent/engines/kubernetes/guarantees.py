"""What Kubernetes as an engine promises, as data."""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 256 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,  # every decision is one update of one Lease that compares its version
    fenced=True,
    survives_partition=True,  # etcd behind the API server: only a majority writes
    survives_pause=True,
    survives_clock_step=True,  # durations are counted by observers on BOOTTIME
    survives_failover=True,
    fifo=True,  # among ours
    fifo_with_foreign=False,  # client-go's candidates race for the Lease
    detects_process_death=False,
    server_clock="observer",
    renew_writes="per election",
    token_source="the resourceVersion that the acquiring update replaced",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
