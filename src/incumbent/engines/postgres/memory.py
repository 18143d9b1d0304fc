"""What this process remembers of the engine's history, so that it notices when an older one is put in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incumbent.engines.postgres.pool import Head
from incumbent.errors import IncarnationChanged

GROUPS_MAX: Final = 4096
"""More are forgotten, oldest first."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Only rises, unless the server was restored, replaced, or an old primary answers."""

    incarnation: int
    timeline: int
    flushed: int


class Memory:
    """Until an operator raises the incarnation, what went back stays refused: it soon looks as if it had gone far enough."""

    def __init__(self) -> None:
        self._uuid = ""
        self._position = Position(0, 0, 0)
        self._refused = ""  # why
        self._changes: dict[str, int] = {}

    @property
    def position(self) -> Position:
        """Taken before a transaction is asked for: those that run side by side may be answered in any order."""
        return self._position

    def check(self, floor: Position, head: Head) -> None:
        """Raises IncarnationChanged when the server is behind `floor`, or another one, or was since the incarnation was raised."""
        self.look(floor, head)
        if self._refused and head.incarnation <= self._position.incarnation:
            raise IncarnationChanged(f"{self._refused}; raise the incarnation to lead on")

    def look(self, floor: Position, head: Head) -> None:
        """Notice a server that went back, whatever it was asked."""
        here = Position(head.incarnation, head.timeline, head.flushed)
        if here.incarnation > floor.incarnation:
            return
        if self._uuid not in ("", head.uuid):
            self._refused = "the engine's tables were made anew"
        elif here < floor:
            self._refused = (
                f"the server went back from timeline {floor.timeline}, byte {floor.flushed:x} to timeline {here.timeline}, "
                f"byte {here.flushed:x}: restored from a backup, or an old primary"
            )

    def learn(self, head: Head) -> None:
        here = Position(head.incarnation, head.timeline, head.flushed)
        if here.incarnation > self._position.incarnation:
            self._uuid, self._refused = head.uuid, ""
        if self._uuid in ("", head.uuid):
            self._uuid = head.uuid
            self._position = max(self._position, here)

    def changes(self, group: str) -> int:
        """How much has happened in that group, as far as is remembered."""
        return self._changes.get(group, 0)

    def check_group(self, group: str, floor: int, changes: int) -> None:
        """Raises IncarnationChanged, once, when less happened there than was remembered: a promoted standby lacks some of it."""
        if changes < floor:
            self._changes[group] = changes
            raise IncarnationChanged(f"{group}: the server lacks changes that were acknowledged")

    def learn_group(self, group: str, changes: int) -> None:
        if len(self._changes) >= GROUPS_MAX and group not in self._changes:
            del self._changes[next(iter(self._changes))]
        self._changes[group] = max(changes, self._changes.get(group, 0))
