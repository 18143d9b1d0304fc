"""Ends ZooKeeper's sessions by reference, for the guardian: two frames on a socket, and no client library.

Attaching to a session renews it, so nothing is sent before the end: what is kept warm is a connection and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from incumbent.engines.api import Ref
from incumbent.engines.zookeeper.reference import Reference
from incumbent.engines.zookeeper.visit import dial, end_by, end_over
from incumbent.errors import EngineUnavailable, OutcomeUnknown

ATTEMPT_TIMEOUT_S: Final = 1.0
"""One server's time to answer. Three may be tried within one short TTL."""
RETRY_PAUSE_S: Final = 0.05


def make_ender() -> ZooKeeperEnder:
    return ZooKeeperEnder()


class ZooKeeperEnder:
    """One ensemble at a time: the one of the reference that came last."""

    def __init__(self) -> None:
        self._warm: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._place: object = None

    async def prepare(self, ref: Ref) -> None:
        """A connection to one server. A server may close it while it waits; then the end dials anew."""
        await self.close()
        reference = Reference.from_bytes(ref)
        trouble: Exception | None = None
        for address in reference.hosts:
            try:
                async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
                    self._warm = await dial(reference.place, address)
            except (EngineUnavailable, TimeoutError) as error:
                trouble = error
                continue
            self._place = (reference.hosts, reference.tls)
            return
        raise EngineUnavailable(f"no server was reached: {trouble}")

    async def end(self, ref: Ref) -> bool:
        """Asks one server after the other until there is an answer; the caller bounds it. True also when an attempt's answer
        was lost and the next one found the session over."""
        reference = Reference.from_bytes(ref)
        place, asked_before = reference.place, False
        warm = self._take_warm(reference)
        if warm is not None:
            ended, asked_before = await _attempt(
                end_over(*warm, reference.timeout_ms, reference.session, reference.password)
            )
            if ended is not None:
                return ended
        while True:
            for address in reference.hosts:
                ended, asked = await _attempt(
                    end_by(place, address, reference.timeout_ms, reference.session, reference.password)
                )
                if ended is not None:
                    return ended or asked_before
                asked_before = asked_before or asked
            await asyncio.sleep(RETRY_PAUSE_S)

    async def close(self) -> None:
        warm, self._warm = self._warm, None
        if warm is not None:
            warm[1].close()

    def _take_warm(self, reference: Reference) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        warm, self._warm = self._warm, None
        if warm is None or (self._place == (reference.hosts, reference.tls) and not warm[0].at_eof()):
            return warm
        warm[1].close()
        return None


async def _attempt(ending: Coroutine[Any, Any, bool]) -> tuple[bool | None, bool]:
    """What came of it (None: nothing, try another server), and whether it may have been done all the same."""
    try:
        async with asyncio.timeout(ATTEMPT_TIMEOUT_S):
            return await ending, False
    except (OutcomeUnknown, TimeoutError):
        return None, True
    except EngineUnavailable:
        return None, False
