"""Ports for voters that must know each other's addresses before any of them listens, also across restarts."""

from __future__ import annotations

import random
import socket

from incumbent.runtime.frames import Address

EPHEMERAL_PORTS_MIN = 32768
"""Linux hands these to outgoing connections, so a port above could be taken while its voter is down."""


def free_addresses(*names: str) -> dict[str, Address]:
    """A free loopback port per name, out of the range that outgoing connections take theirs from."""
    found: dict[str, Address] = {}
    while len(found) < len(names):
        port = random.SystemRandom().randrange(10_000, EPHEMERAL_PORTS_MIN)
        try:
            with socket.create_server(("127.0.0.1", port)):
                found[names[len(found)]] = ("127.0.0.1", port)
        except OSError:
            continue
    return found
