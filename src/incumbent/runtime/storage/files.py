"""Every call that changes a disk, or makes a change last. Nothing here knows what is written."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from incumbent.errors import InvalidInput

ZEROS_BYTES: Final = 4 * 1024 * 1024
"""Files are filled with zeros in steps of this size, so that a commit need not change a file's length."""


def write_all(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
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


def fsync_directory(path: Path) -> None:
    """Make a creation, renaming or deletion in this directory durable."""
    with directory(path) as fd:
        os.fsync(fd)


@contextmanager
def directory(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)


def read_from_disk(fd: int) -> bytes:
    """What the DISK holds of a file.

    A process that was killed leaves writes in the page cache that the disk does not have yet. They are made durable before
    they are believed: an entry once read is acknowledged without being written again. A failed fsync leaves pages there that
    the disk will never have, and that count as clean: the cache is dropped before reading.
    """
    sync(fd)
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with open(fd, "rb", closefd=False) as file:
        file.seek(0)
        return file.read()


def lock_file(fd: int, path: Path) -> None:
    """Take a file or directory for as long as `fd` is open.

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
