"""A session's reference: which etcd, how to speak to it, which lease. Whoever holds it can end the session."""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import REF_BYTES_MAX
from incumbent.engines.etcd.access import Access
from incumbent.engines.inputs import check_ref
from incumbent.errors import InvalidInput
from incumbent.ids import LeaseId

PREFIX: Final = b"incumbent-etcd/1/"


class Reference(msgspec.Struct, frozen=True, array_like=True):
    cluster: int  # etcd's own number of it
    lease: LeaseId
    access: Access

    def to_bytes(self) -> bytes:
        """Raises InvalidInput(field="url") when there is too much to hand to anybody."""
        ref = PREFIX + _encoder.encode(self)
        if len(ref) > REF_BYTES_MAX:
            raise InvalidInput(
                "url",
                f"makes a session's reference {len(ref)} bytes long",
                f"use shorter names of hosts and files: at most {REF_BYTES_MAX} bytes",
            )
        return ref

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        problem = InvalidInput("ref", "is no reference of an etcd session", "pass a Session.ref unchanged")
        if not ref.startswith(PREFIX):
            raise problem
        try:
            reference = _decoder.decode(ref.removeprefix(PREFIX))
        except (ValueError, RecursionError) as error:
            raise problem from error
        if not 0 < reference.lease < 1 << 63 or not reference.access.endpoints:
            raise problem
        return reference

    def __repr__(self) -> str:
        return f"Reference({self.access!r})"


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Reference)
