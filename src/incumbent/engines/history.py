"""Notices that a server went back: restored from a backup, emptied, or replaced by one that knows less.

Only a process that remembers can see it; one that comes new cannot, and there the resource's fence protects.
"""

from __future__ import annotations

from dataclasses import dataclass

from incumbent.errors import IncarnationChanged


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a server is in its history: only rises, unless it went back."""

    incarnation: int
    rest: tuple[int, ...]


class History:
    """What went back stays refused until an operator raises the incarnation: it soon looks as if it had gone far enough."""

    def __init__(self) -> None:
        self._identity = ""
        self._position = Position(0, ())
        self._refused = ""  # why

    @property
    def position(self) -> Position:
        """Taken before a question is asked: those that run side by side may be answered in any order."""
        return self._position

    @property
    def identity(self) -> str:
        """Of the one that is remembered; "" = none yet."""
        return self._identity

    @property
    def refused(self) -> bool:
        """Until the incarnation is raised."""
        return bool(self._refused)

    def check(self, floor: Position, identity: str, here: Position) -> None:
        """Raises IncarnationChanged when the server is behind `floor` or another one, or was since the incarnation was raised."""
        self.look(floor, identity, here)
        if self._refused and here.incarnation <= self._position.incarnation:
            raise IncarnationChanged(f"{self._refused}; raise the incarnation to lead on")

    def look(self, floor: Position, identity: str, here: Position) -> None:
        """Notice a server that went back, whatever it was asked."""
        if here.incarnation > floor.incarnation:
            return
        if self._identity not in ("", identity):
            self._refused = "the engine's data was made anew"
        elif here < floor:
            self._refused = (
                f"the server went back from {floor} to {here}: restored, or replaced by one that knows less"
            )

    def learn(self, identity: str, here: Position) -> None:
        if here.incarnation > self._position.incarnation:
            self._identity, self._refused = identity, ""
        if self._identity in ("", identity):
            self._identity = identity
            self._position = max(self._position, here)
