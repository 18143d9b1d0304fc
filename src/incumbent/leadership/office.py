"""What all elections of one cluster object share."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from incumbent.engines.api import Engine
from incumbent.errors import EngineUnavailable
from incumbent.leadership.keeper import Sessions
from incumbent.leadership.world import Tasks, World

if TYPE_CHECKING:
    from incumbent.leadership.campaign import Campaign


@dataclass
class Office:
    engine: Engine
    world: World
    sessions: Sessions
    tasks: Tasks
    ttl: float
    closed: bool = False
    campaigns: set[Campaign] = field(default_factory=set)
    places: WeakValueDictionary[str, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def place(self, election: str) -> asyncio.Lock:
        """Held by the one candidacy of this cluster object in that election."""
        place = self.places.get(election)
        if place is None:
            place = self.places[election] = asyncio.Lock()
        return place

    def check_open(self) -> None:
        if self.closed:
            raise EngineUnavailable("this cluster object is closed")
