"""A session's reference: which cluster, where its voters are, which lease. Whoever holds it can end the session."""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import REF_BYTES_MAX
from incumbent.engines.inputs import check_ref
from incumbent.errors import InvalidInput
from incumbent.ids import LeaseId

PREFIX: Final = b"incumbent-cluster/1/"
Address = tuple[str, int]
"""Host and port."""


class Reference(msgspec.Struct, frozen=True, array_like=True):
    cluster: str
    lease: LeaseId
    ttl_ns: int  # what the holder counts on
    release_delay_ns: int  # the lease itself has ttl_ns + release_delay_ns
    voters: dict[str, Address]  # by node name
    tls: tuple[str, str, str] | None = None  # files on this host: certificate, key, authorities

    @property
    def lease_ttl_ns(self) -> int:
        return self.ttl_ns + self.release_delay_ns

    def to_bytes(self) -> bytes:
        """Raises InvalidInput(field="peers") when the addresses are too long to hand to anybody."""
        ref = PREFIX + _encoder.encode(self)
        if len(ref) > REF_BYTES_MAX:
            raise InvalidInput(
                "peers",
                f"make a session's reference {len(ref)} bytes long",
                f"use shorter host names: at most {REF_BYTES_MAX} bytes",
            )
        return ref

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        problem = InvalidInput(
            "ref", "is no reference of a cluster's session", "pass a Session.ref unchanged"
        )
        if not ref.startswith(PREFIX):
            raise problem
        try:
            reference = _decoder.decode(ref.removeprefix(PREFIX))
        except (ValueError, RecursionError) as error:
            raise problem from error
        if not 0 < reference.lease < 1 << 63 or not reference.voters:
            raise problem
        return reference

    def __repr__(self) -> str:
        return f"Reference(cluster={self.cluster!r}, voters={sorted(self.voters)})"


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Reference)
