"""Work that is to be done once per tick: by the elected leader, with the last tick written down under its term.

The mark is one cell of the election's group, and only the leader's live term can write it, and only over the mark that it read. So
a deposed leader marks nothing, ticks only rise, and no tick is marked twice. What that gives depends on when the mark is written:

- before the work (the default): a tick is *started* at most once, over all processes and whatever dies. Who dies in the work
  leaves it half done, and nobody does it again.
- after the work (``at_least_once=True``): a tick is started until it was done once. Who dies in between leaves it to be done again,
  so the work must stand that; give its resources the token, so that a leader which was only stopped does not go on beside the next.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final, TypeAlias

from incumbent.engines.api import Cell, CellWrite
from incumbent.errors import IncarnationChanged, InvalidInput, MemberGone, NotFirst, VersionConflict
from incumbent.leadership.connect import Cluster, office_of
from incumbent.leadership.term import Term
from incumbent.leadership.world import until_answered
from incumbent.recipes.ticks import Mark, Missed, Policy, Tick, Ticks, decode, due, encode, every, next_after
from incumbent.runtime.clock import wall_ms

logger = logging.getLogger(__name__)

CELL: Final = "last-tick"
LOOK_S_MAX: Final = 1.0
"""So often a waiting leader looks at the wall clock, which may be stepped, and the host suspended."""
LOOK_S_MIN: Final = 0.001
RETRY_S: Final = 0.2

Work: TypeAlias = Callable[[Tick, Term], Awaitable[object]]


def wall_s() -> float:
    """This host's time of day, in seconds since 1970."""
    return wall_ms() / 1000


class Schedule:
    """One process's part in the schedule called `name`. Give all processes the same arguments.

    - `every`: seconds; the ticks are its multiples since 1970. Or `at`: a function that gives the first tick after a time, in
      seconds since 1970, infinity for none; it must depend on nothing else.
    - `missed`: what becomes of ticks that were not started within `on_time` seconds: nobody led, or the work before took too long.
      With RUN_ONCE and RUN_ALL those older than `missed_within` seconds are skipped, and with RUN_ALL all but the newest
      `missed_max`.
    - `at_least_once`: mark a tick after its work and not before it; see above.
    - `wall`: what this host takes for the time of day, in seconds since 1970. It says when a tick is due, and nothing about who leads.
      When it is set back, no tick is started again; when it is ahead, ticks are started early, and those up to there are done.
    - `candidate`: this process's name in the election `schedule/NAME`; by default unique per process start.

    Raises InvalidInput.
    """

    def __init__(
        self,
        cluster: Cluster,
        name: str,
        *,
        every: float | None = None,
        at: Ticks | None = None,
        missed: Missed = Missed.RUN_ONCE,
        on_time: float = 1.0,
        missed_within: float = 3600.0,
        missed_max: int = 100,
        at_least_once: bool = False,
        wall: Callable[[], float] = wall_s,
        candidate: str | None = None,
        fenced: bool = False,
    ) -> None:
        self.name = name
        self._ticks = _ticks(every, at)
        self._policy = Policy(
            missed=Missed(missed), on_time=on_time, missed_within=missed_within, missed_max=missed_max
        )
        self._at_least_once = at_least_once
        self._wall = wall
        self._office = office_of(cluster)
        self._election = cluster.election(f"schedule/{name}", candidate=candidate, fenced=fenced)

    async def run(self, work: Work) -> None:
        """Stand for election, and as the leader call ``work(tick, term)`` for each tick, one after another. Runs until cancelled.

        `work` is cancelled before the lease can expire; a hand-over gives it its `drain_s` to end. Its exception ends the run and propagates, so catch in it what the next tick
        is to survive; the tick stays marked, or with `at_least_once` unmarked. The first leader ever begins with the first tick
        after it was elected.
        """

        async def lead(term: Term) -> None:
            while not term.handover_requested:
                await self._step(term, work)

        while True:  # who has handed over stands again, behind
            await self._election.run(lead)

    async def last(self) -> Mark | None:
        """Up to which tick all is done with. None: nobody ever led. The first mark is no tick, but the time at which the first
        leader began. Raises EngineUnavailable and OutcomeUnknown."""
        cell = await self._office.engine.read_cell(self._election.name, CELL)
        return None if cell.value is None else decode(cell.value)

    async def _step(self, term: Term, work: Work) -> None:
        """One term's ticks, for as long as nobody else writes the mark."""
        cell = await self._read()
        if cell.value is None:
            if await self._write(term, cell.version, self._wall()) is None:
                await asyncio.sleep(RETRY_S)
            return
        last, version = decode(cell.value).at, cell.version
        while not term.handover_requested:
            now = self._wall()
            tick = due(self._ticks, last, now, self._policy)
            if tick is None:
                left_s = next_after(self._ticks, max(last, now)) - now
                with suppress(TimeoutError):
                    async with asyncio.timeout(min(max(left_s, LOOK_S_MIN), LOOK_S_MAX)):
                        await term.wait_handover()
                continue
            if self._at_least_once:
                term.check()
                await work(tick, term)
            marked = await self._write(term, version, tick.at)
            if marked is None:
                await asyncio.sleep(RETRY_S)
                return
            if not self._at_least_once:
                term.check()
                await work(tick, term)
            last, version = tick.at, marked

    async def _read(self) -> Cell:
        return await until_answered(
            lambda: self._office.engine.read_cell(self._election.name, CELL), self._office.world.rng
        )

    async def _write(self, term: Term, version: int, at: float) -> int | None:
        """Mark it, over the mark of that version. The new version; None: not marked by us, so look anew."""
        value = encode(Mark(at, term.token))
        write = CellWrite(CELL, value, version)
        try:
            (cell,) = await until_answered(
                lambda: self._office.engine.write_cells(self._election.name, [write], term.claimed),
                self._office.world.rng,
            )
        except VersionConflict:
            cell = await self._read()
            # Ours, and its answer was lost: this term marks a tick once, and no other term has its token.
            return cell.version if cell.value == value else None
        except (NotFirst, MemberGone, IncarnationChanged) as error:
            term.check()  # raises, unless the engine knew it before the term did
            logger.info("schedule %s: no longer the leader: %r", self.name, error)
            return None
        return cell.version


def _ticks(seconds: float | None, at: Ticks | None) -> Ticks:
    if at is not None and seconds is None:
        return at
    if seconds is not None and at is None:
        return every(seconds)
    raise InvalidInput("every", "or `at` is needed", "give exactly one")
