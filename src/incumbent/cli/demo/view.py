"""What the demo shows: one line per failover, and on a terminal below them a table of the present, drawn anew when it changes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol, TextIO

if TYPE_CHECKING:
    from incumbent.cli.demo.faults import Failover, Scoreboard
    from incumbent.cli.demo.nodes import Nodes

TITLES: Final = {
    "holder_killed": "SIGKILL of the leader",
    "raft_leader_killed": "SIGKILL of the Raft leader",
    "holder_stopped": "SIGSTOP of the leader past its TTL, late write refused",
    "raft_leader_stopped": "SIGSTOP of the Raft leader",
    "resigned": "the leader resigned",
}
_CLEAR_BELOW: Final = "\x1b[J"


class View(Protocol):
    def started(self, board: Scoreboard) -> None: ...
    def update(self, board: Scoreboard, nodes: Nodes) -> None: ...
    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None: ...
    def ended(self) -> None: ...


class Silent:
    """For --json and benchmarks: nothing but the report."""

    def started(self, board: Scoreboard) -> None:
        pass

    def update(self, board: Scoreboard, nodes: Nodes) -> None:
        pass

    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None:
        pass

    def ended(self) -> None:
        pass


class Lines:
    """For people."""

    def __init__(self, out: TextIO = sys.stdout) -> None:
        self._out = out
        self._live = out.isatty()
        self._table: list[str] = []  # as it stands on the terminal, right above the cursor

    def started(self, board: Scoreboard) -> None:
        self._print("three processes, each a voter and a candidate for the election 'scheduler',")
        self._print("and a resource that checks tokens")
        self._print(f"  {'':7}  {'':68}  {board.leader} leads with token {board.token}")

    def update(self, board: Scoreboard, nodes: Nodes) -> None:
        if not self._live:
            return
        table = ["", *(f"  {name}  {_state(name, board, nodes)}" for name in nodes.workers)]
        if table != self._table:
            self._draw(table)

    def failed_over(self, number: int, failover: Failover, board: Scoreboard) -> None:
        where = f"{failover.node}, which led both" if failover.both_roles else failover.node
        what = f"{TITLES[failover.kind]} ({where})"
        now = f"{board.leader} leads with token {board.token}"
        self._print(f"  round {number:<2} {what:<73}{failover.ms:>8.1f} ms  {now}")

    def ended(self) -> None:
        self._draw([])

    def _print(self, line: str) -> None:
        table = self._table
        self._draw([])
        self._out.write(f"{line}\n")
        self._draw(table)

    def _draw(self, table: list[str]) -> None:
        """Put this table where the one before stood."""
        up = f"\x1b[{len(self._table)}F{_CLEAR_BELOW}" if self._table else ""
        self._out.write(up + "".join(f"{line}\n" for line in table))
        self._out.flush()
        self._table = table


def _state(name: str, board: Scoreboard, nodes: Nodes) -> str:
    worker = nodes.workers[name]
    if not worker.alive:
        return "dead"
    assert worker.process is not None
    if worker.stopped:
        doing = "stopped"
    elif name == board.leader:
        doing = f"LEADS with token {board.token}"
    else:
        doing = "stands for election"
    return f"process {worker.process.pid:<8} {doing}"
