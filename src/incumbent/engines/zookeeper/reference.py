"""A session's reference: which ZooKeeper, which session, and its password. Whoever holds it can end the session."""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import REF_BYTES_MAX
from incumbent.engines.inputs import check_ref
from incumbent.engines.zookeeper.place import Address, Place, TlsPaths
from incumbent.errors import InvalidInput

PREFIX: Final = b"incumbent-zookeeper/1/"


class Reference(msgspec.Struct, frozen=True, array_like=True):
    root: str
    node: str  # the session's own, ephemeral
    session: int  # 64 bits, unsigned
    password: bytes
    ttl: float  # seconds; what the holder counts on
    release_delay: float
    timeout_ms: int  # what ZooKeeper waits: ttl + release_delay
    hosts: tuple[Address, ...]
    tls: tuple[str, str | None, str | None] | None = None  # files on this host: authorities, certificate, key

    def to_bytes(self) -> bytes:
        """Raises InvalidInput(field="url") when the addresses are too long to hand to anybody."""
        ref = PREFIX + _encoder.encode(self)
        if len(ref) > REF_BYTES_MAX:
            raise InvalidInput(
                "url",
                f"makes a session's reference {len(ref)} bytes long",
                f"use shorter or fewer host names: at most {REF_BYTES_MAX} bytes",
            )
        return ref

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        problem = InvalidInput(
            "ref", "is no reference of a ZooKeeper session", "pass a Session.ref unchanged"
        )
        if not ref.startswith(PREFIX):
            raise problem
        try:
            reference = _decoder.decode(ref.removeprefix(PREFIX))
        except (ValueError, RecursionError) as error:
            raise problem from error
        if not 0 < reference.session < 1 << 64 or not reference.hosts or reference.timeout_ms <= 0:
            raise problem
        return reference

    @property
    def place(self) -> Place:
        """Where to end it. Ending asks for no login."""
        return Place(self.hosts, self.root, tls=None if self.tls is None else TlsPaths(*self.tls))

    def __repr__(self) -> str:
        return f"Reference(session={self.session:#x}, hosts={self.hosts})"


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Reference)
