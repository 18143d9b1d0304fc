"""A cache ring: every node stands for election, the elected coordinator decides the view, all nodes follow it.

The view is one cell of the election's group, written only under the coordinator's live term, so a deposed coordinator cannot
change it. Its epoch is the cell's version: it rises exactly when the content changes, and a new coordinator that finds the same
nodes writes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Final, TypeVar

from incumbent.engines.api import Cell, CellWrite, Engine, Roster
from incumbent.errors import (
    EngineUnavailable,
    MemberGone,
    NotFirst,
    OutcomeUnknown,
    Overloaded,
    VersionConflict,
    WatchLost,
)
from incumbent.leadership.connect import Cluster
from incumbent.leadership.standing import candidate_of
from incumbent.leadership.term import Term
from incumbent.recipes.view import View, decode, encode

T = TypeVar("T")
logger = logging.getLogger(__name__)

CELL: Final = "ring"
TRANSIENT: Final = (EngineUnavailable, Overloaded, OutcomeUnknown, WatchLost, VersionConflict, TimeoutError)
"""After these, look again: the ring and its view are what the engine says they are."""
RETRY_S: Final = 0.2


class Ring:
    """One node's part in one ring: run `serve` and follow `views`, beside each other.

    ``fenced=True``: the caches refuse requests under a stale view, so a dead coordinator's successor need not wait.
    """

    def __init__(self, cluster: Cluster, name: str, *, node: str) -> None:
        self._engine: Engine = cluster.engine
        self._name = name
        self._election = cluster.election(name, candidate=node, fenced=True)

    async def serve(self) -> None:
        """Be a node of the ring, and its coordinator when elected. Runs until cancelled; then the node leaves."""
        await self._election.run(self._coordinate)

    async def views(self) -> AsyncGenerator[View, None]:
        """Yields the view as it is now, if there is one, and then each newer one; their epochs rise. Views that follow each
        other faster than they are read are merged into the latest. Raises InvalidInput when the cell holds something else.
        """
        seen = 0
        async with aclosing(self._after_each_change(self._read)) as cells:
            async for cell in cells:
                if cell.value is not None and cell.version > seen:
                    seen = cell.version
                    yield decode(cell.value, cell.version)

    async def _read(self, _: Roster) -> Cell:
        return await self._engine.read_cell(self._name, CELL)

    async def _coordinate(self, term: Term) -> None:
        """The coordinator's work: keep the view equal to the roster, for as long as the term holds."""

        async def publish(roster: Roster) -> None:
            try:
                await self._publish(term, roster)
            except (NotFirst, MemberGone) as error:
                term.check()  # raises, unless the engine knew it before the term did
                logger.info("ring %s: no longer the coordinator: %r", self._name, error)

        async with aclosing(self._after_each_change(publish)) as published:
            async for _ in published:
                pass

    async def _publish(self, term: Term, roster: Roster) -> None:
        nodes = tuple(sorted({candidate_of(member) for member in roster.members}))
        cell = await self._engine.read_cell(self._name, CELL)
        if cell.value is not None and decode(cell.value, cell.version).nodes == nodes:
            return
        write = CellWrite(CELL, encode(term.token, nodes), cell.version)
        await self._engine.write_cells(self._name, [write], term.claimed)
        logger.info("ring %s: %d nodes, epoch %d", self._name, len(nodes), cell.version + 1)

    async def _after_each_change(self, look: Callable[[Roster], Awaitable[T]]) -> AsyncGenerator[T, None]:
        """What `look` finds now, and again whenever members or cells may have changed. The engine's errors are waited out:
        the view in hand stays what it is until a newer one can be read."""
        while True:
            try:
                roster = await self._engine.roster(self._name)
                yield await look(roster)
                async for _ in self._engine.watch(self._name, roster.cursor):
                    yield await look(await self._engine.roster(self._name))
            except TRANSIENT as error:
                logger.info("ring %s: looking again: %r", self._name, error)
            await asyncio.sleep(RETRY_S)
