"""What can be said to the command line, and how it is read. Apart from what is done with it: a command that is not used should cost
nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from incumbent.runtime.frames import Address

DEFAULT_CLUSTER: Final = "incumbent"
ENVIRONMENT_PREFIX: Final = "INCUMBENT_"
URL_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}URL"
URL_BYTES_MAX: Final = 16 * 1024
MS_MAX: Final = 60_000
MS: Final = 1_000_000


def parse_address(field: str, text: str) -> Address:
    """``host:port``, an IPv6 address in brackets. Raises InvalidInput."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not (
        host and colon and port.isascii() and port.isdigit() and len(port) <= 5 and 0 <= int(port) <= 65_535
    ):
        raise InvalidInput(field, f"{text[:80]!r} is no address", "write host:port")
    return host, int(port)


def parse_named(field: str, text: str) -> tuple[str, Address]:
    """``name=host:port``. Raises InvalidInput."""
    name, equals, address = text.partition("=")
    if not name or not equals:
        raise InvalidInput(field, f"{text[:80]!r} is no node", "write name=host:port")
    return name, parse_address(field, address)


def find_url(given: str | None) -> str:
    """From the argument, from the file that it names, or from the environment. Raises InvalidInput; never shows it."""
    url = given or os.environ.get(URL_VARIABLE, "")
    if url.startswith("@"):
        try:
            with Path(url[1:]).open(encoding="utf-8") as file:
                url = file.read(URL_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidInput(
                "URL", f"the file {url[1:]} cannot be read", "name a file that holds a URL"
            ) from error
    if not url:
        raise InvalidInput("URL", "is missing", f"give one, @FILE, or set {URL_VARIABLE}")
    return url


def _text(_: str, value: Any) -> Any:
    return value


def _address(field: str, value: Any) -> Any:
    return parse_address(field, value)


def _peers(field: str, value: Any) -> Any:
    items = value.split(",") if isinstance(value, str) else value
    return dict(parse_named(field, item) for item in items if item)


def _milliseconds(field: str, value: Any) -> Any:
    return _number(field, value, MS_MAX) * MS


def _count(field: str, value: Any) -> Any:
    return _number(field, value, 1_000_000_000)


def _bytes(field: str, value: Any) -> Any:
    return _number(field, value, 1 << 40)


def _number(field: str, value: Any, most: int) -> int:
    text = str(value)
    if isinstance(value, bool) or not (text.isascii() and text.isdigit() and 0 < int(text) <= most):
        raise InvalidInput(field, f"{text[:20]!r} is no whole number from 1 to {most}", "correct it")
    return int(text)


def _flag(field: str, value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if value not in ("0", "1"):
        raise InvalidInput(
            field,
            f"{str(value)[:20]!r} is neither yes nor no",
            "write true or false, in the environment 1 or 0",
        )
    return value == "1"


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that can be said, under one name: ``--data-dir``, ``INCUMBENT_DATA_DIR``, ``data_dir = …``."""

    name: str
    help: str
    read: Callable[[str, Any], Any] = _text
    flag: bool = False

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


TLS_OPTIONS: Final = (
    Option("tls-certificate", "PEM file: this side's certificate, and those up to the authority"),
    Option("tls-key", "PEM file: its key"),
    Option("tls-ca", "PEM file: the authorities that this side trusts to name the other"),
)
OPTIONS: Final = (
    Option("cluster", f"the cluster's name ({DEFAULT_CLUSTER})"),
    Option("node", "this node's name"),
    Option("data-dir", "where it keeps its log; made when it is not there"),
    Option("listen", "host:port for voters and clients", _address),
    Option("advertise", "host:port under which the others reach it (as listen)", _address),
    Option("peers", "name=host:port,… of all voters, this one too: the cluster then forms by itself", _peers),
    Option("http", "host:port for liveness, readiness and metrics (none)", _address),
    Option("heartbeat-ms", "the leader's heartbeat, in milliseconds (50)", _milliseconds),
    Option(
        "election-ms",
        "the least election timeout, in milliseconds; the greatest is half as much again (300)",
        _milliseconds,
    ),
    Option(
        "election-ms-max",
        "up to where the least election timeout may follow measured round trips, ten of them (it does not)",
        _milliseconds,
    ),
    Option("priority", "among voters that have everything, the highest leads (0)", _count),
    Option("snapshot-entries", "commands between two snapshots of the log, at most (100000)", _count),
    Option("snapshot-bytes", "bytes of commands between two snapshots, at most (256 MiB)", _bytes),
    Option("log-tail-entries", "entries kept behind a snapshot for followers that are late (1024)", _count),
    Option("history-changes", "changes kept for watches; older ones are compacted (100000)", _count),
    Option("history-bytes", "bytes of their keys and values (64 MiB)", _bytes),
    *TLS_OPTIONS,
    Option(
        "insecure", "listen on an address that is not loopback although there is no TLS", _flag, flag=True
    ),
)
