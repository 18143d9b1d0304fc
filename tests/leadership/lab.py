"""Clusters on the stranger's engine, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random

from incumbent.errors import EngineUnavailable
from incumbent.leadership.campaign import Campaign
from incumbent.leadership.connect import Cluster, connect
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.term import Term
from incumbent.leadership.world import World
from incumbent.sim.loop import Simulation
from tests.engines.stranger import StrangerEngine, StrangerStore

TTL_S = 6.0
NS = 1_000_000_000


class Lab:
    """One service; each `host` is one process with an engine client, a clock and a cluster object of its own."""

    def __init__(self, sim: Simulation, *, announces_expiry: bool = True) -> None:
        self.sim = sim
        self.store = StrangerStore(sim.clock.now_ns, announces_expiry=announces_expiry)
        self.events: list[TermEvent] = []

    def engine(self) -> StrangerEngine:
        return StrangerEngine(self.store)

    def connect(
        self,
        engine: StrangerEngine | None = None,
        *,
        ttl: float = TTL_S,
        ppm: int = 0,
        resume: Path | None = None,
    ) -> AbstractAsyncContextManager[Cluster]:
        clock, deadlines = self.sim.host(ppm=ppm, offset_ns=self.sim.rng.randrange(10**12))
        world = World(clock, deadlines, Random(self.sim.rng.random()), wall_ms=self.wall_ms)
        return connect(engine=engine or self.engine(), ttl=ttl, world=world, resume=resume)

    def members(self, election: str = "e") -> list[str]:
        group = self.store.groups.get(election)
        return [] if group is None else [m.value.partition(b"\0")[0].decode() for m in group.members]

    def wall_ms(self) -> int:
        return self.sim.clock.now_ns() // 1_000_000

    def kinds(self, *, candidate: str | None = None) -> list[EventKind]:
        return [e.kind for e in self.events if candidate in (None, e.candidate)]

    @property
    def now_s(self) -> float:
        return self.sim.clock.now_ns() / NS


def cut(engine: StrangerEngine, *methods: str) -> None:
    """From now on these calls (all, when none is named) do not reach the service. `mend` ends it."""

    async def refuse(method: str) -> None:
        if not methods or method in methods:
            raise EngineUnavailable("cut off")

    engine.on_request = refuse


def mend(engine: StrangerEngine) -> None:
    engine.on_request = None


async def lead_until_lost(campaign: Campaign, terms: list[Term]) -> None:
    """Be elected, say so, and hang on until cancelled."""
    async with campaign as term:
        terms.append(term)
        await asyncio.Event().wait()


async def until(condition: Callable[[], object], *, within_s: float = 60.0) -> None:
    """Wait, in small steps of virtual time, until `condition` holds."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.01)
