"""The log in many files: rolling, deleting, and everything that can be missing."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from tests.runtime.storage.suite import entry, same

from incumbent.consensus.api import Membership, Record, Saved, Snapshot
from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt
from incumbent.ids import DiskId, Index, NodeId, Term
from incumbent.runtime.storage import files, segments
from incumbent.runtime.storage.log import RaftLog

DISK = DiskId("0123456789ab")
MEMBERS = Membership(frozenset({NodeId("a")}))


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ZEROS_BYTES", 512)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 1024)


def filled(directory: Path, entries: int = 60) -> Saved:
    """A log of several segments; what a load gives."""
    log = RaftLog(directory, DISK)
    log.load()
    log.persist([Record(b"vote")])
    for n in range(1, entries + 1):
        log.persist([Record(None, None, [entry(n, data=b"d" * 40)])])
    log.close()
    return loaded(directory)


def loaded(directory: Path) -> Saved:
    log = RaftLog(directory, DISK)
    try:
        return log.load()
    finally:
        log.close()


def segments_of(directory: Path) -> list[Path]:
    return sorted((directory / "log").glob("*.segment"))


def test_a_log_goes_on_from_segment_to_segment(tmp_path: Path) -> None:
    saved = filled(tmp_path)
    assert len(segments_of(tmp_path)) > 5
    assert saved.hard_state == b"vote"
    assert sorted(saved.entries) == list(range(1, 61))


def test_a_batch_larger_than_a_segment_goes_into_one(tmp_path: Path) -> None:
    log = RaftLog(tmp_path, DISK)
    log.load()
    log.persist([Record(None, None, [entry(1, data=b"x" * 5000)])])
    log.persist([Record(None, None, [entry(2)])])
    log.close()
    assert sorted(loaded(tmp_path).entries) == [1, 2]


def test_what_a_snapshot_stands_for_is_deleted_and_the_vote_stays(tmp_path: Path) -> None:
    """The vote is in the first segment; each later one begins with what it was then."""
    filled(tmp_path)
    before = segments_of(tmp_path)
    log = RaftLog(tmp_path, DISK)
    log.load()
    log.persist([Record(snapshot=Snapshot(Index(50), Term(1), MEMBERS, b"state"))])
    log.close()
    assert len(segments_of(tmp_path)) == len(before) - 1, "one with each write"
    saved = loaded(tmp_path)
    assert len(segments_of(tmp_path)) < len(before) - 4, "all with a start"
    assert saved.hard_state == b"vote"
    assert sorted(saved.entries) == list(range(51, 61))
    assert saved.snapshot is not None
    assert saved.snapshot.state[:] == b"state"


def test_another_snapshot_comes_while_segments_wait_to_be_deleted(tmp_path: Path) -> None:
    """Which segment is the oldest that counts is a number of its own, not how many there are."""
    filled(tmp_path)
    log = RaftLog(tmp_path, DISK)
    log.load()
    log.persist([Record(snapshot=Snapshot(Index(30), Term(1), MEMBERS, b"first"))])
    log.persist([Record(snapshot=Snapshot(Index(50), Term(1), MEMBERS, b"second"))])
    for n in range(61, 75):
        count = len(segments_of(tmp_path))
        log.persist([Record(None, None, [entry(n, data=b"d")])])
        assert len(segments_of(tmp_path)) >= count - 1
    log.close()
    kept = segments_of(tmp_path)
    saved = loaded(tmp_path)
    assert segments_of(tmp_path) == kept, "all was deleted by then"
    assert sorted(saved.entries) == list(range(51, 75))
    assert saved.snapshot is not None
    assert saved.snapshot.state[:] == b"second"


def test_the_disk_stays_as_large_as_what_is_needed(tmp_path: Path) -> None:
    log = RaftLog(tmp_path, DISK)
    log.load()
    sizes: list[int] = []
    for n in range(1, 400):
        log.persist([Record(None, None, [entry(n, data=b"d" * 40)])])
        if n % 40 == 0:
            log.persist([Record(snapshot=Snapshot(Index(n), Term(1), MEMBERS, b"state"))])
        if n % 40 == 20:  # each write deletes a segment that is not needed
            sizes.append(sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()))
    log.close()
    assert max(sizes) < 5 * 1024


@pytest.mark.parametrize("which", range(8))
def test_a_missing_segment_is_refused(tmp_path: Path, which: int) -> None:
    """The first, one in the middle, the newest: acknowledged entries are gone, and the node must not vote."""
    filled(tmp_path)
    paths = segments_of(tmp_path)
    paths[which * (len(paths) - 1) // 7].unlink()
    with pytest.raises(StorageCorrupt, match=r"missing; this node must not vote.*new voter"):
        loaded(tmp_path)


@pytest.mark.slow
def test_damage_in_any_segment_is_refused(tmp_path: Path) -> None:
    """Only the newest segment can have a torn tail. Offsets are drawn; the failing one is in the message."""
    saved = filled(tmp_path)
    random = Random(1)
    for path in segments_of(tmp_path)[:-1]:
        whole = path.read_bytes()
        end = len(whole.rstrip(b"\0"))
        for offset in random.sample(range(end), 25):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << random.randrange(8)
            path.write_bytes(flipped)
            try:
                found = loaded(tmp_path)
            except (StorageCorrupt, InvalidInput, IdentityMismatch):
                continue
            assert same(found, saved), f"{path.name} offset {offset}"
        path.write_bytes(whole)
    assert same(loaded(tmp_path), saved)


def test_segments_of_another_run_of_the_same_log_are_refused(tmp_path: Path) -> None:
    """A copy of an older state of one file, as a careless restore makes it."""
    filled(tmp_path, 25)
    old = segments_of(tmp_path)[-1]
    content = old.read_bytes()
    log = RaftLog(tmp_path, DISK)
    log.load()
    for n in range(26, 60):
        log.persist([Record(None, None, [entry(n, data=b"e" * 40)])])
    log.close()
    old.write_bytes(content)
    with pytest.raises(StorageCorrupt):
        loaded(tmp_path)


def test_a_crash_before_the_seal_is_finished_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    def crash(_: object) -> None:
        raise Ended

    log = RaftLog(tmp_path, DISK)
    log.load()
    last = 0
    with monkeypatch.context() as patched:
        patched.setattr(segments.Segment, "seal", crash)
        with pytest.raises(Ended):
            for last in range(1, 60):
                log.persist([Record(None, None, [entry(last, data=b"d" * 40)])])
    log.close()
    for _ in range(2):
        assert sorted(loaded(tmp_path).entries) == list(range(1, last))
    log = RaftLog(tmp_path, DISK)
    log.load()
    log.persist([Record(b"on it goes")])
    log.close()
    assert loaded(tmp_path).hard_state == b"on it goes"


def test_leftovers_of_an_interrupted_deletion_are_removed(tmp_path: Path) -> None:
    filled(tmp_path)
    first = segments_of(tmp_path)[0]
    content = first.read_bytes()
    log = RaftLog(tmp_path, DISK)
    log.load()
    log.persist([Record(snapshot=Snapshot(Index(50), Term(1), MEMBERS, b"state"))])
    log.close()
    first.write_bytes(content)
    saved = loaded(tmp_path)
    assert not first.exists()
    assert sorted(saved.entries) == list(range(51, 61))
