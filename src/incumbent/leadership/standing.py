"""PURE. What a candidate says of itself for the others to prefer it by, and how it shares the member's value.

A member's value is one of

    name                                    a candidate that says no more; other languages' libraries write theirs like this
    name NUL value                          with bytes of its own for observers
    name NUL MARK size standing value       with a standing: size is two bytes, standing JSON

A candidate that says nothing of itself is written as before, so its value stays readable for everybody. A value of the
caller's that begins like a standing gets an empty one in front, so that nothing the caller writes is taken for one.
"""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.engines.api import MEMBER_VALUE_BYTES_MAX, Entry
from incumbent.errors import InvalidInput

SEPARATOR: Final = b"\0"
MARK: Final = b"\xffincumbent\x01"
SIZE_BYTES: Final = 2
STANDING_BYTES_MAX: Final = 4096
"""What a candidate says of itself, encoded. The rest of the member's value is the caller's."""
PRIORITY_MAX: Final = 1_000_000
"""Priorities are whole numbers from minus this to this."""


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a candidate says of itself."""

    priority: int = 0
    eligible: bool = True  # False: it waits with the others, and is not to lead for now
    tags: dict[str, str] = {}
    ready: str = ""  # the successor that it is warm for, by the name of the hand-over
    failed: str = ""  # the hand-over for which its warm-up failed


UNSAID: Final = Standing()
_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[Standing]] = msgspec.json.Decoder(Standing)


def member_value(candidate: str, value: bytes, standing: Standing = UNSAID) -> bytes:
    """Raises InvalidInput when it does not fit a member's value."""
    said = b"" if standing == UNSAID and not value.startswith(MARK) else _said(standing)
    room = MEMBER_VALUE_BYTES_MAX - len(candidate.encode()) - len(SEPARATOR) - len(said)
    if len(value) > room:
        raise InvalidInput(
            "value", f"has {len(value)} bytes", f"beside this candidate's name, at most {room} fit"
        )
    return candidate.encode() + (SEPARATOR + said + value if said or value else b"")


def read_member(entry: Entry) -> tuple[str, Standing | None, bytes]:
    """A member's name, what it says of itself (None: a foreign candidate, which says nothing), and its own bytes."""
    name, _, rest = entry.value.partition(SEPARATOR)
    candidate = name.decode(errors="replace")
    if not entry.ours:
        return candidate, None, rest
    if not rest.startswith(MARK):
        return candidate, UNSAID, rest
    begin = len(MARK) + SIZE_BYTES
    end = begin + int.from_bytes(rest[len(MARK) : begin], "big")
    try:
        return candidate, _decoder.decode(rest[begin:end]), rest[end:]
    except msgspec.DecodeError:
        # Of a newer version, or damaged. It may be led by, but nobody makes room for it.
        return candidate, UNSAID, rest[end:]


def candidate_of(entry: Entry) -> str:
    """The name under which a member stands."""
    return entry.value.partition(SEPARATOR)[0].decode(errors="replace")


def _said(standing: Standing) -> bytes:
    encoded = _encoder.encode(standing)
    if len(encoded) > STANDING_BYTES_MAX:
        raise InvalidInput(
            "tags", f"need {len(encoded)} bytes", f"with all else, at most {STANDING_BYTES_MAX} fit"
        )
    return MARK + len(encoded).to_bytes(SIZE_BYTES, "big") + encoded
