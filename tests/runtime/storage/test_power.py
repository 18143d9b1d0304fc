"""The log under power cuts: a disk that keeps what was synced and, of what was not, any sectors and any names it likes.

One seed is one history of many lives of a voter. Each ends at a random sync, by a kill (the page cache stays) or by a power
cut (it goes). A life may be as short as half a start, so cutting a torn tail is interrupted too. Segments are small, so that
rolling, sealing and deleting are met; snapshots come whole and in pieces.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from tests.runtime.storage.suite import effect, same, some_records

from incumbent.consensus.api import Membership, Saved, Snapshot
from incumbent.errors import StorageCorrupt
from incumbent.ids import DiskId, NodeId
from incumbent.runtime.storage import files, segments
from incumbent.runtime.storage.log import RaftLog
from incumbent.runtime.storage.records import SnapshotMeta, Stored
from incumbent.runtime.storage.segments import Segment

DISK = DiskId("0123456789ab")
MEMBERS = Membership(frozenset({NodeId("a")}))
SECTOR_BYTES = 32  # far smaller than a real one: more ways to tear
LIVES = 60
SEEDS = range(10)
TEST = "test_a_power_cut_at_any_sync_loses_nothing_acknowledged"


class ProcessEnded(BaseException):
    """At this sync. Not an Exception: nothing in the process can react to it."""


@dataclass
class Platter:
    """What is on the disk, below the page cache. Its `sync` stands in for fsync(2) and fdatasync(2)."""

    directory: Path
    random: Random
    names: dict[str, dict[str, int]] = field(default_factory=dict)  # of each directory: its files, by inode
    contents: dict[int, bytes] = field(default_factory=dict)
    held: dict[int, int] = field(default_factory=dict)  # open, so that no other file gets the same inode
    syncs_left: int | None = None  # in this life; None = unlimited
    torn: int = 0  # how often a power cut kept some sectors and lost others

    def sync(self, fd: int) -> None:
        if self.syncs_left is not None:
            if self.syncs_left == 0:
                raise ProcessEnded
            self.syncs_left -= 1
        found = os.fstat(fd)
        if stat.S_ISREG(found.st_mode):
            if found.st_ino not in self.held:
                self.held[found.st_ino] = os.dup(fd)
            self.contents[found.st_ino] = os.pread(fd, found.st_size, 0)
        else:
            path = Path(f"/proc/self/fd/{fd}").readlink()
            self.names[path.name] = {one.name: one.stat().st_ino for one in path.iterdir() if one.is_file()}

    def cut_power(self) -> None:
        kept = list(self._survivors())
        for name in ("log", "snapshots"):
            shutil.rmtree(self.directory / name, ignore_errors=True)
        self.close()
        self.contents, names, self.names = {}, self.names, {}
        for name in names:
            if name in ("log", "snapshots"):
                (self.directory / name).mkdir()
                self.names[name] = {}
        for directory, name, content in kept:
            path = self.directory / directory / name
            path.write_bytes(content)
            inode = path.stat().st_ino
            self.contents[inode] = content
            self.names[directory][name] = inode

    def close(self) -> None:
        while self.held:
            os.close(self.held.popitem()[1])

    def _survivors(self) -> Iterator[tuple[str, str, bytes]]:
        for directory in ("log", "snapshots"):
            if directory not in self.names:
                continue
            durable, path = self.names[directory], self.directory / directory
            cached = {one.name: one.stat().st_ino for one in path.iterdir()}
            for name in sorted({*durable, *cached}):
                inode = self.random.choice([durable.get(name), cached.get(name)])
                if inode is not None:
                    content = path.joinpath(name).read_bytes() if cached.get(name) == inode else None
                    yield directory, name, self._tear(self.contents.get(inode, b""), content)

    def _tear(self, durable: bytes, cached: bytes | None) -> bytes:
        if cached is None:
            return durable
        longest = max(len(durable), len(cached))
        kept = bytearray(durable.ljust(self.random.randint(len(durable), longest), b"\0"))
        likes = self.random.choice([0.1, 0.5, 0.9])
        changed = [
            at
            for at in range(0, len(kept), SECTOR_BYTES)
            if kept[at : at + SECTOR_BYTES] != cached[at : at + SECTOR_BYTES]
        ]
        chosen = [at for at in changed if self.random.random() < likes]
        for at in chosen:
            kept[at : at + SECTOR_BYTES] = cached[at : min(at + SECTOR_BYTES, len(kept))]
        self.torn += 0 < len(chosen) < len(changed)
        return bytes(kept)


def live(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int) -> Platter:
    """Many lives. What a start finds is what was acknowledged, and perhaps the one batch that was being written."""
    random = Random(seed)
    platter = Platter(tmp_path, random)
    monkeypatch.setattr(files, "ZEROS_BYTES", 512)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1024)
    monkeypatch.setattr(os, "fsync", platter.sync)
    monkeypatch.setattr(os, "fdatasync", platter.sync)
    first = RaftLog(tmp_path, DISK)
    first.load()  # the file is there from now on
    first.close()
    allowed = [Saved()]
    for life in range(LIVES):
        where = f"seed {seed}, life {life}; replay: pytest '{__file__}::{TEST}[{seed}]'"
        log = RaftLog(tmp_path, DISK)
        platter.syncs_left = random.randrange(16) if random.random() < 0.3 else None
        try:
            found = log.load()
            assert any(same(found, one) for one in allowed), where
            allowed = [found]
            platter.syncs_left = random.choice([0, 1, 2, 3, 8, 20])
            while True:
                records = some_records(random, 0 if found.snapshot is None else found.snapshot.index)
                allowed.append(effect(found, records))
                log.persist(records)
                allowed = allowed[1:]
                found = allowed[0]
        except ProcessEnded:
            log.close()
            if random.random() < 0.7:
                platter.cut_power()
        except StorageCorrupt as error:
            pytest.fail(f"{where}: only a torn write, and: {error}")
    platter.close()
    return platter


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_a_power_cut_at_any_sync_loses_nothing_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """P51. Whatever sectors of an unfinished batch reach the disk, the start neither refuses nor believes them."""
    platter = live(tmp_path, monkeypatch, seed)
    assert platter.torn > LIVES // 20, "the disk tore some writes"


def _believe_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "read_from_disk", lambda fd: os.pread(fd, os.fstat(fd).st_size, 0))


def _answer_before_the_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "sync_data", lambda fd: None)


def _take_a_torn_batch_for_damage(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = Segment.cut_torn_tail

    def strict(segment: Segment, data: bytes) -> int:
        segment.at.batch -= 1
        try:
            return cut(segment, data)
        finally:
            segment.at.batch += 1

    monkeypatch.setattr(Segment, "cut_torn_tail", strict)


def _do_not_sync_directories(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "fsync_directory", lambda path: None)


def _seal_before_the_next_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def roll(self: RaftLog) -> None:
        self._segments[-1].seal()
        full = self._segments[-1]
        head = Stored(self._hard_state, snapshot=self._meta, oldest=self._oldest)
        self._segments.append(Segment.create(self._directory, full.number + 1, self._disk, full.at, head))

    monkeypatch.setattr(RaftLog, "_roll", roll)


def _delete_before_the_log_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    keep = RaftLog._keep

    def eager(self: RaftLog, snapshot: Snapshot) -> SnapshotMeta:
        meta = keep(self, snapshot)
        self._snapshots.keep_only(meta.index)
        return meta

    monkeypatch.setattr(RaftLog, "_keep", eager)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault",
    [
        _believe_the_cache,
        _answer_before_the_sync,
        _take_a_torn_batch_for_damage,
        _do_not_sync_directories,
        _seal_before_the_next_is_there,
        _delete_before_the_log_says_so,
    ],
)
def test_a_planted_fault_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The test can fail: each of these is a log that loses something, or refuses what only a torn write explains."""
    fault(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception), match="seed"):
        for seed in SEEDS:
            directory = tmp_path / str(seed)
            directory.mkdir()
            live(directory, monkeypatch, seed)
