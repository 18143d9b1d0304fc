"""PURE. What operators have said about an election: one cell of its group, read by everybody before leading.

One cell and not several, so that it is read in one step and changed under one version. It holds what is true until
somebody lifts it (a pause, drained candidates), who is to lead next, and one thing that is asked of one member.
"""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import Cell
from incumbent.errors import EngineError

CONTROL_CELL: Final = "incumbent.control"
DRAINED_MAX: Final = 256
"""Candidates that can be drained at one time."""
WHY_CHARS_MAX: Final = 200


class Paused(msgspec.Struct, frozen=True, omit_defaults=True):
    """Nobody begins to lead. Who leads goes on."""

    by: str = ""
    why: str = ""
    at_ms: int = 0  # by the wall clock of who said so, for people


class Successor(msgspec.Struct, frozen=True):
    """This very member is to lead next; those in front of it make room. Void once it has gone."""

    id: str
    order: int
    candidate: str
    handover: str  # names the hand-over that it is to be warm for; "" = as it is, by `anoint`


class Ask(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of the member that leads. Void once that one has gone."""

    id: str
    order: int
    verb: str  # "resign", "evict" or "handover"
    request: str  # names it, for the answer
    to: str = ""  # of a hand-over: to whom; "" = whoever is best
    warm_s: float = 0.0
    drain_s: float = 0.0


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a request."""

    request: str
    refused: str = ""  # the code of why not
    candidate: str = ""


class Control(msgspec.Struct, frozen=True, omit_defaults=True):
    paused: Paused | None = None
    drained: tuple[str, ...] = ()  # candidates by name, sorted
    successor: Successor | None = None
    ask: Ask | None = None
    answer: Answer | None = None


NOTHING_SAID: Final = Control()
_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Control]] = msgspec.json.Decoder(Control)


def encode(control: Control) -> bytes:
    return _encoder.encode(control)


def read(cell: Cell) -> Control:
    """Raises EngineError when it cannot be read: a pause that is not understood must not be overlooked."""
    if cell.value is None:
        return NOTHING_SAID
    try:
        return _decoder.decode(cell.value)
    except msgspec.DecodeError as error:
        raise EngineError(f"the cell {CONTROL_CELL} cannot be read: {error}") from error
