"""The engine on a cluster of our own. From any process, with the addresses of one or more of its members::

    cluster://127.0.0.1:7001,127.0.0.1:7002,127.0.0.1:7003

Optional: ``cluster=NAME``, to be refused by any other, and ``secret_file=FILE``, which admits to elections that ask for it. Or this process embeds one of the voters::

    cluster:///data/dir?cluster=app&node=a&peers=a@127.0.0.1:7001,b@127.0.0.1:7002,c@127.0.0.1:7003

Optional: ``heartbeat_ms`` and ``election_ms`` (the least election timeout; the greatest is half as much again), and ``insecure=1``,
without which, or TLS, only loopback is listened on. For both: ``tls_certificate``, ``tls_key`` and ``tls_ca``, three PEM files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from incumbent.engines.api import Engine
from incumbent.engines.url import EngineUrl
from incumbent.errors import InvalidInput

if TYPE_CHECKING:
    from incumbent.runtime.config import VoterConfig
    from incumbent.runtime.tls import TlsFiles

TLS_OPTIONS: Final = ("tls_certificate", "tls_key", "tls_ca")
OPTIONS: Final = ("cluster", "node", "peers", "heartbeat_ms", "election_ms", "insecure", *TLS_OPTIONS)
REMOTE_OPTIONS: Final = ("cluster", "secret_file", *TLS_OPTIONS)
REMOTE_EXAMPLE: Final = "cluster://host:7001,host:7002,host:7003"
EXAMPLE: Final = "cluster:///data/dir?cluster=app&node=a&peers=a@host:7001,b@host:7002,c@host:7003"
NS_PER_MS: Final = 1_000_000


async def connect(url: str) -> Engine:
    """With hosts: find the cluster that is there. Raises InvalidInput, EngineUnavailable when no member of a formed cluster
    answers, IdentityMismatch when it is another one.

    With a directory: start a voter on it and wait until its cluster is formed: for the first start of a
    cluster, that is until every voter was heard. `close` stops it.

    Raises InvalidInput naming the part of the URL and the fix, before anything is written; IdentityMismatch and
    StorageCorrupt when the directory is another node's or damaged.
    """
    if EngineUrl.parse(url).hosts:
        seeds, cluster = parse_remote(url)
        from incumbent.engines.cluster.remote import open_remote
        from incumbent.runtime.access import read_secret

        parsed = EngineUrl.parse(url)
        file = parsed.options.get("secret_file")
        return await open_remote(seeds, cluster, _tls(parsed), () if file is None else (read_secret(file),))
    config = parse(url)
    from incumbent.engines.cluster.voter_link import open_engine

    return await open_engine(config)


def parse_remote(url: str) -> tuple[list[tuple[str, int]], str]:
    """Where `url` says that members are, and the cluster's name if it gives one. Raises InvalidInput."""
    parsed = EngineUrl.parse(url)
    parsed.allow_options(REMOTE_OPTIONS)
    if parsed.user is not None or parsed.password is not None:
        raise InvalidInput("url", "names a user, and a cluster has none", f"write {REMOTE_EXAMPLE}")
    if parsed.path.strip("/"):
        raise InvalidInput(
            "url", "names hosts and a directory", f"write {REMOTE_EXAMPLE}, or embed a voter: {EXAMPLE}"
        )
    seeds = [(host.name, host.port) for host in parsed.hosts if host.port is not None]
    if len(seeds) != len(parsed.hosts):
        raise InvalidInput("url", "names a host without a port", f"write {REMOTE_EXAMPLE}")
    return seeds, parsed.options.get("cluster", "")


def parse(url: str) -> VoterConfig:
    """What `url` says of the voter to be embedded. Raises InvalidInput."""
    parsed = EngineUrl.parse(url)
    parsed.allow_options(OPTIONS)
    if parsed.user is not None or parsed.password is not None:
        raise InvalidInput("url", "names a user, and a cluster has none", f"write {EXAMPLE}")
    if not parsed.path.startswith("/") or not parsed.path.strip("/") or "\0" in parsed.path:
        raise InvalidInput("url", "names no data directory", f"write {EXAMPLE}")
    for option in ("cluster", "node", "peers"):
        if not parsed.options.get(option):
            raise InvalidInput(option, "is missing", f"write {EXAMPLE}")
    from pathlib import Path

    from incumbent.runtime.config import VoterConfig, check_config, timing

    config = VoterConfig(
        cluster=parsed.options["cluster"],
        node=parsed.options["node"],
        data_dir=Path(parsed.path),
        peers=_peers(parsed.options["peers"]),
        timing=timing(
            heartbeat_ns=_milliseconds(parsed, "heartbeat_ms"),
            election_ns=_milliseconds(parsed, "election_ms"),
        ),
        tls=_tls(parsed),
        insecure=_flag(parsed, "insecure"),
    )
    check_config(config)
    return config


def _tls(url: EngineUrl) -> TlsFiles | None:
    from incumbent.runtime.tls import TlsFiles

    return TlsFiles.of(*(url.options.get(option) for option in TLS_OPTIONS))


def _peers(text: str) -> dict[str, tuple[str, int]]:
    voters: dict[str, tuple[str, int]] = {}
    for peer in text.split(","):
        name, at, address = peer.partition("@")
        host, colon, port = address.rpartition(":")
        if host.startswith("[") and host.endswith("]"):  # an IPv6 address: its colons are its own
            host = host[1:-1]
        elif ":" in host:
            host = ""
        if not (name and at and host and colon and port.isascii() and port.isdigit() and len(port) <= 5):
            raise InvalidInput("peers", f"{peer[:80]!r} is no voter", "write each as name@host:port")
        if name in voters:
            raise InvalidInput("peers", f"{name[:80]!r} comes twice", "name each voter once")
        voters[name] = host, int(port)
    return voters


def _milliseconds(url: EngineUrl, option: str) -> int | None:
    text = url.options.get(option)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:10]) <= 60_000 and len(text) <= 10):
        raise InvalidInput(option, f"{text[:20]!r} is no duration", "give whole milliseconds, 1 to 60000")
    return int(text) * NS_PER_MS


def _flag(url: EngineUrl, option: str) -> bool:
    text = url.options.get(option, "0")
    if text not in ("0", "1"):
        raise InvalidInput(option, f"{text[:20]!r} is neither yes nor no", "write 1, or leave it out")
    return text == "1"
