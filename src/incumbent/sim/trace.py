"""What happened, for people, and its fingerprint: the same seed gives the same one."""

from __future__ import annotations

import hashlib
from collections import deque
from typing import Final

from incumbent.ids import NodeId
from incumbent.sim.kernel import START_NS, Kernel
from incumbent.sim.observe import Advanced, Applied, Crashed, Durable, Observer, Started

LINES_MAX: Final = 2_000
"""So many of the last lines are kept."""


class Trace(Observer):
    def __init__(self, kernel: Kernel) -> None:
        self.lines: deque[str] = deque(maxlen=LINES_MAX)
        self.notes: dict[str, int] = {}  # how often each code was emitted
        self._kernel = kernel
        self._hash = hashlib.sha256()

    def _add(self, me: NodeId, what: str) -> None:
        line = f"{(self._kernel.now_ns - START_NS) / 1e6:12.3f} ms  {me:<6} {what}"
        self._hash.update(line.encode())
        self.lines.append(line)

    def world(self, what: str) -> None:
        """What was done to the voters."""
        self._add(NodeId("*"), what)

    def started(self, seen: Started) -> None:
        self._add(seen.me, f"starts at term {seen.status.term}, last {seen.status.last_index}")

    def crashed(self, seen: Crashed) -> None:
        self._add(seen.me, "crashes")

    def durable(self, seen: Durable) -> None:
        kind = "vote " if seen.record.hard_state is not None else ""
        cut = f"cut from {seen.record.truncate_from} " if seen.record.truncate_from is not None else ""
        put = (
            f"put {seen.record.entries[0].index}..{seen.record.entries[-1].index}"
            if seen.record.entries
            else ""
        )
        self._add(seen.me, f"durable: {kind}{cut}{put}")

    def applied(self, seen: Applied) -> None:
        self._add(seen.me, f"applies {seen.entry.index} of term {seen.entry.term}")

    def advanced(self, seen: Advanced) -> None:
        for note in seen.notes:
            self.notes[note.code] = self.notes.get(note.code, 0) + 1
            facts = " ".join(f"{name}={value}" for name, value in note.facts.items())
            self._add(seen.me, f"{note.code} {facts}")

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()[:16]
