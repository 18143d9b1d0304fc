"""Snapshots as files: what was written is what is read, in whatever parts; what is damaged is refused."""

from __future__ import annotations

import zlib
from pathlib import Path
from random import Random

import pytest

from incumbent.consensus.api import Membership, Piece, Pieced, Record, Snapshot
from incumbent.errors import InvariantViolated, StorageCorrupt
from incumbent.ids import DiskId, Index, NodeId, Term
from incumbent.runtime.storage import snapshots
from incumbent.runtime.storage.log import RaftLog
from incumbent.runtime.storage.snapshots import SnapshotFile

DISK = DiskId("0123456789ab")
MEMBERS = Membership(frozenset({NodeId("a")}))
STATE = Random(1).randbytes(3 * 1000 + 17)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "CHUNK_BYTES", 1000)
    monkeypatch.setattr(snapshots, "SYNC_BYTES", 1500)


@pytest.fixture
def log(tmp_path: Path) -> RaftLog:
    log = RaftLog(tmp_path, DISK)
    log.load()
    return log


def reopened(directory: Path) -> RaftLog:
    log = RaftLog(directory, DISK)
    log.load()
    return log


def file_of(directory: Path) -> Path:
    (path,) = (directory / "snapshots").glob("*.snapshot")
    return path


def pieces(state: bytes, at: int, size: int = 700) -> list[Piece]:
    return [
        Piece(Index(at), Term(1), offset, state[offset : offset + size])
        for offset in range(0, len(state) or 1, size)
    ]


def pieced(state: bytes, at: int) -> Snapshot:
    return Snapshot(Index(at), Term(1), MEMBERS, Pieced(len(state), zlib.crc32(state)))


@pytest.mark.parametrize("state", [b"", b"x", STATE[:1000], STATE], ids=len)
def test_any_part_of_it_can_be_read(log: RaftLog, tmp_path: Path, state: bytes) -> None:
    file = log.write_snapshot(Index(7), [state[:5], state[5:1500], b"", state[1500:]])
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, file))])
    log.close()
    log = reopened(tmp_path)
    assert log.snapshot is not None
    kept = log.snapshot.state
    assert len(kept) == len(state)
    assert kept[:] == state
    random = Random(2)
    for _ in range(100):
        start, stop = random.randint(0, len(state)), random.randint(0, len(state) + 9)
        assert kept[start:stop] == state[start:stop]


def test_it_comes_in_pieces_over_several_records(log: RaftLog, tmp_path: Path) -> None:
    for piece in pieces(STATE, 7):
        log.persist([Record(pieces=[piece])])
    log.persist([Record(snapshot=pieced(STATE, 7))])
    assert log.snapshot is not None
    assert log.snapshot.state[:] == STATE
    log.close()
    assert file_of(tmp_path).name.startswith("00000000000000000007")


def test_a_new_snapshot_takes_the_place_of_half_a_one(log: RaftLog) -> None:
    log.persist([Record(pieces=pieces(STATE, 7)[:2])])
    log.persist([Record(pieces=pieces(STATE[::-1], 9), snapshot=pieced(STATE[::-1], 9))])
    assert log.snapshot is not None
    assert (log.snapshot.index, log.snapshot.state[:]) == (9, STATE[::-1])


def test_half_a_snapshot_does_not_outlive_the_process(log: RaftLog, tmp_path: Path) -> None:
    log.persist([Record(pieces=pieces(STATE, 7)[:2])])
    log.close()
    log = reopened(tmp_path)
    assert list((tmp_path / "snapshots").iterdir()) == []
    with pytest.raises(InvariantViolated, match="pieces come in order"):
        log.persist([Record(pieces=pieces(STATE, 7)[2:])])


def test_pieces_that_are_not_what_they_say_are_a_bug(log: RaftLog) -> None:
    with pytest.raises(InvariantViolated, match="what was stored is what came"):
        log.persist([Record(pieces=pieces(STATE[1:], 7), snapshot=pieced(STATE, 7))])


def test_an_older_file_goes_and_who_reads_it_reads_on(log: RaftLog, tmp_path: Path) -> None:
    """A follower may be half way through it."""
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, STATE))])
    assert log.snapshot is not None
    older = log.snapshot.state
    log.persist([Record(snapshot=Snapshot(Index(8), Term(1), MEMBERS, b"newer"))])
    assert file_of(tmp_path).stem == f"{8:020d}"
    assert older[:] == STATE


def test_one_that_the_log_never_named_is_no_hindrance(log: RaftLog, tmp_path: Path) -> None:
    log.write_snapshot(Index(7), [STATE])
    log.close()
    log = reopened(tmp_path)
    assert log.snapshot is None
    log.persist([Record(snapshot=Snapshot(Index(8), Term(1), MEMBERS, b"newer"))])
    assert file_of(tmp_path).stem == f"{8:020d}"


@pytest.mark.slow
def test_damage_anywhere_is_refused(log: RaftLog, tmp_path: Path) -> None:
    """Every byte of the file counts but for the padding behind its header."""
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, STATE))])
    log.close()
    path = file_of(tmp_path)
    whole = path.read_bytes()
    random = Random(3)
    for offset in [*range(70), *random.sample(range(len(whole)), 60), *range(len(whole) - 16, len(whole))]:
        damaged = bytearray(whole)
        damaged[offset] ^= 1 << random.randrange(8)
        path.write_bytes(damaged)
        if 40 <= offset < 64:
            reopened(tmp_path).close()
            continue
        with pytest.raises(StorageCorrupt, match="must not vote"):
            reopened(tmp_path)
    for length in (0, 10, 64, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageCorrupt, match="must not vote"):
            reopened(tmp_path)


def test_a_missing_one_is_refused(log: RaftLog, tmp_path: Path) -> None:
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, STATE))])
    log.close()
    file_of(tmp_path).unlink()
    with pytest.raises(StorageCorrupt, match="is missing, and the log needs it.*must not vote"):
        reopened(tmp_path)


def test_another_one_in_its_place_is_refused(log: RaftLog, tmp_path: Path) -> None:
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, STATE))])
    path = file_of(tmp_path)
    log.write_snapshot(Index(9), [b"another"])
    log.close()
    (tmp_path / "snapshots" / f"{9:020d}.snapshot").replace(path)
    with pytest.raises(StorageCorrupt, match="not the snapshot that the log names"):
        reopened(tmp_path)


def test_damage_behind_the_back_of_a_running_process_is_seen(log: RaftLog, tmp_path: Path) -> None:
    """What is sent to others is checked as it is read."""
    log.persist([Record(snapshot=Snapshot(Index(7), Term(1), MEMBERS, STATE))])
    path = file_of(tmp_path)
    damaged = bytearray(path.read_bytes())
    damaged[64 + 1500] ^= 1
    path.write_bytes(damaged)
    file = SnapshotFile(path)
    assert file[:1000] == STATE[:1000]
    with pytest.raises(StorageCorrupt, match="damaged at offset"):
        _ = file[1200:1300]
