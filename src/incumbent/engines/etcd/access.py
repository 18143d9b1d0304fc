"""How to speak to an etcd: where its members are, with which login, over which TLS. Light: the guardian imports it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec

from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from ssl import SSLContext

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


def show(address: Address) -> str:
    """As it stands in a URL."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
