"""What a postgresql:// URL says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

Wakeups = Literal["auto", "listen", "poll"]
Standby = Literal["none", "asynchronous", "synchronous"]
LIBPQ_OPTIONS: Final = (
    *("host", "sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "passfile"),
    *("application_name", "target_session_attrs"),
)
"""Handed to libpq as they are."""
OPTIONS: Final = ("schema", "timeout", "wakeups", "poll", "standby", *LIBPQ_OPTIONS)
_SCHEMA: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True)
class Settings:
    """Times are seconds. `url` and `parameters` hold the password: they are never shown."""

    url: str = field(repr=False)
    shown: str  # the URL without its secrets
    parameters: dict[str, str] = field(repr=False)  # libpq's
    schema: str
    timeout_s: float
    wakeups: Wakeups
    poll_s: float
    standby: Standby

    @classmethod
    def parse(cls, url: str) -> Settings:
        """Raises InvalidInput(field="url")."""
        parsed = EngineUrl.parse(url)
        parsed.allow_options(OPTIONS)
        schema = parsed.options.get("schema", "incumbent")
        if not _SCHEMA.fullmatch(schema) or schema.startswith("pg_"):
            raise InvalidInput("url", f"schema={schema!r} is no name for one", "use a-z, 0-9 and _")
        parameters = {name: parsed.options[name] for name in LIBPQ_OPTIONS if name in parsed.options}
        if parsed.hosts and "host" in parameters:
            raise InvalidInput("url", "names hosts twice", "use host= for a socket's directory only")
        if parsed.hosts:
            parameters["host"] = ",".join(host.name for host in parsed.hosts)
            parameters["port"] = ",".join(str(host.port or 5432) for host in parsed.hosts)
        if len(parsed.hosts) > 1:  # of several, the one that can be written to
            parameters.setdefault("target_session_attrs", "read-write")
        named = {"user": parsed.user, "password": parsed.password, "dbname": parsed.path.strip("/") or None}
        parameters.update({name: value for name, value in named.items() if value is not None})
        parameters.setdefault("application_name", "incumbent")
        return cls(
            url,
            str(parsed),
            parameters,
            schema,
            parsed.seconds("timeout", 5.0),
            cast(Wakeups, _one_of(parsed, "wakeups", get_args(Wakeups))),
            parsed.seconds("poll", 0.25),
            cast(Standby, _one_of(parsed, "standby", get_args(Standby))),
        )


def _one_of(url: EngineUrl, option: str, allowed: tuple[str, ...]) -> str:
    """The first is the default."""
    value = url.options.get(option, allowed[0])
    if value not in allowed:
        raise InvalidInput("url", f"{option}={value!r} is not known", f"use one of {', '.join(allowed)}")
    return value
