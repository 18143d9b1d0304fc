"""A recorded history: JSON lines, one event each. The format is documented in docs/reference/history.md. PURE.

Who records writes lines as things happen; this module only reads them. Times are nanoseconds of one host's suspend-aware
clock, so that lines of several processes can be put in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from incumbent.errors import InvalidInput


class Kind(StrEnum):
    # What a candidate's process says of itself.
    ELECTED = "elected"  # a term begins: token, deadline_ns
    EXTENDED = "extended"  # a renewal was confirmed: token, deadline_ns
    JEOPARDY = "jeopardy"  # a renewal is overdue, the term still holds: token
    ENDED = "ended"  # the term is over: token, reason
    ACTING = "acting"  # the process passed its own check and is about to act: token
    # What a resource says.
    ACCEPTED = "accepted"  # a write was done: token
    REFUSED = "refused"  # a write was refused: token, highest
    # What an operator or a test did to a process.
    KILLED = "killed"
    STOPPED = "stopped"
    CONTINUED = "continued"


OF_A_CANDIDATE: Final = {Kind.ELECTED, Kind.EXTENDED, Kind.JEOPARDY, Kind.ENDED, Kind.ACTING}
OF_A_RESOURCE: Final = {Kind.ACCEPTED, Kind.REFUSED}
DIGITS_MAX: Final = 19  # of a token, which is below 2**63
WITH_DEADLINE: Final = {Kind.ELECTED, Kind.EXTENDED}


@dataclass(frozen=True, slots=True)
class Event:
    kind: Kind
    time_ns: int
    line: int  # where it stands in the history, for messages
    election: str = ""
    candidate: str = ""
    process: str = ""  # names one start of one process, for example "pid@start time"
    token: int = 0
    deadline_ns: int = 0
    highest: int = 0
    reason: str = ""


def parse(lines: Iterable[str]) -> Sequence[Event]:
    """The events of a history, in order of time. Blank lines are skipped.

    Raises InvalidInput that names the line and the field.
    """
    events = [_event(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    return sorted(events, key=lambda event: event.time_ns)  # stable: equal times keep their order


def _event(number: int, line: str) -> Event:
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(
            f"line {number}", f"is no JSON ({error})", "give one JSON object per line"
        ) from error
    if not isinstance(fields, Mapping):
        raise InvalidInput(f"line {number}", "is no JSON object", "give one JSON object per line")
    try:
        kind = Kind(str(fields.get("event")))
    except ValueError as error:
        known = ", ".join(Kind)
        raise InvalidInput(
            f"line {number}, event", f"{fields.get('event')!r} is unknown", f"use one of {known}"
        ) from error
    take = _Taker(number, fields)
    return Event(
        kind,
        take.integer("time_ns"),
        number,
        election=take.text("election") if kind in OF_A_CANDIDATE | OF_A_RESOURCE else "",
        candidate=take.text("candidate") if kind in OF_A_CANDIDATE else "",
        process=take.text("process") if kind not in OF_A_RESOURCE else "",
        token=take.integer("token") if kind in OF_A_CANDIDATE | OF_A_RESOURCE else 0,
        deadline_ns=take.integer("deadline_ns") if kind in WITH_DEADLINE else 0,
        highest=take.integer("highest") if kind is Kind.REFUSED else 0,
        reason=take.text("reason") if kind is Kind.ENDED else "",
    )


@dataclass(frozen=True, slots=True)
class _Taker:
    number: int
    fields: Mapping[str, Any]

    def integer(self, name: str) -> int:
        value = self.fields.get(name)
        # Tokens may stand as text: JSON readers that use doubles lose bits above 2**53.
        if name in ("token", "highest") and isinstance(value, str) and _is_number(value):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise InvalidInput(
                f"line {self.number}, {name}", f"{value!r} is no whole number", "give one, 0 or more"
            )
        return value

    def text(self, name: str) -> str:
        value = self.fields.get(name)
        if not isinstance(value, str) or not value:
            raise InvalidInput(
                f"line {self.number}, {name}", f"{value!r} is no name", "give a text that is not empty"
            )
        return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= DIGITS_MAX
