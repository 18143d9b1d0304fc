"""What the fences of SQLite and PostgreSQL share: the check in a transaction that the fence begins and ends itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Final, Generic, TypeVar

from incumbent.fencing.rule import check_holder, check_token
from incumbent.fencing.sql import Check, refused_in, seen_in

C = TypeVar("C")


class SqlFence(ABC, Generic[C]):
    """The fence of one election in one database; the block of `write` is given a cursor of the driver's."""

    exclusive: Final = True

    def __init__(self, check: Check) -> None:
        self._check = check
        self.name = check.name
        self.refusals = check.refusals

    @contextmanager
    def write(self, token: int, holder: str = "") -> Iterator[C]:
        """``with fence.write(term.token) as cursor:`` A transaction: what the block does is done under `token`, or not at all.

        An equal or higher token than any seen is accepted, and is the highest from then on. When the block raises, nothing of it
        stays, and the fence is not raised. The block must not commit or roll back by itself.

        Raises StaleToken, InvalidInput, and EngineUnavailable (the database, or its lock, cannot be had in time, or the transaction could
        not be serialized): nothing was written. OutcomeUnknown: the commit failed, or was not answered. And what the block raises.
        """
        check_token(token)
        check_holder(holder)
        with self._transaction() as cursor:
            seen = seen_in(self._ask(cursor, token, holder))
            if not seen.refuses(token, holder):
                yield cursor
                return
        raise self.refusals.refuse(token, holder, seen)  # after the commit, which keeps the count

    def prime(self, token: int, holder: str = "") -> None:
        """Raise the fence without a write, durably. Raises as `write` does."""
        with self.write(token, holder):
            pass

    def highest(self) -> int:
        """The highest token accepted so far; 0 before the first. Raises InvalidInput, EngineUnavailable."""
        row = self._kept()
        return seen_in(row).token if row else 0

    def refused(self) -> int:
        """How many writes were refused so far, by any process: each is evidence of a leader that did not know it was over.
        Raises InvalidInput, EngineUnavailable."""
        row = self._kept()
        return refused_in(row) if row else 0

    @abstractmethod
    def _transaction(self) -> AbstractContextManager[C]:
        """Commits at its end, and rolls back when the block raises."""

    @abstractmethod
    def _ask(self, cursor: C, token: int, holder: str) -> Any:
        """The row that the check gives back. Raises InvalidInput, EngineUnavailable."""

    @abstractmethod
    def _kept(self) -> Any:
        """The fence's row, or None."""
