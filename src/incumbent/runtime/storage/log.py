"""ports.Storage on a directory: a batch of records in, made durable with one fdatasync; everything out at the start."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Final

from incumbent.consensus.api import Record, Saved, Snapshot
from incumbent.consensus.blob import Pieced, crc_of
from incumbent.errors import StorageCorrupt, StorageFailed, invariant
from incumbent.ids import DiskId, Index
from incumbent.runtime.storage import files, records
from incumbent.runtime.storage.records import Encoded, SnapshotMeta, Stored
from incumbent.runtime.storage.recovery import Effect, check_chain, newest_run
from incumbent.runtime.storage.segments import ADVICE, SUFFIX, Segment
from incumbent.runtime.storage.snapshots import CHUNK_BYTES, SnapshotFile, Snapshots

logger = logging.getLogger(__name__)

DIRECTORY: Final = "log"
_NOT_LOADED: Final = "the log was not loaded"
_CLOSED: Final = "the log is closed"
_WHAT_TO_DO: Final = {
    errno.ENOSPC: "the disk is full: make room, then start this process again",
    errno.EDQUOT: "the disk quota is used up: raise it, then start this process again",
    errno.EROFS: "the file system is read-only: look why (dmesg), mount it for writing, then start this process again",
}

FORGOTTEN_AT_ONCE_MAX: Final = 1
"""Segments deleted with one write. A file system takes long to delete a gigabyte, and the next write waits."""


def log_exists(data_dir: Path) -> bool:
    return any((data_dir / DIRECTORY).glob("*" + SUFFIX))


class RaftLog:
    """Locks its directory: no two can have one log open, in whichever processes they are."""

    def __init__(self, data_dir: Path | str, disk: DiskId) -> None:
        self._data_dir = Path(data_dir)
        self._directory = self._data_dir / DIRECTORY
        self._disk = disk
        self._lock: int | None = None
        self._refusal: str | None = _NOT_LOADED  # why nothing can be persisted; None = it can
        self._segments: list[Segment] = []  # the last is open for writing; of the others only the names count
        self._snapshots = Snapshots(self._data_dir)
        self._hard_state: bytes | None = None  # this and the next two as the log has them
        self._meta: SnapshotMeta | None = None
        self._oldest = 1
        self.snapshot: Snapshot | None = None
        """The newest durable one; its state is read from the disk."""
        self.torn_bytes = 0  # cut by the load

    def load(self) -> Saved:
        """See ports.Storage. Once. Makes the log when there is none. When it raises, nothing can ever be persisted here.

        Raises StorageCorrupt, IdentityMismatch (another disk's log), InvalidInput (in use, no log of ours, or a later format)
        and StorageFailed.
        """
        invariant(self._refusal == _NOT_LOADED, "a log is loaded once", refusal=self._refusal)
        try:
            saved = self._load()
        except OSError as error:
            failed = self._fail("reading the log", error)
            self.close()
            raise failed from error
        except BaseException:
            self.close()
            raise
        self._refusal = None
        return saved

    def persist(self, batch: Sequence[Record]) -> None:
        """See ports.Storage. All of `batch` become durable together."""
        if self._refusal is not None:
            raise StorageFailed(self._refusal)
        if not batch:
            return
        try:
            self._append([records.encode(self._to_stored(record)) for record in batch])
            if self._meta is not None and any(record.snapshot is not None for record in batch):
                self._snapshots.keep_only(self._meta.index)
            self._forget(FORGOTTEN_AT_ONCE_MAX)
        except OSError as error:
            raise self._fail("writing the log", error) from error

    def write_snapshot(self, index: Index, chunks: Iterable[bytes]) -> SnapshotFile:
        """A durable file with a machine's state after `index`, to be named by a later Record. Blocking; may run in another
        thread than persist(). Raises StorageFailed."""
        if self._refusal is not None:
            raise StorageFailed(self._refusal)
        try:
            return self._snapshots.write(index, chunks)
        except OSError as error:
            raise self._fail("writing a snapshot", error) from error

    def close(self) -> None:
        """Release the files."""
        for segment in self._segments:
            segment.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        if self._refusal in (None, _NOT_LOADED):
            self._refusal = _CLOSED

    def _fail(self, doing: str, error: OSError) -> StorageFailed:
        """After the first error nobody knows what the disk holds: never retry, never answer again."""
        advice = _WHAT_TO_DO.get(error.errno or 0, "stop this process, look at the disk, then restart it")
        self._refusal = f"{doing} failed at {self._directory}: {error}; {advice}"
        return StorageFailed(self._refusal)

    # --- writing -----------------------------------------------------------------------------------------------------

    def _to_stored(self, record: Record) -> Stored:
        for piece in record.pieces:
            self._snapshots.receive(piece)
        if record.snapshot is None:
            return records.to_stored(record, None, None)
        meta = self._keep(record.snapshot)
        older = list(takewhile(lambda segment: segment.top <= meta.index, self._segments[:-1]))
        return records.to_stored(record, meta, older[-1].number + 1 if older else self._oldest)

    def _keep(self, snapshot: Snapshot) -> SnapshotMeta:
        """Make a snapshot's state durable, if it is not yet, before the log names it."""
        state = snapshot.state
        if isinstance(state, Pieced):
            state = self._snapshots.finish_received(snapshot.index)
        elif not isinstance(state, SnapshotFile):
            whole = (state[at : at + CHUNK_BYTES] for at in range(0, len(state), CHUNK_BYTES))
            state = self._snapshots.write(snapshot.index, whole)
        crc = crc_of(snapshot.state)
        invariant((len(state), state.crc) == (len(snapshot.state), crc), "what was stored is what came")
        self.snapshot = Snapshot(snapshot.index, snapshot.term, snapshot.membership, state)
        return SnapshotMeta(snapshot.index, snapshot.term, snapshot.membership, len(state), crc)

    def _append(self, batch: list[Encoded]) -> None:
        if not self._segments[-1].has_room(sum(encoded.size for encoded in batch)):
            self._roll()
        self._segments[-1].append(batch)
        for stored, _ in batch:
            if stored.hard_state is not None:
                self._hard_state = stored.hard_state
            if stored.snapshot is not None and stored.oldest is not None:
                self._meta, self._oldest = stored.snapshot, stored.oldest

    def _roll(self) -> None:
        """The next segment is durable before this one says that there is one."""
        full = self._segments[-1]
        head = Stored(self._hard_state, snapshot=self._meta, oldest=self._oldest)
        self._segments.append(Segment.create(self._directory, full.number + 1, self._disk, full.at, head))
        full.seal()
        full.close()

    def _forget(self, segments_max: int) -> None:
        """The log says what is not needed any more: delete it, the oldest first, and the rest another time."""
        gone = [segment for segment in self._segments if segment.number < self._oldest][:segments_max]
        for segment in gone:
            segment.path.unlink()
        if gone:
            files.fsync_directory(self._directory)
            del self._segments[: len(gone)]

    # --- reading -----------------------------------------------------------------------------------------------------

    def _load(self) -> Saved:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        files.lock_file(self._lock, self._directory)
        files.fsync_directory(self._data_dir)
        self._snapshots.prepare()
        for path in self._directory.glob("*.new"):
            path.unlink()
        files.fsync_directory(self._directory)  # a crash may have come between a renaming and this
        run, before = newest_run(self._directory)
        if not run:
            self._segments = [Segment.create(self._directory, 1, self._disk, None, Stored(oldest=1))]
            return Saved()
        effect = self._read(run)
        for path in before:
            invariant(int(path.stem) < effect.oldest, "a gap was refused")
            path.unlink()  # a crash came while they were deleted
        self._hard_state, self._meta, self._oldest = effect.hard_state, effect.meta, effect.oldest
        if effect.meta is not None:
            self.snapshot = self._open_snapshot(effect.meta)
        self._forget(len(self._segments))
        if effect.meta is not None:
            self._snapshots.keep_only(effect.meta.index)
        return Saved(effect.hard_state, effect.entries, self.snapshot)

    def _read(self, run: list[Path]) -> Effect:
        effect = Effect()
        for path in run:
            segment, data = Segment.open(path, int(path.stem), self._disk)
            is_last = path == run[-1]
            if self._segments:
                check_chain(self._segments[-1], segment)
            self._segments.append(segment)
            scanned = segment.scan(data)
            for stored in scanned.records:
                effect.take(stored)
            if is_last and scanned.sealed:
                raise StorageCorrupt(f"{self._directory}: the segment after {path.name} is missing; {ADVICE}")
            if is_last:
                self._cut(segment, data)
            if not is_last and scanned.sealed:
                segment.close()
        self._finish_rolling()
        if effect.oldest < int(run[0].stem):
            raise StorageCorrupt(
                f"{self._directory}: the segments {effect.oldest} to {int(run[0].stem) - 1} are missing; {ADVICE}"
            )
        return effect

    def _cut(self, segment: Segment, data: bytes) -> None:
        self.torn_bytes = segment.cut_torn_tail(data)
        if self.torn_bytes:
            logger.warning(
                "%s: cut %d bytes of a write that a crash interrupted", segment.path, self.torn_bytes
            )

    def _finish_rolling(self) -> None:
        """A crash may have come between the making of the last segment and the sealing of the one before."""
        for number, segment in enumerate(self._segments[:-1]):
            if segment.closed:
                continue
            last = self._segments[-1]
            if number != len(self._segments) - 2 or last.at.batch > last.start.batch + 1:
                raise StorageCorrupt(
                    f"{segment.path}: the seal at offset {segment.at.offset} is bad; {ADVICE}"
                )
            segment.seal()
            segment.close()

    def _open_snapshot(self, meta: SnapshotMeta) -> Snapshot:
        path = self._snapshots.path(meta.index)
        try:
            file = SnapshotFile(path)
        except FileNotFoundError:
            raise StorageCorrupt(f"{path} is missing, and the log needs it; {ADVICE}") from None
        except StorageCorrupt as error:
            raise StorageCorrupt(f"{error}; {ADVICE}") from error
        if (file.index, len(file), file.crc) != (meta.index, meta.size, meta.crc):
            raise StorageCorrupt(f"{path} is not the snapshot that the log names; {ADVICE}")
        try:
            file.check()
        except StorageCorrupt as error:
            raise StorageCorrupt(f"{error}; {ADVICE}") from error
        return Snapshot(meta.index, meta.term, meta.membership, file)
