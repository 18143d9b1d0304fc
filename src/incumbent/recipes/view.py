"""The view of a ring: which nodes it has, and who owns which key. Pure computation.

Ownership is rendezvous hashing: for each key every node draws a number, and the highest draw owns the key. Adding a node to
n others moves only the keys that it wins, 1 in n + 1 of them; removing one moves only the keys that it owned (P68). The draw
is BLAKE2b over bytes and compared as an integer, so all nodes compute the same owner on every platform and in every version
(P66). Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from incumbent.errors import InvalidInput

NODES_MAX = 1024
"""A view lists at most this many nodes: it is one cell, read and written whole."""


@dataclass(frozen=True, slots=True)
class View:
    """Who is in the ring. Two views with one epoch are equal: the epoch changes if and only if the content does."""

    epoch: int  # the version of the cell that holds the view: rises with every write, whoever leads
    token: int  # of the coordinator that wrote it
    nodes: tuple[str, ...]  # sorted, each once

    def owner(self, key: bytes) -> str | None:
        """The node that owns `key` in this view; None when the ring is empty."""
        return max(self.nodes, key=lambda node: (_draw(key, node), node), default=None)

    def owners(self, key: bytes, count: int) -> tuple[str, ...]:
        """The owner and the nodes next in line, at most `count`: where copies of `key` belong."""
        return tuple(sorted(self.nodes, key=lambda node: (_draw(key, node), node), reverse=True)[:count])


def _draw(key: bytes, node: str) -> int:
    name = node.encode()
    # The length goes first, so that no (node, key) pair can look like another.
    material = len(name).to_bytes(4, "big") + name + key
    return int.from_bytes(hashlib.blake2b(material, digest_size=8).digest(), "big")


def encode(token: int, nodes: tuple[str, ...]) -> bytes:
    """A view's content as it stands in its cell. The token is text: JSON numbers lose bits above 2**53.

    Raises InvalidInput for more than NODES_MAX nodes.
    """
    if len(nodes) > NODES_MAX:
        raise InvalidInput(
            "nodes", f"{len(nodes)} nodes are too many for one ring", f"use at most {NODES_MAX}"
        )
    return json.dumps({"token": str(token), "nodes": sorted(set(nodes))}, separators=(",", ":")).encode()


def decode(value: bytes, epoch: int) -> View:
    """The view that `encode` wrote. Raises InvalidInput when the cell holds something else."""
    try:
        content = json.loads(value)
        return View(epoch, int(content["token"]), tuple(str(node) for node in content["nodes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            "cell", "does not hold the view of a ring", "use another election name for the ring"
        ) from error
