"""Refuse a stale leader over SQLite: the check, the write and the new highest token are one transaction.

A check before the write would leave a gap in which a paused leader's write still gets through; no margin closes it (see
docs/explanation/fencing.md). The highest token seen stands in the database it protects, so it is as durable as the data,
shared by every process that writes, and restored together with it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, Unsupported
from incumbent.fencing.holder import describe, reader_of, writer_of
from incumbent.fencing.refusals import OnRefused
from incumbent.fencing.sql import TABLE, Check
from incumbent.fencing.sqlfence import SqlFence
from incumbent.fencing.turn import Turn

SQLITE_LEAST: Final = (3, 35)
"""The first with RETURNING (2021)."""


class Fence(SqlFence[sqlite3.Cursor]):
    """The fence of one election in one database.

    `connection` must be in autocommit mode (``isolation_level=None``), because `write` begins and ends the transaction
    itself; how long it waits for another writer is the connection's own ``timeout``. Creates the table ``incumbent_fence``.
    Threads may share it if the connection was opened with ``check_same_thread=False``; they write one after the other. To check
    inside a transaction of your own: `incumbent.fencing.sql`.

    Raises InvalidInput; Unsupported when SQLite is older than 3.35; and EngineUnavailable when the database cannot be had: another
    writer does not let go in time, or the file is no database.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        name: str,
        *,
        table: str = TABLE,
        on_refused: OnRefused | None = None,
    ) -> None:
        super().__init__(Check(name, paramstyle="qmark", table=table, on_refused=on_refused))
        if sqlite3.sqlite_version_info < SQLITE_LEAST:
            raise Unsupported(f"the fence needs SQLite 3.35 or newer, and this is {sqlite3.sqlite_version}")
        if connection.isolation_level is not None:
            raise InvalidInput(
                "connection", "begins transactions by itself", "open it with isolation_level=None"
            )
        self._connection = connection
        self._pid = os.getpid()
        self._turn = Turn(name)
        self._wait_s = self._read("pragma busy_timeout")[0] / 1000
        self._path = str(self._read("pragma database_list")[2] or "")
        with self._transaction() as cursor:
            cursor.execute(self._check.schema)

    def _ask(self, cursor: sqlite3.Cursor, token: int, holder: str) -> Any:
        try:
            return self._check.ask(cursor, token, holder)
        except sqlite3.Error as error:
            raise EngineUnavailable(f"{self.name}: the database cannot be had: {error}") from error

    def _kept(self) -> Any:
        return self._read(self._check.state_text, self._check.state_parameters)

    def _read(self, statement: str, parameters: Any = ()) -> Any:
        """The first row, or None."""
        cursor = self._connection.cursor()
        cursor.row_factory = None  # the caller's may make anything of a row
        try:
            rows = cursor.execute(statement, parameters).fetchall()
        except sqlite3.Error as error:
            raise EngineUnavailable(f"{self.name}: the database cannot be had: {error}") from error
        return rows[0] if rows else None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """IMMEDIATE: the write lock is taken before the token is read, so no other writer comes in between."""
        self._refuse_fork("use it")
        with self._turn.taken(self._wait_s):
            if self._connection.in_transaction:
                raise InvalidInput(
                    "connection", "is inside a transaction already", "commit or roll back first"
                )
            cursor = self._connection.cursor()
            try:
                cursor.execute("begin immediate")
            except sqlite3.Error as error:
                raise EngineUnavailable(
                    f"{self.name}: the database cannot be had: {self._why(error)}"
                ) from error
            try:
                yield cursor
            except BaseException:
                self._refuse_fork("leave a block of its parent's")
                self._connection.rollback()
                raise
            self._refuse_fork("leave a block of its parent's")
            self._commit()

    def _commit(self) -> None:
        if not self._connection.in_transaction:
            raise OutcomeUnknown(
                f"{self.name}: the block ended the transaction; what it did then was not fenced"
            )
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            # Busy: a reader did not make way for the commit, and what waits for it can still be taken back.
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            reader = reader_of(self._path) if busy else None
            self._connection.rollback()
            if busy:
                who = "a reader" if reader is None else describe(reader)
                raise EngineUnavailable(f"{self.name}: {who} held the database: {error}") from error
            raise OutcomeUnknown(f"{self.name}: the commit failed: {error}") from error

    def _why(self, error: sqlite3.Error) -> str:
        if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
            return str(error)
        if (writer := writer_of(self._path)) is not None:
            return f"{error}: not free in {self._wait_s} s; {describe(writer)} holds it now"
        return (
            f"{error}: another writer did not end its transaction in {self._wait_s} s; is it stopped inside?"
        )

    def _refuse_fork(self, what: str) -> None:
        """SQLite's connections do not survive a fork: to end the transaction here would take the parent's journal away."""
        if os.getpid() != self._pid:
            raise InvalidInput(
                "connection",
                f"a forked child cannot {what}",
                "open another in the child, or end it with os._exit",
            )
