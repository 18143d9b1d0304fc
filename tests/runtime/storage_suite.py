"""What every ports.Storage must do, as plain functions over a bench that can open, crash and open again.

The real disk runs it in test_wal.py; any other implementation can run the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import pytest

from incumbent.consensus.api import Entry, Record, Saved
from incumbent.errors import StorageFailed
from incumbent.ids import Index, Term
from incumbent.ports import Storage


class Bench(Protocol):
    def open(self) -> Storage:
        """The storage as it is on the disk now; not loaded yet. Only once the one before was closed or crashed."""
        ...

    def crash(self) -> None:
        """End the process that has it open, without a close()."""
        ...


def entry(index: int, term: int = 1, data: bytes | None = b"x") -> Entry:
    return Entry(Index(index), Term(term), data)


def opened(bench: Bench) -> tuple[Storage, Saved]:
    storage = bench.open()
    return storage, storage.load()


def check_a_new_disk_is_empty(bench: Bench) -> None:
    assert opened(bench)[1] == Saved()


def check_what_was_persisted_is_there_again(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(b"t1", None, [entry(1), entry(2, data=None)])])
    storage.persist([Record(None, None, [Entry(Index(3), Term(2), b"y", b"tag")])])
    storage.close()
    saved = opened(bench)[1]
    assert saved.hard_state == b"t1"
    assert list(saved.entries.values()) == [
        entry(1),
        entry(2, data=None),
        Entry(Index(3), Term(2), b"y", b"tag"),
    ]


def check_the_last_hard_state_counts(bench: Bench) -> None:
    storage, _ = opened(bench)
    for state in (b"1", b"2", b"3"):
        storage.persist([Record(state)])
    storage.close()
    assert opened(bench)[1].hard_state == b"3"


def check_a_truncation_deletes_everything_from_there(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(None, None, [entry(n) for n in range(1, 6)])])
    storage.persist([Record(None, Index(3), [entry(3, term=2)])])
    storage.close()
    assert opened(bench)[1].entries == {1: entry(1), 2: entry(2), 3: entry(3, term=2)}


def check_a_put_overwrites_its_own_index_and_deletes_nothing_else(bench: Bench) -> None:
    """Contract of Record: a protocol with gaps and overwrites (Paxos) depends on it."""
    storage, _ = opened(bench)
    storage.persist([Record(None, None, [entry(1), entry(2), entry(7)])])
    storage.persist([Record(None, None, [entry(2, term=3)])])
    storage.close()
    assert opened(bench)[1].entries == {1: entry(1), 2: entry(2, term=3), 7: entry(7)}


def check_several_records_of_one_persist_keep_their_order(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist(
        [Record(b"a", None, [entry(1)]), Record(b"b", Index(1), [entry(1, term=2)]), Record(b"c")]
    )
    storage.close()
    saved = opened(bench)[1]
    assert (saved.hard_state, saved.entries) == (b"c", {1: entry(1, term=2)})


def check_it_goes_on_where_it_stopped(bench: Bench) -> None:
    for n in range(1, 5):
        storage, saved = opened(bench)
        assert len(saved.entries) == n - 1
        storage.persist([Record(None, None, [entry(n)])])
        storage.close()


def check_a_crash_loses_nothing_that_was_persisted(bench: Bench) -> None:
    """P51: when persist returns, the vote may be sent."""
    for n in range(1, 5):
        storage, saved = opened(bench)
        assert saved.hard_state == (None if n == 1 else b"%d" % (n - 1))
        storage.persist([Record(b"%d" % n, None, [entry(n)]), Record(None, None, [entry(n + 100)])])
        bench.crash()
    assert sorted(opened(bench)[1].entries) == [1, 2, 3, 4, 101, 102, 103, 104]


def check_nothing_is_a_batch_too(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(b"before")])
    storage.persist([])
    storage.persist([Record()])
    storage.persist([Record(None, None, [entry(1)])])
    storage.close()
    assert opened(bench)[1] == Saved(b"before", {Index(1): entry(1)})


def check_it_persists_only_between_load_and_close(bench: Bench) -> None:
    """Written before the log was read, a record would stand where another one does."""
    storage = bench.open()
    with pytest.raises(StorageFailed):
        storage.persist([Record(b"too early")])
    storage.load()
    storage.close()
    with pytest.raises(StorageFailed):
        storage.persist([Record(b"too late")])
    assert opened(bench)[1] == Saved()


def check_large_entries_fit(bench: Bench) -> None:
    storage, _ = opened(bench)
    big = bytes(range(256)) * 4 * 1024 * 6  # 6 MiB: beyond one step of preallocation
    storage.persist([Record(None, None, [entry(1, data=big)])])
    storage.persist([Record(b"after")])
    storage.close()
    saved = opened(bench)[1]
    assert (saved.entries[Index(1)].data == big, saved.hard_state) == (True, b"after")


CHECKS: tuple[Callable[[Bench], None], ...] = (
    check_a_new_disk_is_empty,
    check_what_was_persisted_is_there_again,
    check_the_last_hard_state_counts,
    check_a_truncation_deletes_everything_from_there,
    check_a_put_overwrites_its_own_index_and_deletes_nothing_else,
    check_several_records_of_one_persist_keep_their_order,
    check_it_goes_on_where_it_stopped,
    check_a_crash_loses_nothing_that_was_persisted,
    check_nothing_is_a_batch_too,
    check_it_persists_only_between_load_and_close,
    check_large_entries_fit,
)
