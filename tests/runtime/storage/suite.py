"""What every ports.Storage must do, as plain functions over a bench that can open, crash and open again.

The real disk runs it in test_log.py, the simulated one in test_simulated.py.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Protocol

import pytest

from incumbent.consensus.api import Entry, Membership, Piece, Pieced, Record, Saved, Snapshot
from incumbent.errors import StorageFailed
from incumbent.ids import Index, NodeId, Term
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


def same(one: Saved, other: Saved) -> bool:
    """Equal, wherever the snapshots' states are."""

    def facts(saved: Saved) -> object:
        kept = saved.snapshot
        state = None if kept is None else (kept.index, kept.term, kept.membership, kept.state[:])
        return saved.hard_state, dict(saved.entries), state

    return facts(one) == facts(other)


MEMBERS = Membership(frozenset({NodeId("a")}))


def some_snapshot(random: Random, after: int) -> Record:
    index, state = Index(after + random.randrange(1, 6)), random.randbytes(random.choice([0, 10, 300]))
    if random.random() < 0.5:
        return Record(snapshot=Snapshot(index, Term(1), MEMBERS, state))
    cut = random.randint(0, len(state))
    pieces = [Piece(index, Term(1), 0, state[:cut]), Piece(index, Term(1), cut, state[cut:])]
    whole = Pieced(len(state), zlib.crc32(state))
    return Record(
        snapshot=Snapshot(index, Term(1), MEMBERS, whole),
        pieces=pieces[: 2 if cut else 1] if cut else pieces[1:],
    )


def some_records(random: Random, after: int) -> list[Record]:
    """`after`: the index of the newest snapshot."""

    def record() -> Record:
        first = random.randrange(1, 40)
        return Record(
            random.choice([None, random.randbytes(6)]),
            random.choice([None, None, Index(random.randrange(1, 40))]),
            [
                entry(first + n, random.randrange(9), random.randbytes(random.choice([0, 5, 90])))
                for n in range(random.randrange(4))
            ],
        )

    made = [record() for _ in range(random.choice([1, 1, 2, 5]))]
    return [*made, some_snapshot(random, after)] if random.random() < 0.2 else made


def effect(before: Saved, records: list[Record]) -> Saved:
    hard_state, entries, snapshot = before.hard_state, dict(before.entries), before.snapshot
    for record in records:
        if record.snapshot is not None:
            state = b"".join(piece.data for piece in record.pieces)
            snapshot = replace(record.snapshot, state=state) if record.pieces else record.snapshot
            entries = {index: kept for index, kept in entries.items() if index > snapshot.index}
        hard_state = hard_state if record.hard_state is None else record.hard_state
        if record.truncate_from is not None:
            entries = {index: kept for index, kept in entries.items() if index < record.truncate_from}
        entries |= {put.index: put for put in record.entries}
    return Saved(hard_state, entries, snapshot)


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


def check_a_snapshot_stands_for_everything_up_to_it(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(b"vote", None, [entry(n) for n in range(1, 6)])])
    storage.persist([Record(snapshot=Snapshot(Index(3), Term(1), MEMBERS, b"state"))])
    assert storage.snapshot is not None
    assert storage.snapshot.state[:] == b"state"
    storage.close()
    left = {Index(4): entry(4), Index(5): entry(5)}
    assert same(opened(bench)[1], Saved(b"vote", left, Snapshot(Index(3), Term(1), MEMBERS, b"state")))


def check_a_snapshot_comes_in_pieces(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(pieces=[Piece(Index(8), Term(2), 0, b"given up")])])
    storage.persist([Record(pieces=[Piece(Index(9), Term(2), 0, b"st")])])
    storage.persist([Record(b"vote", pieces=[Piece(Index(9), Term(2), 2, b"ate")])])
    whole = Snapshot(Index(9), Term(2), MEMBERS, Pieced(5, zlib.crc32(b"state")))
    storage.persist([Record(snapshot=whole)])
    assert storage.snapshot is not None
    assert storage.snapshot.state[1:4] == b"tat"
    bench.crash()
    assert same(opened(bench)[1], Saved(b"vote", {}, Snapshot(Index(9), Term(2), MEMBERS, b"state")))


def check_a_written_snapshot_counts_once_a_record_names_it(bench: Bench) -> None:
    storage, _ = opened(bench)
    storage.persist([Record(None, None, [entry(1), entry(2)])])
    state = storage.write_snapshot(Index(2), [b"st", b"", b"ate"])
    assert storage.snapshot is None
    storage.persist([Record(snapshot=Snapshot(Index(2), Term(1), MEMBERS, state))])
    bench.crash()
    assert same(opened(bench)[1], Saved(None, {}, Snapshot(Index(2), Term(1), MEMBERS, b"state")))


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
    check_a_snapshot_stands_for_everything_up_to_it,
    check_a_snapshot_comes_in_pieces,
    check_a_written_snapshot_counts_once_a_record_names_it,
)
