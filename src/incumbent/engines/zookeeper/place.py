"""Which ZooKeeper, and where in it: what an URL says, read once.

zookeeper://user:password@host:2181,host:2181/services?layout=kazoo
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from incumbent.engines.url import EngineUrl
from incumbent.engines.zookeeper import OPTIONS
from incumbent.errors import InvalidInput

PORT: Final = 2181
ROOT: Final = "/incumbent"
ROOT_BYTES_MAX: Final = 512
EXAMPLE: Final = "zookeeper://host:2181,host:2181/services"
Address = tuple[str, int]
"""Host and port."""


class Layout(StrEnum):
    """How the candidates' nodes are named: whose libraries stand in the same elections."""

    KAZOO = "kazoo"
    CURATOR = "curator"


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """PEM files on this host."""

    ca: str
    certificate: str | None
    key: str | None

    def context(self) -> ssl.SSLContext:
        """Raises InvalidInput when a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.certificate is not None:
                context.load_cert_chain(self.certificate, self.key)
        except OSError as error:  # ssl.SSLError is one
            raise InvalidInput(
                "tls_ca", f"or the certificate cannot be used: {error}", "name PEM files that can be read"
            ) from error
        return context


@dataclass(frozen=True, slots=True)
class Place:
    hosts: tuple[Address, ...]
    root: str = ROOT  # absolute, without a slash at its end
    layout: Layout = Layout.KAZOO
    login: str | None = field(default=None, repr=False)  # user:password
    tls: TlsPaths | None = None


def parse(url: str) -> Place:
    """Raises InvalidInput naming the part of the URL and the fix."""
    parsed = EngineUrl.parse(url)
    parsed.allow_options(OPTIONS)
    if not parsed.hosts:
        raise InvalidInput("url", "names no host", f"write {EXAMPLE}")
    if (parsed.user is None) != (parsed.password is None):
        raise InvalidInput("url", "names a user or a password without the other", "write user:password@host")
    return Place(
        tuple((host.name, host.port or PORT) for host in parsed.hosts),
        _root(parsed.path),
        _layout(parsed.options.get("layout", Layout.KAZOO)),
        None if parsed.user is None else f"{parsed.user}:{parsed.password}",
        _tls(parsed),
    )


def _root(path: str) -> str:
    root = path.rstrip("/")
    if not root:
        return ROOT
    steps = root.split("/")[1:]
    if any(step in ("", ".", "..") for step in steps) or not root.isprintable():
        raise InvalidInput("url", f"the path {root[:60]!r} is no node of ZooKeeper's", f"write {EXAMPLE}")
    if steps[0] == "zookeeper":
        raise InvalidInput("url", "/zookeeper is ZooKeeper's own", f"write {EXAMPLE}")
    if len(root.encode()) > ROOT_BYTES_MAX:
        raise InvalidInput("url", f"has a path of {len(root)} characters", f"at most {ROOT_BYTES_MAX} bytes")
    return root


def _layout(text: str) -> Layout:
    try:
        return Layout(text)
    except ValueError:
        known = " or ".join(Layout)
        raise InvalidInput("layout", f"{text[:40]!r} is none", f"write {known}") from None


def _tls(parsed: EngineUrl) -> TlsPaths | None:
    ca, certificate, key = (parsed.options.get(option) for option in ("tls_ca", "tls_certificate", "tls_key"))
    if ca is None and certificate is None and key is None:
        return None
    if not ca:
        raise InvalidInput("tls_ca", "is missing", "name the PEM file of whom to trust")
    if (certificate is None) != (key is None):
        raise InvalidInput("tls_certificate", "and tls_key come together", "name both, or neither")
    paths = TlsPaths(ca, certificate, key)
    paths.context()
    return paths
