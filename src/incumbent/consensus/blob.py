"""A machine's state as the protocol sees it: bytes that need not be in memory. PURE."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from incumbent.errors import invariant
from incumbent.ids import Index, Term


class Kept(Protocol):
    """Immutable bytes that somebody keeps elsewhere, on a disk say."""

    @property
    def crc(self) -> int:
        """zlib.crc32 of all of them."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, where: slice, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Pieced:
    """What the pieces amount to that were handed out with Records, the last one with this. Who stored them has it: `advance`
    takes the snapshot with a state that can be read."""

    size: int
    crc: int

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, where: slice, /) -> bytes:
        invariant(False, "a snapshot that is not stored yet is read by nobody")
        return b""


Blob = bytes | Kept


class Piece(NamedTuple):
    """A part of somebody else's state, to be stored behind the part before it; one at offset 0 begins anew."""

    index: Index  # type: ignore[assignment]  # a field, not tuple.index()
    term: Term
    offset: int
    data: bytes


def crc_of(state: Blob) -> int:
    return zlib.crc32(state) if isinstance(state, bytes) else state.crc
