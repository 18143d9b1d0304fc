"""Mutual TLS: both sides of every connection show a certificate of one authority. Certificates are read again when their
files change, so a renewed one needs no restart; connections that are open keep theirs.

Who may speak as whom: a voter's certificate bears the DNS name ``NODE.CLUSTER.incumbent`` among its alternative names (RFC
9525, no wildcards, the subject's common name is not looked at). So a client's certificate cannot speak as a voter, nor a
voter's as another one, nor one of this cluster in that. A client's own names are what elections may be restricted to.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Final, TypeVar

from incumbent.errors import InvalidInput
from incumbent.runtime.frames import Address, Hello, Kind, Refuse, RefuseCode

LOOK_INTERVAL_S: Final = 1.0
"""So often at most the files are looked at."""
DOMAIN: Final = "incumbent"
_NOT_TLS: Final = (
    "WRONG_VERSION_NUMBER",
    "HTTP_REQUEST",
    "UNEXPECTED_EOF_WHILE_READING",
    "RECORD_LAYER_FAILURE",
)
P = TypeVar("P", bound=asyncio.Protocol)
logger: Final = logging.getLogger("incumbent")


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. `certificate` may hold a chain; `ca` is whom this side trusts to name the other."""

    certificate: Path
    key: Path
    ca: Path

    @classmethod
    def of(cls, certificate: str | None, key: str | None, ca: str | None) -> TlsFiles | None:
        """All three, or none. Raises InvalidInput, naming what is missing."""
        said = {"tls_certificate": certificate, "tls_key": key, "tls_ca": ca}
        if not any(said.values()):
            return None
        for field, value in said.items():
            if not value:
                raise InvalidInput(field, "is missing", f"give all of {', '.join(said)}, or none of them")
        return cls(Path(certificate or ""), Path(key or ""), Path(ca or ""))


class Tls:
    """The contexts of one side. Raises InvalidInput when it is made of files that do not do."""

    def __init__(self, files: TlsFiles) -> None:
        self.files = files
        self._stamps = _stamps(files)
        self._looked_s = 0.0
        self._server, self._client = _load(files)

    def server(self) -> ssl.SSLContext:
        self._look()
        return self._server

    def client(self) -> ssl.SSLContext:
        self._look()
        return self._client

    def reload(self) -> bool:
        """Read the files again. False: they do not do (the log says why), and what was read before stays."""
        self._stamps = _stamps(self.files)
        try:
            self._server, self._client = _load(self.files)
        except InvalidInput as error:
            logger.error("the certificate in use stays, because the new one does not do: %s", error)
            return False
        logger.info("certificates were read again: %s", self.files.certificate)
        return True

    def _look(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_s >= LOOK_INTERVAL_S:
            self._looked_s = now_s
            if _stamps(self.files) != self._stamps:
                self.reload()


def voter_name(node: str, cluster: str) -> str:
    """What the certificate of this voter has to bear."""
    return f"{node}.{cluster}.{DOMAIN}"


def names_of(transport: asyncio.BaseTransport) -> frozenset[str] | None:
    """The DNS names in the other side's certificate, in lower case; None without TLS."""
    if transport.get_extra_info("ssl_object") is None:
        return None
    certificate = transport.get_extra_info("peercert") or {}
    return frozenset(value.lower() for kind, value in certificate.get("subjectAltName", ()) if kind == "DNS")


def examine_certificate(names: frozenset[str] | None, hello: Hello) -> Refuse | None:
    """Why the certificate does not allow this introduction; None when it does, or there is no TLS."""
    wanted = voter_name(hello.node, hello.cluster)
    if names is None or hello.kind is not Kind.PEER or wanted.lower() in names:
        return None
    shown = ", ".join(sorted(names)[:8]) or "nothing"
    return Refuse(
        RefuseCode.IDENTITY,
        "tls_certificate",
        f"it is not for voter {wanted[:200]!r}, but for {shown[:400]}",
        f"give the node a certificate with the DNS name {wanted[:200]}",
    )


async def dial(make: Callable[[], P], address: Address, tls: Tls | None) -> asyncio.Transport:
    """Connect, and shake hands where there is TLS. Raises OSError, with a reason that a person understands. Whom it reached
    is for `examine_certificate` to say, once a hello tells who it is to be."""
    loop = asyncio.get_running_loop()
    if tls is None:
        transport, _ = await loop.create_connection(make, *address)
        return transport
    try:
        transport, _ = await loop.create_connection(make, *address, ssl=tls.client(), server_hostname="")
    except ssl.SSLError as error:
        raise ConnectionError(explain(error)) from error
    return transport


async def accept(
    make: Callable[[], P], sock: socket.socket, tls: Tls | None, seconds: float
) -> asyncio.Transport:
    """Take a connection that was accepted. Raises OSError as `dial`."""
    loop = asyncio.get_running_loop()
    if tls is None:
        transport, _ = await loop.connect_accepted_socket(make, sock)
        return transport
    try:
        transport, _ = await loop.connect_accepted_socket(
            make, sock, ssl=tls.server(), ssl_handshake_timeout=seconds, ssl_shutdown_timeout=seconds
        )
    except ssl.SSLError as error:
        raise ConnectionError(explain(error)) from error
    return transport


def explain(error: BaseException) -> str:
    """What was wrong with the certificates, and on which side."""
    if not isinstance(error, ssl.SSLError):
        return str(error) or type(error).__name__
    reason = (error.reason or "").upper()
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the other side's certificate is refused: {error.verify_message} (tls_ca says whom this side trusts)"
    if reason in _NOT_TLS:
        return "the other side does not speak TLS (tls_certificate, tls_key and tls_ca are to be given on both sides, or on none)"
    if "PEER_DID_NOT_RETURN" in reason or "CERTIFICATE_REQUIRED" in reason:
        return "a certificate is required of the one who dials (tls_certificate)"
    if "ALERT" in reason:
        return f"the other side refuses this one's certificate (tls_certificate): {reason.lower().replace('_', ' ')}"
    return f"TLS failed: {error}"


def _load(files: TlsFiles) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = (
        False  # the name is the voter's, not the host's: `examine_certificate` looks at it
    )
    for context in (server, client):
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
        try:
            context.load_cert_chain(files.certificate, files.key, password=_no_password)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "tls_certificate",
                f"{files.certificate} with {files.key} cannot be used: {error}",
                "give a PEM certificate and its unencrypted PEM key (tls_key)",
            ) from error
        try:
            context.load_verify_locations(files.ca)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "tls_ca", f"{files.ca} cannot be used: {error}", "give PEM certificates"
            ) from error
    server.num_tickets = 0  # resumption would outlive a certificate that was replaced
    return server, client


def _no_password() -> str:
    """Instead of asking at the terminal."""
    return ""


def _stamps(files: TlsFiles) -> tuple[tuple[int, int, int] | None, ...]:
    return tuple(_stamp(getattr(files, field.name)) for field in fields(files))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
