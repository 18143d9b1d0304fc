"""NOTIFY on a connection of our own. Behind a pool that hands out a connection per transaction LISTEN does nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

import psycopg

from incumbent.engines.postgres.link import Link, translated
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.wakeups import Ready, Wake, Wakeups

logger = logging.getLogger(__name__)

PROBE_EVERY_S: Final = 1.0
"""How often the listening connection is asked whether it still is one. A silent server wakes nobody."""


def wakeups(settings: Settings) -> Wakeups:
    async def listen(ready: Ready, wake: Wake) -> None:
        link = await Link.open(settings)
        try:
            if link.pooled and settings.wakeups == "auto":
                logger.info("%s: behind a pool; watches look every %s s", settings.shown, settings.poll_s)
                return
            await _bounded(link, f"LISTEN {settings.schema}", settings.timeout_s)
            ready()
            while True:
                async for notification in link.notifications(PROBE_EVERY_S):
                    wake(notification.payload)
                await _bounded(link, "SELECT 1", settings.timeout_s)
        except psycopg.Error as error:
            raise translated(error) from error
        finally:
            link.abort()
            await link.close()

    return Wakeups(None if settings.wakeups == "poll" else listen, poll_s=settings.poll_s)


async def _bounded(link: Link, statement: str, timeout_s: float) -> None:
    """One that does not outlive the server's silence. Not cancelled: see `pool`."""
    asking = asyncio.ensure_future(link.run(statement))
    done, _ = await asyncio.wait({asking}, timeout=timeout_s)
    if not done:
        link.abort()
    await asking
