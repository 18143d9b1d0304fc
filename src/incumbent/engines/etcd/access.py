"""How to speak to an etcd: where its members are, with which login, over which TLS. Light: the guardian imports it."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import msgspec

from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from ssl import SSLContext

LOOK_INTERVAL_S: Final = 1.0
"""So often at most the files are looked at."""
logger: Final = logging.getLogger("incumbent")
Address: TypeAlias = tuple[str, int]
"""Host and port."""


class Access(msgspec.Struct, frozen=True, array_like=True):
    """Serialisable, because a session's reference carries it. SECRET: never shown."""

    endpoints: tuple[Address, ...]
    user: str = ""  # empty: no login
    password: str = ""
    tls: tuple[str, str, str] | None = None
    """PEM files: authorities, certificate, key; empty = the system's authorities, no certificate. None: no TLS."""

    def context(self) -> SSLContext | None:
        """Raises InvalidInput when a file does not do."""
        if self.tls is None:
            return None
        import ssl  # slow to import, and most have no use for it

        authorities, certificate, key = self.tls
        try:
            context = ssl.create_default_context(cafile=authorities or None)
            if certificate:
                context.load_cert_chain(certificate, key)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "tls_ca", f"or the certificate cannot be used: {error}", "name readable PEM files"
            ) from error
        return context

    def __repr__(self) -> str:
        return f"Access({', '.join(map(show, self.endpoints))})"


class Context:
    """The TLS context of new connections. Read again when a file has changed, so a renewed certificate needs no restart."""

    def __init__(self, access: Access) -> None:
        """Raises InvalidInput when a file does not do."""
        self._access = access
        self._files = [Path(file) for file in access.tls or () if file]
        self._stamps = self._look()
        self._looked_s = time.monotonic()
        self._context = access.context()

    def current(self) -> SSLContext | None:
        """None: no TLS."""
        now_s = time.monotonic()
        if self._files and now_s - self._looked_s >= LOOK_INTERVAL_S:
            self._looked_s = now_s
            stamps = self._look()
            if stamps != self._stamps:
                self._stamps = stamps
                try:
                    self._context = self._access.context()
                except InvalidInput as error:
                    logger.error("the certificate in use stays, because the new one does not do: %s", error)
        return self._context

    def _look(self) -> list[tuple[int, int]]:
        """What tells that a file was replaced; one that is not there for a moment is as good as changed."""
        return [
            (found.st_mtime_ns, found.st_ino)
            for file in self._files
            if file.exists()
            for found in [file.stat()]
        ]


def show(address: Address) -> str:
    """As it stands in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
