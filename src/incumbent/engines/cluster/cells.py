"""Cells as transactions of the machine, and what their answers mean. PURE.

A step writes all of its cells or none, under the versions it expects and, when it is guarded, under its member being the
first: everything in one transaction. When its answer is lost, the cells themselves tell: each carries the name of the step
that wrote it last, and versions only rise. Where the keys lie is somebody else's affair (`Keys`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from incumbent.engines.api import Cell, CellWrite, Claimed, Member
from incumbent.engines.cluster.layout import decode_cell, encode_cell
from incumbent.errors import NotFirst, VersionConflict
from incumbent.kv.api import Compare, Condition, Is, OperationResult, Put, Range, Result, Txn


class Trace(Enum):
    """What the cells tell of a step whose answer was lost."""

    DONE = auto()
    NOT_DONE = auto()  # as yet; it may still arrive. Sending it again cannot do it twice, and then decides
    REFUSED = auto()  # not done, and it never will be: its version has passed
    LOST = auto()  # overwritten since, or written under no version: nobody can tell


class Keys(Protocol):
    """Where cells lie in a store, and what proves there that a member is first."""

    def cell_key(self, group: str, name: str) -> bytes: ...

    def is_first(self, member: Member) -> tuple[Condition, ...]: ...

    def look(self, group: str) -> tuple[Range, Range]:
        """What `was_first` is computed from: the members, the incarnation."""
        ...

    def was_first(self, member: Member, found: OperationResult, incarnation: OperationResult) -> bool: ...


@dataclass(frozen=True, slots=True)
class CellStep:
    keys: Keys
    group: str
    writes: Sequence[CellWrite]
    claimed: Claimed | None
    writer: bytes  # random, this step's own

    def transaction(self) -> Txn:
        """Answers with what tells NotFirst from VersionConflict when it is refused."""
        return Txn(
            conditions=(
                *(self.keys.is_first(self.claimed.member) if self.claimed is not None else ()),
                *(
                    Condition(self._key(w), Compare.VERSION, Is.EQUAL, w.expected_version)
                    for w in self.writes
                    if w.expected_version is not None
                ),
            ),
            then=(
                *(Put(self._key(w), encode_cell(w.value, self.writer)) for w in self.writes),
                # Only who wrote whatever was there has to be told the version.
                *(Range(self._key(w)) for w in self.writes if w.expected_version is None),
            ),
            orelse=self.keys.look(self.group) if self.claimed is not None else (),
        )

    def written(self, result: Result) -> tuple[Cell, ...]:
        """The cells as they are now. Raises NotFirst, VersionConflict."""
        if not result.succeeded:
            if self.claimed is not None and not self.keys.was_first(self.claimed.member, *result.results):
                raise NotFirst(f"member {self.claimed.member.id} is not the first of its group")
            raise self.conflict()
        blind = iter(result.results[len(self.writes) :])
        return tuple(
            Cell(
                w.value, next(blind).kvs[0].version if w.expected_version is None else w.expected_version + 1
            )
            for w in self.writes
        )

    def cells(self) -> Txn:
        """What `trace` reads."""
        return Txn(then=tuple(Range(self._key(w)) for w in self.writes))

    def trace(self, result: Result) -> tuple[Trace, tuple[Cell, ...]]:
        """What became of the step, and its cells when it is DONE and all their versions are known."""
        now = [_Stored.of(found) for found in result.results]
        pairs = list(zip(self.writes, now, strict=True))
        if any(stored.writer == self.writer for stored in now):
            # One of them is enough: all or nothing. An expected version tells the new one, also when overwritten.
            if any(w.expected_version is None and stored.writer != self.writer for w, stored in pairs):
                return Trace.LOST, ()
            versions = (s.version if w.expected_version is None else w.expected_version + 1 for w, s in pairs)
            return Trace.DONE, tuple(Cell(w.value, v) for w, v in zip(self.writes, versions, strict=True))
        expected = [(w.expected_version, s.version) for w, s in pairs if w.expected_version is not None]
        if any(version <= old for old, version in expected):
            return Trace.NOT_DONE, ()
        if any(version == old + 1 for old, version in expected):
            return Trace.REFUSED, ()  # exactly one write has touched that cell since, and it was not ours
        return Trace.LOST, ()

    def conflict(self) -> VersionConflict:
        named = ", ".join(repr(w.name[:40]) for w in self.writes if w.expected_version is not None)
        return VersionConflict(f"not all of the cells {named} have the version that was expected")

    def _key(self, write: CellWrite) -> bytes:
        return self.keys.cell_key(self.group, write.name)


@dataclass(frozen=True, slots=True)
class _Stored:
    value: bytes | None
    version: int
    writer: bytes

    @classmethod
    def of(cls, found: OperationResult) -> _Stored:
        if not found.kvs:
            return cls(None, 0, b"")
        kv = found.kvs[0]
        value, writer = decode_cell(kv.value)
        return cls(value, kv.version, writer)


def as_cell(found: OperationResult) -> Cell:
    stored = _Stored.of(found)
    return Cell(stored.value, stored.version)
