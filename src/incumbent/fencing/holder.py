"""Who holds the lock that was waited for in vain: for messages, and for nothing else.

SQLite locks with fcntl(2), and the kernel says which process's lock is in the way of another (F_GETLK). It has to be asked through a
descriptor that SQLite itself has open: to open the file once more and close it again would take away every lock that this
process has on it. The bytes are SQLite's file format: sqlite.org/lockingv3.html and sqlite.org/walformat.html.
"""

from __future__ import annotations

import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

PENDING_BYTE: Final = 0x4000_0000
SHARED_FIRST: Final = PENDING_BYTE + 2
SHARED_SIZE: Final = 510
WAL_WRITE_BYTE: Final = 120
FLOCK: Final = "hhqqi"
"""C's struct flock, on Linux: type, whence, start, length, pid."""


def describe(pid: int | None) -> str:
    """In words; the kernel tells whether that process is stopped."""
    if pid is None:
        return "another process"
    with suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
        if state in ("T", "t"):
            return f"process {pid}, which is stopped,"
    return f"process {pid}"


def writer_of(database: str) -> int | None:
    """The process that is in a write transaction of this SQLite database. None: none is, or it is this one, or it cannot be told."""
    if not database:  # in memory
        return None
    of_journal = _in_the_way(database, PENDING_BYTE, SHARED_FIRST + SHARED_SIZE - PENDING_BYTE, shared=True)
    return of_journal or _in_the_way(f"{database}-shm", WAL_WRITE_BYTE, 1, shared=True)


def reader_of(database: str) -> int | None:
    """A process that reads this SQLite database, which has a rollback journal. None as with `writer_of`."""
    return _in_the_way(database, SHARED_FIRST, SHARED_SIZE, shared=False) if database else None


def _in_the_way(path: str, start: int, length: int, *, shared: bool) -> int | None:
    """The other process whose lock keeps this one from locking these bytes; None also for one of another PID namespace."""
    if sys.platform != "linux":
        return None
    import fcntl

    wanted = struct.pack(FLOCK, fcntl.F_RDLCK if shared else fcntl.F_WRLCK, os.SEEK_SET, start, length, 0)
    for descriptor in _own_descriptors(path):
        with suppress(OSError):  # closed meanwhile
            kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(descriptor, fcntl.F_GETLK, wanted))
            if kind != fcntl.F_UNLCK and pid > 0:
                return int(pid)
    return None


def _own_descriptors(path: str) -> list[int]:
    """Those by which this process has the file open."""
    found = list[int]()
    with suppress(OSError):
        file = Path(path).stat()
        for descriptor in Path("/proc/self/fd").iterdir():
            with suppress(OSError):
                if os.path.samestat(descriptor.stat(), file):
                    found.append(int(descriptor.name))
    return found
