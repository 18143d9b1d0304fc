"""The course of the demo: start, a number of rounds of all four faults, the judge's verdict."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from incumbent.check import history
from incumbent.check.leadership import Judgement, Verdict, judge
from incumbent.cli.demo.faults import SHOWN, Failover, Scoreboard, inject
from incumbent.cli.demo.nodes import Message, Nodes
from incumbent.cli.demo.resource import ELECTION
from incumbent.cli.demo.view import View

TTL_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What a demo showed."""

    seed: int
    failovers: tuple[Failover, ...]
    judgement: Judgement
    kept: Path | None

    @property
    def tokens(self) -> tuple[int, ...]:
        return tuple(self.judgement.tokens.get(ELECTION, ()))

    @property
    def clean(self) -> bool:
        """The judge found nothing, and a late write was there to be refused."""
        rising = all(a < b for a, b in zip(self.tokens, self.tokens[1:], strict=False))
        return self.judgement.verdict is Verdict.OK and self.judgement.refused > 0 and rising

    def as_json(self) -> dict[str, object]:
        return {
            "failovers": [
                {"kind": f.kind.value, "ms": f.ms, "node": f.node, "both_roles": f.both_roles, "token": f.token}
                for f in self.failovers
            ],
            "tokens": list(self.tokens),
            "overlaps": self.judgement.overlaps,
            "accepted_writes": self.judgement.accepted,
            "refused_writes": self.judgement.refused,
            "findings": [f"{finding.fault}: {finding.explanation}" for finding in self.judgement.findings],
            "gaps": list(self.judgement.gaps),
            "verdict": self.judgement.verdict.value,
            "clean": self.clean,
            "seed": self.seed,
            "kept": None if self.kept is None else str(self.kept),
        }  # fmt: skip


@asynccontextmanager
async def running(directory: Path, view: View) -> AsyncIterator[tuple[Nodes, Scoreboard]]:
    """Three workers and a resource, with a leader that writes."""
    board = Scoreboard()

    def on_line(name: str, message: Message) -> None:
        board.on_line(name, message)
        view.update(board, nodes)

    nodes = Nodes(directory, ttl=TTL_S, on_line=on_line)
    try:
        await nodes.start()
        await board.above(0, nodes)
        yield nodes, board
    finally:
        view.ended()
        await nodes.end()


async def run_demo(*, rounds: int, seed: int, keep: Path | None, view: View) -> Report:
    """Run it. Raises DemoFailed when something does not happen in time."""
    directory = Path(tempfile.mkdtemp(prefix="incumbent-demo-")) if keep is None else keep
    order = Random(seed)
    failovers: list[Failover] = []
    try:
        async with running(directory, view) as (nodes, board):
            view.started(board)
            for number in range(1, rounds + 1):
                kinds = list(SHOWN)
                order.shuffle(kinds)
                for kind in kinds:
                    failover = await inject(kind, nodes, board)
                    failovers.append(failover)
                    view.failed_over(number, failover, board)
        judgement = judge(history.parse(nodes.history()))
        return Report(seed, tuple(failovers), judgement, keep)
    finally:
        if keep is None:
            shutil.rmtree(directory, ignore_errors=True)
