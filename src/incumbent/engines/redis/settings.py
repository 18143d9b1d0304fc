"""What a redis:// URL says. Imported by the guardian's ender, so it imports little."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Final

from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

OPTIONS: Final = (
    *("accept", "namespace", "timeout"),
    *("tls", "tls_ca", "tls_certificate", "tls_key"),
)
ADVISORY: Final = "advisory"
_NAMESPACE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are seconds. `url` and `password` are never shown."""

    url: str = field(repr=False)
    shown: str  # the URL without its secrets
    host: str
    port: int
    database: int
    user: str | None
    password: str | None = field(repr=False)
    namespace: str
    timeout_s: float
    advisory: bool  # the caller knows what this engine is, and checks tokens
    tls: bool
    tls_ca: str | None
    tls_certificate: str | None
    tls_key: str | None

    @classmethod
    def parse(cls, url: str) -> Settings:
        """Raises InvalidInput(field="url")."""
        parsed = EngineUrl.parse(url)
        parsed.allow_options(OPTIONS)
        if len(parsed.hosts) != 1:
            raise InvalidInput("url", f"names {len(parsed.hosts)} hosts", "write redis://host:6379/0")
        database = parsed.path.strip("/") or "0"
        if not (database.isascii() and database.isdigit() and len(database) < 6):
            raise InvalidInput("url", "the path is no number of a database", "write redis://host:6379/0")
        namespace = parsed.options.get("namespace", "incumbent")
        if not _NAMESPACE.fullmatch(namespace):
            raise InvalidInput(
                "url", f"namespace={namespace!r} is no name", "use letters, digits, '.', '_', '-'"
            )
        accept = parsed.options.get("accept", "")
        if accept not in ("", ADVISORY):
            raise InvalidInput("url", f"accept={accept!r} is not known", f"use accept={ADVISORY}")
        files = [parsed.options.get(name) for name in ("tls_ca", "tls_certificate", "tls_key")]
        tls = parsed.options.get("tls", "1" if any(files) else "0")
        if tls not in ("0", "1") or (tls == "0" and any(files)):
            raise InvalidInput("url", f"tls={tls!r} does not fit the other options", "use tls=1")
        host = parsed.hosts[0]
        return cls(
            url, str(parsed), host.name, host.port or 6379, int(database), parsed.user, parsed.password, namespace,
            parsed.seconds("timeout", 5.0), accept == ADVISORY, tls == "1", *files,
        )  # fmt: skip

    def context(self) -> ssl.SSLContext | None:
        """None = no TLS. Raises InvalidInput for files that cannot be read."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_certificate is not None:
                context.load_cert_chain(self.tls_certificate, self.tls_key)
        except OSError as error:
            raise InvalidInput("url", f"a TLS file cannot be used: {error}", "name PEM files") from error
        return context
