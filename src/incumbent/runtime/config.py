"""What a voter is told, checked before anything is written."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from incumbent.consensus.api import Timing
from incumbent.errors import InvalidInput
from incumbent.ids import DiskId, make_node_id
from incumbent.node.node import Limits
from incumbent.runtime.access import Rule
from incumbent.runtime.frames import Address
from incumbent.runtime.tls import TlsFiles

VOTERS_MAX: Final = 7
NAME_CHARACTERS_MAX: Final = 64
PORT_MAX: Final = (1 << 16) - 1
COMMIT_DELAY_NS: Final = 1_000_000
"""A busy leader tells its followers of commits with the next entries instead of with messages of their own."""
HEARTBEAT_NS: Final = 50_000_000
ELECTION_NS: Final = 300_000_000
HEARTBEATS_PER_ELECTION_TIMEOUT_MIN: Final = 2


def timing(
    *, heartbeat_ns: int | None = None, election_ns: int | None = None, adaptive_ns: int | None = None
) -> Timing:
    """As a real cluster runs. The greatest election timeout is half as much again as the least: pre-votes are parked and ranked,
    so two who begin together cost a round trip and no election, and a wider draw would only delay the one that is needed. `adaptive_ns`: up to where the least one may follow round trips."""
    least_ns = ELECTION_NS if election_ns is None else election_ns
    return Timing(
        heartbeat_ns=HEARTBEAT_NS if heartbeat_ns is None else heartbeat_ns,
        election_timeout_min_ns=least_ns,
        election_timeout_max_ns=least_ns + least_ns // 2,
        adaptive_max_ns=0 if adaptive_ns is None else adaptive_ns,
        commit_delay_ns=COMMIT_DELAY_NS,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VoterConfig:
    cluster: str
    node: str
    data_dir: Path
    peers: Mapping[str, Address] = field(default_factory=dict)
    """Every voter by name, this one included: where the others reach it. The cluster forms once all of them are heard. Empty: an
    operator forms it, or adds this node."""
    listen: Address | None = None
    """Where to bind, when that is not this node's own address among the peers."""
    advertise: Address | None = None
    """Where the others reach this node, when it is not among the peers and that is not where it listens."""
    timing: Timing = field(default_factory=timing)
    limits: Limits = field(default_factory=Limits)
    priority: int = 0
    """Among voters that have everything, the highest should lead."""
    tls: TlsFiles | None = None
    """With it, every connection of this node shows certificates both ways (see `tls`)."""
    allow: tuple[Rule, ...] = ()
    """Who may take part in which election (see `access`); give every node the same."""
    insecure: bool = False
    """Without TLS, listening on anything but loopback has to be wanted."""

    @property
    def listen_address(self) -> Address:
        return self.listen if self.listen is not None else self.own_address

    @property
    def own_address(self) -> Address:
        """Where the others reach this node."""
        if self.node in self.peers:
            return self.peers[self.node]
        address = self.advertise if self.advertise is not None else self.listen
        assert address is not None
        return address


def check_config(config: VoterConfig) -> None:
    """Raises InvalidInput, naming the field and the fix. Touches nothing."""
    _check_name("cluster", config.cluster)
    _check_name("node", config.node)
    if len(config.peers) > VOTERS_MAX:
        raise InvalidInput("peers", f"are {len(config.peers)} voters", f"name 1 to {VOTERS_MAX}, best 3 or 5")
    if not config.peers and config.listen is None:
        raise InvalidInput("listen", "is missing, and there are no peers", "give host:port to listen on")
    if config.peers and config.node not in config.peers:
        raise InvalidInput(
            "peers", f"do not name this node, {config.node!r}", "name every voter, this one too"
        )
    for name, address in config.peers.items():
        _check_name("peers", name)
        _check_address("peers", address)
    if len(set(config.peers.values())) != len(config.peers):
        raise InvalidInput("peers", "two voters have one address", "give each its own")
    _check_address("listen", config.listen_address)
    if config.advertise is not None:
        _check_address("advertise", config.advertise)
    if config.tls is None and not config.insecure and not _is_loopback(config.listen_address[0]):
        raise InvalidInput(
            "listen",
            f"{_shown(config.listen_address)} is not loopback, and there is no TLS",
            "give tls_certificate, tls_key and tls_ca, listen on 127.0.0.1, or say insecure where every host of the network is trusted",
        )
    _check_timing(config.timing)


def bind(address: Address) -> socket.socket:
    """A listening socket. Raises InvalidInput when the address cannot be had."""
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InvalidInput(
                "listen",
                f"{_shown(address)} is in use",
                "stop the process that listens there, or choose another port",
            ) from error
        reason = os.strerror(error.errno) if error.errno is not None and error.errno > 0 else str(error)
        raise InvalidInput(
            "listen", f"{_shown(address)} cannot be bound: {reason}", "use an address of this host"
        ) from error


def _check_name(what: str, name: str) -> None:
    try:
        make_node_id(name, DiskId(""))
    except InvalidInput as error:
        raise InvalidInput(what, f"{name[:NAME_CHARACTERS_MAX]!r} is not a name", error.fix) from None
    if len(name) > NAME_CHARACTERS_MAX:
        raise InvalidInput(what, f"a name has {len(name)} characters", f"use at most {NAME_CHARACTERS_MAX}")


def _check_address(what: str, address: Address) -> None:
    host, port = address
    if not host or not 1 <= port <= PORT_MAX:
        raise InvalidInput(what, f"{_shown(address)} is no address", f"give host:port, port 1 to {PORT_MAX}")


def _check_timing(timing: Timing) -> None:
    least = HEARTBEATS_PER_ELECTION_TIMEOUT_MIN * timing.heartbeat_ns
    if not 0 < least <= timing.election_timeout_min_ns < timing.election_timeout_max_ns:
        raise InvalidInput(
            "timing",
            f"heartbeat {timing.heartbeat_ns} ns, election timeout {timing.election_timeout_min_ns} to "
            f"{timing.election_timeout_max_ns} ns",
            "make the least election timeout at least twice the heartbeat, and the greatest larger than the least",
        )
    if 0 < timing.adaptive_max_ns <= timing.election_timeout_min_ns:
        raise InvalidInput(
            "election_ms_max",
            f"{timing.adaptive_max_ns} ns is not above the least election timeout",
            "make it larger, or leave it away: the timeouts stay as they are then",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: where it leads is not ours to say
        return False


def _shown(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
