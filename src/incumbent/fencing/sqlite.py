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

from incumbent.errors import EngineUnavailable, InvalidInput, StaleToken
from incumbent.ids import TOKEN_INCARNATION_MAX, TOKEN_NATIVE_BITS

TOKEN_MAX: Final = (TOKEN_INCARNATION_MAX + 1 << TOKEN_NATIVE_BITS) - 1
NAME_BYTES_MAX: Final = 1024


class Fence:
    """The fence of one election in one database.

    `connection` must be in autocommit mode (``isolation_level=None``), because `write` begins and ends the transaction
    itself; how long it waits for another writer is the connection's own ``timeout``. Creates the table ``incumbent_fence``.

    Raises InvalidInput, and EngineUnavailable when another writer does not let go in time.
    """

    def __init__(self, connection: sqlite3.Connection, name: str) -> None:
        if not name or len(name.encode()) > NAME_BYTES_MAX:
            raise InvalidInput(
                "name", f"{name!r} is no election's name", f"use 1 to {NAME_BYTES_MAX} bytes of UTF-8"
            )
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
        (priming). When the block raises, nothing of it stays.

        Raises StaleToken (nothing was written), InvalidInput, and EngineUnavailable when another writer does not let go in
        time (nothing was written).
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
        cursor = self._connection.cursor()
        try:
            cursor.execute("begin immediate")
        except sqlite3.OperationalError as error:
            raise EngineUnavailable(f"{self._name}: another writer holds the database: {error}") from error
        try:
            yield cursor
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()


def _check(token: int) -> None:
    # A float or a bool would compare, and a float would lose the low bits that tell two terms apart.
    if type(token) is not int or not 0 < token <= TOKEN_MAX:
        raise InvalidInput(
            "token", f"{token!r} is no fencing token", "give term.token, an integer from 1 to 2**63 - 1"
        )
