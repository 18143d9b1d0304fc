"""What an operator does to a PostgreSQL engine."""

from __future__ import annotations

from incumbent.engines.postgres import store
from incumbent.engines.postgres.engine import prepare
from incumbent.engines.postgres.pool import Pool
from incumbent.engines.postgres.settings import Settings


async def bump(url: str) -> int:
    """Raise the incarnation: tokens from now on are above all that were given out before, and the terms of before end.

    After the database was restored from a backup, or its schema was dropped, while clients are refused with IncarnationChanged.
    A schema that was made anew has forgotten how often it was raised: raise it as often again.
    Returns the new one. Raises InvalidInput, EngineUnavailable, OutcomeUnknown; EngineError when there is no higher one.
    """
    settings = Settings.parse(url)
    await prepare(settings)
    pool, question = Pool(settings, 1), store.bump()
    try:
        return question.read(await pool.ask(question))
    finally:
        await pool.close()
