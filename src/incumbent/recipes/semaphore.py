"""A semaphore: at most n holders, each in a slot of its own with tokens that rise.

A slot is an election of its own, so that no slot ever has two holders and its tokens rise; nothing else is needed for safety.
Who gets which slot is decided in a queue in front of them: its first alone looks for a free slot, takes it, and lets the next one
look. So slots are given in the order in which they were asked for, a slot that becomes free anywhere is found, nobody ever stands for
two, a waiter is one member of one group, and one process wakes when a slot becomes free.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import Cell, CellWrite, Roster
from incumbent.errors import InvalidInput, LeadershipLost, VersionConflict
from incumbent.leadership.attempt import attempt
from incumbent.leadership.connect import Cluster, office_of
from incumbent.leadership.roll import Sighting
from incumbent.leadership.term import Term
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import Backoff, until_answered

logger = logging.getLogger(__name__)

SLOTS_MAX: Final = 128
"""The first of the queue watches so many groups at most."""
CELL: Final = "slots"


@dataclass(frozen=True, slots=True)
class Slot:
    """What a holder has. Give `term.token` with each write to a resource, under the name `fence`: tokens of one slot rise, tokens
    of two slots say nothing about each other."""

    number: int  # 0 to n - 1
    term: Term
    fence: str  # NAME#number


class Semaphore:
    """At most `slots` holders at a time, over all processes. Costs nothing until it is asked for.

    The number of slots is written down by whoever asks first and stays what it is: a semaphore of another size needs another
    name. Each `hold` is a holder of its own, also in one process.

    - `holder`: the name that others see; by default unique per process start.
    - `fenced`: True when every resource checks tokens; then a dead holder's successor does not wait the extra second.

    Raises InvalidInput for a number of slots that is not 1 to SLOTS_MAX.
    """

    def __init__(
        self, cluster: Cluster, name: str, slots: int, *, holder: str | None = None, fenced: bool = False
    ) -> None:
        if not 1 <= slots <= SLOTS_MAX:
            raise InvalidInput("slots", f"is {slots}", f"1 to {SLOTS_MAX}")
        self.name = name
        self._office = office_of(cluster)
        # With one release delay for all, they live on one session: who is no longer first of the queue because its session ended
        # stands for no slot either.
        self._queue = cluster.election(f"semaphore/{name}/queue", candidate=holder, fenced=fenced)
        self._slots = tuple(
            cluster.election(f"semaphore/{name}/{number}", candidate=holder, fenced=fenced)
            for number in range(slots)
        )
        self._agreed = False

    @asynccontextmanager
    async def hold(self) -> AsyncGenerator[Slot, None]:
        """``async with semaphore.hold() as slot:`` waits for a slot, then runs the block as its holder.

        The block is cancelled before the lease can expire, and LeadershipLost is raised then. Raises InvalidInput when the
        semaphore was made with another number of slots, EngineUnavailable when the cluster object is closed meanwhile.
        """
        await self._agree()
        async with AsyncExitStack() as held:
            yield await self._enter(held)

    def try_hold(self, timeout: float) -> AbstractAsyncContextManager[Slot | None]:
        """As `hold`, but waits at most `timeout` seconds, and gives None when there was no slot by then. The block runs all
        the same, so ask. Raises InvalidInput for a timeout that is not above 0."""
        return attempt(self.hold(), timeout)

    async def holders(self) -> tuple[Sighting, ...]:
        """Who holds each slot: a Leader, None (free), or UNKNOWN. For people: each slot is looked at for itself."""
        return tuple(await asyncio.gather(*(slot.leader() for slot in self._slots)))

    async def _agree(self) -> None:
        """See that all who use the semaphore mean the same number of slots."""
        if self._agreed:
            return
        engine, group, mine = self._office.engine, self._queue.name, b"%d" % len(self._slots)

        async def ask() -> Cell:
            cell = await engine.read_cell(group, CELL)
            if cell.value is not None:
                return cell
            try:
                await engine.write_cells(group, [CellWrite(CELL, mine, cell.version)], None)
            except VersionConflict:
                logger.info("semaphore %s: another process, or an own lost answer, was first", self.name)
            return await engine.read_cell(group, CELL)

        cell = await until_answered(ask, self._office.world.rng)
        if cell.value != mine:
            there = (cell.value or b"nothing").decode(errors="replace")[:40]
            raise InvalidInput(
                "slots",
                f"is {len(self._slots)}, and {self.name!r} was made with {there}",
                "use that number, or another name",
            )
        self._agreed = True

    async def _enter(self, held: AsyncExitStack) -> Slot:
        """Queue up, and take a slot when it is our turn. The place in the queue is left in any case."""
        backoff = Backoff(self._office.world.rng)
        while True:
            slot: Slot | None = None
            try:
                async with self._queue.campaign():
                    slot = await self._take(held)
            except LeadershipLost as error:
                logger.info("semaphore %s: no longer first of the queue: %s", self.name, error.reason)
            if slot is not None:
                return slot
            await backoff.pause()

    async def _take(self, held: AsyncExitStack) -> Slot:
        """As the first of the queue: a slot, once one is free. `held` leaves it again."""
        start = 0
        while True:
            number = await self._free(start)
            async with AsyncExitStack() as trial:
                # Somebody who was first before us, and does not know that it is no longer, may be there before us. Then look again.
                election = self._slots[number]
                term = await trial.enter_async_context(election.try_campaign(self._office.ttl))
                if term is not None:
                    await held.enter_async_context(trial.pop_all())
                    return Slot(number, term, f"{self.name}#{number}")
            start = number + 1

    async def _free(self, start: int) -> int:
        """A slot that nobody stands for, looked for from `start` on, as soon as there is one."""
        office = self._office
        backoff = Backoff(office.world.rng)
        while True:
            rosters = await until_answered(self._look, office.world.rng)
            for number in sorted(range(len(rosters)), key=lambda number: number < start):
                if not rosters[number].members:
                    return number
            news = asyncio.Event()
            watches = [
                Watch(office.engine, slot.name, roster.cursor, office.tasks, news)
                for slot, roster in zip(self._slots, rosters, strict=True)
            ]
            try:
                # Bounded, because engines differ in what they announce.
                await watches[0].wait(office.ttl)
            finally:
                for watch in watches:
                    watch.close()
            if any(watch.lost for watch in watches):
                await backoff.pause()

    async def _look(self) -> list[Roster]:
        return await asyncio.gather(*(self._office.engine.roster(slot.name) for slot in self._slots))
