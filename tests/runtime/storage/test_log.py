"""The log on a real file: the storage suite, then everything that a crash, a bad disk or a bad hand can do to it."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from tests.runtime.storage.suite import CHECKS, Bench, entry, opened

from incumbent.consensus.api import Entry, Record, Saved
from incumbent.errors import (
    IdentityMismatch,
    InvalidInput,
    InvariantViolated,
    StorageCorrupt,
    StorageFailed,
)
from incumbent.ids import DiskId, Index, Term
from incumbent.runtime.storage import files, records
from incumbent.runtime.storage.log import RaftLog
from incumbent.runtime.storage.records import Last
from incumbent.runtime.storage.segments import path_of

DISK = DiskId("0123456789ab")


@dataclass
class Real:
    """A log in a directory, opened by one process at a time."""

    directory: Path
    log: RaftLog | None = None

    def open(self) -> RaftLog:
        self.log = RaftLog(self.directory, DISK)
        return self.log

    def crash(self) -> None:
        """What the kernel does for a process that dies. (There is no mark of a clean end, so close() is the same.)"""
        if self.log is not None:
            self.log.close()

    def saved(self) -> Saved:
        """What a process that starts now would find."""
        self.crash()
        found = self.open().load()
        self.crash()
        return found

    @property
    def file(self) -> Path:
        return path_of(self.directory / "log", 1)


@pytest.fixture
def real(tmp_path: Path) -> Real:
    return Real(tmp_path)


@pytest.fixture
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of what is read, thousands of times: nothing here loses its cache."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ZEROS_BYTES", 16 * 1024)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_storage_suite(check: Callable[[Bench], None], real: Real) -> None:
    check(real)


# --- torn tails and corruption -------------------------------------------------------------------------------------


BATCHES: list[list[Record]] = [
    [Record(b"t1", None, [entry(1, data=b"one")])],
    [Record(None, None, [entry(2, data=b"two")]), Record(b"t2", None, [entry(3, 2, b"three")])],
    [Record(None, Index(3), [entry(3, 3, b"other"), entry(4, 3, b"four")])],
    [Record(b"t4", None, [entry(5, 4, b"five" * 8)]), Record(None, None, [entry(6, 4)]), Record(b"t5")],
]


def write_batches(real: Real) -> tuple[list[int], list[Saved]]:
    """The offset behind each batch, and what a load gives back there; both begin with the empty log."""
    states = [real.saved()]
    ends = [end_of(real)]
    for batch in BATCHES:
        storage, _ = opened(real)
        storage.persist(batch)
        states.append(real.saved())
        ends.append(end_of(real))
    return ends, states


def end_of(real: Real) -> int:
    """The offset behind the last record of the newest segment."""
    log = real.open()
    log.load()
    end = log._segments[-1].at.offset
    real.crash()
    return end


def judge_damage(real: Real, data: bytes, damaged_at: int, ends: list[int], states: list[Saved]) -> str:
    """Open a damaged copy: it must give exactly the batches before the damage, or refuse; never anything else."""
    real.file.write_bytes(data)
    before = max(n for n, end in enumerate(ends) if end <= damaged_at) if damaged_at >= ends[0] else None
    real.crash()
    try:
        storage, saved = opened(real)
    except (StorageCorrupt, InvalidInput, IdentityMismatch):
        assert real.file.read_bytes() == data, "nothing is written to a log that is refused"
        return "refused"
    if saved == states[-1]:
        return "harmless"
    assert before is not None, "a damaged header is refused"
    assert saved == states[before], f"damage at {damaged_at}: {saved}"
    # What was cut stays cut, and the log goes on.
    storage.persist([Record(b"new")])
    again = real.saved()
    assert (again.hard_state, again.entries) == (b"new", states[before].entries)
    return "cut"


@pytest.mark.slow
@pytest.mark.usefixtures("_unsynced")
def test_a_file_cut_at_any_offset_keeps_every_whole_batch(real: Real) -> None:
    """P51: a batch that was acknowledged before the cut is there; one that was not is gone as a whole."""
    ends, states = write_batches(real)
    data = real.file.read_bytes()
    for offset in range(ends[0], ends[-1] + 1):
        cut = data[:offset] + bytes(len(data) - offset)
        real.file.write_bytes(cut)
        saved = real.saved()
        # Cutting off zeros that belong to a batch changes nothing.
        whole = max(n for n, end in enumerate(ends) if not any(data[offset:end]))
        assert saved == states[whole], offset


@pytest.mark.slow
@pytest.mark.usefixtures("_unsynced")
def test_a_file_that_became_shorter_is_refused(real: Real) -> None:
    """Zeros follow the last record at every moment, so a file that ends without them lost its end: a bad copy, say."""
    ends, states = write_batches(real)
    data = real.file.read_bytes()
    for length in range(ends[-1] + 8):
        outcome = judge_damage(real, data[:length], length, ends, states)
        # Where eight zeros of a payload or of padding come last, it looks like a torn tail.
        assert outcome == "refused" or data[length - 8 : length] == bytes(8), length


def test_zeros_follow_the_last_record_however_full_the_file_is(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "ZEROS_BYTES", 8)
    storage, _ = opened(real)
    for size in range(64):
        storage.persist([Record(b"v" * size)])
        assert real.file.read_bytes()[-8:] == bytes(8)
    assert real.saved().hard_state == b"v" * 63


@pytest.mark.slow
@pytest.mark.usefixtures("_unsynced")
def test_a_flipped_bit_anywhere_is_cut_or_refused_and_never_believed(real: Real) -> None:
    """A bad record with a good one of a later batch behind it is corruption; only the last batch can be a torn tail."""
    ends, states = write_batches(real)
    data = real.file.read_bytes()
    random = Random(1)
    outcomes: dict[str, int] = {}
    for offset in range(ends[-1]):
        flipped = bytearray(data)
        flipped[offset] ^= 1 << random.randrange(8)
        outcome = judge_damage(real, bytes(flipped), offset, ends, states)
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if ends[0] <= offset < ends[-2] and outcome != "harmless":
            assert outcome == "refused", f"offset {offset}: acknowledged data was damaged, and {outcome}"
    assert outcomes["harmless"] < 7 * (1 + sum(map(len, BATCHES))) + 64, "only padding carries nothing"
    assert outcomes["cut"] > 50
    assert outcomes["refused"] > 200


def test_later_sectors_of_a_torn_batch_do_not_look_like_corruption(real: Real) -> None:
    """A disk may write the end of one batch before its beginning: nobody was told that it is durable."""
    ends, states = write_batches(real)
    data = bytearray(real.file.read_bytes())
    first_of_last = ends[-2]
    data[first_of_last : first_of_last + 16] = bytes(16)  # its other records are whole
    assert judge_damage(real, bytes(data), first_of_last, ends, states) == "cut"


def test_a_record_of_another_place_is_not_believed(real: Real) -> None:
    """Each record verifies on its own; only the chain shows that one was doubled or left out."""
    ends, states = write_batches(real)
    data = real.file.read_bytes()
    doubled = data[: ends[1]] + data[ends[0] : ends[1]] + bytes(len(data))
    real.file.write_bytes(doubled)
    assert real.saved() == states[1]
    left_out = data[: ends[1]] + data[ends[2] :]
    real.file.write_bytes(left_out)
    with pytest.raises(StorageCorrupt, match="offset"):
        opened(real)


def test_a_value_that_looks_like_a_record_is_none(real: Real) -> None:
    """A client may store what it likes. In a torn tail it must not pass for a record of a later batch."""
    write_batches(real)
    storage, before = opened(real)
    assert isinstance(storage, RaftLog)
    start = storage._segments[-1].at.offset
    payload = records.encode(records.to_stored(Record(b"evil"), None, None)).payload
    (like_a_record, _) = records.frame(payload, 2**40, 0, 1, Last(), 0, b"")
    value = b"".join(bytes(shift) + like_a_record for shift in range(8))
    storage.persist([Record(None, None, [entry(9, data=value)])])
    data = bytearray(real.file.read_bytes())
    data[start : start + 16] = bytes(16)
    real.file.write_bytes(data)
    assert real.saved() == before


def test_a_whole_record_that_says_nothing_is_refused(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, _ = opened(real)
    with monkeypatch.context() as patched:
        patched.setattr(records, "encode", lambda stored: records.Encoded(stored, b"\xc1"))
        storage.persist([Record(b"x")])
    with pytest.raises(StorageCorrupt, match="whole and says nothing"):
        real.saved()


def test_a_refused_log_can_never_be_written(real: Real) -> None:
    ends, _ = write_batches(real)
    data = bytearray(real.file.read_bytes())
    data[ends[0] + 40] ^= 1
    real.file.write_bytes(data)
    log = real.open()
    with pytest.raises(StorageCorrupt):
        log.load()
    with pytest.raises(StorageFailed):
        log.persist([Record(b"x")])
    assert real.file.read_bytes() == bytes(data)


def test_a_log_is_loaded_once(real: Real) -> None:
    """A second load would begin behind the records, and find none."""
    storage, _ = opened(real)
    with pytest.raises(InvariantViolated, match="loaded once"):
        storage.load()


def test_a_record_beyond_the_bound_is_a_bug_and_is_not_written(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "RECORD_BYTES_MAX", 100)
    storage, _ = opened(real)
    with pytest.raises(InvariantViolated, match="a record is bounded"):
        storage.persist([Record(b"small"), Record(b"x" * 101)])
    assert real.saved() == Saved()


def test_corruption_names_the_file_the_offset_and_what_to_do(real: Real) -> None:
    ends, _ = write_batches(real)
    data = bytearray(real.file.read_bytes())
    data[ends[0] + 40] ^= 1
    real.file.write_bytes(data)
    with pytest.raises(
        StorageCorrupt, match=rf"{real.file.name}.*offset {ends[0]} .*must not vote.*new voter"
    ):
        opened(real)
    assert real.file.read_bytes() == bytes(data), "nothing was written to a log that is refused"


# --- errors of the disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync"])
def test_the_first_error_is_the_last_word(real: Real, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After a failed fsync the kernel marks the pages clean, so a retry would lie: every later call refuses."""
    storage, _ = opened(real)
    storage.persist([Record(b"good")])

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(StorageFailed, match="writing the log failed.*stop this process"):
            storage.persist([Record(b"bad" * 6000)])  # the file has to grow, so it needs every call
    with pytest.raises(StorageFailed):
        storage.persist([Record(b"after")])


@pytest.mark.parametrize("call", ["fsync", "fdatasync", "pwrite"])
def test_an_error_at_the_start_is_the_last_word_too(
    real: Real, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """What was read but could not be made durable, or a tail that could not be cut, is nothing to vote with."""
    ends, _ = write_batches(real)
    data = bytearray(real.file.read_bytes())
    data[ends[-2]] ^= 1  # a torn tail, to be cut
    real.file.write_bytes(data)

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "injected")

    log = real.open()
    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(StorageFailed, match="injected"):
            log.load()
    with pytest.raises(StorageFailed, match="injected"):
        log.persist([Record(b"after")])


def test_without_the_calls_of_linux_it_syncs_past_the_drives_cache(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    """macOS: no fdatasync, no posix_fadvise, and an fsync that stops at the drive's cache."""
    asked: list[int] = []
    monkeypatch.delattr(os, "fdatasync")
    monkeypatch.delattr(os, "posix_fadvise")
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda _, command: asked.append(command))
    storage, _ = opened(real)
    asked.clear()
    storage.persist([Record(b"kept")])
    assert asked == [51]
    assert real.saved().hard_state == b"kept"


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "make room"), (errno.EROFS, "mount it for writing")]
)
def test_a_disk_that_is_full_or_read_only_is_an_error_like_any_other(
    real: Real, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    storage, _ = opened(real)

    def refused(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refused)
        with pytest.raises(StorageFailed, match=advice):
            storage.persist([Record(b"x" * 20_000)])
    real.crash()
    assert real.saved().hard_state is None, "nothing half-written is believed"


def test_after_a_crash_the_disk_is_read_and_not_the_cache(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the disk does not have yet is made durable, then the cache is dropped, then the file is read."""
    write_batches(real)
    real.crash()
    done: list[str] = []
    sync, advise = files.sync, os.posix_fadvise

    def noted_sync(fd: int) -> None:
        done.append("sync")
        sync(fd)

    def fadvise(fd: int, offset: int, length: int, advice: int) -> None:
        done.append("drop" if (offset, length, advice) == (0, 0, os.POSIX_FADV_DONTNEED) else "?")
        advise(fd, offset, length, advice)

    monkeypatch.setattr(files, "sync", noted_sync)
    monkeypatch.setattr(os, "posix_fadvise", fadvise)
    real.saved()
    assert done[:2] == ["sync", "drop"]


def test_a_short_write_is_finished(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, _ = opened(real)
    pwrite = os.pwrite
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:7], offset))
        storage.persist([Record(b"in pieces", None, [entry(1)])])
    assert real.saved().hard_state == b"in pieces"


# --- files that are not this node's --------------------------------------------------------------------------------


def test_the_log_of_another_disk_is_refused(real: Real) -> None:
    write_batches(real)
    with pytest.raises(IdentityMismatch, match="data_dir: .*another|data_dir: .*belongs to disk"):
        RaftLog(real.directory, DiskId("ffffffffffff")).load()


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096])
def test_a_file_that_is_no_log_is_refused_and_kept(real: Real, content: bytes) -> None:
    real.file.parent.mkdir()
    real.file.write_bytes(content)
    with pytest.raises(InvalidInput, match="^data_dir: "):
        opened(real)
    assert real.file.read_bytes() == content


def test_no_two_have_one_log_open(real: Real) -> None:
    """Also when somebody removed the directory's lock file: this lock is on the log itself."""
    storage, _ = opened(real)
    with pytest.raises(InvalidInput, match="^data_dir: .*in use by another process"):
        RaftLog(real.directory, DISK).load()
    storage.persist([Record(b"undisturbed")])
    assert real.saved().hard_state == b"undisturbed"


def test_a_crash_while_the_log_was_made_leaves_nothing_in_the_way(real: Real) -> None:
    real.file.parent.mkdir()
    real.file.with_suffix(".new").write_bytes(b"half a header")
    storage, _ = opened(real)
    storage.persist([Record(b"x")])
    assert real.saved().hard_state == b"x"


def test_the_file_is_private(real: Real) -> None:
    opened(real)
    assert real.file.stat().st_mode & 0o777 == 0o600


# --- a real kill ---------------------------------------------------------------------------------------------------

WRITER = """
import sys
from incumbent.consensus.api import Entry, Record
from incumbent.ids import DiskId, Index, Term
from incumbent.runtime.storage.log import RaftLog
log = RaftLog(sys.argv[1], DiskId("0123456789ab"))
index = max(log.load().entries, default=0)
while True:
    size = index % 5 + 1
    log.persist([Record(b"%d" % (index + n), None, [Entry(Index(index + n), Term(1), b"d" * (index % 700))]) for n in range(1, size + 1)])
    index += size
    print(index, flush=True)
"""


@pytest.mark.slow
def test_nothing_acknowledged_is_lost_by_a_kill(real: Real) -> None:
    """P51: the process is killed at random moments; after each restart everything it had acknowledged is there."""
    random = Random(os.urandom(8))  # the kernel's timing cannot be replayed, so neither is this
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(real.directory)], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline()]
        acknowledged += [writer.stdout.readline() for _ in range(random.randrange(1, 60))]
        writer.send_signal(signal.SIGKILL)
        acknowledged += writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
        saved = real.saved()
        last = int(acknowledged[-1])
        assert max(saved.entries) >= last
        assert sorted(saved.entries) == list(range(1, max(saved.entries) + 1))
        assert saved.hard_state is not None
        assert int(saved.hard_state) == max(saved.entries)


def test_an_entry_is_stored_as_it_was() -> None:
    whole = Entry(Index(2**40), Term(2**33), bytes(range(256)), b"tag")
    encoded = records.encode(records.to_stored(Record(None, None, [whole]), None, None))
    stored = records.decode(encoded.payload)
    assert stored.entries == (whole,)
