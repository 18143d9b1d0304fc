"""The log under power cuts: a disk that keeps what was synced and, of what was not, any sectors it likes.

One seed is one history of many lives of a voter. Each ends at a random sync, by a kill (the page cache stays) or by a power
cut (it goes). A life may be as short as half a start, so cutting a torn tail is interrupted too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from tests.runtime.storage_suite import entry

from incumbent.consensus.api import Record, Saved
from incumbent.errors import StorageCorrupt
from incumbent.ids import DiskId, Index
from incumbent.runtime import wal
from incumbent.runtime.wal import FILE_NAME, RaftLog

DISK = DiskId("0123456789ab")
SECTOR_BYTES = 32  # far smaller than a real one: more ways to tear
LIVES = 60
SEEDS = range(10)
TEST = "test_a_power_cut_at_any_sync_loses_nothing_acknowledged"


class ProcessEnded(BaseException):
    """At this sync. Not an Exception: nothing in the process can react to it."""


@dataclass
class Platter:
    """What is on the disk, below the page cache. Its `sync` stands in for fsync(2) and fdatasync(2)."""

    file: Path
    random: Random
    durable: bytes = b""
    syncs_left: int | None = None  # in this life; None = unlimited
    torn: int = field(default=0)  # how often a power cut kept some sectors and lost others

    def sync(self, fd: int) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return
        if self.syncs_left is not None:
            if self.syncs_left == 0:
                raise ProcessEnded
            self.syncs_left -= 1
        self.durable = os.pread(fd, os.fstat(fd).st_size, 0)

    def cut_power(self) -> None:
        cached = self.file.read_bytes()
        assert len(cached) >= len(self.durable), "the log never shrinks"
        kept = bytearray(self.durable.ljust(self.random.randint(len(self.durable), len(cached)), b"\0"))
        likes = self.random.choice([0.1, 0.5, 0.9])
        changed = [
            at
            for at in range(0, len(kept), SECTOR_BYTES)
            if cached[at : at + SECTOR_BYTES] != kept[at : at + SECTOR_BYTES]
        ]
        chosen = [at for at in changed if self.random.random() < likes]
        for at in chosen:
            kept[at : at + SECTOR_BYTES] = cached[at : min(at + SECTOR_BYTES, len(kept))]
        self.torn += 0 < len(chosen) < len(changed)
        self.durable = bytes(kept)
        self.file.write_bytes(kept)


def some_records(random: Random) -> list[Record]:
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

    return [record() for _ in range(random.choice([1, 1, 2, 5]))]


def effect(before: Saved, records: list[Record]) -> Saved:
    hard_state, entries = before.hard_state, dict(before.entries)
    for record in records:
        hard_state = hard_state if record.hard_state is None else record.hard_state
        if record.truncate_from is not None:
            entries = {index: kept for index, kept in entries.items() if index < record.truncate_from}
        entries |= {put.index: put for put in record.entries}
    return Saved(hard_state, entries)


def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Platter:
    """Many lives. What a start finds is what was acknowledged, and perhaps the one batch that was being written."""
    random = Random(seed)
    platter = Platter(tmp_path / FILE_NAME, random)
    monkeypatch.setattr(wal, "PREALLOCATE_BYTES", 512)
    monkeypatch.setattr(os, "fsync", platter.sync)
    monkeypatch.setattr(os, "fdatasync", platter.sync)
    first = RaftLog(tmp_path, DISK)
    first.load()  # the file is there from now on
    first.close()
    allowed = [Saved()]
    for life in range(LIVES):
        where = f"seed {seed}, life {life}; replay: pytest '{__file__}::{TEST}[{seed}]'"
        log = RaftLog(tmp_path, DISK)
        platter.syncs_left = random.choice([0, 1, 2, 3, 8, 20])
        try:
            found = log.load()
            assert found in allowed, where
            allowed = [found]
            while True:
                records = some_records(random)
                allowed.append(effect(found, records))
                log.persist(records)
                allowed = allowed[1:]
                found = allowed[0]
        except ProcessEnded:
            log.close()
            if random.random() < 0.6:
                platter.cut_power()
        except StorageCorrupt as error:
            pytest.fail(f"{where}: only a torn write, and: {error}")
    return platter


@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_at_any_sync_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """P51. Whatever sectors of an unfinished batch reach the disk, the start neither refuses nor believes them."""
    platter = live(tmp_path, monkeypatch, seed)
    assert platter.torn > LIVES // 20, "the disk tore some writes"


def _believe_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    read = RaftLog._open

    def without_sync(log: RaftLog) -> bytes:
        with monkeypatch.context() as patched:
            if log._path.exists():
                patched.setattr(wal, "sync", lambda fd: None)
            return read(log)

    monkeypatch.setattr(RaftLog, "_open", without_sync)


def _answer_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "sync_data", lambda fd: None)


def _take_a_torn_batch_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = RaftLog._cut_torn_tail

    def strict(log: RaftLog, data: bytes) -> None:
        log._at.batch -= 1
        cut(log, data)
        log._at.batch += 1

    monkeypatch.setattr(RaftLog, "_cut_torn_tail", strict)


@pytest.mark.parametrize(
    "fault", [_believe_the_cache, _answer_before_the_sync, _take_a_torn_batch_for_damage]
)
def test_a_planted_fault_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The test can fail: a log that believes the page cache, that answers too early, that takes a torn batch for damage."""
    fault(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception), match="seed"):
        for seed in SEEDS:
            directory = tmp_path / str(seed)
            directory.mkdir()
            live(directory, monkeypatch, seed)
