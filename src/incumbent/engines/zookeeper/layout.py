"""Where everything lies in ZooKeeper's tree, and how its names are read. PURE.

    <root>/<group>                                      a group: other libraries' candidates queue here too
    <root>/<group>/<who>__lock__<sequence>              a member, as kazoo's Lock names them
    <root>/<group>/_c_<who>-lock-<sequence>             a member, as Curator's InterProcessMutex does (?layout=curator)
    <root>/.incumbent/incarnation                       decimal
    <root>/.incumbent/sessions/<request>                one per session, ephemeral: whose renewal is a write to it
    <root>/.incumbent/groups/<group>                    the group's bell: written with every change that its own node hides
    <root>/.incumbent/groups/<group>/<cell>             a cell
    <root>/.incumbent/groups/<group>/<cell>/<writer>    the value of a large cell

`who` has 32 hexadecimal digits where others write a random uuid: the session, and the request. A retry finds its node by them,
and a node counts as ours only if its owner is the session that its name says (P3, P47).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from incumbent.engines.zookeeper.place import Layout
from incumbent.errors import Unsupported

OURS: Final = ".incumbent"
SEQUENCE_MAX: Final = (1 << 31) - (1 << 20)
"""ZooKeeper's counter has 31 bits and goes on below zero, where other libraries' comparison of texts fails."""
DIGITS: Final = 16
PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_ :;,+=@!()[]{}~.")
_SEQUENTIAL: Final = re.compile(r"\d{10}$")
_MEMBER: Final = {
    Layout.KAZOO: re.compile(r"^(.*__lock__)(-?\d{10})$", re.DOTALL),
    Layout.CURATOR: re.compile(r"^(.*lock-)(-?\d{10})$", re.DOTALL),
}
_OURS: Final = {
    Layout.KAZOO: re.compile(r"^([0-9a-f]{16})[0-9a-f]{16}__lock__$"),
    Layout.CURATOR: re.compile(r"^_c_([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4})-[0-9a-f]{4}-[0-9a-f]{12}-lock-$"),
}


@dataclass(frozen=True, slots=True)
class Tree:
    """Paths under one root."""

    root: str

    @property
    def home(self) -> str:
        return f"{self.root}/{OURS}"

    @property
    def incarnation(self) -> str:
        return f"{self.home}/incarnation"

    @property
    def sessions(self) -> str:
        return f"{self.home}/sessions"

    @property
    def groups(self) -> str:
        return f"{self.home}/groups"

    def session(self, request_id: str) -> str:
        return f"{self.sessions}/{_digest(request_id)}"

    def group(self, group: str) -> str:
        return f"{self.root}/{escape(group)}"

    def member(self, group: str, member: str) -> str:
        return f"{self.group(group)}/{member}"

    def bell(self, group: str) -> str:
        return f"{self.groups}/{escape(group)}"

    def cell(self, group: str, name: str) -> str:
        return f"{self.bell(group)}/{escape(name)}"


@dataclass(frozen=True, slots=True)
class Seat:
    """A node in a group's queue."""

    name: str
    sequence: int
    session: int | None  # whom the name says; None: not our way of naming


def escape(name: str) -> str:
    """One node's name for one name, and never the same for two. Most stay as they are, so that others find them (P5)."""
    escaped = "".join(chr(byte) if byte in PLAIN else f"%{byte:02X}" for byte in name.encode())
    return f"%2E{escaped[1:]}" if escaped.startswith(".") else escaped


def member_prefix(layout: Layout, session: int, request_id: str) -> str:
    """What a member's node is called before ZooKeeper adds the sequence."""
    who = f"{session:0{DIGITS}x}{_digest(request_id)[:DIGITS]}"
    if layout is Layout.KAZOO:
        return f"{who}__lock__"
    return f"_c_{who[:8]}-{who[8:12]}-{who[12:16]}-{who[16:20]}-{who[20:]}-lock-"


def read_member(layout: Layout, name: str) -> Seat | None:
    """A queue's node by its name, or None when it is none of that layout."""
    found = _MEMBER[layout].match(name)
    if found is None:
        return None
    ours = _OURS[layout].match(found[1])
    return Seat(name, int(found[2]), int(ours[1].replace("-", ""), 16) if ours else None)


def queue(layout: Layout, names: Iterable[str]) -> list[Seat]:
    """The group's members in order. Nodes without a sequence are somebody's children, and no candidates.

    Raises Unsupported when candidates of another layout stand there, or the sequence is about to run over: then nobody can
    say who is first.
    """
    seats = list[Seat]()
    for name in names:
        seat = read_member(layout, name)
        if seat is not None:
            seats.append(seat)
        elif _SEQUENTIAL.search(name):
            other = Layout.CURATOR if layout is Layout.KAZOO else Layout.KAZOO
            raise Unsupported(
                f"{name[:80]!r} is no candidate of the {layout} layout: one election uses one layout, and others in it "
                f"mean two leaders. Open it with ?layout={other}, or give the election another name"
            )
    for seat in seats:
        check_sequence(seat.sequence)
    return sorted(seats, key=lambda seat: seat.sequence)


def check_sequence(sequence: int) -> None:
    """Raises Unsupported near the end of ZooKeeper's counter."""
    if not 0 <= sequence < SEQUENCE_MAX:
        raise Unsupported(
            f"the group's sequence has come to {sequence}, and ZooKeeper's counter runs over at {1 << 31}: let all "
            f"candidates leave and delete the group's node; tokens still rise"
        )


def decode_incarnation(stored: bytes) -> int:
    return int(stored)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
