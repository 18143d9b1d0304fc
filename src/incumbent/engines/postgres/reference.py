"""A session's reference: where its database is, how to get in, which session. Whoever holds it can end the session."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from incumbent.engines.inputs import check_ref
from incumbent.errors import InvalidInput

PREFIX: Final = b"incumbent-postgres/1/"
URL_BYTES_MAX: Final = 3072
"""So that a reference stays below its 4 KiB."""
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reference:
    session: bytes
    url: str  # with the password

    def to_bytes(self) -> bytes:
        return PREFIX + self.session + self.url.encode()

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        body = ref.removeprefix(PREFIX)
        try:
            url = body[_ID_BYTES:].decode()
        except UnicodeDecodeError:
            url = ""
        if not ref.startswith(PREFIX) or not url.startswith("postgresql://"):
            raise InvalidInput(
                "ref", "is no reference of a PostgreSQL session", "pass a Session.ref unchanged"
            )
        return cls(body[:_ID_BYTES], url)

    def __repr__(self) -> str:
        return "Reference()"


def session_id(request_id: str) -> bytes:
    """Whoever asks again with the same request finds the same session, and it is as hard to guess as the request's id."""
    return sha256(b"incumbent-session/" + request_id.encode()).digest()[:_ID_BYTES]
