r"""Where everything lies in the machine's keys. PURE.

    group NUL <group> NUL m NUL <lease id, 16 hexadecimal digits>     a member, attached to its session's lease
    group NUL <group> NUL c NUL <cell>                                a cell, attached to nothing
    meta/incarnation                                                  decimal; absent = 0

Names may hold any character but NUL, so NUL ends them: no name is ever part of another's keys, whatever it is made of (P5).
A group's members are in the order of their create revisions. A cell's version is its key's own version, which counts the
puts since the key was created; a deleted cell keeps its key, so the version never falls.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from incumbent.errors import InvariantViolated, invariant
from incumbent.ids import LeaseId
from incumbent.kv.api import GROUP_PREFIX, prefix_end

INCARNATION_KEY: Final = b"meta/incarnation"
WRITER_BYTES: Final = 16
_MEMBER_DIGITS: Final = 16
_LEASE_BITS: Final = 63
_ABSENT: Final = b"\0"
_PRESENT: Final = b"\1"


class KeyRange(NamedTuple):
    key: bytes
    end: bytes


def group_range(group: str) -> KeyRange:
    """All keys of a group: what its watchers watch."""
    return _range(GROUP_PREFIX + b"%b\0" % group.encode())


def members_range(group: str) -> KeyRange:
    return _range(GROUP_PREFIX + b"%b\0m\0" % group.encode())


def member_key(group: str, member: str) -> bytes:
    return members_range(group).key + member.encode()


def cell_key(group: str, name: str) -> bytes:
    return GROUP_PREFIX + b"%b\0c\0%b" % (group.encode(), name.encode())


def member_id(lease: LeaseId) -> str:
    """A member's id is its session's lease: one member per session and group, by construction."""
    return f"{lease:0{_MEMBER_DIGITS}x}"


def lease_of(member: str) -> LeaseId | None:
    """The lease of a member's id; None when that is no id of ours."""
    if len(member) != _MEMBER_DIGITS or not all(c in "0123456789abcdef" for c in member):
        return None
    lease = int(member, 16)
    return LeaseId(lease) if 0 < lease < 1 << _LEASE_BITS else None


def lease_for(request_id: str) -> LeaseId:
    """The session's lease is drawn from the request that opens it, so a retry finds its own (P3)."""
    digest = hashlib.sha256(b"incumbent session\0" + request_id.encode(errors="surrogatepass")).digest()
    return LeaseId(max(1, int.from_bytes(digest[:8], "big") >> 1))


def encode_cell(value: bytes | None, writer: bytes) -> bytes:
    """A cell as it is stored. `writer` names the step that wrote it, so that who lost the answer can tell its own write
    from another's, even of the same value."""
    invariant(len(writer) == WRITER_BYTES, "a writer has its size", size=len(writer))
    return (_ABSENT if value is None else _PRESENT) + writer + (value or b"")


def decode_cell(stored: bytes) -> tuple[bytes | None, bytes]:
    """The value (None = deleted) and the writer."""
    kind, writer, value = stored[:1], stored[1 : 1 + WRITER_BYTES], stored[1 + WRITER_BYTES :]
    if kind not in (_ABSENT, _PRESENT) or len(writer) != WRITER_BYTES or (kind == _ABSENT and value):
        raise InvariantViolated(f"a cell's {len(stored)} bytes are not what encode_cell writes")
    return (value if kind == _PRESENT else None), writer


def decode_incarnation(stored: bytes) -> int:
    return int(stored)


def _range(prefix: bytes) -> KeyRange:
    end = prefix_end(prefix)
    assert end is not None  # our prefixes end with NUL
    return KeyRange(prefix, end)
