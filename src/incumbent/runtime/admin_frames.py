"""What an operator can ask of one voter, and what it is told. Part of the wire: see `frames`."""

from __future__ import annotations

import msgspec

from incumbent.ids import NodeId

Host = tuple[str, int]


class Initialize(msgspec.Struct, frozen=True, array_like=True, tag="initialize"):
    """Form the cluster with exactly these voters. Each node is told the same."""

    voters: tuple[NodeId, ...]
    witnesses: tuple[NodeId, ...]
    addresses: tuple[tuple[str, Host], ...]


class Inspect(msgspec.Struct, frozen=True, array_like=True, tag="inspect"):
    """Everything about this voter, for people and for other verbs."""


class ChangeMembers(msgspec.Struct, frozen=True, array_like=True, tag="change-members"):
    """The membership that is wanted, whole. Only the leader takes it up."""

    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...]
    witnesses: tuple[NodeId, ...]
    addresses: tuple[tuple[str, Host], ...]  # of who is new


class HandOver(msgspec.Struct, frozen=True, array_like=True, tag="hand-over"):
    """Give leadership to this voter. Only the leader takes it up."""

    to: NodeId


class TakeSnapshot(msgspec.Struct, frozen=True, array_like=True, tag="take-snapshot"):
    """Take a snapshot of the machine now, forget the log that it stands for, and keep it for `FetchState`."""


class FetchState(msgspec.Struct, frozen=True, array_like=True, tag="fetch-state"):
    """A piece of the state in the snapshot that was taken last, from `offset` on."""

    index: int
    offset: int


class TakeDigest(msgspec.Struct, frozen=True, array_like=True, tag="take-digest"):
    """The digest of this voter's state now, and the newest on which a majority agrees."""


Verb = Initialize | Inspect | ChangeMembers | HandOver | TakeSnapshot | FetchState | TakeDigest


class Ask(msgspec.Struct, frozen=True, array_like=True, tag="ask"):
    id: int  # drawn by the operator's side, unique on its connection
    verb: Verb


class Told(msgspec.Struct, frozen=True, array_like=True, tag="told"):
    """`problem` says why nothing was done; `unknown` that it may have been. Else `report` is JSON, or a piece of a snapshot."""

    id: int
    report: bytes = b""
    problem: str = ""
    retry: bool = False  # the same may be possible a little later
    leader: str = ""  # whom to ask instead
    unknown: bool = False
