"""What happened, for people: kept only when a seed is run again because it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from incumbent.consensus.api import Envelope, Record, Standing
from incumbent.ids import NodeId, RequestId
from incumbent.node.api import Applied, Outcome
from incumbent.sim.kernel import START_NS, Kernel
from incumbent.sim.voter import Voter

LINES_MAX: Final = 20_000
"""So many of the last lines are kept."""


class Trace:
    def __init__(self, kernel: Kernel) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self._kernel = kernel

    def _add(self, me: NodeId, what: str) -> None:
        self.lines.append(f"{(self._kernel.now_ns - START_NS) / 1e6:12.3f} ms  {me:<4} {what}")

    def world(self, what: str) -> None:
        """What was done to the voters."""
        self._add(NodeId("*"), what)

    def started(self, voter: Voter) -> None:
        standing = voter.standing
        assert standing is not None
        self._add(
            voter.me, f"starts at term {standing.term}, commit {standing.commit}, last {standing.last_index}"
        )

    def crashed(self, voter: Voter) -> None:
        self._add(voter.me, "crashes")

    def sent(self, voter: Voter, envelope: Envelope) -> None:
        self._add(voter.me, f"→ {envelope.to} {envelope.message}")

    def durable(self, voter: Voter, record: Record) -> None:
        parts = []
        if record.hard_state is not None:
            parts.append("vote")
        if record.snapshot is not None:
            parts.append(f"snapshot {record.snapshot.index}")
        if record.truncate_from is not None:
            parts.append(f"cut from {record.truncate_from}")
        if record.entries:
            parts.append(f"put {record.entries[0].index}..{record.entries[-1].index}")
        self._add(voter.me, "durable: " + ", ".join(parts))

    def advanced(self, voter: Voter, before: Standing, applied: Applied) -> None:
        now = voter.standing
        if now is not None and now.applied > before.applied:
            self._add(voter.me, f"applied {before.applied + 1}..{now.applied}")
        for note in applied.notes:
            facts = " ".join(f"{name}={value}" for name, value in note.facts.items())
            self._add(voter.me, f"{note.code} {facts}")

    def answered(self, voter: Voter, outcomes: Sequence[tuple[RequestId, Outcome]]) -> None:
        for request, outcome in outcomes:
            self._add(voter.me, f"answers {request}: {outcome}")
