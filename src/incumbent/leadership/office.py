"""What all elections of one cluster object share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from incumbent.engines.api import Engine
from incumbent.errors import EngineUnavailable
from incumbent.leadership.chronicle import Chronicle
from incumbent.leadership.keeper import Sessions
from incumbent.leadership.world import Tasks, World

if TYPE_CHECKING:
    from incumbent.guardian.leash import Leash
    from incumbent.leadership.campaign import Campaign


@dataclass
class Office:
    engine: Engine
    world: World
    sessions: Sessions
    tasks: Tasks
    chronicle: Chronicle
    ttl: float
    closed: bool = False
    campaigns: set[Campaign] = field(default_factory=set)
    _leash: asyncio.Task[Leash] | None = None
    places: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def place(self, election: str) -> asyncio.Lock:
        """Held by the one candidacy of this cluster object in that election."""
        place = self.places.get(election)
        if place is None:
            place = self.places[election] = asyncio.Lock()
        return place

    async def leash(self) -> Leash:
        """The process that kills this one when a body outlasts its lease; started when first asked for. Raises Unsupported."""
        if self._leash is None:
            from incumbent.guardian.leash import Leash

            self._leash = self.tasks.spawn(Leash.start(), "incumbent-start-leash")
        starting = self._leash
        try:
            return await asyncio.shield(starting)
        finally:
            if starting.done() and (starting.cancelled() or starting.exception() is not None):
                self._leash = None  # another may be had later

    async def close_leash(self) -> None:
        if self._leash is not None and self._leash.done() and not self._leash.cancelled():
            await self._leash.result().close()

    def check_open(self) -> None:
        if self.closed:
            raise EngineUnavailable("this cluster object is closed")
