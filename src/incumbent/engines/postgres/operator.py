"""What an operator does to a PostgreSQL engine."""

from __future__ import annotations

from incumbent.engines.postgres.engine import prepare
from incumbent.engines.postgres.pool import Pool, Transaction
from incumbent.engines.postgres.settings import Settings
from incumbent.errors import EngineError
from incumbent.ids import TOKEN_INCARNATION_MAX


async def bump(url: str) -> int:
    """Raise the incarnation: tokens from now on are above all that were given out before, and the terms of before end.

    After the database was restored from a backup, or its schema was dropped, while clients are refused with IncarnationChanged.
    A schema that was made anew has forgotten how often it was raised: raise it as often again.
    Returns the new one. Raises InvalidInput, EngineUnavailable, OutcomeUnknown; EngineError when there is no higher one.
    """
    settings = Settings.parse(url)
    await prepare(settings)
    pool = Pool(settings, 1)
    try:
        return await pool.transact(_bump)
    finally:
        await pool.close()


async def _bump(tx: Transaction) -> int:
    ((incarnation,),) = await tx.all("SELECT incarnation FROM meta FOR UPDATE")
    if incarnation >= TOKEN_INCARNATION_MAX:
        raise EngineError(
            f"the incarnation is {incarnation} already, and there is no higher one; use another schema"
        )
    await tx.all("UPDATE meta SET incarnation = incarnation + 1")
    # Who leads asks whether it still does when its group changes, so this ends terms before their next renewal does.
    await tx.all("SELECT name FROM team ORDER BY name FOR UPDATE")
    await tx.all("UPDATE team SET changes = changes + 1 RETURNING pg_notify(current_schema(), name)")
    return int(incarnation) + 1
