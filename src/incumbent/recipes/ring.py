"""A cache ring: every node stands for election, the elected coordinator decides the view, all nodes follow it.

The view is one cell of the election's group, written only under the coordinator's live term, so a deposed coordinator cannot
change it. Its epoch is the cell's version: it rises exactly when the content changes, and a new coordinator that finds the same
nodes writes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from incumbent.engines.api import Cell, CellWrite, Roster
from incumbent.errors import MemberGone, NotFirst
from incumbent.leadership.connect import Cluster, office_of
from incumbent.leadership.looking import looks
from incumbent.leadership.standing import candidate_of
from incumbent.leadership.term import Term
from incumbent.recipes.view import View, decode, encode

logger = logging.getLogger(__name__)

CELL: Final = "ring"


class Ring:
    """One node's part in one ring: run `serve` and follow `views`, beside each other.

    ``fenced=True``: the caches refuse requests under a stale view, so a dead coordinator's successor need not wait.
    """

    def __init__(self, cluster: Cluster, name: str, *, node: str) -> None:
        self._office = office_of(cluster)
        self._engine = cluster.engine
        self._name = name
        self._election = cluster.election(name, candidate=node, fenced=True)

    async def serve(self) -> None:
        """Be a node of the ring, and its coordinator when elected. Runs until cancelled; then the node leaves."""
        await self._election.run(self._coordinate)

    async def views(self) -> AsyncGenerator[View, None]:
        """Yields the view as it is now, if there is one, and then each newer one; their epochs rise. Views that follow each
        other faster than they are read are merged into the latest; while the engine cannot be reached, the view in hand stays what
        it is. Raises InvalidInput when the cell holds something else, EngineUnavailable when the cluster object is closed.
        """
        seen = 0

        async def read() -> tuple[object, Cell]:
            roster = await self._engine.roster(self._name)
            return roster.cursor, await self._engine.read_cell(self._name, CELL)

        found = looks(self._office, self._name, read, lambda one: one[0])
        async with aclosing(found):
            async for one in found:
                if one is None:
                    continue
                _, cell = one
                if cell.value is not None and cell.version > seen:
                    seen = cell.version
                    yield decode(cell.value, seen)

    async def _coordinate(self, term: Term) -> None:
        """The coordinator's work: keep the view equal to the roster, for as long as the term holds."""

        async def publish() -> Roster:
            roster = await self._engine.roster(self._name)
            try:
                await self._publish(term, roster)
            except (NotFirst, MemberGone) as error:
                term.check()  # raises, unless the engine knew it before the term did
                logger.info("ring %s: no longer the coordinator: %r", self._name, error)
            return roster

        published = looks(self._office, self._name, publish, lambda roster: roster.cursor)
        async with aclosing(published):
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
