"""Who leads, read from a roster; and how a candidate's name and value share a member's value.

A member's value is the candidate's name, then NUL and the candidate's own bytes where there are any. So a candidate
without a value looks as other languages' libraries write theirs, and theirs can be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Literal, TypeAlias

from incumbent.engines.api import MEMBER_VALUE_BYTES_MAX, Entry, Roster
from incumbent.errors import InvalidInput

SEPARATOR: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as an observer sees it."""

    candidate: str
    token: int
    value: bytes = b""  # what it said in campaign(value=…)


class Unknown(Enum):
    """Contact was lost: nobody here can tell who leads. Not the same as None, which is: nobody."""

    UNKNOWN = "unknown"

    def __bool__(self) -> Literal[False]:
        return False


UNKNOWN: Final = Unknown.UNKNOWN

Sighting: TypeAlias = Leader | Unknown | None


def member_value(candidate: str, value: bytes) -> bytes:
    """Raises InvalidInput when both together do not fit a member's value."""
    joined = candidate.encode() + (SEPARATOR + value if value else b"")
    if len(joined) > MEMBER_VALUE_BYTES_MAX:
        room = MEMBER_VALUE_BYTES_MAX - len(candidate.encode()) - 1
        raise InvalidInput(
            "value", f"has {len(value)} bytes", f"beside this candidate's name, at most {room} fit"
        )
    return joined


def candidate_of(member: Entry) -> str:
    """The name under which a member stands."""
    return member.value.partition(SEPARATOR)[0].decode(errors="replace")


def leader_of(roster: Roster) -> Leader | None:
    """The first member, once the engine says with which token it leads; None when nobody does."""
    if not roster.members or roster.token is None:
        return None
    first = roster.members[0]
    return Leader(candidate_of(first), roster.token, first.value.partition(SEPARATOR)[2])
