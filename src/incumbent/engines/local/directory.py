"""The directory: what may be used, how the database comes to be, and how we notice that it was deleted under us.

    <directory>/incumbent.db (-wal, -shm)   the state
    <directory>/wake/<pid>-<random>         the wake-up sockets
    <directory>/new-…                       a database in the making; linked into place when it is complete

WAL with synchronous=FULL: one fsync per commit, measured at 0.25 ms against 0.8 to 1.0 ms with a rollback journal, and
readers that never wait for a writer.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import stat
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

from incumbent.engines.local.holder import Holder
from incumbent.engines.local.schema import APPLICATION_ID, FORMAT, SCHEMA
from incumbent.errors import EngineUnavailable, InvalidInput, StorageCorrupt
from incumbent.runtime.mounts import MOUNTINFO, refuse_network_file_system

DATABASE: Final = "incumbent.db"
WAKE: Final = "wake"
DIRECTORY_BYTES_MAX: Final = 3072
"""So that a session's reference, which names the directory, stays below its 4 KiB."""

# The highest revision that this process has seen, by directory. It outlives every engine and is never lowered: it is
# what keeps tokens rising when somebody deletes the directory. One per process, since that is what remembers.
_floors: dict[str, int] = {}
_floors_lock = threading.Lock()

Identity = tuple[tuple[int, int], ...]


def remember_floor(directory: Path, revision: int) -> None:
    with _floors_lock:
        key = str(directory)
        _floors[key] = max(_floors.get(key, 0), revision)


def floor_of(directory: Path) -> int:
    with _floors_lock:
        return _floors.get(str(directory), 0)


def first_revision(directory: Path) -> int:
    """Where a new database begins, and where an old one goes on after a reboot: the wall clock in µs, or what this
    process remembers if that is higher. Tokens of a deleted directory, or of commits that a lying disk lost in a power
    cut, are not given out again even by a process that has never seen them. Nothing else reads the wall clock."""
    return max(floor_of(directory) + 1, time.time_ns() // 1000)


def prepare_directory(directory: Path, *, mountinfo: Path = MOUNTINFO) -> Path:
    """Check all that can be wrong, then make the directory if it is missing. Returns its real path.

    Raises InvalidInput; nothing was written then.
    """
    if len(os.fsencode(directory)) > DIRECTORY_BYTES_MAX:
        raise InvalidInput("url", "the directory's path is too long", f"at most {DIRECTORY_BYTES_MAX} bytes")
    real = directory.resolve()
    refuse_network_file_system("url", real, mountinfo)
    try:
        real.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = real.stat()
    except FileExistsError as error:
        raise InvalidInput("url", f"{real} is no directory", "name a directory") from error
    except OSError as error:
        raise InvalidInput(
            "url", f"{real} cannot be used: {error.strerror}", "name a writable one"
        ) from error
    if status.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
        raise InvalidInput("url", f"{real} belongs to another user", "name a directory of this user's")
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise InvalidInput("url", f"other users may write to {real}", f"run: chmod 700 {real}")
    refuse_foreign_database(real / DATABASE)
    return real


def refuse_foreign_database(path: Path) -> None:
    """Tell our own by the file's header. Nothing is written, not even a lock.

    SQLite reads it and not we: a process that closes any descriptor of a file loses all its POSIX locks on it, also
    those of other connections; SQLite knows and defers the close.
    """
    try:
        if not stat.S_ISREG(path.lstat().st_mode):
            raise InvalidInput("url", f"{path} is no regular file", "name a directory of its own")
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro&immutable=1", uri=True)) as connection:
            (application,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
    except FileNotFoundError:
        return
    except OSError as error:
        raise InvalidInput("url", f"{path} cannot be read: {error.strerror}", "check its owner") from error
    except sqlite3.Error as error:
        raise InvalidInput("url", f"{path} cannot be read: {error}", "name a directory of its own") from error
    if application != APPLICATION_ID:
        raise InvalidInput("url", f"{path} was not written by incumbent", "name a directory of its own")
    if version != FORMAT:
        raise InvalidInput(
            "url",
            f"{path} has format {version}, this version reads {FORMAT}",
            "use the same version everywhere",
        )


def create_database(directory: Path, holder: Holder) -> None:
    """Put a complete, empty database in place unless there is one.

    It is built under another name and linked into place, so nobody ever sees half of it and of two makers one wins.
    """
    final = directory / DATABASE
    sweep_unfinished(directory, holder.namespace)
    if final.exists():
        return
    made = directory / f"new-{_tag(holder)}-{secrets.token_hex(8)}"
    os.close(os.open(made, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    revision = first_revision(directory)
    try:
        with closing(sqlite3.connect(made, isolation_level=None)) as connection:
            connection.execute("PRAGMA synchronous = EXTRA")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            connection.executescript(SCHEMA)
            connection.execute(
                "INSERT INTO meta (id, uuid, revision, forgotten, boot, time_namespace) VALUES (1, ?, ?, ?, '', '')",
                (secrets.token_bytes(16), revision, revision),
            )
            connection.execute("PRAGMA journal_mode = WAL")
        os.link(made, final)
    except FileExistsError:
        return  # another process was first; its database is as good
    except FileNotFoundError as error:
        raise EngineUnavailable(f"{directory} was deleted while its database was made") from error
    finally:
        made.unlink(missing_ok=True)
    _sync(directory)


def sweep_unfinished(directory: Path, here: str) -> None:
    """Remove what processes that died while making a database have left behind."""
    for path in directory.glob("new-*"):
        parts = path.name.split("-")
        if len(parts) < 5 or not (parts[2].isdigit() and parts[3].isdigit()):
            continue
        if Holder(int(parts[2]), int(parts[3]), _namespace_from(parts[1])).is_dead(here):
            path.unlink(missing_ok=True)


def connect_database(directory: Path, busy_timeout_s: float) -> sqlite3.Connection:
    """Open the database, which must be there. Raises StorageCorrupt when it is damaged, EngineUnavailable when busy."""
    path = directory / DATABASE
    refuse_foreign_database(path)
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode=rw", uri=True, isolation_level=None, timeout=busy_timeout_s
    )
    try:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA trusted_schema = OFF")
        findings = [row[0] for row in connection.execute("PRAGMA quick_check(1)")]
    except sqlite3.Error:
        connection.close()
        raise
    if findings != ["ok"]:
        connection.close()
        raise damaged(path, findings[0])
    return connection


def damaged(path: Path, finding: object) -> StorageCorrupt:
    what = " ".join(str(finding).split())
    fix = "stop every process that uses it, then move the directory away"
    return StorageCorrupt(f"url: {path} is damaged ({what}); {fix}")


def identity_of(directory: Path) -> Identity | None:
    """Which files these are; None when one of them is missing. All three belong together: without its -wal a database
    is an older one, and a process that still has the deleted one open would go on by itself."""
    try:
        return tuple(_inode(directory / (DATABASE + suffix)) for suffix in ("", "-wal", "-shm"))
    except OSError:
        return None


def _inode(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _tag(holder: Holder) -> str:
    namespace = "".join(c for c in holder.namespace if c.isdigit())
    return f"{namespace or '0'}-{holder.pid}-{holder.start_ticks}"


def _namespace_from(digits: str) -> str:
    return "" if digits == "0" else f"pid:[{digits}]"


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
