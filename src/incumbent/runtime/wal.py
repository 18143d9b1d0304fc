"""The durable record stream of one voter: the first form of the Raft log on disk.

One file, zero-filled ahead of the records, so that a commit is one write inside the file and one fdatasync::

    header  magic, format, segment number, disk id, salt, crc                             64 bytes
    record  magic, length, batch, place in batch, size of batch, chain, crc | payload     padded to 8 bytes
    record  ...
    zeros   to the end of the file, always some: a file without them was cut short

All records of one `persist` are one *batch*: they become durable together, and the next batch is written only after this one
was acknowledged. Every record carries two checksums. `crc` covers the record alone, so that a good record is recognised
wherever it stands; the file's random salt is in it, so that no value which a client stores can look like a record. `chain`
covers the record and the chain before it, so that no record can be missing, doubled or from another log without notice.
CRC-32 finds accidents; it is no defence against somebody who can write the file.

How a torn tail is told from corruption: a crash can only damage the batch that was being written, which nobody was told is
durable. So a bad record is a torn tail, and is cut, if every good record behind it belongs to that same batch (a disk may
write the later sectors of one write first). A good record of a LATER batch behind a bad one means that the bad one had been
durable: acknowledged data is damaged, and the node must not vote ("Protocol-Aware Recovery for Consensus-Based Storage", FAST 2018).
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from incumbent.consensus.api import Entry, Record, Saved, Snapshot
from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt, StorageFailed, invariant
from incumbent.ids import DiskId, Index

logger = logging.getLogger(__name__)

RECORD_BYTES_MAX: Final = 1024 * 1024 * 1024
"""Far above what one record can hold: all the appends that may be on their way to a follower at one time."""
PREALLOCATE_BYTES: Final = 4 * 1024 * 1024
"""The file grows by zeros in steps of this size, so that a commit need not change the file's length."""

FILE_NAME: Final = "log-00000001"
_FILE_MAGIC: Final = b"INCLOG\x00\x01"
_FILE_HEADER: Final = struct.Struct("<8sII12s4sI")  # magic, format, segment, disk, salt, crc
_FILE_HEADER_BYTES: Final = 64
_FORMAT: Final = 1
_SEGMENT: Final = 1
_RECORD_MAGIC: Final = b"iREC"
_RECORD_HEADER: Final = struct.Struct("<4sIQIIII")  # magic, length, batch, place, size of batch, chain, crc
_ALIGN: Final = 8
_ZEROS_MIN: Final = _ALIGN
"""So many zeros follow the last record in every log, also in the middle of a write."""
_NOT_LOADED: Final = "the log was not loaded"
_CLOSED: Final = "the log is closed"


class _Stored(msgspec.Struct, frozen=True, array_like=True):
    """A Record as bytes."""

    hard_state: bytes | None
    truncate_from: Index | None
    entries: tuple[Entry, ...]
    snapshot: Snapshot | None = None


_encoder = msgspec.msgpack.Encoder(order="sorted")
_decoder = msgspec.msgpack.Decoder(_Stored)


class _Found(NamedTuple):
    """A record that verifies on its own."""

    batch: int
    place: int
    size: int
    chain: int
    payload: bytes
    end: int  # the offset behind it


@dataclass(slots=True)
class _Cursor:
    """Where the next record goes, and what it is chained to."""

    offset: int
    chain: int
    batch: int  # of the last whole batch; 0 before the first


class RaftLog:
    """ports.Storage on a file, which it locks: no two can have one log open, in whichever processes they are."""

    def __init__(self, data_dir: Path | str, disk: DiskId) -> None:
        self._path = Path(data_dir) / FILE_NAME
        self._disk = disk
        self._fd: int | None = None
        self._refusal: str | None = _NOT_LOADED  # why nothing can be persisted; None = it can
        self._length = 0  # of the file, records and zeros
        self._salt = b""
        self._at = _Cursor(_FILE_HEADER_BYTES, 0, 0)
        self.torn_bytes = 0  # cut by the load

    def load(self) -> Saved:
        """See ports.Storage. Once. Makes the file when there is none. When it raises, nothing can ever be persisted here.

        Raises StorageCorrupt, IdentityMismatch (another disk's log), InvalidInput (in use, no log of ours, or a later format)
        and StorageFailed.
        """
        invariant(self._refusal == _NOT_LOADED, "a log is loaded once", refusal=self._refusal)
        try:
            data = self._open()
            self._length = len(data)
            self._check_header(data)
            saved = _effect(self._scan(data))
            self._cut_torn_tail(data)
        except BaseException:
            self.close()
            raise
        self._refusal = None
        return saved

    def persist(self, records: Sequence[Record]) -> None:
        """See ports.Storage. All of `records` are one batch."""
        if self._refusal is not None or self._fd is None:
            raise StorageFailed(self._refusal or _CLOSED)
        if not records:
            return
        at = _Cursor(self._at.offset, self._at.chain, self._at.batch + 1)
        data = bytearray()
        for place, record in enumerate(records):
            frame, at.chain = _frame(_encode(record), at.batch, place, len(records), at.chain, self._salt)
            data += frame
        at.offset += len(data)
        try:
            if at.offset + _ZEROS_MIN > self._length:
                self._extend(at.offset + _ZEROS_MIN)
            _write_all(self._fd, data, self._at.offset)
            sync_data(self._fd)
        except OSError as error:
            raise self._fail("writing the log", error) from error
        self._at = at

    def close(self) -> None:
        """Release the file."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
        if self._refusal in (None, _NOT_LOADED):
            self._refusal = _CLOSED

    # --- writing -----------------------------------------------------------------------------------------------------

    def _fail(self, doing: str, error: OSError) -> StorageFailed:
        """After the first error nobody knows what the disk holds: never retry, never answer again."""
        self._refusal = (
            f"{doing} failed at {self._path}: {error}; stop this process, look at the disk, then restart it"
        )
        return StorageFailed(self._refusal)

    def _create(self) -> None:
        """Under another name, so that a crash in between leaves no log with half a header."""
        unfinished = self._path.with_suffix(".new")
        self._fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        lock_file(self._fd, self._path)
        os.ftruncate(self._fd, 0)
        salt = os.urandom(4)
        header = _FILE_HEADER.pack(_FILE_MAGIC, _FORMAT, _SEGMENT, self._disk.encode(), salt, 0)[:-4]
        header += zlib.crc32(header).to_bytes(4, "little")
        _write_all(self._fd, header.ljust(_FILE_HEADER_BYTES, b"\0") + bytes(PREALLOCATE_BYTES), 0)
        sync(self._fd)
        unfinished.rename(self._path)

    def _extend(self, needed: int) -> None:
        assert self._fd is not None
        zeros = bytes(max(PREALLOCATE_BYTES, needed - self._length))
        _write_all(self._fd, zeros, self._length)
        self._length += len(zeros)
        sync(self._fd)  # the new length too

    # --- reading -----------------------------------------------------------------------------------------------------

    def _open(self) -> bytes:
        """Lock the file and give what the DISK holds of it.

        A process that was killed leaves writes in the page cache that the disk does not have yet. They are made durable
        before they are believed: an entry once read is acknowledged without being written again. A failed fsync leaves
        pages there that the disk will never have, and that count as clean: the cache is dropped before reading.
        """
        try:
            if self._path.exists():
                self._fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
                lock_file(self._fd, self._path)
            else:
                self._create()
            assert self._fd is not None
            sync(self._fd)
            fsync_directory(self._path.parent)  # a crash may have come between the renaming and this
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
            with open(self._fd, "rb", closefd=False) as file:
                return file.read()
        except OSError as error:
            raise self._fail("reading the log", error) from error

    def _check_header(self, data: bytes) -> None:
        header = data[: _FILE_HEADER.size]
        if len(data) < _FILE_HEADER_BYTES or header[:8] != _FILE_MAGIC:
            raise InvalidInput("data_dir", f"{self._path} is no Raft log", "use a directory of this node")
        _, version, segment, disk, salt, crc = _FILE_HEADER.unpack(header)
        if zlib.crc32(header[:-4]) != crc:
            raise StorageCorrupt(f"{self._path}: the file's header is damaged; {ADVICE}")
        if version != _FORMAT or segment != _SEGMENT:
            raise InvalidInput(
                "data_dir", f"{self._path} has format {version}", "use the release that wrote it"
            )
        if disk.decode() != self._disk:
            raise IdentityMismatch(
                f"data_dir: {self._path} belongs to disk {disk.decode()}, and this node's is {self._disk}; "
                "do not copy logs between nodes"
            )
        if len(data) < _FILE_HEADER_BYTES + _ZEROS_MIN or any(data[-_ZEROS_MIN:]):
            raise StorageCorrupt(f"{self._path}: the file was cut short at offset {len(data)}; {ADVICE}")
        self._salt = salt
        self._at.chain = zlib.crc32(disk, zlib.crc32(salt))

    def _scan(self, data: bytes) -> list[_Stored]:
        """The records of every whole batch, up to the first that is missing or bad. A batch is whole or not there: what
        stands of an unfinished one was never acknowledged."""
        records: list[_Stored] = []
        while True:
            batch, at = self._scan_batch(data)
            if at is None:
                return records
            records += batch
            self._at = at

    def _scan_batch(self, data: bytes) -> tuple[list[_Stored], _Cursor | None]:
        at = _Cursor(self._at.offset, self._at.chain, self._at.batch + 1)
        records: list[_Stored] = []
        while True:
            found = _find(data, at.offset, self._salt)
            if found is None or (found.batch, found.place) != (at.batch, len(records)):
                return [], None
            if found.chain != _chain(at.chain, found.batch, found.place, found.size, found.payload):
                return [], None
            records.append(self._decode(found.payload, at.offset))
            at.offset, at.chain = found.end, found.chain
            if len(records) == found.size:
                return records, at

    def _decode(self, payload: bytes, offset: int) -> _Stored:
        try:
            return _decoder.decode(payload)
        except msgspec.MsgspecError as error:
            raise StorageCorrupt(
                f"{self._path}: the record at offset {offset} is whole and says nothing ({error}); {ADVICE}"
            ) from error

    def _cut_torn_tail(self, data: bytes) -> None:
        """Make sure that nothing but zeros follows the last whole batch.

        Raises StorageCorrupt when what follows shows that acknowledged data is damaged.
        """
        start = self._at.offset
        end = len(data.rstrip(b"\0"))
        if end <= start:
            return
        offset = data.find(_RECORD_MAGIC, start, end)
        while offset >= 0:
            later = _find(data, offset, self._salt)
            if later is not None and later.batch > self._at.batch + 1:
                raise StorageCorrupt(
                    f"{self._path}: the record at offset {start} is bad, and the one at offset {offset} was written "
                    f"after it had been acknowledged; {ADVICE}"
                )
            offset = data.find(_RECORD_MAGIC, offset + 1, end)
        self.torn_bytes = end - start
        logger.warning("%s: cut %d bytes of a write that a crash interrupted", self._path, self.torn_bytes)
        assert self._fd is not None
        try:
            _write_all(self._fd, bytes(end - start), start)
            sync_data(self._fd)
        except OSError as error:
            raise self._fail("cutting a torn tail", error) from error


ADVICE: Final = "this node must not vote with it. Move the data directory away, keep it, and let the node come back as a new voter"


def _encode(record: Record) -> bytes:
    payload = _encoder.encode(
        _Stored(record.hard_state, record.truncate_from, tuple(record.entries), record.snapshot)
    )
    invariant(len(payload) <= RECORD_BYTES_MAX, "a record is bounded", bytes=len(payload))
    return payload


def _frame(payload: bytes, batch: int, place: int, size: int, chain: int, salt: bytes) -> tuple[bytes, int]:
    """A record as it stands in the file, and the chain after it."""
    chain = _chain(chain, batch, place, size, payload)
    header = _RECORD_HEADER.pack(_RECORD_MAGIC, len(payload), batch, place, size, chain, 0)[:-4]
    frame = header + _crc(salt, header, payload).to_bytes(4, "little") + payload
    return frame + bytes(-len(frame) % _ALIGN), chain


def _crc(salt: bytes, header: bytes, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(header, zlib.crc32(salt)))


def _chain(before: int, batch: int, place: int, size: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(struct.pack("<QII", batch, place, size), before))


def _find(data: bytes, offset: int, salt: bytes) -> _Found | None:
    """The record that verifies on its own at `offset`, if there is one."""
    if data[offset : offset + 4] != _RECORD_MAGIC or offset + _RECORD_HEADER.size > len(data):
        return None
    _, length, batch, place, size, chain, crc = _RECORD_HEADER.unpack_from(data, offset)
    start = offset + _RECORD_HEADER.size
    if length > RECORD_BYTES_MAX or start + length > len(data):
        return None
    payload = data[start : start + length]
    if _crc(salt, data[offset : start - 4], payload) != crc:
        return None
    end = start + length
    return _Found(batch, place, size, chain, payload, end + -end % _ALIGN)


def _effect(records: Sequence[_Stored]) -> Saved:
    """What all records together leave behind, in the order of consensus.api.Record."""
    hard_state: bytes | None = None
    snapshot: Snapshot | None = None
    entries: dict[Index, Entry] = {}
    for record in records:
        if record.hard_state is not None:
            hard_state = record.hard_state
        if record.snapshot is not None:
            snapshot = record.snapshot
            entries = {index: entry for index, entry in entries.items() if index > snapshot.index}
        if record.truncate_from is not None:
            for index in [index for index in entries if index >= record.truncate_from]:
                del entries[index]
        for entry in record.entries:
            entries[entry.index] = entry
    return Saved(hard_state, entries, snapshot)


def _write_all(fd: int, data: bytes | bytearray, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def sync(fd: int) -> None:
    """Make a file durable, its length too."""
    past_the_drives_cache = getattr(fcntl, "F_FULLFSYNC", None)  # macOS: its fsync stops at that cache
    if past_the_drives_cache is None:
        os.fsync(fd)
    else:
        fcntl.fcntl(fd, past_the_drives_cache)


def sync_data(fd: int) -> None:
    """Make what was written inside a file durable."""
    if hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        sync(fd)


def lock_file(fd: int, path: Path) -> None:
    """Take a file for as long as `fd` is open.

    Raises InvalidInput when another has it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InvalidInput(
            "data_dir",
            f"{path} is in use by another process",
            "stop it, and what it forked, or use another directory",
        ) from error


def fsync_directory(path: Path) -> None:
    """Make a creation or renaming in this directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
