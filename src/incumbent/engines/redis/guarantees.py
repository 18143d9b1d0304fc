"""What the Redis engine promises, as data, and why that is so little.

One Redis with every write on disk would order everything. But replication is asynchronous, so a failover forgets what was acknowledged and
the old primary may serve on; sessions end by the server's wall clock; and by default a restart forgets, too. Then two may believe
that they lead. What remains are tokens: max(last + 1, the server's wall clock in µs), which rise over all of that as far as the
clocks of the servers agree. So the engine is for work that a sink fences, and whoever requires `fenced` has to say in the
URL that this is understood: accept=advisory.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incumbent.engines.api import Guarantees

CELL_BYTES_MAX: Final = 1024 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=False,  # a failover, or a restart without persistence, takes back what was acknowledged
    fenced=False,
    survives_partition=False,
    survives_pause=False,
    survives_clock_step=False,
    survives_failover=False,
    fifo=True,
    fifo_with_foreign=False,
    detects_process_death=False,
    server_clock="wall",
    renew_writes="one",
    token_source="the group's last token plus one, or the server's clock in µs where that is more",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)


def guarantees(*, advisory: bool) -> Guarantees:
    """`advisory`: tokens that rise as far as the servers' clocks agree are enough for the caller."""
    return replace(GUARANTEES, fenced=True, survives_pause=True) if advisory else GUARANTEES
