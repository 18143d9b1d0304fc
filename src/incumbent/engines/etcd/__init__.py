"""The engine on an etcd, 3.4 or newer, over its JSON gateway::

    etcd://10.0.0.1:2379,10.0.0.2:2379/prefix

Without a prefix, or with one, elections lie where etcd's own lie: ``etcdctl elect NAME`` and ``etcdctl elect /prefix/NAME``.
Optional: a login (``etcd://user:password@…``), ``names=plain``, and TLS: ``tls=1`` or ``tls_ca``, ``tls_certificate``, ``tls_key``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from incumbent.engines.api import Engine
from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from incumbent.engines.etcd.access import Access
    from incumbent.engines.etcd.layout import Layout

OPTIONS: Final = ("names", "tls", "tls_ca", "tls_certificate", "tls_key", "timeout")
EXAMPLE: Final = "etcd://host:2379,host:2379/prefix"
PORT_DEFAULT: Final = 2379
ENDPOINTS_MAX: Final = 16
CALL_TIMEOUT_S: Final = 5.0
"""How long one call may take, with all its attempts."""


async def connect(url: str) -> Engine:
    """Raises InvalidInput naming the part of the URL and the fix, EngineUnavailable when no member with a quorum behind it
    answers, NotAllowed when the login is refused."""
    access, layout, timeout_s = parse(url)
    from incumbent.engines.etcd.engine import EtcdEngine

    return await EtcdEngine.open(access, layout, timeout_s)


def parse(url: str) -> tuple[Access, Layout, float]:
    """Where the members are and how to speak to them, where the keys lie, seconds per call. Raises InvalidInput."""
    from incumbent.engines.etcd.access import Access
    from incumbent.engines.etcd.layout import Layout

    parsed = EngineUrl.parse(url)
    parsed.allow_options(OPTIONS)
    if not parsed.hosts:
        raise InvalidInput("url", "names no host", f"write {EXAMPLE}")
    if len(parsed.hosts) > ENDPOINTS_MAX:
        raise InvalidInput("url", f"names {len(parsed.hosts)} hosts", f"name at most {ENDPOINTS_MAX}")
    if (parsed.user is None) != (parsed.password is None):
        raise InvalidInput("url", "gives half of a login", "write etcd://user:password@host, or neither")
    access = Access(
        endpoints=tuple((host.name, host.port or PORT_DEFAULT) for host in parsed.hosts),
        user=parsed.user or "",
        password=parsed.password or "",
        tls=_tls(parsed),
    )
    return access, Layout(_root(parsed.path), plain=_plain(parsed)), parsed.seconds("timeout", CALL_TIMEOUT_S)


def _tls(url: EngineUrl) -> tuple[str, str, str] | None:
    files = tuple(url.options.get(option, "") for option in ("tls_ca", "tls_certificate", "tls_key"))
    authority, certificate, key = files
    if bool(certificate) != bool(key):
        raise InvalidInput(
            "tls_certificate", "comes without its key", "give tls_certificate and tls_key, or neither"
        )
    match url.options.get("tls", "1" if any(files) else "0"):
        case "1":
            return authority, certificate, key
        case "0" if not any(files):
            return None
        case other:
            raise InvalidInput("tls", f"{other[:20]!r} does not fit", "write tls=1, or leave it out")


def _root(path: str) -> str:
    if "\0" in path:
        raise InvalidInput("url", "has a prefix with a NUL", f"write {EXAMPLE}")
    path = path.rstrip("/")
    return path + "/" if path else ""


def _plain(url: EngineUrl) -> bool:
    names = url.options.get("names", "escaped")
    if names not in ("escaped", "plain"):
        raise InvalidInput(
            "names", f"{names[:20]!r} is no way to write names", "write names=plain, or leave it out"
        )
    return names == "plain"
