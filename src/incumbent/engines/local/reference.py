"""A session's reference: which directory, which database, which session. Whoever holds it can end the session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from incumbent.engines.inputs import check_ref
from incumbent.errors import InvalidInput

PREFIX: Final = b"incumbent-local/1/"
_ID_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Reference:
    uuid: bytes  # the database's
    secret: bytes
    directory: str

    def to_bytes(self) -> bytes:
        return PREFIX + self.uuid + self.secret + self.directory.encode(errors="surrogateescape")

    @classmethod
    def from_bytes(cls, ref: bytes) -> Reference:
        """Raises InvalidInput(field="ref")."""
        check_ref(ref)
        body = ref.removeprefix(PREFIX)
        directory = body[2 * _ID_BYTES :].decode(errors="surrogateescape")
        if not ref.startswith(PREFIX) or not directory.startswith("/"):
            raise InvalidInput("ref", "is no reference of a local session", "pass a Session.ref unchanged")
        return cls(body[:_ID_BYTES], body[_ID_BYTES : 2 * _ID_BYTES], directory)

    def __repr__(self) -> str:
        return f"Reference(directory={self.directory!r})"
