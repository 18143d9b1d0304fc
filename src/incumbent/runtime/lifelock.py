"""A lock on a file that this process's memory holds, so that nothing but the kernel ends it.

flock(2) lasts for as long as anything refers to the open file. A descriptor is the wrong thing to rest it on: a process that
closes all its descriptors, as daemons do, lives on without the lock, and a forked child that inherited one keeps the lock when
its parent is dead. A mapping goes when the memory goes, which is after the last thread ended, or when the process replaces its
image (exec). Forked children do not get it (madvise(2), MADV_DONTFORK). So whoever has the lock has the kernel's word that no
code of the former holder runs any more.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import sys
from pathlib import Path
from typing import Final

from incumbent.errors import Unsupported

_PROT_NONE: Final = 0
_MAP_PRIVATE: Final = 2
_MADV_DONTFORK: Final = 10
_MAP_FAILED: Final = ctypes.c_void_p(-1).value
_LENGTH_BYTES: Final = 1  # the kernel makes it a page; nothing is ever read through it
_PID_BYTES_MAX: Final = 20


class LifeLock:
    """Made by `take`; held until `release`, or for as long as this process lives."""

    def __init__(self, libc: ctypes.CDLL, address: int, inode: tuple[int, int]) -> None:
        self.inode: Final = inode
        """Device and number of the locked file. They are nobody else's while it is locked, even if it was deleted."""
        self._libc = libc
        self._address = address
        self._pid = os.getpid()

    @classmethod
    def take(cls, path: Path) -> LifeLock | None:
        """None: another holds it, in this process or elsewhere. The file is made when it is not there, for this user alone,
        and must never be deleted: who locks another file of the same name excludes nobody.

        Raises OSError where it cannot be made, locked or mapped, Unsupported where there is no such mapping.
        """
        if sys.platform != "linux":
            raise Unsupported("only Linux can tie a lock to a process's memory")
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return None
            here = os.fstat(fd)
            if not _is_at(path, here):
                return None  # it was deleted before it was locked: this lock excludes nobody
            os.ftruncate(fd, 0)
            os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            libc = _libc()
            lock = cls(libc, _map(libc, fd), (here.st_dev, here.st_ino))
        finally:
            os.close(fd)  # from here on the mapping alone refers to it
        if not _is_held(path):
            lock.release()
            raise Unsupported("this system ends a lock with its descriptor, though the file is still mapped")
        return lock

    def release(self) -> None:
        """Give it free. Nothing in a forked child: at that address there is something else, or nothing."""
        if self._address and os.getpid() == self._pid:
            self._libc.munmap(self._address, _LENGTH_BYTES)
            self._address = 0


def holder_of(path: Path) -> str:
    """The pid that the holder wrote into the file, as it sees itself: for people, and for no decision. "" = none is told."""
    try:
        with path.open("rb") as file:
            pid = file.read(_PID_BYTES_MAX).strip()
    except OSError:
        return ""
    return pid.decode() if pid.isdigit() else ""


def _is_at(path: Path, locked: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), locked)
    except FileNotFoundError:
        return False


def _is_held(path: Path) -> bool:
    """Everything rests on that, so it is not taken on trust: there are systems that only look like Linux."""
    fd = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _map(libc: ctypes.CDLL, fd: int) -> int:
    address: int | None = libc.mmap(None, _LENGTH_BYTES, _PROT_NONE, _MAP_PRIVATE, fd, 0)
    if address is None or address == _MAP_FAILED:
        raise OSError(ctypes.get_errno(), "mmap")
    if libc.madvise(address, _LENGTH_BYTES, _MADV_DONTFORK) != 0:
        error = ctypes.get_errno()
        libc.munmap(address, _LENGTH_BYTES)
        raise OSError(error, "madvise")
    return address


def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    size, integer, address = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    libc.mmap.argtypes = (address, size, integer, integer, integer, ctypes.c_long)
    libc.mmap.restype = address
    libc.madvise.argtypes = (address, size, integer)
    libc.munmap.argtypes = (address, size)
    return libc
