"""PURE. Who leads, and who stands, read from a roster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal, TypeAlias

from incumbent.engines.api import Roster
from incumbent.leadership.control import NOTHING_SAID, Control
from incumbent.leadership.history import Record, is_open
from incumbent.leadership.preference import Code, Queued, obstacle, queue_of


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as an observer sees it."""

    candidate: str
    token: int
    value: bytes = b""  # what it said in campaign(value=…) or proclaim(…)


class Unknown(Enum):
    """Contact was lost: nobody here can tell who leads. Not the same as None, which is: nobody."""

    UNKNOWN = "unknown"

    def __bool__(self) -> Literal[False]:
        return False


UNKNOWN: Final = Unknown.UNKNOWN

Sighting: TypeAlias = Leader | Unknown | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Somebody who stands."""

    candidate: str
    position: int  # 1 is the first of the queue
    leads: bool
    priority: int
    eligible: bool  # what it says of itself
    drained: bool  # what operators say of it
    ours: bool  # False: of another library, which can be asked for nothing
    value: bytes
    tags: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Present:
    """An election as it was at one look."""

    leader: Leader | None
    candidates: tuple[Candidate, ...]
    control: Control


def leads(
    queue: Sequence[Queued], token: int | None, control: Control, records: tuple[Record, ...]
) -> Queued | None:
    """Who leads. The first member does, but for one that must not begin: then it must have said that it had begun before."""
    if not queue or token is None:
        return None
    first = queue[0]
    if in_doubt(queue, control) and not is_open(records, token):
        return None
    return first


def in_doubt(queue: Sequence[Queued], control: Control) -> bool:
    """Whether the first member may be one that waits although it is first. Only the history can tell, so it has to be read."""
    return bool(queue) and (control.paused is not None or obstacle(queue[0], control) is not None)


def leader_of(
    roster: Roster, control: Control = NOTHING_SAID, records: tuple[Record, ...] = ()
) -> Leader | None:
    """Once the engine says with which token the first member leads; None when nobody does."""
    first = leads(queue_of(roster), roster.token, control, records)
    return (
        None if first is None or roster.token is None else Leader(first.candidate, roster.token, first.value)
    )


def candidates_of(roster: Roster, control: Control, records: tuple[Record, ...]) -> tuple[Candidate, ...]:
    """All who stand, in order."""
    queue = queue_of(roster)
    leader = leads(queue, roster.token, control, records)
    return tuple(
        Candidate(
            candidate=one.candidate,
            position=position,
            leads=one == leader,
            priority=one.priority,
            eligible=obstacle(one, NOTHING_SAID) is not Code.INELIGIBLE,
            drained=obstacle(one, control) is Code.DRAINED,
            ours=one.standing is not None,
            value=one.value,
            tags={} if one.standing is None else one.standing.tags,
        )
        for position, one in enumerate(queue, 1)
    )
