"""Refuse a stale leader over PostgreSQL: the check is one statement in the transaction of the write.

It needs no driver of its own: give it a connection of any that follows PEP 249 (psycopg does). The highest token seen stands in the
database it protects, so it is as durable as the data, shared by every client, and fails over with it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from incumbent.errors import EngineUnavailable, IncumbentError, InvalidInput, OutcomeUnknown
from incumbent.fencing.refusals import OnRefused
from incumbent.fencing.sql import TABLE, Check, Cursor, ParamStyle
from incumbent.fencing.sqlfence import SqlFence
from incumbent.fencing.turn import WAIT_S, Turn, check_wait

IDLE: Final = 0
INSIDE: Final = frozenset({1, 2, 3})
"""libpq's PGTransactionStatusType: PQTRANS_IDLE; and ACTIVE, INTRANS, INERROR."""
UNDEFINED_TABLE: Final = "42P01"
DUPLICATES: Final = frozenset({"42P07", "42710", "23505"})
"""duplicate_table, duplicate_object, and unique_violation of the catalogue: another one made the table at the same time."""
LOCK_NOT_AVAILABLE: Final = "55P03"
IN_FAILED_TRANSACTION: Final = "25P02"
INTEGRITY: Final = "23"
ROLLBACK: Final = "40"
"""Classes of errors with which a commit is refused; nothing is left of the transaction then."""


class Fence(SqlFence[Any]):
    """The fence of one election in one database.

    `check` is for a transaction of your own; `write` makes one. `connection` is one of a PEP 249 driver, in autocommit mode or not, and
    stays yours; or a function that opens one. What that opened is the fence's: when it is lost, another is opened for what comes next;
    you owe a `close`. `paramstyle` is how that driver takes parameters: "format" (psycopg), "pyformat", "qmark", "named" or "dollar". `wait_s` is how
    long a write waits for another writer's transaction, whose row lock it needs, and for any other lock in its block. Threads may
    share it as far as they may share the connection. The table must be there: see `create_table`, or put `schema` into your
    migrations.

    Raises InvalidInput.
    """

    def __init__(
        self,
        connection: Any,
        name: str,
        *,
        paramstyle: ParamStyle = "format",
        table: str = TABLE,
        wait_s: float = WAIT_S,
        on_refused: OnRefused | None = None,
    ) -> None:
        super().__init__(Check(name, paramstyle=paramstyle, table=table, on_refused=on_refused))
        self.schema: Final = self._check.schema
        self._table = table
        given = hasattr(connection, "cursor")
        if not given and not callable(connection):
            raise InvalidInput("connection", "is none, and opens none", "give one, or a function")
        self._connect: Final[Callable[[], Any] | None] = None if given else connection
        self._connection: Any = connection if given else None
        self._wait_s = check_wait(wait_s)
        self._turn = Turn(name)
        self._pid = os.getpid()
        self._error: type[Exception] = getattr(connection, "Error", Exception)  # PEP 249, optional extensions

    def close(self) -> None:
        """Close the connection that the fence opened itself; a later call opens another. One that was given stays as it is.

        Raises InvalidInput in a forked child, EngineUnavailable while a block of another thread goes on.
        """
        self._refuse_fork()
        with self._turn.taken(self._wait_s):
            self._drop()

    def create_table(self) -> None:
        """Make the table unless it is there. Raises EngineUnavailable."""
        try:
            with self._transaction() as cursor:
                cursor.execute(self.schema)
        except IncumbentError:
            raise
        except self._error as error:
            if _state(error) not in DUPLICATES:
                raise EngineUnavailable(f"{self.name}: the table cannot be made: {error}") from error

    def check(self, cursor: Cursor, token: int, holder: str = "") -> None:
        """Check inside the transaction that `cursor` is in, before what you write; if it raises, roll back.

        The check, the raised fence and your writes stand or fall together: what you roll back was never checked, and a savepoint
        that you go back to must have been set after it. A later writer waits for the end of your transaction, for as long as its
        own lock_timeout says. The count of refusals in the database rolls back too; `refusals` keeps its own.

        Raises StaleToken, InvalidInput, and what the driver raises: a serialization failure (40001), if your transaction's snapshot
        is older than a newer leader's write.
        """
        self._check.run(cursor, token, holder)

    def _kept(self) -> Any:
        with self._transaction() as cursor:
            try:
                cursor.execute(self._check.state_text, self._check.state_parameters)
                rows = cursor.fetchall()
            except self._error as error:
                raise self._untouched(error) from error
        return rows[0] if rows else None

    def _ask(self, cursor: Any, token: int, holder: str) -> Any:
        try:
            return self._check.ask(cursor, token, holder)
        except self._error as error:
            raise self._untouched(error) from error

    def _untouched(self, error: Exception) -> EngineUnavailable | InvalidInput:
        """What an error before the commit means: nothing was written."""
        state = _state(error)
        if state == UNDEFINED_TABLE:
            return InvalidInput(
                "table", f"{self._table} is not there", "run create_table(), or your migrations"
            )
        if state == LOCK_NOT_AVAILABLE:
            return EngineUnavailable(
                f"{self.name}: another writer did not end its transaction in {self._wait_s} s; is it stopped inside? "
                "pg_stat_activity shows it as idle in transaction"
            )
        return EngineUnavailable(f"{self.name}: the database cannot be had: {error}")

    @contextmanager
    def _transaction(self) -> Iterator[Any]:
        self._refuse_fork()
        with self._turn.taken(self._wait_s):
            cursor = self._begin()
            try:
                yield cursor
                self._refuse_fork()
                self._still_open(cursor)
            except BaseException:
                if os.getpid() == self._pid:
                    try:
                        self._end(cursor, "rollback")
                    except self._error:  # the connection is gone, and the transaction with it
                        self._drop()
                raise
            self._commit(cursor)

    def _begin(self) -> Any:
        """On a connection of its own that was lost meanwhile, once more on another: nothing has been asked of it yet."""
        if self._connect is not None and self._connection is not None:
            with suppress(EngineUnavailable):
                return self._begin_here()
        if self._connect is not None:
            self._open(self._connect)
        return self._begin_here()

    def _begin_here(self) -> Any:
        if self._status() in INSIDE:
            raise InvalidInput(
                "connection", "is inside a transaction already", "end it first, or use check() inside it"
            )
        try:
            cursor = self._connection.cursor()
            if self._autocommit:
                cursor.execute("begin")
            # Also where the driver begins by itself, which it does now.
            cursor.execute(f"set local lock_timeout = {max(1, round(self._wait_s * 1000))}")
        except self._error as error:
            self._drop()
            raise EngineUnavailable(f"{self.name}: the database cannot be had: {error}") from error
        return cursor

    def _open(self, connect: Callable[[], Any]) -> None:
        try:
            self._connection = connect()
        except Exception as error:  # before there is a connection, nobody says what its driver raises
            raise EngineUnavailable(f"{self.name}: the database cannot be had: {error}") from error
        self._error = getattr(self._connection, "Error", Exception)

    def _drop(self) -> None:
        """Forget a connection of its own, for the next call to open another."""
        if self._connect is not None and self._connection is not None:
            lost, self._connection = self._connection, None
            with suppress(self._error):
                lost.close()

    def _still_open(self, cursor: Any) -> None:
        """PostgreSQL answers the commit of a failed transaction with a rollback, and drivers do not say so."""
        if self._status() == IDLE:
            raise OutcomeUnknown(
                f"{self.name}: the block ended the transaction; what it did then was not fenced"
            )
        try:
            cursor.execute("select 1")
        except self._error as error:
            if _state(error) == IN_FAILED_TRANSACTION:
                raise InvalidInput(
                    "block", "went on after an error of the database, and nothing was written",
                    "let the error out, or go back to a savepoint",
                ) from error  # fmt: skip
            raise EngineUnavailable(
                f"{self.name}: the connection was lost before the commit: {error}"
            ) from error

    def _commit(self, cursor: Any) -> None:
        try:
            self._end(cursor, "commit")
        except self._error as error:
            state = _state(error)
            if state and state.startswith(ROLLBACK):
                raise EngineUnavailable(f"{self.name}: the transaction was rolled back: {error}") from error
            if state and state.startswith(INTEGRITY):
                raise  # a deferred constraint of the caller's: it was rolled back
            self._drop()
            raise OutcomeUnknown(f"{self.name}: the commit was sent, and not answered: {error}") from error

    def _end(self, cursor: Any, how: str) -> None:
        if self._autocommit:
            cursor.execute(how)
        else:
            getattr(self._connection, how)()

    @property
    def _autocommit(self) -> bool:
        return bool(getattr(self._connection, "autocommit", False))

    def _status(self) -> int | None:
        """Whether a transaction is open, where the driver tells."""
        return getattr(getattr(self._connection, "info", None), "transaction_status", None)

    def _refuse_fork(self) -> None:
        """Two processes on one connection would read each other's answers."""
        if os.getpid() != self._pid:
            raise InvalidInput(
                "connection", "was opened before a fork", "open another in the child, or end it with os._exit"
            )


def _state(error: Exception) -> str | None:
    """The SQLSTATE, where drivers keep it: psycopg, psycopg2, pg8000."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if state is None and error.args and isinstance(error.args[0], dict):
        state = error.args[0].get("C")
    return state
