"""What the local engine promises, as data."""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 1024 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,
    fenced=True,
    survives_partition=True,  # one host: there is nothing to partition
    survives_pause=True,
    survives_clock_step=True,
    survives_failover=False,  # one host: when it is gone, all is gone
    fifo=True,
    fifo_with_foreign=False,
    detects_process_death=True,
    server_clock="monotonic",
    renew_writes="one",
    token_source="the directory's revision at which the member joined",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
