"""A session's reference: how its API server is reached from this host, and which Lease it is. Holds no credentials itself."""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import REF_BYTES_MAX
from incumbent.engines.inputs import check_ref
from incumbent.engines.kubernetes.access import Place
from incumbent.engines.kubernetes.leases import SESSION
from incumbent.errors import InvalidInput

PREFIX: Final = b"incumbent-kubernetes/1/"


class Reference(msgspec.Struct, frozen=True, array_like=True):
    place: Place
    name: str
    uid: str  # a later session of the same name is another one

    def to_bytes(self) -> bytes:
        """Raises InvalidInput when the paths are too long to hand to anybody."""
        ref = PREFIX + _encoder.encode(self)
        if len(ref) > REF_BYTES_MAX:
            raise InvalidInput("url", "names too long a kubeconfig", f"at most {REF_BYTES_MAX} bytes in all")
        return ref

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        problem = InvalidInput(
            "ref", "is no reference of a session on Kubernetes", "pass a Session.ref unchanged"
        )
        if not ref.startswith(PREFIX):
            raise problem
        try:
            reference = _decoder.decode(ref.removeprefix(PREFIX))
        except (ValueError, RecursionError) as error:
            raise problem from error
        if not reference.name.startswith(SESSION) or not reference.uid:
            raise problem
        return reference

    def __repr__(self) -> str:
        return f"Reference({self.place!r})"


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Reference)
