"""What the PostgreSQL engine promises, as data. What a failover costs depends on the standbys, so the URL says which there are."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from incumbent.engines.api import Guarantees
from incumbent.engines.postgres.settings import Standby

CELL_BYTES_MAX: Final = 1024 * 1024

GUARANTEES: Final = Guarantees(
    linearizable=True,
    fenced=True,  # a promoted standby has a higher timeline, whatever else it lacks
    survives_partition=True,  # one server: whoever does not reach it does not lead
    survives_pause=True,
    survives_clock_step=True,
    survives_failover=False,
    fifo=True,
    fifo_with_foreign=False,
    detects_process_death=False,
    server_clock="observer",
    renew_writes="one",
    token_source="the server's timeline, then the group's counter at which the member joined",  # noqa: S106
    cell_bytes_max=CELL_BYTES_MAX,
)
"""Of a server without standbys."""


def guarantees(standby: Standby) -> Guarantees:
    match standby:
        case "none":
            return GUARANTEES
        case (
            "asynchronous"
        ):  # promoted, it lacks what was acknowledged; the old primary may serve on beside it
            return replace(GUARANTEES, linearizable=False, survives_partition=False)
        case "synchronous":
            return replace(GUARANTEES, survives_failover=True)
