"""One file of the log::

    header  magic, format, number, disk id, salt, and where it starts: batch, term, index, chain; crc     128 bytes
    head    the first batch: hard state, snapshot and oldest segment as they are, so that no older segment is needed for them
    records ...
    seal    when it is full and the next segment is durable: the last record
    zeros   to the end of the file, always some: a file without them was cut short

A segment is zero-filled ahead of its records, so that a commit is one write inside the file and one fdatasync. It is made under
another name, with its head, and renamed when it is durable: what has the name was whole.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from incumbent.errors import IdentityMismatch, InvalidInput, StorageCorrupt
from incumbent.ids import DiskId
from incumbent.runtime.storage import files, records
from incumbent.runtime.storage.records import ALIGN, Encoded, Last, Stored

SEGMENT_BYTES: Final = 64 * 1024 * 1024
"""A segment that has as much gets a successor; the batch that would make it longer goes there."""
SUFFIX: Final = ".segment"
HEADER_BYTES: Final = 128
ADVICE: Final = "this node must not vote with it. Move the data directory away, keep it, and let the node come back as a new voter"
_MAGIC: Final = b"INCLOG\x00\x02"
_FORMAT: Final = 2
_HEADER: Final = struct.Struct(
    "<8sIQ12s4sQQQII"
)  # magic, format, number, disk, salt, batch, term, index, chain, crc
_ZEROS_MIN: Final = ALIGN
"""So many zeros follow the last record in every segment, also in the middle of a write."""


@dataclass(slots=True)
class Cursor:
    """Where the next record goes, and what it is chained to."""

    offset: int
    chain: int
    batch: int  # the last whole one; 0 before the first
    last: Last

    def copy(self) -> Cursor:
        return Cursor(self.offset, self.chain, self.batch, self.last)


@dataclass(slots=True)
class Scanned:
    """What a segment holds."""

    records: list[Stored]
    sealed: bool


def path_of(directory: Path, number: int) -> Path:
    return directory / f"{number:010d}{SUFFIX}"


class Segment:
    """An open file. Methods raise OSError; after that nothing is written to it."""

    def __init__(self, path: Path, fd: int, number: int, salt: bytes, start: Cursor, length: int) -> None:
        self.path = path
        self.number = number
        self.start = start.copy()
        self.at = start
        self.top = 0  # the highest index that was put here
        self._fd = fd
        self._salt = salt
        self._length = length

    @classmethod
    def create(
        cls, directory: Path, number: int, disk: DiskId, before: Cursor | None, head: Stored
    ) -> Segment:
        """A durable one that goes on where `before` ends; None: the first of a log."""
        salt = os.urandom(4)
        chain = zlib.crc32(disk.encode(), zlib.crc32(salt)) if before is None else before.chain
        batch, last = (0, Last()) if before is None else (before.batch, before.last)
        header = _HEADER.pack(_MAGIC, _FORMAT, number, disk.encode(), salt, batch, *last, chain, 0)[:-4]
        header += zlib.crc32(header).to_bytes(4, "little")
        path = path_of(directory, number)
        unfinished = path.with_suffix(".new")
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        segment = cls(path, fd, number, salt, Cursor(HEADER_BYTES, chain, batch, last), HEADER_BYTES)
        try:
            files.write_all(fd, header.ljust(HEADER_BYTES, b"\0"), 0)
            segment._write([records.encode(head)])
            files.sync(fd)
            unfinished.rename(path)
            files.fsync_directory(directory)
        except BaseException:
            segment.close()
            raise
        return segment

    @classmethod
    def open(cls, path: Path, number: int, disk: DiskId) -> tuple[Segment, bytes]:
        """Open one, and read what the disk has of it.

        Raises StorageCorrupt, IdentityMismatch, InvalidInput (no segment of ours, or a later format), OSError.
        """
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            data = files.read_from_disk(fd)
            salt, start = _check_header(path, number, disk, data)
            return cls(path, fd, number, salt, start, len(data)), data
        except BaseException:
            os.close(fd)
            raise

    @property
    def closed(self) -> bool:
        return self._fd < 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    # --- writing -----------------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether a batch of `size` bytes goes here. One goes into every segment, however large it is."""
        return self.at.offset + size <= SEGMENT_BYTES

    def append(self, batch: Sequence[Encoded]) -> None:
        """Make a batch durable."""
        self._write(batch)
        files.sync_data(self._fd)

    def seal(self) -> None:
        """The next segment is durable. What follows the seal is chained to what is before it."""
        at = self.at.copy()
        self.append([records.encode(Stored(seals=True))])
        self.at = at

    def _write(self, batch: Sequence[Encoded]) -> None:
        at = self.at.copy()
        at.batch += 1
        data = bytearray()
        for place, (stored, payload) in enumerate(batch):
            at.last = records.last_after(stored, at.last)
            frame, at.chain = records.frame(
                payload, at.batch, place, len(batch), at.last, at.chain, self._salt
            )
            data += frame
        at.offset += len(data)
        if at.offset + _ZEROS_MIN > self._length:
            self._extend(at.offset + _ZEROS_MIN)
        files.write_all(self._fd, data, self.at.offset)
        self.at = at
        self.top = max([self.top, *(stored.entries[-1].index for stored, _ in batch if stored.entries)])

    def _extend(self, needed: int) -> None:
        zeros = bytes(max(files.ZEROS_BYTES, needed - self._length))
        files.write_all(self._fd, zeros, self._length)
        self._length += len(zeros)
        files.sync(self._fd)  # the new length too

    # --- reading -----------------------------------------------------------------------------------------------------

    def scan(self, data: bytes) -> Scanned:
        """The records of every whole batch, up to the first that is missing or bad; `at` is behind them. A batch is whole or
        not there: what stands of an unfinished one was never acknowledged."""
        found = Scanned([], False)
        while True:
            batch, at = self._scan_batch(data)
            if at is None:
                break
            if batch[0].seals:
                found.sealed = True
                break
            found.records += batch
            self.at = at
        for stored in found.records:
            if stored.entries:
                self.top = max(self.top, stored.entries[-1].index)
        if not found.records:
            raise StorageCorrupt(f"{self.path}: the record at offset {HEADER_BYTES} is bad; {ADVICE}")
        return found

    def _scan_batch(self, data: bytes) -> tuple[list[Stored], Cursor | None]:
        at = self.at.copy()
        at.batch += 1
        batch: list[Stored] = []
        while True:
            found = records.find(data, at.offset, self._salt)
            if found is None or (found.batch, found.place) != (at.batch, len(batch)):
                return [], None
            if found.chain != records.chained(at.chain, *found[:4], found.payload):
                return [], None
            batch.append(self._decode(found.payload, at.offset))
            at.offset, at.chain, at.last = found.end, found.chain, found.last
            if len(batch) == found.size:
                return batch, at

    def _decode(self, payload: bytes, offset: int) -> Stored:
        try:
            return records.decode(payload)
        except msgspec.MsgspecError as error:
            raise StorageCorrupt(
                f"{self.path}: the record at offset {offset} is whole and says nothing ({error}); {ADVICE}"
            ) from error

    def cut_torn_tail(self, data: bytes) -> int:
        """Make sure that nothing but zeros follows the last whole batch; give how many bytes went.

        A crash can only damage the batch that was being written, which nobody was told is durable. So a bad record is a torn
        tail if every good record behind it belongs to that same batch: a disk may write the later sectors of one write first. A
        good record of a LATER batch means that the bad one had been durable ("Protocol-Aware Recovery for Consensus-Based
        Storage", FAST 2018). Raises StorageCorrupt then.
        """
        start = self.at.offset
        end = len(data.rstrip(b"\0"))
        if end <= start:
            return 0
        offset = data.find(records.MAGIC, start, end)
        while offset >= 0:
            later = records.find(data, offset, self._salt)
            if later is not None and later.batch > self.at.batch + 1:
                raise StorageCorrupt(
                    f"{self.path}: the record at offset {start} is bad, and the one at offset {offset} was written "
                    f"after it had been acknowledged; {ADVICE}"
                )
            offset = data.find(records.MAGIC, offset + 1, end)
        files.write_all(self._fd, bytes(end - start), start)
        files.sync_data(self._fd)
        return end - start


def _check_header(path: Path, number: int, disk: DiskId, data: bytes) -> tuple[bytes, Cursor]:
    header = data[: _HEADER.size]
    if len(data) < HEADER_BYTES or header[:6] != _MAGIC[:6]:
        raise InvalidInput("data_dir", f"{path} is no Raft log", "use a directory of this node")
    magic, version, says, owner, salt, batch, term, index, chain, crc = _HEADER.unpack(header)
    if magic != _MAGIC or version != _FORMAT:
        raise InvalidInput("data_dir", f"{path} has another format", "use the release that wrote it")
    if zlib.crc32(header[:-4]) != crc or says != number:
        raise StorageCorrupt(f"{path}: the file's header is damaged; {ADVICE}")
    if owner != disk.encode():
        raise IdentityMismatch(
            f"data_dir: {path} belongs to disk {owner.decode(errors='replace')}, and this node's is {disk}; "
            "do not copy logs between nodes"
        )
    if len(data) < HEADER_BYTES + _ZEROS_MIN or any(data[-_ZEROS_MIN:]):
        raise StorageCorrupt(f"{path}: the file was cut short at offset {len(data)}; {ADVICE}")
    return salt, Cursor(HEADER_BYTES, chain, batch, Last(term, index))
