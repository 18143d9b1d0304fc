"""Engine URLs: ``scheme://host:port,host:port/path?option=value``, taken apart once, with secrets kept out of print."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, unquote

from incumbent.errors import InvalidInput

SECRET_OPTIONS: Final = frozenset({"password", "secret", "token", "key_password"})
REDACTED: Final = "***"


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    port: int | None

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return name if self.port is None else f"{name}:{self.port}"


@dataclass(frozen=True, slots=True)
class EngineUrl:
    """``str`` and ``repr`` show passwords and secret options as ``***``; the fields hold them as given."""

    scheme: str
    hosts: tuple[Host, ...]
    path: str  # percent-decoded; begins with "/" or is empty
    options: Mapping[str, str]
    user: str | None = None
    password: str | None = None

    @classmethod
    def parse(cls, url: str) -> EngineUrl:
        """Take `url` apart. Raises InvalidInput(field="url")."""
        scheme = scheme_of(url)
        if not url.isprintable():
            raise _bad_url("holds characters that cannot be printed")
        if "#" in url:
            raise _bad_url("has a fragment (#…)")
        # Not urlsplit(): it knows one host, and refuses the brackets of an IPv6 address among several.
        address, _, query = url.partition("://")[2].partition("?")
        netloc, slash, path = address.partition("/")
        try:
            pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        except ValueError as error:
            raise _bad_url("cannot be read") from error  # the reason would quote it
        options = dict(pairs)
        if len(options) != len(pairs):
            raise _bad_url("gives an option twice")
        login, _, hosts = netloc.rpartition("@")
        user, _, password = login.partition(":")
        return cls(
            scheme,
            tuple(_host(text) for text in hosts.split(",")) if hosts else (),
            unquote(slash + path),
            options,
            unquote(user) or None,
            unquote(password) or None,
        )

    def allow_options(self, known: Collection[str]) -> None:
        """Refuse options that this engine does not know, by name: a misspelt one must not be silently ignored."""
        unknown = sorted(set(self.options) - set(known))
        if unknown:
            allowed = ", ".join(sorted(known)) or "no options"
            raise InvalidInput(
                "url", f"{self.scheme}:// does not know the option {unknown[0]!r}", f"it knows {allowed}"
            )

    def seconds(self, option: str, default: float) -> float:
        """An option as a positive number of seconds."""
        text = self.options.get(option)
        if text is None:
            return default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0.0 < value < float("inf"):
            raise InvalidInput("url", f"{option}={text!r} is no duration", "give seconds, above 0")
        return value

    def __str__(self) -> str:
        login = "" if self.user is None else self.user
        if self.password is not None:
            login += f":{REDACTED}"
        if login:
            login += "@"
        query = "&".join(
            f"{name}={REDACTED if name in SECRET_OPTIONS else value}" for name, value in self.options.items()
        )
        hosts = ",".join(map(str, self.hosts))
        return f"{self.scheme}://{login}{hosts}{self.path}" + (f"?{query}" if query else "")

    def __repr__(self) -> str:
        return f"EngineUrl({str(self)!r})"


def scheme_of(url: str) -> str:
    """The part before ``://``, in lower case. Raises InvalidInput(field="url")."""
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme or not all(c.isascii() and (c.isalnum() or c in "+-.") for c in scheme):
        raise _bad_url("has no scheme")
    return scheme.lower()


def _host(text: str) -> Host:
    if text.startswith("["):  # an IPv6 address: its colons are its own
        name, bracket, port = text[1:].partition("]")
        readable = bool(bracket) and port[:1] in ("", ":")
        port = port[1:]
    else:
        name, _, port = text.partition(":")
        readable = True
    if not readable or not name or (port and not (port.isascii() and port.isdigit())):
        raise _bad_url("has an unreadable host")
    if port and not 0 < int(port) < 1 << 16:
        raise _bad_url("has a port outside 1 to 65535")
    return Host(name, int(port) if port else None)


def _bad_url(problem: str) -> InvalidInput:
    # The URL itself is not shown: it may hold a password, and it could not be taken apart to hide it.
    return InvalidInput("url", f"the URL {problem}", "write scheme://hosts/path?option=value")
