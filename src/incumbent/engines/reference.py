"""References to sessions of a server that others run: how to get to it, and which session. Whoever holds one can end the session."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from incumbent.engines.inputs import check_ref
from incumbent.errors import InvalidInput

URL_BYTES_MAX: Final = 3072
"""So that a reference stays below its 4 KiB."""
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reference:
    scheme: str
    session: bytes
    url: str  # with the password

    def to_bytes(self) -> bytes:
        return _prefix(self.scheme) + self.session + self.url.encode()

    @classmethod
    def from_bytes(cls, ref: bytes, scheme: str) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        body = ref.removeprefix(_prefix(scheme))
        try:
            url = body[_ID_BYTES:].decode()
        except UnicodeDecodeError:
            url = ""
        if not ref.startswith(_prefix(scheme)) or not url.lower().startswith(f"{scheme}://"):
            raise InvalidInput(
                "ref", f"is no reference of a session on {scheme}://", "pass a Session.ref unchanged"
            )
        return cls(scheme, body[:_ID_BYTES], url)

    def __repr__(self) -> str:
        return f"Reference({self.scheme!r})"


def session_id(request_id: str) -> bytes:
    """Whoever asks again with the same request finds the same session, and it is as hard to guess as the request's id."""
    return sha256(b"incumbent-session/" + request_id.encode()).digest()[:_ID_BYTES]


def check_url(url: str) -> None:
    """Raises InvalidInput for one that no reference has room for."""
    if len(url.encode()) > URL_BYTES_MAX:
        raise InvalidInput("url", "is too long", f"use at most {URL_BYTES_MAX} bytes")


def _prefix(scheme: str) -> bytes:
    return f"incumbent-{scheme}/1/".encode()
