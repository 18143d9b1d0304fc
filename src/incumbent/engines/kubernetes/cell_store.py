"""Reading and writing cells: the requests that `cells` calls for, and what became of a step whose answer was lost."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from incumbent.engines.api import Cell, CellWrite, Claimed
from incumbent.engines.kubernetes import cells
from incumbent.engines.kubernetes.client import Conflict, Leases, NotThere
from incumbent.engines.kubernetes.leases import (
    IN,
    KIND,
    Lease,
    election_name,
    hashed,
    holder_of,
    identity,
    name_of,
    new_election,
    token_of,
    version_of,
)
from incumbent.errors import IncumbentError, NotFirst, OutcomeUnknown

SWEEP_EVERY: Final = 64
"""So many steps with large values between two looks for pieces that a dead writer left."""
SWEEP_PAGE: Final = 16


class Undecidable(OutcomeUnknown):
    """Nobody can tell any more what became of the step: asking again does not help."""


@dataclass
class Step:
    """One call of `write_cells`, over all its attempts."""

    group: str
    writes: Sequence[CellWrite]
    tag: str
    claimed: Claimed | None
    based_on: int | None = None  # the version that its first unanswered attempt was based on
    garbage: list[str] = field(default_factory=list)  # pieces that nothing names after it
    orphans: list[Lease] = field(default_factory=list)  # pieces seen before it


class CellStore:
    """Of one engine."""

    def __init__(self) -> None:
        self._large_steps = 0

    async def read(self, leases: Leases, group: str, name: str) -> Cell:
        return await self.beside(leases, await leases.find(election_name(group)), name)

    async def beside(self, leases: Leases, election: Lease | None, name: str) -> Cell:
        """As that election's table tells of it."""
        slot = cells.read_table(election).get(cells.key_of(name), cells.ABSENT)
        # A piece that is gone was replaced meanwhile: NotThere has the whole read done again.
        return cells.cell_of(slot, await asyncio.gather(*(leases.get(piece) for piece in slot.pieces)))

    async def write(self, leases: Leases, step: Step) -> tuple[Cell, ...]:
        """One attempt. Raises NotFirst, VersionConflict, Overloaded, Conflict, OutcomeUnknown."""
        await self._look_for_orphans(leases, step)
        election = await leases.find(election_name(step.group))
        if election is None:
            election = await leases.create(new_election(step.group))
        if step.based_on is not None:
            became = cells.settled(cells.read_table(election), step.writes, step.tag, step.based_on)
            if became is None:
                raise Undecidable("the answer was lost, and the cells were written over since")
            if became:
                return became
        _check_guard(election, step.claimed)
        prepared = cells.prepare(election, step.group, step.writes, step.tag, _attempt())
        try:
            await asyncio.gather(*(leases.create(piece) for piece in prepared.pieces))
            stored = await leases.update(prepared.election)
        except OutcomeUnknown:
            if step.based_on is None:
                step.based_on = version_of(election)
            raise
        except (Conflict, NotThere):
            step.garbage += [name_of(piece) for piece in prepared.pieces]
            raise Conflict from None
        step.garbage += prepared.replaced
        named = {piece for slot in cells.read_table(stored).values() for piece in slot.pieces}
        step.garbage += [name_of(piece) for piece in step.orphans if name_of(piece) not in named]
        return prepared.cells

    async def sweep(self, leases: Leases, step: Step) -> None:
        """Delete what no table can name any more. What is not deleted now is an orphan that a later step finds."""
        for name in step.garbage:
            try:
                lease = await leases.find(name)
                if lease is not None:
                    await leases.delete(lease)
            except IncumbentError:
                return

    async def _look_for_orphans(self, leases: Leases, step: Step) -> None:
        """Before the election is read: only so does this step's update prove that their attempts are decided."""
        step.orphans.clear()
        if not any(
            write.value is not None and len(write.value) > cells.INLINE_BYTES_MAX for write in step.writes
        ):
            return
        if self._large_steps % SWEEP_EVERY == 0:
            listed = await leases.list(f"{IN}={hashed(step.group)},{KIND}=blob", page=SWEEP_PAGE)
            step.orphans += listed.leases
        self._large_steps += 1


def _check_guard(election: Lease, claimed: Claimed | None) -> None:
    if claimed is None:
        return
    member = claimed.member
    if holder_of(election) != identity(member.id, member.revision) or token_of(election) != claimed.token:
        raise NotFirst(f"{member.id[:120]} does not, or no longer, hold the election with this token")


def _attempt() -> str:
    return base64.b32encode(secrets.token_bytes(15)).decode().lower()
