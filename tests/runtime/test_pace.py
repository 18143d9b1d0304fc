"""Where a write is made."""

from __future__ import annotations

from incumbent.consensus.api import Entry, Record
from incumbent.ids import Index, Term
from incumbent.runtime.pace import BYTES_MAX, ENTRIES_MAX, FAST_NS_MAX, FAST_WRITES_MIN, Pace


def record(entries: int = 1, size: int = 10) -> Record:
    return Record(None, None, [Entry(Index(n + 1), Term(1), bytes(size)) for n in range(entries)], None, ())


def trusted() -> Pace:
    pace = Pace()
    for _ in range(FAST_WRITES_MIN):
        pace.took(FAST_NS_MAX - 1)
    return pace


def test_a_disk_has_to_earn_its_trust() -> None:
    pace = Pace()
    for _ in range(FAST_WRITES_MIN - 1):
        pace.took(1)
    assert not pace.in_loop(record())
    pace.took(1)
    assert pace.in_loop(record())


def test_one_slow_write_loses_it() -> None:
    pace = trusted()
    pace.took(FAST_NS_MAX)
    assert not pace.in_loop(record())


def test_only_small_writes_are_made_in_the_loop() -> None:
    pace = trusted()
    assert pace.in_loop(record(ENTRIES_MAX))
    assert not pace.in_loop(record(ENTRIES_MAX + 1))
    assert not pace.in_loop(record(1, BYTES_MAX + 1))
