"""The whole replicated state as bytes, block by block, so that it is never whole in memory: what snapshots hold. PURE.

A block is a length (4 bytes, little endian) and so many bytes of msgpack. The first is the head, then come the leases in the
order in which they were granted, then the values by key. Equal states give equal bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import FIRST_LEVEL, NO_LEASE, KeyValue, Result
from incumbent.kv.digest import Item as DigestItem
from incumbent.kv.digest import answer_content, hash_of, lease_content

FORMAT: Final = 1
BLOCK_BYTES: Final = 256 * 1024
"""A block ends with the item that makes it as long."""
_BLOCK_BYTES_MAX: Final = 1 << 30
_LENGTH: Final = struct.Struct("<I")
_ITEM_BYTES: Final = 48  # about what an item needs besides its key and value


class SavedLease(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    id: LeaseId
    ttl_ns: int
    left_ns: int
    settled: int
    answers: tuple[tuple[int, Result], ...]


class _Head(msgspec.Struct, frozen=True, array_like=True):
    format: int
    revision: Revision
    leases: int
    values: int
    level: int = FIRST_LEVEL


_encoder = msgspec.msgpack.Encoder()
_heads = msgspec.msgpack.Decoder(_Head)
_leases = msgspec.msgpack.Decoder(tuple[SavedLease, ...])
_values = msgspec.msgpack.Decoder(tuple[KeyValue, ...])

Item = TypeVar("Item", SavedLease, KeyValue)


@dataclass(frozen=True, slots=True)
class Frozen:
    """A machine at one moment. It shares what cannot change with the machine, and nothing else: it can be taken apart in
    another thread."""

    revision: Revision
    leases: Sequence[SavedLease]
    values: Sequence[KeyValue]
    level: int = FIRST_LEVEL

    def __iter__(self) -> Iterator[bytes]:
        yield _block(_Head(FORMAT, self.revision, len(self.leases), len(self.values), self.level))
        yield from _blocks(self.leases, lambda lease: _ITEM_BYTES * (1 + len(lease.answers)))
        yield from _blocks(self.values, lambda value: _ITEM_BYTES + len(value.key) + len(value.value))


def _blocks(items: Sequence[Item], size_of: Any) -> Iterator[bytes]:
    block: list[Item] = []
    size = 0
    for item in items:
        block.append(item)
        size += size_of(item)
        if size >= BLOCK_BYTES:
            yield _block(block)
            block, size = [], 0
    if block:
        yield _block(block)


def _block(content: object) -> bytes:
    encoded = _encoder.encode(content)
    return _LENGTH.pack(len(encoded)) + encoded


@dataclass(slots=True)
class Loaded:
    """What a machine takes over, whole."""

    revision: Revision = Revision(0)
    leases: dict[LeaseId, SavedLease] = field(default_factory=dict)
    keys: dict[LeaseId, dict[bytes, None]] = field(default_factory=dict)
    values: dict[bytes, KeyValue] = field(default_factory=dict)
    sorted: list[bytes] = field(default_factory=list)
    hashes: dict[DigestItem, int] = field(default_factory=dict)  # of everything, for the machine's digest
    level: int = FIRST_LEVEL


def load(chunks: Iterable[bytes]) -> Loaded | None:
    """What the bytes of a Frozen say, cut anywhere; in any thread. None: there are no bytes, as from a witness.

    Raises msgspec.DecodeError on anything that is no machine's state.
    """
    blocks = _cut(chunks)
    first = next(blocks, None)
    if first is None:
        return None
    head = _heads.decode(first)
    if head.format != FORMAT:
        raise msgspec.DecodeError(f"the state has format {head.format}, and this release reads {FORMAT}")
    loaded = Loaded(head.revision, level=head.level)
    while len(loaded.leases) < head.leases:
        for lease in _leases.decode(_next(blocks)):
            loaded.leases[lease.id] = lease
            loaded.keys[lease.id] = {}
            loaded.hashes[lease.id] = hash_of(
                lease_content(lease.id, lease.ttl_ns, lease.left_ns, lease.settled)
            )
            for sequence, answer in lease.answers:
                loaded.hashes[lease.id, sequence] = hash_of(answer_content(lease.id, sequence, answer))
    while len(loaded.values) < head.values:
        for value in _values.decode(_next(blocks)):
            loaded.values[value.key] = value
            loaded.hashes[value.key] = hash_of(value)
            loaded.sorted.append(value.key)
            if value.lease != NO_LEASE:
                _keys_of(loaded.keys, value.lease)[value.key] = None
    if next(blocks, None) is not None or len(loaded.sorted) != head.values:
        raise msgspec.DecodeError("the state holds more than it says")
    return loaded


def _keys_of(keys: Mapping[LeaseId, dict[bytes, None]], lease: LeaseId) -> dict[bytes, None]:
    if lease not in keys:
        raise msgspec.DecodeError(f"a key of lease {lease}, which is not there")
    return keys[lease]


def _next(blocks: Iterator[bytes]) -> bytes:
    block = next(blocks, None)
    if block is None or block == b"\x90":  # an empty list would not end
        raise msgspec.DecodeError("the state ends too early")
    return block


def _cut(chunks: Iterable[bytes]) -> Iterator[bytes]:
    waiting = bytearray()
    for chunk in chunks:
        waiting += chunk
        start = 0
        while len(waiting) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(waiting, start)
            if length > _BLOCK_BYTES_MAX:
                raise msgspec.DecodeError("a block is longer than any")
            end = start + _LENGTH.size + length
            if end > len(waiting):
                break
            yield bytes(memoryview(waiting)[start + _LENGTH.size : end])
            start = end
        del waiting[:start]
    if waiting:
        raise msgspec.DecodeError("the state ends too early")
