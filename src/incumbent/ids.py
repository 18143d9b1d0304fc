"""The names of things: an index is not a count, a term is not a token.

Also the one place where a fencing token is put together and taken apart (DESIGN §2).
"""

from __future__ import annotations

from typing import Final, NewType

from incumbent.errors import InvalidInput, invariant

NodeId = NewType("NodeId", str)
"""A voter of a consensus cluster: ``name.disk``. The disk's id is part of the identity, so a node whose disk was
wiped is a different voter and can never vote as its former self (P55)."""
DiskId = NewType("DiskId", str)
"""Drawn once when a data directory is made: 12 hexadecimal digits."""
ClusterName = NewType("ClusterName", str)

Term = NewType("Term", int)
Index = NewType("Index", int)
Revision = NewType("Revision", int)
LeaseId = NewType("LeaseId", int)
RequestId = NewType("RequestId", int)
"""Names one request inside one process; never stored, never sent."""
Token = NewType("Token", int)
"""A fencing token: positive, below 2**63, compared as an integer and never as a double."""

TOKEN_NATIVE_BITS: Final = 56
TOKEN_INCARNATION_MAX: Final = (1 << 7) - 1
TOKEN_NATIVE_MAX: Final = (1 << TOKEN_NATIVE_BITS) - 1


def make_token(incarnation: int, native: int) -> Token:
    """Join 7 bits of incarnation and 56 bits of the engine's own number into one token that only rises."""
    invariant(
        0 <= incarnation <= TOKEN_INCARNATION_MAX, "the incarnation fits 7 bits", incarnation=incarnation
    )
    invariant(0 < native <= TOKEN_NATIVE_MAX, "the native number fits 56 bits", native=native)
    return Token(incarnation << TOKEN_NATIVE_BITS | native)


def split_token(token: int) -> tuple[int, int]:
    """Take a token apart into (incarnation, native number)."""
    return token >> TOKEN_NATIVE_BITS, token & TOKEN_NATIVE_MAX


def make_node_id(name: str, disk: DiskId) -> NodeId:
    """Name a voter by its node name and its disk.

    Raises InvalidInput when the name is empty or holds anything but letters, digits, ``-`` and ``_``.
    """
    if not name or not all(c.isascii() and (c.isalnum() or c in "-_") for c in name):
        raise InvalidInput("node", f"{name!r} is not a node name", "use ASCII letters, digits, '-' and '_'")
    return NodeId(f"{name}.{disk}")


def name_of(node: NodeId) -> str:
    """The node's name without its disk, for people."""
    return node.partition(".")[0]
