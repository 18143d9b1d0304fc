"""Several candidates of one election, in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from incumbent.leadership.connect import Cluster
from incumbent.leadership.election import Election
from incumbent.leadership.preference import Preference
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import Lab, until


class Team:
    """Candidates by name, each on a cluster object of its own, standing one after the other and again after each loss."""

    def __init__(self, lab: Lab, stack: AsyncExitStack) -> None:
        self.lab = lab
        self.terms: list[Term] = []
        self.elections: dict[str, Election] = {}
        self.engines: dict[str, StrangerEngine] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self._stack = stack

    async def add(
        self,
        name: str,
        preference: Preference | None = None,
        body: Callable[[Term], Awaitable[None]] | None = None,
    ) -> Election:
        self.engines[name] = self.lab.engine()
        cluster: Cluster = await self._stack.enter_async_context(self.lab.connect(self.engines[name]))
        election = cluster.election(
            "e", candidate=name, fenced=True, preference=preference, listener=self.lab.events.append
        )
        self.elections[name] = election

        async def work(term: Term) -> None:
            self.terms.append(term)
            await (body(term) if body is not None else asyncio.Event().wait())

        self.tasks[name] = asyncio.create_task(election.run(work))
        await until(lambda: name in self.lab.members())
        return election

    @property
    def leaders(self) -> list[str]:
        """Who led, in order."""
        return [term.candidate for term in self.terms]

    @property
    def leading(self) -> list[str]:
        return [term.candidate for term in self.terms if term.is_valid]

    def stop(self) -> None:
        for task in self.tasks.values():
            task.cancel()


@asynccontextmanager
async def team(sim: Simulation) -> AsyncIterator[Team]:
    async with AsyncExitStack() as stack:
        made = Team(Lab(sim), stack)
        try:
            yield made
        finally:
            made.stop()
