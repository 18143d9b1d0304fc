"""Ends PostgreSQL sessions by reference, for the guardian: one warm connection, and the engine's own transaction."""

from __future__ import annotations

import asyncio
from typing import Final

from incumbent.engines.api import Ref
from incumbent.engines.postgres.pool import Pool
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.postgres.store import end_session, peek
from incumbent.engines.reference import Reference
from incumbent.errors import EngineUnavailable, IncarnationChanged, OutcomeUnknown, Overloaded

RETRY_EVERY_S: Final = 0.1


def make_ender() -> PostgresEnder:
    return PostgresEnder()


class PostgresEnder:
    """One database at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._pool: Pool | None = None
        self._url = ""

    async def prepare(self, ref: Ref) -> None:
        """Raises EngineUnavailable."""
        pool = await self._pool_of(Reference.from_bytes(ref, "postgresql"))
        await pool.ask(peek(""))  # the connection is warm, and the server has looked at the tables

    async def end(self, ref: Ref) -> bool:
        """True = ended now, False = was already over. A commit without an answer is asked for again, and then says False."""
        reference = Reference.from_bytes(ref, "postgresql")
        pool, question = await self._pool_of(reference), end_session(reference.session)
        while True:
            try:
                return question.read(await pool.ask(question))
            except IncarnationChanged:
                return False  # its tables are gone, and the session with them
            except (EngineUnavailable, OutcomeUnknown, Overloaded):
                await asyncio.sleep(RETRY_EVERY_S)

    async def close(self) -> None:
        if self._pool is not None:
            await self._pool.close()
            self._pool = None

    async def _pool_of(self, reference: Reference) -> Pool:
        if self._pool is None or self._url != reference.url:
            await self.close()
            self._pool, self._url = Pool(Settings.parse(reference.url), 1), reference.url
        return self._pool
