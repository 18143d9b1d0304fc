"""What an operator does to a Redis engine."""

from __future__ import annotations

from incumbent.engines.redis import scripts
from incumbent.engines.redis.pool import Pool
from incumbent.engines.redis.settings import Settings
from incumbent.errors import EngineError


async def bump(url: str) -> int:
    """Raise the incarnation: tokens from now on are above all that were given out before, and the terms of before end.

    After the data was lost or restored, while clients are refused with IncarnationChanged. Data that was made anew has forgotten how
    often it was raised: raise it as often again.
    Returns the new one. Raises InvalidInput, EngineUnavailable, OutcomeUnknown; EngineError when there is no higher one.
    """
    pool = Pool(Settings.parse(url), 1)
    try:
        head, (said, *_) = await pool.run(scripts.BUMP)
    finally:
        await pool.close()
    if said != b"ok":
        raise EngineError(
            f"the incarnation is {head.incarnation} already, and there is no higher one; use another namespace"
        )
    return head.incarnation
