"""Writes the history: what the terms of this process began and ended, a moment after it happened, all of a moment in one write.

So short terms in quick succession cost one write every now and then, and not two each. Nobody waits for it but who closes the
cluster object, and it says nothing that a leader's safety rests on: see `history`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial, reduce
from random import Random
from typing import Final, TypeAlias

from incumbent.engines.api import Engine
from incumbent.errors import EngineError
from incumbent.leadership.history import RECORDS_MAX, Record, with_end, with_start
from incumbent.leadership.scene import change_history
from incumbent.leadership.world import Tasks, log, until_answered

Alteration: TypeAlias = Callable[[tuple[Record, ...]], tuple[Record, ...]]
GATHER_S: Final = 0.02
"""So long after a term began its record is written, with whatever else has happened by then."""
LAST_WORDS_S: Final = 2 * GATHER_S
"""And so long after it ended: its successor's beginning comes first, on the engine, too, so that they are not in each other's way."""
PENDING_MAX: Final = 2 * RECORDS_MAX
"""Of one election. What is older would fall out of the history at once."""
CLOSE_PARTS: Final = 3
"""Closing writes what is left for up to TTL/3."""


class Chronicle:
    """One cluster object's, for all elections. You owe a `close`."""

    def __init__(
        self, engine: Engine, rng: Random, wall_ms: Callable[[], int], tasks: Tasks, ttl: float
    ) -> None:
        self._engine = engine
        self._rng = rng
        self._wall_ms = wall_ms
        self._tasks = tasks
        self._ttl = ttl
        self._pending: dict[str, deque[Alteration]] = {}  # by election; one task for each
        self._writing = set[asyncio.Task[None]]()
        self._closing = asyncio.Event()

    def began(self, election: str, token: int, candidate: str) -> None:
        now_ms = self._wall_ms()
        self._note(election, lambda records: with_start(records, token, candidate, now_ms), GATHER_S)

    def ended(self, election: str, token: int, reason: str) -> None:
        """The member has left."""
        now_ms = self._wall_ms()
        self._note(election, lambda records: with_end(records, token, reason, now_ms), LAST_WORDS_S)

    async def close(self) -> None:
        """Write what is left, for at most TTL/3."""
        self._closing.set()
        if self._writing:
            await asyncio.wait(tuple(self._writing), timeout=self._ttl / CLOSE_PARTS)

    def _note(self, election: str, alter: Alteration, within_s: float) -> None:
        if election not in self._pending:
            self._pending[election] = deque(maxlen=PENDING_MAX)
            writing = self._tasks.spawn(self._write(election, within_s), f"incumbent-history-{election}")
            self._writing.add(writing)
            writing.add_done_callback(self._writing.discard)
        self._pending[election].append(alter)

    async def _write(self, election: str, within_s: float) -> None:
        pending = self._pending[election]
        while pending:
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._closing.wait()
            alterations = tuple(pending)
            pending.clear()
            try:
                async with asyncio.timeout(self._ttl):
                    await until_answered(
                        partial(change_history, self._engine, election, self._rng, all_of(alterations)),
                        self._rng,
                    )
            except (TimeoutError, EngineError) as error:
                log.warning("%s: the history lacks %d entries: %r", election, len(alterations), error)
            within_s = GATHER_S
        del self._pending[election]


def all_of(alterations: Sequence[Alteration]) -> Alteration:
    """One after the other."""
    return lambda records: reduce(lambda altered, alter: alter(altered), alterations, records)
