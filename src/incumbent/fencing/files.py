"""Refuse a stale leader over one file, which each write replaces as a whole.

    state.json              the data
    state.json.fence        the highest token seen, per election: durable before the data that it guards
    state.json.lock         whoever holds its flock checks and writes; never deleted, so that all lock the same one
    state.json.new, state.json.fence.new    in the making; left behind by a crash, overwritten by the next write

A write goes: lock, check, make the new data and sync it; raise the fence (sync, rename, sync the directory); put the data in place
(rename, sync the directory). A crash between the two leaves a raised fence and the old data, which is what priming does.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from incumbent.errors import EngineError, EngineUnavailable, InvalidInput, OutcomeUnknown
from incumbent.fencing.filelock import Lock
from incumbent.fencing.filestate import Held, read_fences, sync_directory, write_fences
from incumbent.fencing.refusals import OnRefused, Refusals
from incumbent.fencing.rule import check_holder, check_token, key_of
from incumbent.fencing.turn import WAIT_S, check_wait
from incumbent.runtime.mounts import refuse_network_file_system

logger = logging.getLogger(__name__)

DRAFT_BYTES_MAX: Final = 1 << 30
PATH_BYTES_MAX: Final = 3072


class Fence:
    """The fence of one election over one file. The file need not be there yet; its directory must, on a local disk.

    ``path.lock`` and ``path.fence`` stand beside it and belong to it: back them up and move them together. `wait_s` is how long a
    write waits for another one. Threads may share it, and a forked child may go on with its copy.

    Raises InvalidInput, also on a network file system, whose locks are not to be trusted (P50).
    """

    exclusive: Final = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        *,
        wait_s: float = WAIT_S,
        on_refused: OnRefused | None = None,
    ) -> None:
        self._key = key_of(name)
        self.name = name
        self.refusals = Refusals(name, on_refused)
        self.path = _checked(Path(path))
        self._lock = Lock(self._beside(".lock"), name, check_wait(wait_s))

    @contextmanager
    def write(self, token: int, holder: str = "") -> Iterator[Draft]:
        """``with fence.write(term.token) as file: file.write(data)`` The file becomes `data` under `token`, or stays what it is.

        An equal or higher token than any seen is accepted. When the block raises, the file stays, and the fence is not raised. The
        block runs under the lock, so it may read the file first.

        Raises StaleToken, InvalidInput, StorageCorrupt, Overloaded, and EngineUnavailable (the lock cannot be had in time, or the disk
        takes no more): the file is what it was. OutcomeUnknown: a rename was not confirmed as durable.
        """
        check_token(token)
        check_holder(holder)
        with self._lock.held():
            fences = read_fences(self._beside(".fence"))
            held = fences.get(self._key, Held())
            if held.seen.refuses(token, holder):
                self._count({**fences, self._key: held.refused_once()})
                raise self.refusals.refuse(token, holder, held.seen)
            draft = Draft(self.path, self._beside(".new"))
            try:
                yield draft
                self._lock.check()
                draft.sync()
                raised = held.raised(token, holder)
                if raised != held:
                    self._keep({**fences, self._key: raised})
                draft.place()
            finally:
                draft.close()

    def prime(self, token: int, holder: str = "") -> None:
        """Raise the fence without a write, durably. Raises as `write` does."""
        with self.write(token, holder):
            pass

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first. Raises StorageCorrupt, EngineUnavailable."""
        return self._held().seen.token

    def refused(self) -> int:
        """How many writes were refused so far, by any process. Raises StorageCorrupt, EngineUnavailable."""
        return self._held().refused

    def _held(self) -> Held:
        return read_fences(self._beside(".fence")).get(self._key, Held())

    def _keep(self, fences: dict[str, Held]) -> None:
        write_fences(self._beside(".fence"), self._beside(".fence.new"), fences)

    def _count(self, fences: dict[str, Held]) -> None:
        try:
            self._keep(fences)
        except (EngineError, OutcomeUnknown) as error:  # a full disk makes no stale token good
            logger.warning("a refusal was not counted: %s", error)

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)


class Draft:
    """What the file is to hold. If nothing is ever written to it, not even ``b""``, the file stays what it is."""

    def __init__(self, path: Path, making: Path) -> None:
        self._path = path
        self._making = making
        self._fd = -1
        self._size = 0
        self._pid = os.getpid()

    def write(self, data: bytes) -> None:
        """Append to the new contents.

        Raises InvalidInput (too much, or a forked child) and EngineUnavailable (the disk takes no more).
        """
        if os.getpid() != self._pid:
            fix = "only the process that began the write goes on with it"
            raise InvalidInput("draft", "is a forked child's copy", fix)
        self._size += len(data)
        if self._size > DRAFT_BYTES_MAX:
            raise InvalidInput("data", "is too much", f"at most {DRAFT_BYTES_MAX} bytes in one file")
        try:
            if self._fd < 0:
                self._fd = self._open()
            view = memoryview(data)
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise EngineUnavailable(f"{self._making} cannot be written: {error.strerror}") from error

    def sync(self) -> None:
        """Make the new contents durable, out of sight. Raises EngineUnavailable."""
        if self._fd < 0:
            return
        try:
            os.fsync(self._fd)
        except OSError as error:
            raise EngineUnavailable(f"{self._making} cannot be synced: {error.strerror}") from error

    def place(self) -> None:
        """Replace the file, durably. Raises EngineUnavailable: not done. OutcomeUnknown: done, perhaps not durably."""
        if self._fd < 0:
            return
        try:
            self._making.rename(self._path)
        except OSError as error:
            raise EngineUnavailable(f"{self._path} cannot be replaced: {error.strerror}") from error
        try:
            sync_directory(self._path.parent)
        except OSError as error:
            raise OutcomeUnknown(
                f"{self._path} is replaced, perhaps not durably: {error.strerror}"
            ) from error

    def close(self) -> None:
        """Let go of it. What was not placed stays behind, for the next write to overwrite."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> int:
        """With the permissions of what it replaces, from its first byte on."""
        with suppress(FileNotFoundError):
            self._making.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            mode = self._path.stat().st_mode & 0o7777
        except FileNotFoundError:
            return os.open(self._making, flags, 0o666)
        fd = os.open(self._making, flags, mode & 0o600)
        os.fchmod(fd, mode)
        return fd


def _checked(path: Path) -> Path:
    real = path.resolve()  # a rename replaces a symbolic link, not what it leads to
    if len(os.fsencode(real)) > PATH_BYTES_MAX:
        raise InvalidInput("path", "is too long", f"use at most {PATH_BYTES_MAX} bytes")
    if not real.parent.is_dir():
        raise InvalidInput("path", f"{real.parent} is no directory", "make it first")
    if real.exists() and not real.is_file():
        raise InvalidInput("path", f"{real} is no regular file", "name a file, or one that is not there yet")
    refuse_network_file_system("path", real.parent)
    return real
