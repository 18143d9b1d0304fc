"""What the demo shows: one line per event, and on a terminal also a line that is kept up to date."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from incumbent.cli.demo.faults import Failover, Scoreboard
    from incumbent.cli.demo.nodes import Nodes

TITLES = {
    "holder_killed": "SIGKILL of the leader",
    "raft_leader_killed": "SIGKILL of the Raft leader",
    "holder_stopped": "SIGSTOP of the leader past its TTL; one late write refused",
    "resigned": "the leader resigned",
}


class View(Protocol):
    def started(self, board: Scoreboard) -> None: ...
    def update(self, board: Scoreboard, nodes: Nodes) -> None: ...
    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None: ...


class Silent:
    """For --json: nothing but the report."""

    def started(self, board: Scoreboard) -> None:
        pass

    def update(self, board: Scoreboard, nodes: Nodes) -> None:
        pass

    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None:
        pass


class Lines:
    """For people; on a terminal the last line shows the present."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()

    def started(self, board: Scoreboard) -> None:
        self._print(
            "three processes, each a voter and a candidate for the election 'scheduler', and a resource that checks tokens"
        )
        self._print(f"  {board.leader} leads with token {board.token}")

    def update(self, board: Scoreboard, nodes: Nodes) -> None:
        if self._live:
            shown = "  ".join(
                f"{name}: {'LEADS' if name == board.leader else 'stands' if worker.alive else 'dead'}"
                for name, worker in nodes.workers.items()
            )
            self._out.write(f"\r\x1b[K  now  {shown}  token {board.token}")
            self._out.flush()

    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None:
        what = f"{TITLES[failover.kind]} ({failover.node}{', which led both' if failover.both_roles else ''})"
        self._print(
            f"  round {number}  {what:<75} {failover.ms:>9.1f} ms → {board.leader} leads with token {board.token}"
        )

    def _print(self, line: str) -> None:
        clear = "\r\x1b[K" if self._live else ""
        self._out.write(f"{clear}{line}\n")
        self._out.flush()
