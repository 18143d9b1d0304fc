"""A lock between processes of one host that survives forks, ends with its process, and is not waited for without end."""

from __future__ import annotations

import errno
import fcntl
import os
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from incumbent.errors import EngineUnavailable, InvalidInput
from incumbent.fencing.holder import describe
from incumbent.fencing.turn import Turn
from incumbent.runtime.clock import BoottimeClock

POLL_LEAST_S: Final = 0.001
POLL_MOST_S: Final = 0.05
"""How often a lock that is held is asked for again; flock(2) itself knows no deadline."""


class Lock:
    """The flock of one file, which is made when it is missing and must never be deleted; and one thread's turn before it."""

    def __init__(self, path: Path, name: str, wait_s: float) -> None:
        self._path = path
        self._name = name
        self._wait_s = wait_s
        self._clock = BoottimeClock()
        self._turn = Turn(name)
        self._fd = -1
        # A child keeps what it inherits: the parent's lock by its descriptor, and a turn that no thread there gives back.
        forget = weakref.WeakMethod(self._forget_inherited)
        os.register_at_fork(after_in_child=lambda: (of_child := forget()) and of_child())

    @contextmanager
    def held(self) -> Iterator[None]:
        """Raises EngineUnavailable, naming the process that holds it, when it cannot be had in time."""
        with self._turn.taken(self._wait_s):
            fd = self._take()
            try:
                yield
            finally:
                if self._fd == fd:  # else this is a forked child, which has closed it, and unlocks nothing
                    self._note_holder("")
                    fcntl.flock(fd, fcntl.LOCK_UN)  # by name: a child may not have closed its copy yet
                    self._close()

    def check(self) -> None:
        """Whether it is still held, and still worth something: asked before what it protects is done.

        Raises InvalidInput in a forked child, and EngineUnavailable when the lock's file was deleted.
        """
        if self._fd < 0:
            fix = "end the child with os._exit; the parent goes on"
            raise InvalidInput("fence", "a forked child cannot leave its parent's block", fix)
        if not self._is_in_place():
            raise EngineUnavailable(f"{self._name}: {self._path} was deleted meanwhile; nothing was written")

    def _take(self) -> int:
        until_ns = self._clock.now_ns() + int(self._wait_s * 1e9)
        pause_s = POLL_LEAST_S
        while True:
            self._fd = self._open()
            if self._try():
                self._note_holder(f"{os.getpid()}\n")
                return self._fd
            holder = os.pread(self._fd, 20, 0).decode(errors="replace").strip()
            self._close()
            if self._clock.now_ns() >= until_ns:
                who = describe(int(holder) if holder.isdecimal() else None)
                raise EngineUnavailable(
                    f"{self._name}: {who} did not give {self._path} free in {self._wait_s} s"
                )
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, POLL_MOST_S)

    def _open(self) -> int:
        try:
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise EngineUnavailable(
                f"{self._name}: {self._path} cannot be opened: {error.strerror}"
            ) from error

    def _try(self) -> bool:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EINTR):
                return False
            self._close()
            raise EngineUnavailable(
                f"{self._name}: {self._path} cannot be locked: {error.strerror}"
            ) from error
        return self._is_in_place()  # else it was deleted meanwhile, and others lock another file

    def _is_in_place(self) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _note_holder(self, text: str) -> None:
        """For the message of whoever waits in vain, and for nothing else: so a full disk does no harm."""
        with suppress(OSError):
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, text.encode(), 0)

    def _close(self) -> None:
        os.close(self._fd)
        self._fd = -1

    def _forget_inherited(self) -> None:
        self._turn = Turn(self._name)
        if self._fd >= 0:
            self._close()
