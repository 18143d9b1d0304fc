"""How a cluster comes to be, and who may speak in it. PURE: decisions only; `transport` carries, `voter` acts.

A node with an empty disk never votes and never forms a cluster by itself. There are three ways in:

- It was configured with all voters' names, and hears, over live connections, EVERY one of them, and each is forming too or was
  formed with exactly the disks that are heard now.
- An operator tells each node the whole membership, disks included (`cluster init`).
- It hears a voter that names its disk as a member: an operator has added it (`cluster add`, `cluster replace`).

Why every one, although a majority could vote: a wiped disk must meet a survivor. Let a quorum have acknowledged a write and
then lose fewer disks than that quorum has. The wiped node comes back with a new disk, hears everyone, so also a survivor,
and that survivor was formed with the old disk: it refuses, and the new disk never counts (P55). Were one formed witness enough,
a witness that formed from stale hellos could lead a new disk past a quorum that it never met.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from incumbent.consensus.api import Membership
from incumbent.errors import IdentityMismatch, invariant
from incumbent.ids import NodeId, name_of
from incumbent.kv.api import LEVEL
from incumbent.runtime.frames import (
    WIRE_VERSION_MAX,
    WIRE_VERSION_MIN,
    Address,
    Hello,
    Kind,
    Refuse,
    RefuseCode,
)

DISK_ID_DIGITS: Final = 12
NAMES_SHOWN_MAX: Final = 8


@dataclass(frozen=True, slots=True)
class Form:
    """Write this membership, with which the cluster is or was formed, then start."""

    membership: Membership


@dataclass(frozen=True, slots=True)
class Wait:
    """Not yet. `why` is for people."""

    why: str


def peer_hello(
    cluster: str,
    node: str,
    disk: str,
    names: Iterable[str],
    first: Membership | None,
    members: Iterable[NodeId] = (),
    addresses: Mapping[str, Address] = MappingProxyType({}),
) -> Hello:
    """What a voter says of itself. `first` is the membership with which its cluster was formed, `members` who is one now."""
    own_first = sorted(addresses.items(), key=lambda item: (item[0] != node, item[0]))
    return Hello(
        versions=(WIRE_VERSION_MIN, WIRE_VERSION_MAX),
        kind=Kind.PEER,
        cluster=cluster,
        node=node,
        disk=disk,
        names=tuple(sorted(names)),
        voters=None if first is None else tuple(sorted(first.voters)),
        witnesses=() if first is None else tuple(sorted(first.witnesses)),
        members=tuple(sorted(members)) if first is None or members else tuple(sorted(first.everyone)),
        addresses=tuple(own_first),
        level=LEVEL,
    )


def client_hello(cluster: str, secrets: Sequence[str] = ()) -> Hello:
    """Of a client of this cluster; empty: of whichever answers."""
    versions = WIRE_VERSION_MIN, WIRE_VERSION_MAX
    return Hello(versions, Kind.CLIENT, cluster, secrets=tuple(secrets))


def id_of(hello: Hello) -> NodeId:
    """The voter that `hello` introduces. It comes from outside, so it may name nobody that exists."""
    return NodeId(f"{hello.node}.{hello.disk}")


def examine(mine: Hello, theirs: Hello) -> Refuse | None:
    """Why the speaker of `theirs` must not be talked to; None when all is well.

    NB a forming node finds nothing wrong with a formed one that does not know its disk: the fault is then its own, and
    `decide` says so.
    """
    if theirs.kind is Kind.CLIENT and not theirs.cluster:
        return None  # it takes whichever cluster answers
    if theirs.cluster != mine.cluster:
        return Refuse(
            RefuseCode.IDENTITY,
            "cluster",
            f"node {mine.node} belongs to cluster {mine.cluster!r}, not {_shown(theirs.cluster)}",
            "check the cluster's name and the address",
        )
    if theirs.kind is Kind.CLIENT:
        return None
    if not _is_disk(theirs.disk):
        return Refuse(
            RefuseCode.PROTOCOL, "disk", f"{_shown(theirs.disk)} is no disk id", "speak our protocol"
        )
    if theirs.node == mine.node:
        return Refuse(
            RefuseCode.INPUT,
            "node",
            f"two nodes are called {mine.node!r}, or its address is given as another's",
            "give each node its own name and address",
        )
    if mine.voters is not None and theirs.voters is not None and theirs.voters != mine.voters:
        if set(map(name_of, theirs.voters)) == set(map(name_of, mine.voters)):
            return _two_clusters(mine, theirs)
        return _unknown_disk(mine.members, theirs)
    if mine.voters is not None:
        # Whoever has our first membership was a member once. It may know better than we do that it is one now: refused, it
        # could never tell us. Votes and logs decide what it may do.
        known = theirs.voters is not None or id_of(theirs) in mine.members
        return None if known else _unknown_disk(mine.members, theirs)
    if theirs.voters is not None or not mine.names:
        return None  # `decide` finds out whether we take part
    if theirs.names != mine.names:
        return Refuse(
            RefuseCode.INPUT,
            "peers",
            f"node {mine.node} is configured with {', '.join(mine.names)}; node {_shown(theirs.node)} with "
            + ", ".join(map(_shown, theirs.names[:NAMES_SHOWN_MAX])),
            "configure every node with the same peers",
        )
    if theirs.node not in mine.names:
        return Refuse(
            RefuseCode.INPUT,
            "node",
            f"{_shown(theirs.node)} is none of {', '.join(mine.names)}",
            "configure every node with the same peers",
        )
    return None


def decide(mine: Hello, heard: Mapping[str, Hello]) -> Form | Wait:
    """What a forming node does, given the newest hello of each peer with which it has a live connection.

    Raises IdentityMismatch when the cluster has no place for this disk: this node can then never take part.
    """
    me = id_of(mine)
    for hello in heard.values():
        if hello.voters is None or me in hello.voters:
            continue
        if me in hello.members:
            return Form(first_of(hello))
        if mine.names:
            refuse = _unknown_disk(hello.members, mine)
            raise IdentityMismatch(f"node {hello.node} says: {refuse.problem}; {refuse.fix}")
    if not mine.names:
        return Wait("an operator has to form the cluster (cluster init), or to add this node (cluster add)")
    missing = [name for name in mine.names if name != mine.node and name not in heard]
    if missing:
        return Wait(f"not heard yet: {', '.join(missing)}")
    voters = tuple(sorted([me, *map(id_of, heard.values())]))
    for name, hello in sorted(heard.items()):
        if hello.voters is not None and hello.voters != voters:
            strangers = ", ".join(sorted(set(voters) - set(hello.voters)))
            return Wait(f"node {name} was formed with {', '.join(hello.voters)}; unknown there: {strangers}")
    return Form(Membership(frozenset(voters)))


def first_of(hello: Hello) -> Membership:
    """The membership with which the speaker's cluster was formed."""
    invariant(hello.voters is not None, "the speaker's cluster was formed", hello=hello)
    return Membership(frozenset(hello.voters or ()), witnesses=frozenset(hello.witnesses))


def _two_clusters(mine: Hello, theirs: Hello) -> Refuse:
    return Refuse(
        RefuseCode.IDENTITY,
        "voters",
        f"node {mine.node} was formed with {', '.join(mine.voters or ())}; node {_shown(theirs.node)} with others",
        "two clusters were formed under one name: keep the data directories of one of them",
    )


def _unknown_disk(members: tuple[NodeId, ...], theirs: Hello) -> Refuse:
    for member in members:
        if name_of(member) == theirs.node:
            known = member.partition(".")[2]
            return Refuse(
                RefuseCode.IDENTITY,
                "data_dir",
                f"disk {theirs.disk} is new; the cluster knows node {theirs.node} with disk {known}",
                "restore the old disk, or replace the node (cluster replace)",
            )
    return Refuse(
        RefuseCode.IDENTITY,
        "node",
        f"the cluster consists of {', '.join(map(name_of, members))}, without {_shown(theirs.node)}",
        "add the node (cluster add)",
    )


def _is_disk(text: str) -> bool:
    return len(text) == DISK_ID_DIGITS and all(c in "0123456789abcdef" for c in text)


def _shown(text: str) -> str:
    """Text from outside, short and printable."""
    return repr(text[:64])
