"""What this process remembers of a server's history, so that it notices when an older one is put in its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incumbent.engines.history import History, Position
from incumbent.engines.postgres.pool import Head
from incumbent.errors import IncarnationChanged

GROUPS_MAX: Final = 4096
"""More are forgotten, oldest first."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a server has to be and to have: less, and what is asked is not done there. See `functions`."""

    uuid: str  # "" = whichever
    position: Position

    @property
    def values(self) -> tuple[str, int, int, int]:
        timeline, flushed = self.position.rest or (0, 0)
        return self.uuid, self.position.incarnation, timeline, flushed


class Memory:
    """Of the server: its timeline and how much of its log is on disk. Of each group: how much happened in it."""

    def __init__(self) -> None:
        self._history = History()
        self._changes: dict[str, int] = {}

    @property
    def position(self) -> Position:
        return self._history.position

    @property
    def need(self) -> Need:
        """What `check` would ask for now."""
        if self._history.refused:
            return Need("", Position(self.position.incarnation + 1, ()))
        return Need(self._history.identity, self.position)

    def check(self, floor: Position, head: Head) -> None:
        """Raises IncarnationChanged, from when the server went back until the incarnation is raised."""
        self._history.check(floor, head.uuid, position_of(head))

    def look(self, floor: Position, head: Head) -> None:
        self._history.look(floor, head.uuid, position_of(head))

    def learn(self, head: Head) -> None:
        self._history.learn(head.uuid, position_of(head))

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


def position_of(head: Head) -> Position:
    return Position(head.incarnation, (head.timeline, head.flushed))
