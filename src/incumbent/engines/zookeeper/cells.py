"""Cells as nodes, and a step of several as one transaction. PURE.

A cell's node is never deleted. It holds what kind it is, who wrote it last, and the value: a small one itself, a large one in a
node of its own below, since a transaction is at most a megabyte and sixteen cells of 256 KiB are four. Nodes of values are
written before the transaction and named by it, so that a reader sees all of a step or nothing.

A cell's version is the zxid that last wrote its node: it rises over everything, also where somebody deletes the node by hand.
Every write compares the node's own counter, as it was read together with that zxid.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from incumbent.engines.api import Cell, CellWrite
from incumbent.errors import InvariantViolated

INLINE_BYTES_MAX: Final = 32 * 1024
"""Sixteen of these fit one transaction."""
WRITER_BYTES: Final = 16
_ABSENT: Final = b"\0"
_INLINE: Final = b"\1"
_APART: Final = b"\2"


class Trace(Enum):
    """What the cells tell of a transaction whose answer was lost, read once it can no longer arrive."""

    DONE = auto()
    NOT_DONE = auto()
    LOST = auto()  # overwritten more than once since: nobody can tell


@dataclass(frozen=True, slots=True)
class Stored:
    """A cell's node as it was read. `counter` is None when there is no node."""

    counter: int | None = None
    version: int = 0
    writer: bytes = b""
    value: bytes | None = None
    apart: bool = False  # the value lies in a node of its own

    @classmethod
    def of(cls, data: bytes, counter: int, zxid: int) -> Stored:
        if not data:
            return cls(counter)  # made to be written, and not written yet
        kind, writer, value = data[:1], data[1 : 1 + WRITER_BYTES], data[1 + WRITER_BYTES :]
        if kind not in (_ABSENT, _INLINE, _APART) or len(writer) != WRITER_BYTES:
            raise InvariantViolated(f"a cell's {len(data)} bytes are not what encode writes")
        return cls(counter, zxid, writer, value if kind == _INLINE else None, kind == _APART)

    @property
    def apart_name(self) -> str:
        return self.writer.hex()

    def fits(self, write: CellWrite) -> bool:
        return write.expected_version is None or write.expected_version == self.version


def lies_apart(value: bytes | None) -> bool:
    return value is not None and len(value) > INLINE_BYTES_MAX


def encode(value: bytes | None, writer: bytes) -> bytes:
    if value is None:
        return _ABSENT + writer
    return _APART + writer if lies_apart(value) else _INLINE + writer + value


def trace(writer: bytes, before: list[Stored], now: list[Stored]) -> Trace:
    """What became of the transaction that `writer` sent over `before`. All or nothing, so one cell is enough."""
    if any(stored.writer == writer for stored in now):
        return Trace.DONE
    written = [
        (new.counter or 0) - (old.counter or 0)
        for old, new in zip(before, now, strict=True)
        if new.counter is not None
    ]
    if any(count <= 1 for count in written):
        return Trace.NOT_DONE  # not written since, or once, and by another
    return Trace.LOST


def written(write: CellWrite, version: int) -> Cell:
    return Cell(write.value, version)
