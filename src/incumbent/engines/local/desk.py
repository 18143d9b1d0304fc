"""One thread's access to a directory: opens it, notices when it is deleted, opens it anew, translates SQLite's errors."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

from incumbent.engines.local.boot import Boot
from incumbent.engines.local.directory import (
    DATABASE,
    WAKE,
    Identity,
    connect_database,
    create_database,
    damaged,
    first_revision,
    floor_of,
    identity_of,
    prepare_directory,
    remember_floor,
)
from incumbent.engines.local.holder import Holder
from incumbent.engines.local.store import Store
from incumbent.engines.local.wakeup import Mailbox, Postbox
from incumbent.errors import EngineError, EngineUnavailable, StorageFailed

logger = logging.getLogger(__name__)

T = TypeVar("T")
OPENINGS_MAX: Final = 5
"""How often one call opens the directory anew when it is deleted again and again."""


class Desk:
    """Blocking, used by one thread. `on_open` gets a fresh mailbox with every opening; without it there is none."""

    def __init__(
        self,
        directory: Path,
        *,
        now_ns: Callable[[], int],
        boot: Boot,
        holder: Holder,
        busy_timeout_s: float,
        on_open: Callable[[Mailbox], None] | None = None,
    ) -> None:
        self._asked = directory
        self._directory = directory
        self._now_ns = now_ns
        self._boot = boot
        self._holder = holder
        self._busy_timeout_s = busy_timeout_s
        self._on_open = on_open
        self._connection: sqlite3.Connection | None = None
        self._postbox: Postbox | None = None
        self._store: Store | None = None
        self._identity: Identity | None = None

    def run(self, act: Callable[[Store], T]) -> T:
        """Do `act` on the directory as it is. An answer counts only if its files are still in place after it: what was
        done in a deleted file never happened, so it is done anew."""
        for _ in range(OPENINGS_MAX):
            try:
                store = self._ready()
                answer = act(store)
            except sqlite3.Error as error:
                if self._vanished():
                    continue
                raise self._translated(error) from error
            except EngineError:
                if self._vanished():
                    continue
                raise
            remember_floor(self._directory, store.revision_seen)
            if not self._vanished():
                return answer
        raise EngineUnavailable(f"{self._directory} is deleted again and again")

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._postbox is not None:
            self._postbox.close()
        self._connection = self._postbox = self._store = self._identity = None

    def _ready(self) -> Store:
        if self._store is not None and self._identity == identity_of(self._directory):
            return self._store
        again = self._store is not None
        self.close()
        self._directory = prepare_directory(self._asked)
        if again:
            logger.warning(
                "%s was deleted or replaced: its sessions are over, tokens go on from %d",
                self._directory,
                floor_of(self._directory),
            )
        create_database(self._directory, self._holder)
        self._connection = connect_database(self._directory, self._busy_timeout_s)
        self._postbox = Postbox(self._directory / WAKE)
        store = Store(
            self._connection,
            str(self._directory),
            now_ns=self._now_ns,
            boot=self._boot,
            holder=self._holder,
            on_change=self._postbox.poke_all,
        )
        note = store.settle(floor_of(self._directory), first_revision(self._directory))
        if note is not None:
            logger.warning("%s: %s", self._directory, note)
        self._store, self._identity = store, identity_of(self._directory)
        if self._on_open is not None:
            self._on_open(self._postbox.bind())
        return store

    def _vanished(self) -> bool:
        return self._store is not None and (
            self._identity is None or self._identity != identity_of(self._directory)
        )

    def _translated(self, error: sqlite3.Error) -> Exception:
        """SQLite says what it did not do; only a failed read or write leaves that open."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        path = self._directory / DATABASE
        match code:
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return EngineUnavailable(f"{path} was locked by another process for {self._busy_timeout_s} s")
            case (
                sqlite3.SQLITE_FULL | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM
            ):
                return EngineUnavailable(f"{path} cannot be written: {error}")
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return damaged(path, error)
            case sqlite3.SQLITE_IOERR:
                return StorageFailed(f"{path}: {error}")
            case _:
                return EngineError(f"{path}: {error}")
