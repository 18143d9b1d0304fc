"""Cells on an election's Lease: a table in an annotation, and large values in Leases of their own. PURE.

An object has room for 256 KiB of annotations, and a cell may have as much, base64 and several of them in one step not counted.
So the table, which is small, says for each cell its version and either the value itself or where its pieces are. Pieces are
made first, under names that nobody else uses, and never changed. One update of the election's Lease, which compares its
version, puts them all in force: that is the atomic step, and since the holder stands in the same Lease, the guard is in it.

A version is the resourceVersion that the update replaced: unique, known before the write, and it rises also over the deletion
of a cell or of the whole Lease.

When may a piece be deleted? A writer reads the Lease first and makes its pieces after that, for this attempt only. So whoever
has seen a piece, and then changes the Lease, knows that the piece's attempt is decided: the table names it, or it never will.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from incumbent.engines.api import Cell, CellWrite
from incumbent.engines.kubernetes.leases import (
    BLOB,
    CELLS,
    IN,
    KIND,
    VALUE,
    Lease,
    changed,
    hashed,
    new_lease,
    notes,
    version_of,
)
from incumbent.errors import Overloaded, VersionConflict

INLINE_BYTES_MAX: Final = 1024
"""A value of at most this size stands in the table itself, while that is small."""
TABLE_INLINE_BYTES_MAX: Final = 96 * 1024
TABLE_BYTES_MAX: Final = 192 * 1024
"""Room for some 1,500 cells in one group; the rest of the annotations is for the holder's and for others'."""
PIECE_BYTES_MAX: Final = 180 * 1024
"""Base64 makes 240 KiB of it."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One cell as the table tells of it."""

    version: int
    tag: str  # of the step that wrote it
    inline: bytes | None = None
    pieces: tuple[str, ...] = ()

    @property
    def is_absent(self) -> bool:
        return self.inline is None and not self.pieces


ABSENT: Final = Slot(0, "")
Table = dict[str, Slot]


def key_of(name: str) -> str:
    """In place of the name, which may have 1 KiB: no two names share it."""
    return base64.urlsafe_b64encode(hashlib.sha256(name.encode()).digest()).decode().rstrip("=")


def read_table(election: Lease | None) -> Table:
    text = None if election is None else notes(election).get(CELLS)
    if text is None:
        return {}
    return {key: _slot(entry) for key, entry in json.loads(text).items()}


def with_table(election: Lease, table: Mapping[str, Slot]) -> Lease:
    """Raises Overloaded when the group has too many cells."""
    text = _encode(table)
    if len(text) > TABLE_BYTES_MAX:
        raise Overloaded(f"the group's table of cells is full: {len(text)} of {TABLE_BYTES_MAX} bytes")
    return changed(election, annotations={CELLS: text})


def cell_of(slot: Slot, pieces: Sequence[Lease]) -> Cell:
    if slot.pieces:
        value = b"".join(base64.b64decode(notes(piece)[VALUE]) for piece in pieces)
        return Cell(value, slot.version)
    return Cell(slot.inline, slot.version)


@dataclass(frozen=True, slots=True)
class Prepared:
    """One attempt at a step, based on one version of the election's Lease."""

    election: Lease
    pieces: tuple[Lease, ...]
    cells: tuple[Cell, ...]
    replaced: tuple[str, ...]  # names of pieces that nothing names afterwards


def prepare(election: Lease, group: str, writes: Sequence[CellWrite], tag: str, attempt: str) -> Prepared:
    """Raises VersionConflict, Overloaded."""
    table = read_table(election)
    version = version_of(election)
    pieces: list[Lease] = []
    replaced: list[str] = []
    roomy = len(_encode(table)) <= TABLE_INLINE_BYTES_MAX
    for write in writes:
        key = key_of(write.name)
        slot = table.get(key, ABSENT)
        if write.expected_version not in (None, slot.version):
            raise VersionConflict(
                f"{write.name[:80]!r} has version {slot.version}, and {write.expected_version} was expected"
            )
        replaced += slot.pieces
        if write.value is None or (roomy and len(write.value) <= INLINE_BYTES_MAX):
            table[key] = Slot(version, tag, inline=write.value)
            continue
        made = list(_pieces(group, write.value, attempt, len(pieces)))
        pieces += made
        table[key] = Slot(version, tag, pieces=tuple(str(piece["metadata"]["name"]) for piece in made))
    return Prepared(
        with_table(election, table),
        tuple(pieces),
        tuple(Cell(write.value, version) for write in writes),
        tuple(replaced),
    )


def settled(
    table: Table, writes: Sequence[CellWrite], tag: str, based_on: int
) -> tuple[Cell, ...] | Literal[False] | None:
    """What became of a step whose answer was lost, when its earliest attempt was based on that version: its cells when the table
    shows it; False when it was not done; None when all its cells were written over since, so that nobody can tell."""
    slots = [table.get(key_of(write.name), ABSENT) for write in writes]
    if any(slot.tag == tag for slot in slots):
        version = next(slot.version for slot in slots if slot.tag == tag)
        return tuple(Cell(write.value, version) for write in writes)
    # One update of each version succeeds: a cell that was last written before, or from that very version, was not by us since.
    return False if any(slot.version <= based_on for slot in slots) else None


def _pieces(group: str, value: bytes, attempt: str, first: int) -> Iterator[Lease]:
    for number, start in enumerate(range(0, max(1, len(value)), PIECE_BYTES_MAX), first):
        part = base64.b64encode(value[start : start + PIECE_BYTES_MAX]).decode()
        yield new_lease(f"{BLOB}{attempt}-{number}", {IN: hashed(group), KIND: "blob"}, {VALUE: part}, {})


def _encode(table: Mapping[str, Slot]) -> str:
    return json.dumps({key: _entry(slot) for key, slot in table.items()}, separators=(",", ":"))


def _entry(slot: Slot) -> list[object]:
    if slot.pieces:
        return [slot.version, slot.tag, list(slot.pieces)]
    return [slot.version, slot.tag, None if slot.inline is None else base64.b64encode(slot.inline).decode()]


def _slot(entry: Any) -> Slot:
    version, tag, kept = entry
    if isinstance(kept, list):
        return Slot(version, tag, pieces=tuple(kept))
    return Slot(version, tag, inline=None if kept is None else base64.b64decode(kept))
