"""Refuse a stale leader over SQLite: the check, the write and the new highest token are one transaction.

A check before the write would leave a gap in which a paused leader's write still gets through; no margin closes it (see
docs/explanation/fencing.md). The highest token seen stands in the database it protects, so it is as durable as the data,
shared by every process that writes, and restored together with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from incumbent.engines.inputs import check_name
from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, StaleToken
from incumbent.ids import TOKEN_INCARNATION_MAX, TOKEN_NATIVE_BITS

TOKEN_MAX: Final = (TOKEN_INCARNATION_MAX + 1 << TOKEN_NATIVE_BITS) - 1


class Fence:
    """The fence of one election in one database.

    `connection` must be in autocommit mode (``isolation_level=None``), because `write` begins and ends the transaction
    itself; how long it waits for another writer is the connection's own ``timeout``. Creates the table ``incumbent_fence``.

    Raises InvalidInput, and EngineUnavailable when the database cannot be had: another writer does not let go in time, or
    the file is no database.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        check_name("name", name)
        if connection.isolation_level is not None:
            raise InvalidInput(
                "connection", "begins transactions by itself", "open it with isolation_level=None"
            )
        self._connection = connection
        self._name = name
        with self._transaction() as cursor:
            cursor.execute(
                "create table if not exists incumbent_fence "
                "(name text primary key, token integer not null, refused integer not null default 0)"
            )

    @contextmanager
    def write(self, token: int) -> Iterator[sqlite3.Cursor]:
        """``with fence.write(term.token) as cursor:`` Whatever the block does is done under `token`, or not at all.

        An equal or higher token than any seen is accepted, and is the highest from then on; an empty block raises the fence
        (priming). When the block raises, nothing of it stays. The block must not commit or roll back by itself.

        Raises StaleToken, InvalidInput and EngineUnavailable (the database cannot be had in time): nothing was written. And
        OutcomeUnknown when the commit itself failed, as on a full disk.
        """
        _check(token)
        with self._transaction() as cursor:
            highest = self._highest(cursor)
            if token >= highest:
                if token > highest:
                    cursor.execute(
                        "insert into incumbent_fence (name, token) values (?, ?) "
                        "on conflict (name) do update set token = excluded.token",
                        (self._name, token),
                    )
                yield cursor
                return
            cursor.execute("update incumbent_fence set refused = refused + 1 where name = ?", (self._name,))
        raise StaleToken(self._name, token, highest)

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first."""
        return self._highest(self._connection.cursor())

    def refused(self) -> int:
        """How many writes were refused so far: each is evidence of a leader that did not know it was over."""
        row = self._connection.execute(
            "select refused from incumbent_fence where name = ?", (self._name,)
        ).fetchone()
        return int(row[0]) if row else 0

    def _highest(self, cursor: sqlite3.Cursor) -> int:
        row = cursor.execute("select token from incumbent_fence where name = ?", (self._name,)).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Cursor]:
        """IMMEDIATE: the write lock is taken before the token is read, so no other writer comes in between."""
        if self._connection.in_transaction:
            raise InvalidInput("connection", "is inside a transaction already", "commit or roll back first")
        cursor = self._connection.cursor()
        try:
            cursor.execute("begin immediate")
        except sqlite3.Error as error:
            raise EngineUnavailable(f"{self._name}: the database cannot be had: {error}") from error
        try:
            yield cursor
        except BaseException:
            self._connection.rollback()
            raise
        try:
            self._connection.commit()
        except sqlite3.Error as error:
            # Busy: a reader did not make way for the commit, and what waits for it can still be taken back.
            busy = error.sqlite_errorcode == sqlite3.SQLITE_BUSY
            self._connection.rollback()
            if busy:
                raise EngineUnavailable(f"{self._name}: a reader held the database: {error}") from error
            raise OutcomeUnknown(f"{self._name}: the commit failed: {error}") from error


def _check(token: int) -> None:
    # A float or a bool would compare, and a float would lose the low bits that tell two terms apart.
    if type(token) is not int or not 0 < token <= TOKEN_MAX:
        raise InvalidInput(
            "token", f"{token!r} is no fencing token", "give term.token, an integer from 1 to 2**63 - 1"
        )
