"""Snapshots, each in a file of its own, never whole in memory::

    header  magic, format, index, size, crc of all, crc of the table, crc     64 bytes, written last
    state   in chunks of CHUNK_BYTES
    table   the CRC-32 of each chunk

A file is written under another name, synced, renamed and the directory synced: what has the name is whole. Only the log says
which one counts; files of an older index are deleted once it says so.
"""

from __future__ import annotations

import os
import struct
import weakref
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from incumbent.consensus.blob import Piece
from incumbent.errors import StorageCorrupt, invariant
from incumbent.ids import Index
from incumbent.runtime.storage import files

CHUNK_BYTES: Final = 1024 * 1024
SYNC_BYTES: Final = 16 * CHUNK_BYTES
"""So much is written between two syncs, so that the last one is short: others wait for the same disk."""
DIRECTORY: Final = "snapshots"
_MAGIC: Final = b"INCSNP\x00\x01"
_FORMAT: Final = 1
_HEADER: Final = struct.Struct("<8sIQQIII")  # magic, format, index, size, crc, crc of the table, crc
_HEADER_BYTES: Final = 64
_UNFINISHED: Final = ".new"


class SnapshotFile:
    """A consensus.blob.Kept: reading it checks what it reads. It can be read after its file was deleted, by any thread."""

    def __init__(self, path: Path) -> None:
        """Raises OSError, StorageCorrupt when the file's header or table is damaged."""
        self.path = path
        self._size: int
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        weakref.finalize(self, os.close, self._fd)
        header = os.pread(self._fd, _HEADER.size, 0)
        if len(header) < _HEADER.size or header[:8] != _MAGIC or zlib.crc32(header[:-4]) != _crc_in(header):
            raise StorageCorrupt(f"{path}: the snapshot's header is damaged")
        _, version, index, self._size, self.crc, table_crc, _ = _HEADER.unpack(header)
        if version != _FORMAT:
            raise StorageCorrupt(f"{path} has format {version}: use the release that wrote it")
        self.index = Index(index)
        table = os.pread(self._fd, 4 * -(-self._size // CHUNK_BYTES), _HEADER_BYTES + self._size)
        if zlib.crc32(table) != table_crc:
            raise StorageCorrupt(f"{path}: the snapshot's table is damaged")
        self._table = struct.unpack(f"<{len(table) // 4}I", table)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice, /) -> bytes:
        """Raises StorageCorrupt when a chunk that is needed is damaged."""
        start, stop, step = where.indices(self._size)
        invariant(step == 1, "a snapshot is read in order", where=where)
        if start >= stop:
            return b""
        first = start // CHUNK_BYTES
        data = b"".join(self._chunk(number) for number in range(first, -(-stop // CHUNK_BYTES)))
        return data[start - first * CHUNK_BYTES : stop - first * CHUNK_BYTES]

    def chunks(self) -> Iterator[bytes]:
        """All of it, in order."""
        return map(self._chunk, range(len(self._table)))

    def check(self) -> None:
        """Read what the disk has of it. Raises StorageCorrupt."""
        files.sync(self._fd)
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        crc = 0
        for chunk in self.chunks():
            crc = zlib.crc32(chunk, crc)
        if crc != self.crc:
            raise StorageCorrupt(f"{self.path}: the snapshot is not what was written")

    def _chunk(self, number: int) -> bytes:
        offset = number * CHUNK_BYTES
        length = min(CHUNK_BYTES, self._size - offset)
        chunk = os.pread(self._fd, length, _HEADER_BYTES + offset)
        if len(chunk) != length or zlib.crc32(chunk) != self._table[number]:
            raise StorageCorrupt(f"{self.path}: the snapshot is damaged at offset {_HEADER_BYTES + offset}")
        return chunk


class Unfinished:
    """A snapshot's file while it grows. Methods raise OSError; none is called again after that."""

    def __init__(self, unfinished: Path, path: Path, index: Index) -> None:
        self.index = index
        self.size = 0
        self._crc = 0
        self._table: list[int] = []
        self._unsynced = 0
        self._unfinished, self._path = unfinished, path
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        self._fd = os.open(unfinished, flags, 0o600)
        self._close = weakref.finalize(self, os.close, self._fd)

    def append(self, data: bytes) -> None:
        files.write_all(self._fd, data, _HEADER_BYTES + self.size)
        self._crc = zlib.crc32(data, self._crc)
        view = memoryview(data)
        while view:
            filled = self.size % CHUNK_BYTES
            part = view[: CHUNK_BYTES - filled]
            if filled:
                self._table[-1] = zlib.crc32(part, self._table[-1])
            else:
                self._table.append(zlib.crc32(part))
            self.size += len(part)
            view = view[len(part) :]
        self._unsynced += len(data)
        if self._unsynced >= SYNC_BYTES:
            files.sync_data(self._fd)
            self._unsynced = 0

    def finish(self) -> SnapshotFile:
        """Make it durable under its name."""
        table = struct.pack(f"<{len(self._table)}I", *self._table)
        files.write_all(self._fd, table, _HEADER_BYTES + self.size)
        header = _HEADER.pack(_MAGIC, _FORMAT, self.index, self.size, self._crc, zlib.crc32(table), 0)[:-4]
        files.write_all(self._fd, header + zlib.crc32(header).to_bytes(4, "little"), 0)
        files.sync(self._fd)
        self._close()
        self._unfinished.rename(self._path)
        files.fsync_directory(self._path.parent)
        return SnapshotFile(self._path)


class Snapshots:
    """The directory of them."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir / DIRECTORY
        self._incoming: Unfinished | None = None

    def prepare(self) -> None:
        """Make the directory, and remove what a crash left unfinished."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        for path in self._directory.glob("*" + _UNFINISHED):
            path.unlink()
        files.fsync_directory(self._directory)

    def path(self, index: Index) -> Path:
        return self._directory / f"{index:020d}.snapshot"

    def write(self, index: Index, chunks: Iterable[bytes]) -> SnapshotFile:
        """A durable file of them. Blocking; in any thread, beside receive()."""
        path = self.path(index)
        file = Unfinished(path.with_suffix(_UNFINISHED), path, index)
        for chunk in chunks:
            file.append(chunk)
        return file.finish()

    def receive(self, piece: Piece) -> None:
        """Put a part of somebody else's snapshot behind the part before; not durable before finish_received()."""
        if piece.offset == 0:
            unfinished = self._directory / f"incoming{_UNFINISHED}"
            self._incoming = Unfinished(unfinished, self.path(piece.index), piece.index)
        incoming = self._incoming
        invariant(
            incoming is not None and (incoming.index, incoming.size) == (piece.index, piece.offset),
            "pieces come in order",
            at=piece[:3],
        )
        assert incoming is not None
        incoming.append(piece.data)

    def finish_received(self, index: Index) -> SnapshotFile:
        incoming, self._incoming = self._incoming, None
        invariant(incoming is not None and incoming.index == index, "all of a snapshot came", at=index)
        assert incoming is not None
        return incoming.finish()

    def keep_only(self, index: Index) -> None:
        """Delete the ones before `index`: the log does not name them any more."""
        older = [path for path in self._directory.glob("*.snapshot") if int(path.stem) < index]
        for path in older:
            path.unlink()
        if older:
            files.fsync_directory(self._directory)


def _crc_in(header: bytes) -> int:
    return int.from_bytes(header[-4:], "little")
