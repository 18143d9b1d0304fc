"""What ZooKeeper promises, as data."""

from __future__ import annotations

from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 256 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,  # reads stand behind a write of their own that the quorum committed
    fenced=True,  # a zxid only rises; a restored ensemble takes `incumbent engine bump`
    survives_partition=True,  # only a majority elects
    survives_pause=True,
    survives_clock_step=True,  # its leader times sessions by a monotonic clock
    survives_failover=True,  # acknowledged = on the disks of a majority
    fifo=True,
    fifo_with_foreign=True,  # one sequence for all candidates
    detects_process_death=False,  # a closed connection is no proof: that takes the guardian
    server_clock="monotonic",
    renew_writes="one",
    token_source="the zxid that created the member's node",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
