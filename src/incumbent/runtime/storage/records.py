"""How a record stands in a segment, as bytes. No I/O.

::

    magic, length, batch, place, size of batch, term, index, chain, crc | payload     padded to 8 bytes

All records of one `persist` are one *batch*: they become durable together, and the next batch is written only after this one
was acknowledged. `term` and `index` are those of the last entry that the record leaves behind. Every record carries two
checksums. `crc` covers the record alone, so that a good record is recognised wherever it stands; its segment's random salt is
in it, so that no value which a client stores can look like a record. `chain` covers the record and the chain before it, through
all segments, so that no record can be missing, doubled or from another log without notice. CRC-32 finds accidents; it is no
defence against somebody who can write the file.
"""

from __future__ import annotations

import struct
import zlib
from typing import Final, NamedTuple

import msgspec

from incumbent.consensus.api import Entry, Membership, Record
from incumbent.errors import invariant
from incumbent.ids import Index, Term

RECORD_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Far above what one record can hold: all the appends that may be on their way to a follower at one time."""
ALIGN: Final = 8
MAGIC: Final = b"iREC"
_HEADER: Final = struct.Struct("<4sIQIIQQII")  # magic, length, batch, place, size, term, index, chain, crc
_PLACE: Final = struct.Struct("<QIIQQ")


class SnapshotMeta(msgspec.Struct, frozen=True, array_like=True):
    """What the log says of a snapshot; its state is in a file of its own."""

    index: Index
    term: Term
    membership: Membership
    size: int
    crc: int


class Stored(msgspec.Struct, frozen=True, array_like=True):
    """The payload: a consensus.api.Record, and what the log tells itself."""

    hard_state: bytes | None = None
    truncate_from: Index | None = None
    entries: tuple[Entry, ...] = ()
    snapshot: SnapshotMeta | None = None
    oldest: int | None = None
    """The segments before this one are not needed any more."""
    seals: bool = False
    """The last record of its segment: the next segment is durable, and everything after is there."""


class Last(NamedTuple):
    """The last entry that is stored: 0, 0 for none."""

    term: int = 0
    index: int = 0  # type: ignore[assignment]  # a field, not tuple.index()


class Found(NamedTuple):
    """A record that verifies on its own."""

    batch: int
    place: int
    size: int
    last: Last
    chain: int
    payload: bytes
    end: int  # the offset behind it


_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(Stored)


def to_stored(record: Record, meta: SnapshotMeta | None, oldest: int | None) -> Stored:
    return Stored(record.hard_state, record.truncate_from, tuple(record.entries), meta, oldest)


class Encoded(NamedTuple):
    stored: Stored
    payload: bytes

    @property
    def size(self) -> int:
        """In a segment."""
        return _HEADER.size + len(self.payload) + ALIGN


def encode(stored: Stored) -> Encoded:
    payload = _encoder.encode(stored)
    invariant(len(payload) <= RECORD_BYTES_MAX, "a record is bounded", bytes=len(payload))
    return Encoded(stored, payload)


def decode(payload: bytes) -> Stored:
    """Raises msgspec.MsgspecError."""
    return _decoder.decode(payload)


def last_after(stored: Stored, before: Last) -> Last:
    """The last entry after a record, as far as it says: the term of one that a truncation leaves is not known, so 0."""
    last = before
    if stored.snapshot is not None and stored.snapshot.index > last.index:
        last = Last(stored.snapshot.term, stored.snapshot.index)
    if stored.truncate_from is not None and stored.truncate_from <= last.index:
        last = Last(0, stored.truncate_from - 1)
    if stored.entries and stored.entries[-1].index >= last.index:
        last = Last(stored.entries[-1].term, stored.entries[-1].index)
    return last


def frame(
    payload: bytes, batch: int, place: int, size: int, last: Last, chain: int, salt: bytes
) -> tuple[bytes, int]:
    """A record as it stands in a segment, and the chain after it."""
    chain = chained(chain, batch, place, size, last, payload)
    header = _HEADER.pack(MAGIC, len(payload), batch, place, size, *last, chain, 0)[:-4]
    whole = header + _crc(salt, header, payload).to_bytes(4, "little") + payload
    return whole + bytes(-len(whole) % ALIGN), chain


def chained(before: int, batch: int, place: int, size: int, last: Last, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_PLACE.pack(batch, place, size, *last), before))


def find(data: bytes, offset: int, salt: bytes) -> Found | None:
    """The record that verifies on its own at `offset`, if there is one."""
    if data[offset : offset + len(MAGIC)] != MAGIC or offset + _HEADER.size > len(data):
        return None
    _, length, batch, place, size, term, index, chain, crc = _HEADER.unpack_from(data, offset)
    start = offset + _HEADER.size
    if length > RECORD_BYTES_MAX or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _crc(salt, data[offset : start - 4], payload) != crc:
        return None
    end = start + length
    return Found(batch, place, size, Last(term, index), chain, payload, end + -end % ALIGN)


def _crc(salt: bytes, header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header, zlib.crc32(salt)))
