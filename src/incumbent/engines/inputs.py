"""The door: every engine checks its arguments here, so that every engine refuses the same things in the same words.

Each function returns what it checked, or raises InvalidInput naming the field and the fix, before anything is done.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from incumbent.engines.api import (
    MEMBER_VALUE_BYTES_MAX,
    NAME_BYTES_MAX,
    REF_BYTES_MAX,
    TTL_MAX_S,
    TTL_MIN_S,
    CellWrite,
)
from incumbent.errors import InvalidInput

REQUEST_ID_BYTES_MAX: Final = 128
CELL_WRITES_MAX: Final = 16
"""Cells in one atomic step."""


def check_ttl(ttl: float) -> float:
    """A TTL in seconds (P16)."""
    return _check_seconds("ttl", ttl, TTL_MIN_S, TTL_MAX_S)


def check_release_delay(release_delay: float) -> float:
    return _check_seconds("release_delay", release_delay, 0.0, TTL_MAX_S)


def check_name(field: str, name: str) -> str:
    """A group's or a cell's name (P5)."""
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidInput(field, "cannot be written as UTF-8", "leave out lone surrogates") from error
    if not 1 <= size <= NAME_BYTES_MAX:
        raise InvalidInput(field, f"has {size} bytes", f"use 1 to {NAME_BYTES_MAX} bytes of UTF-8")
    if "\0" in name:
        raise InvalidInput(field, f"{name[:40]!r} holds a NUL", "use any character but NUL")
    return name


def check_beside(cell: str | None) -> str | None:
    """The cell that is asked for with a claim."""
    return cell if cell is None else check_name("cell", cell)


def check_request_id(request_id: str) -> str:
    if not 1 <= len(request_id.encode(errors="replace")) <= REQUEST_ID_BYTES_MAX:
        raise InvalidInput(
            "request_id",
            f"has {len(request_id)} characters",
            f"give at least 128 random bits as text of at most {REQUEST_ID_BYTES_MAX} bytes",
        )
    return request_id


def check_ref(ref: bytes) -> bytes:
    if not 1 <= len(ref) <= REF_BYTES_MAX:
        raise InvalidInput("ref", f"has {len(ref)} bytes", "pass a Session.ref unchanged")
    return ref


def check_member_value(value: bytes) -> bytes:
    if len(value) > MEMBER_VALUE_BYTES_MAX:
        raise InvalidInput("value", f"has {len(value)} bytes", f"at most {MEMBER_VALUE_BYTES_MAX} bytes")
    return value


def check_cell_writes(writes: Sequence[CellWrite], cell_bytes_max: int) -> Sequence[CellWrite]:
    if len(writes) > CELL_WRITES_MAX:
        raise InvalidInput(
            "writes", f"name {len(writes)} cells", f"at most {CELL_WRITES_MAX} cells in one step"
        )
    names = set[str]()
    for write in writes:
        check_name("name", write.name)
        if write.name in names:
            raise InvalidInput("writes", f"{write.name[:40]!r} comes twice", "write each cell once")
        names.add(write.name)
        if write.value is not None and len(write.value) > cell_bytes_max:
            raise InvalidInput("value", f"has {len(write.value)} bytes", f"at most {cell_bytes_max} bytes")
        if write.expected_version is not None and write.expected_version < 0:
            raise InvalidInput("expected_version", "is negative", "pass a version that was read, or None")
    return writes


def _check_seconds(field: str, seconds: float, least: float, most: float) -> float:
    # NaN compares false with everything, so it has to be asked for by name.
    if math.isnan(seconds) or not least <= seconds <= most:
        raise InvalidInput(field, f"{seconds!r} cannot be honoured", f"give {least} to {most} seconds")
    return float(seconds)
