"""What an etcd promises, as data."""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 256 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,
    fenced=True,  # over crashes, restarts and failover; after a restore from a backup an operator raises the incarnation
    survives_partition=True,  # only a majority elects
    survives_pause=True,
    survives_clock_step=True,  # leases run on Go's monotonic clock
    survives_failover=True,  # acknowledged = on the disks of a majority
    fifo=True,
    fifo_with_foreign=True,  # the order of etcd's own recipe
    detects_process_death=False,  # that takes the guardian
    server_clock="monotonic",
    renew_writes="one",
    token_source="the key's create revision, under the incarnation",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
