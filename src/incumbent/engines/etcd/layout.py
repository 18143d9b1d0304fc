"""Where everything lies in an etcd's keys. PURE.

    <root><group>/<lease in hexadecimal>                  a member, attached to its session's lease: as etcd's own recipe has it
    <root>%incumbent/cells/<group>/<cell>                 a cell, attached to nothing
    <root>%incumbent/sessions/<lease>                     the session itself, attached to its lease
    <root>%incumbent/left/<lease>/<group>                 when that session left that group last, attached to its lease
    <root>%incumbent/incarnation                          decimal; absent = 0

The root is the URL's path with a slash behind it, or nothing. In names, "%" and "/" are written %25 and %2F, so no name is part
of another's keys (P5). With `plain` a group's name stands as it is, so that groups of others whose names hold a slash can be
shared; then a group may lie below another one. Only keys one level below a group are its members, whoever wrote them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, NamedTuple

from incumbent.errors import InvalidInput
from incumbent.ids import LeaseId
from incumbent.kv.api import prefix_end

OWN: Final = "%incumbent/"
"""No escaped name begins so."""
_MARK: Final = 0x494E  # "IN"
_HASH_BITS: Final = 48
_DIGITS: Final = 16


class KeyRange(NamedTuple):
    key: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class Layout:
    root: str
    plain: bool = False

    def members(self, group: str) -> KeyRange:
        if self.plain and group.startswith(OWN):
            raise InvalidInput("group", f"begins with {OWN!r}", "that is where this engine keeps its own")
        return _below(self.root + (group if self.plain else escaped(group)))

    def member_key(self, group: str, member: str) -> bytes:
        return self.members(group).key + member.encode(errors="replace")

    @property
    def incarnation_key(self) -> bytes:
        return self._own("incarnation")

    def session_key(self, lease: LeaseId) -> bytes:
        return self._own(f"sessions/{member_id(lease)}")

    def left_key(self, lease: LeaseId, group: str) -> bytes:
        return self._own(f"left/{member_id(lease)}/{escaped(group)}")

    def cells(self, group: str) -> KeyRange:
        return _below(self.root + f"{OWN}cells/{escaped(group)}")

    def cell_key(self, group: str, name: str) -> bytes:
        return self.cells(group).key + escaped(name).encode()

    def _own(self, name: str) -> bytes:
        return f"{self.root}{OWN}{name}".encode()


def escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def lease_for(request_id: str, number: int) -> LeaseId:
    """The session's lease is drawn from the request that opens it, so a retry finds its own (P3). `number` counts the ids that
    were somebody else's. What begins with "IN" is ours: etcd draws its own ids from its member's and the time."""
    digest = hashlib.sha256(
        f"incumbent session {number} {request_id}".encode(errors="surrogatepass")
    ).digest()
    return LeaseId(_MARK << _HASH_BITS | int.from_bytes(digest[: _HASH_BITS // 8], "big"))


def member_id(lease: LeaseId) -> str:
    """A member's id is its session's lease: one member per session and group, by construction."""
    return f"{lease:x}"


def lease_of(member: str) -> LeaseId | None:
    """The lease of a member's id; None when that is no id of ours."""
    if len(member) != _DIGITS or not all(c in "0123456789abcdef" for c in member):
        return None
    lease = int(member, 16)
    return LeaseId(lease) if lease >> _HASH_BITS == _MARK else None


def _below(stem: str) -> KeyRange:
    prefix = stem.encode() + b"/"
    return KeyRange(prefix, _end(prefix))


def _end(prefix: bytes) -> bytes:
    end = prefix_end(prefix)
    assert end is not None  # our prefixes end with a slash
    return end
