"""An election as it stands: its queue, what operators said, its history. Read in one place, and changed in one way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final

from incumbent.engines.api import Cell, CellWrite, Engine, Member, Roster
from incumbent.errors import OutcomeUnknown, Overloaded, VersionConflict
from incumbent.leadership import control as controls
from incumbent.leadership import history as histories
from incumbent.leadership.control import CONTROL_CELL, Control
from incumbent.leadership.history import HISTORY_CELL, Record
from incumbent.leadership.preference import Queued, queue_of
from incumbent.leadership.world import Backoff

CHANGES_MAX: Final = 8
"""So often a cell is written anew when others change it at the same time."""


@dataclass(frozen=True, slots=True)
class Scene:
    roster: Roster
    control: Control
    records: tuple[Record, ...] = ()
    queue: tuple[Queued, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "queue", queue_of(self.roster))

    def find(self, member: Member) -> Queued | None:
        """None: that very member is not there any more."""
        return next((q for q in self.queue if (q.id, q.order) == (member.id, member.revision)), None)

    def is_near(self, id: str, within: int) -> bool:  # noqa: A002  - a member's id
        """Whether that member is one of the first `within`."""
        return any(q.id == id for q in self.queue[:within])

    def has(self, one: Queued) -> bool:
        """Whether that very member is still there, whatever it says of itself by now."""
        return any((q.id, q.order) == (one.id, one.order) for q in self.queue)


async def look(engine: Engine, election: str, *, history: bool = False) -> Scene:
    """Each part is at least as new as every change that was acknowledged before the call; they are read side by side, so one may
    be newer than another."""
    if not history:
        roster, control = await asyncio.gather(
            engine.roster(election), engine.read_cell(election, CONTROL_CELL)
        )
        return Scene(roster, controls.read(control))
    roster, control, records = await asyncio.gather(
        engine.roster(election),
        engine.read_cell(election, CONTROL_CELL),
        engine.read_cell(election, HISTORY_CELL),
    )
    return Scene(roster, controls.read(control), histories.read(records))


async def change_control(
    engine: Engine, election: str, rng: Random, alter: Callable[[Control], Control]
) -> Control:
    """Have operators' word altered. `alter` may be called several times. Raises Overloaded when others never stop changing it."""

    def altered(cell: Cell) -> bytes | None:
        before = controls.read(cell)
        after = alter(before)
        return None if after == before else controls.encode(after)

    return controls.read(await _change(engine, election, CONTROL_CELL, rng, altered))


async def change_history(
    engine: Engine,
    election: str,
    rng: Random,
    alter: Callable[[tuple[Record, ...]], tuple[Record, ...]],
) -> None:
    """Have the history altered. Raises as `change_control`."""

    def altered(cell: Cell) -> bytes | None:
        before = histories.read(cell)
        after = alter(before)
        return None if after == before else histories.encode(after)

    await _change(engine, election, HISTORY_CELL, rng, altered)


async def _change(
    engine: Engine,
    election: str,
    name: str,
    rng: Random,
    altered: Callable[[Cell], bytes | None],
) -> Cell:
    """The cell afterwards. A change that may have been done, or not, is looked for: done already, it alters nothing any more."""
    backoff = Backoff(rng)
    for _ in range(CHANGES_MAX):
        cell = await engine.read_cell(election, name)
        value = altered(cell)
        if value is None:
            return cell
        try:
            (written,) = await engine.write_cells(election, [CellWrite(name, value, cell.version)], None)
        except (VersionConflict, OutcomeUnknown):
            await backoff.pause()
        else:
            return written
    raise Overloaded(f"{name} of {election!r} was changed by others {CHANGES_MAX} times in a row")
