"""What the own cluster promises, as data."""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 256 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,
    fenced=True,
    survives_partition=True,  # only a majority elects
    survives_pause=True,
    survives_clock_step=True,  # BOOTTIME, never wall time
    survives_failover=True,  # acknowledged = on the disks of a majority
    fifo=True,
    fifo_with_foreign=False,  # there are no foreign candidates
    detects_process_death=False,  # a closed connection is no proof: that takes the guardian
    server_clock="monotonic",
    renew_writes="one",
    token_source="the cluster's revision at which the member joined",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
