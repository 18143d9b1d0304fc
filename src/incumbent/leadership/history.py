"""PURE. Who led, from when to when, and why it ended: one bounded cell of the election's group.

Leaders write it themselves, each its own record: when it began, *after* it began, and when it ended, after it let go (`chronicle`
does it). So it never delays a leader, and it is no evidence of who leads: the engine is. A leader that died wrote no end; its successor closes the
record with what it can know, that the former one was gone by then.

Times here are wall clock, in milliseconds since 1970, for people. Nothing is decided by them.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from incumbent.engines.api import Cell
from incumbent.errors import EngineError

HISTORY_CELL: Final = "incumbent.history"
RECORDS_MAX: Final = 64
"""The newest are kept."""
HISTORY_BYTES_MAX: Final = 16 * 1024
"""Of the cell. With long names fewer records fit."""
NOT_KNOWN: Final = "unknown"
"""The reason of an end that nobody wrote."""


class Record(msgspec.Struct, frozen=True, omit_defaults=True):
    """One leadership."""

    token: int
    candidate: str
    began_ms: int
    ended_ms: int | None = None  # None: it leads, or nobody knows yet that it does not
    reason: str | None = None
    gap_ms: int | None = None  # nobody led for so long before it; None where the former end is not known


_encoder: Final = msgspec.json.Encoder()
_decoder: Final[msgspec.json.Decoder[tuple[Record, ...]]] = msgspec.json.Decoder(tuple[Record, ...])


def read(cell: Cell) -> tuple[Record, ...]:
    """Oldest first. Raises EngineError when it cannot be read."""
    if cell.value is None:
        return ()
    try:
        return _decoder.decode(cell.value)
    except msgspec.DecodeError as error:
        raise EngineError(f"the cell {HISTORY_CELL} cannot be read: {error}") from error


def encode(records: tuple[Record, ...]) -> bytes:
    """The newest of `records` that fit."""
    kept = records[-RECORDS_MAX:]
    while len(encoded := _encoder.encode(kept)) > HISTORY_BYTES_MAX and len(kept) > 1:
        kept = kept[1:]
    return encoded


def with_start(records: tuple[Record, ...], token: int, candidate: str, now_ms: int) -> tuple[Record, ...]:
    """The leader with `token` began. Whoever is still open before it is closed: gone by now, nobody knows since when.

    Those who came later may have been written first. What is older than a full history is left out.
    """
    before = tuple(_closed(record, now_ms) for record in records if record.token < token)
    after = records[len(before) :]
    if any(record.token == token for record in after) or (not before and len(records) >= RECORDS_MAX):
        return records
    gap_ms = _gap_ms(before[-1], now_ms) if before else None
    mine = Record(token, candidate, now_ms, gap_ms=gap_ms)
    if not after:
        return (*before, mine)
    return (*before, _closed(mine, after[0].began_ms), replace(after[0], gap_ms=None), *after[1:])


def with_end(records: tuple[Record, ...], token: int, reason: str, now_ms: int) -> tuple[Record, ...]:
    """The leader with `token` ended, by its own word. Also corrects what its successor could only guess."""
    ended: list[Record] = []
    for record in records:
        before = ended[-1] if ended else None
        if record.token == token and record.reason in (None, NOT_KNOWN):
            ended.append(replace(record, ended_ms=now_ms, reason=reason))
        elif before is not None and before.token == token and record.gap_ms is None:
            ended.append(replace(record, gap_ms=_gap_ms(before, record.began_ms)))
        else:
            ended.append(record)
    return tuple(ended)


def is_open(records: tuple[Record, ...], token: int) -> bool:
    """Whether the leader with `token` said that it began, and not that it ended."""
    return any(record.token == token and record.reason is None for record in records)


def _closed(record: Record, by_ms: int) -> Record:
    """Ended by then, if nobody said when."""
    return record if record.reason is not None else replace(record, ended_ms=by_ms, reason=NOT_KNOWN)


def _gap_ms(before: Record, began_ms: int) -> int | None:
    """By two hosts' wall clocks, so it is never below 0, and for people only."""
    if before.reason in (None, NOT_KNOWN) or before.ended_ms is None:
        return None
    return max(0, began_ms - before.ended_ms)
