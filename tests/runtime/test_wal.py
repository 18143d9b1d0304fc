"""The log on a real file: the storage suite, then everything that a crash, a bad disk or a bad hand can do to it."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from tests.runtime.storage_suite import CHECKS, Bench, entry, opened

from incumbent.consensus.api import Entry, Record, Saved
from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt, StorageFailed
from incumbent.ids import DiskId, Index, Term
from incumbent.runtime import wal
from incumbent.runtime.wal import FILE_NAME, RaftLog

DISK = DiskId("0123456789ab")


@dataclass
class Real:
    directory: Path

    def open(self) -> RaftLog:
        return RaftLog(self.directory, DISK)

    @property
    def file(self) -> Path:
        return self.directory / FILE_NAME


@pytest.fixture
def real(tmp_path: Path) -> Real:
    return Real(tmp_path)


@pytest.fixture(autouse=True)
def _small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wal, "PREALLOCATE_BYTES", 16 * 1024)


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
    storage, saved = opened(real)
    assert isinstance(storage, RaftLog)
    ends, states = [storage._at.offset], [saved]
    for batch in BATCHES:
        storage.persist(batch)
        ends.append(storage._at.offset)
        states.append(opened(real)[1])
    storage.close()
    return ends, states


def judge_damage(real: Real, data: bytes, damaged_at: int, ends: list[int], states: list[Saved]) -> str:
    """Open a damaged copy: it must give exactly the batches before the damage, or refuse; never anything else."""
    real.file.write_bytes(data)
    before = max(n for n, end in enumerate(ends) if end <= damaged_at) if damaged_at >= ends[0] else None
    try:
        storage, saved = opened(real)
    except (StorageCorrupt, InvalidInput, IdentityMismatch):
        return "refused"
    if saved == states[-1]:
        return "harmless"
    assert before is not None, "a damaged header is refused"
    assert saved == states[before], f"damage at {damaged_at}: {saved}"
    # What was cut stays cut, and the log goes on.
    storage.persist([Record(b"new")])
    storage.close()
    again = opened(real)[1]
    assert (again.hard_state, again.entries) == (b"new", states[before].entries)
    return "cut"


def test_a_file_cut_at_any_offset_keeps_every_whole_batch(real: Real) -> None:
    """P51: a batch that was acknowledged before the cut is there; one that was not is gone as a whole."""
    ends, states = write_batches(real)
    data = real.file.read_bytes()
    for offset in range(64, ends[-1] + 1):
        cut = data[:offset] + bytes(len(data) - offset)
        real.file.write_bytes(cut)
        saved = opened(real)[1]
        # Cutting off zeros that belong to a batch changes nothing.
        whole = max(n for n, end in enumerate(ends) if not any(data[offset:end]))
        assert saved == states[whole], offset


@pytest.mark.slow
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
    assert outcomes["harmless"] < 7 * sum(map(len, BATCHES)) + 32, "only padding carries nothing"
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
    assert opened(real)[1] == states[1]
    left_out = data[: ends[1]] + data[ends[2] :]
    real.file.write_bytes(left_out)
    with pytest.raises(StorageCorrupt, match="offset"):
        opened(real)


def test_corruption_names_the_file_the_offset_and_what_to_do(real: Real) -> None:
    ends, _ = write_batches(real)
    data = bytearray(real.file.read_bytes())
    data[ends[0] + 40] ^= 1
    real.file.write_bytes(data)
    with pytest.raises(StorageCorrupt, match=rf"{FILE_NAME}.*offset {ends[0]} .*must not vote.*new voter"):
        opened(real)
    assert real.file.read_bytes() == bytes(data), "nothing was written to a log that is refused"


# --- errors of the disk --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["pwrite", "fdatasync"])
def test_the_first_error_is_the_last_word(real: Real, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """After a failed fsync the kernel marks the pages clean, so a retry would lie: every later call refuses."""
    storage, _ = opened(real)
    storage.persist([Record(b"good")])

    def fail(*_: object) -> int:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(StorageFailed, match="writing the log failed.*stop this process"):
            storage.persist([Record(b"bad")])
    with pytest.raises(StorageFailed):
        storage.persist([Record(b"after")])


def test_a_full_disk_is_an_error_like_any_other(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, _ = opened(real)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StorageFailed, match="no space left"):
        storage.persist([Record(b"x" * 20_000)])


def test_a_short_write_is_finished(real: Real, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, _ = opened(real)
    pwrite = os.pwrite
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", lambda fd, data, offset: pwrite(fd, bytes(data)[:7], offset))
        storage.persist([Record(b"in pieces", None, [entry(1)])])
    storage.close()
    assert opened(real)[1].hard_state == b"in pieces"


# --- files that are not this node's --------------------------------------------------------------------------------


def test_the_log_of_another_disk_is_refused(real: Real) -> None:
    write_batches(real)
    with pytest.raises(IdentityMismatch, match="data_dir: .*another|data_dir: .*belongs to disk"):
        RaftLog(real.directory, DiskId("ffffffffffff")).load()


@pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 4096])
def test_a_file_that_is_no_log_is_refused_and_kept(real: Real, content: bytes) -> None:
    real.file.write_bytes(content)
    with pytest.raises(InvalidInput, match="^data_dir: "):
        opened(real)
    assert real.file.read_bytes() == content


def test_the_file_is_private(real: Real) -> None:
    opened(real)
    assert real.file.stat().st_mode & 0o777 == 0o600


# --- a real kill ---------------------------------------------------------------------------------------------------

WRITER = """
import sys
from incumbent.consensus.api import Entry, Record
from incumbent.ids import DiskId, Index, Term
from incumbent.runtime.wal import RaftLog
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
    random = Random(os.urandom(8))
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
        saved = opened(real)[1]
        last = int(acknowledged[-1])
        assert max(saved.entries) >= last
        assert sorted(saved.entries) == list(range(1, max(saved.entries) + 1))
        assert saved.hard_state is not None
        assert int(saved.hard_state) == max(saved.entries)


def test_an_entry_is_stored_as_it_was() -> None:
    whole = Entry(Index(2**40), Term(2**33), bytes(range(256)), b"tag")
    stored = wal._decoder.decode(wal._encode(Record(None, None, [whole])))
    assert stored.entries == (whole,)
