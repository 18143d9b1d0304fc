"""A digest of a machine's whole state that costs only what has changed since the last one. PURE.

Every item of the state (a key with its record, a lease, an answer that is kept for a session) has a hash of its canonical form,
and the digest is over the sum of all the hashes modulo 2**128: an item that changes takes its old hash out of the sum and puts
the new one in, in any order. The machine only notes which items it touches.

What watches may still ask about the past is no part of it: how much of that a node keeps depends on when it was restored.
The sum is no defence against somebody who makes collisions on purpose; it finds bugs, bad memory and bad disks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Final

import msgspec

from incumbent.ids import LeaseId, Revision
from incumbent.kv.api import KeyValue, Result

FORMAT: Final = 1
"""Goes into every digest, so that two versions that see the state differently never seem to agree."""
DIGEST_BYTES: Final = 16
TOUCHED_MAX: Final = 4_096
TOUCHED_BYTES_MAX: Final = 1024 * 1024
"""So many items, or bytes of them, at most wait to be hashed; then they are, whoever asks for a digest or not: a leader that
hashed much at once would send no heartbeat meanwhile."""
_MODULUS: Final = 1 << (8 * DIGEST_BYTES)
_encoder: Final = msgspec.msgpack.Encoder()

Item = bytes | LeaseId | tuple[LeaseId, int]
"""A key, a lease, or an answer: its lease and its sequence number."""


def lease_content(lease: LeaseId, ttl_ns: int, left_ns: int, settled: int) -> tuple[int, ...]:
    return lease, ttl_ns, left_ns, settled


def answer_content(lease: LeaseId, sequence: int, answer: Result) -> tuple[int, int, Result]:
    return lease, sequence, answer


def hash_of(content: KeyValue | tuple[object, ...]) -> int:
    """Of one item's canonical form: MessagePack of its fields in order, which has one way to say each of them."""
    return int.from_bytes(hashlib.blake2b(_encoder.encode(content), digest_size=DIGEST_BYTES).digest(), "big")


class StateDigest:
    """The sum, and what has to be done to bring it up to date."""

    def __init__(self, content: Callable[[Item], KeyValue | tuple[object, ...] | None]) -> None:
        """`content` gives an item as it is now; None when it is not there."""
        self.touched: set[Item] = set()
        self._content = content
        self._hashes: dict[Item, int] = {}  # of every item that is in the sum
        self._sum = 0
        self._bytes = 0

    def touch(self, item: Item, size: int = 0) -> None:
        """This item may have changed; about so many bytes are to be hashed then."""
        self.touched.add(item)
        self._bytes += size
        if len(self.touched) > TOUCHED_MAX or self._bytes > TOUCHED_BYTES_MAX:
            self._fold()

    def begin(self, hashes: dict[Item, int]) -> None:
        """The state is another one now; these are the hashes of all its items."""
        self.touched.clear()
        self._bytes = 0
        self._hashes = hashes
        self._sum = sum(hashes.values()) % _MODULUS

    def value(self, revision: Revision, level: int) -> bytes:
        """The digest of the state at this moment."""
        self._fold()
        parts = _encoder.encode((FORMAT, revision, level, self._sum.to_bytes(DIGEST_BYTES, "big")))
        return hashlib.blake2b(parts, digest_size=DIGEST_BYTES).digest()

    def _fold(self) -> None:
        for item in self.touched:
            self._sum -= self._hashes.pop(item, 0)
            content = self._content(item)
            if content is not None:
                self._hashes[item] = new = hash_of(content)
                self._sum += new
        self._sum %= _MODULUS
        self.touched.clear()
        self._bytes = 0
