"""A candidate as users write it: connect, campaign, check, write to a resource that refuses stale tokens, resign at times."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from random import Random
from typing import Final

from incumbent.check.history import Event, Kind
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.errors import IncumbentError, LeadershipLost
from incumbent.leadership.connect import Cluster, connect
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.term import Term
from incumbent.leadership.world import World as LeadershipWorld
from incumbent.sim.kernel import Kernel
from incumbent.sim.network import MS
from incumbent.sim.whole.process import ProcessDeadlines
from incumbent.sim.whole.voter import WholeVoter

ELECTION: Final = "e"
WRITE_DELAY_MAX_NS: Final = 30 * MS
THINK_MAX_S: Final = 0.08
RESIGNS: Final = 0.03
KINDS: Final = {
    EventKind.ELECTED: Kind.ELECTED,
    EventKind.EXTENDED: Kind.EXTENDED,
    EventKind.JEOPARDY: Kind.JEOPARDY,
    EventKind.LOST: Kind.ENDED,
    EventKind.RELEASED: Kind.ENDED,
}


class Resource:
    """Whoever writes with a token below the highest that it saw is refused. The history is what the judge reads."""

    def __init__(self, kernel: Kernel) -> None:
        self.history: list[Event] = []
        self.accepted = 0
        self.refused = 0
        self._kernel = kernel
        self._highest = 0

    def note(self, kind: Kind, **facts: object) -> None:
        self.history.append(Event(kind, self._kernel.now_ns, len(self.history) + 1, **facts))  # type: ignore[arg-type]

    def write(self, token: int) -> None:
        if token < self._highest:
            self.refused += 1
            self.note(Kind.REFUSED, election=ELECTION, token=token, highest=self._highest)
        else:
            self.accepted += 1
            self._highest = token
            self.note(Kind.ACCEPTED, election=ELECTION, token=token)


class Candidate:
    """One process's candidacies, one after another, for as long as the process lives."""

    def __init__(
        self,
        home: WholeVoter,
        name: str,
        engine: ClusterEngine,
        resource: Resource,
        kernel: Kernel,
        random: Random,
    ) -> None:
        self._home = home
        self._name = name
        self._engine = engine
        self._resource = resource
        self._kernel = kernel
        self._random = random

    async def run(self, *, ttl_s: float, fenced: bool) -> None:
        process = self._home.process
        assert process is not None
        clock = _HostClock(self._home.now_ns)
        deadlines = ProcessDeadlines(process, self._kernel, self._home.now_ns, self._home.real_delay_ns)
        world = LeadershipWorld(clock, deadlines, Random(self._random.random()))
        async with connect(engine=self._engine, ttl=ttl_s, world=world) as cluster:
            while True:
                await self._stand(cluster, fenced=fenced)
                await asyncio.sleep(self._random.random() * THINK_MAX_S)

    async def _stand(self, cluster: Cluster, *, fenced: bool) -> None:
        election = cluster.election(ELECTION, candidate=self._name, fenced=fenced, listener=self._listen)
        try:
            async with election.campaign() as term:
                await self._lead(term)
        except LeadershipLost:
            return
        except IncumbentError:  # the cluster is away: try again
            await asyncio.sleep(THINK_MAX_S)

    async def _lead(self, term: Term) -> None:
        while self._random.random() > RESIGNS:
            term.check()
            self._resource.note(
                Kind.ACTING, election=ELECTION, candidate=self._name, process=self._name, token=term.token
            )
            self._kernel.after(
                int(self._random.random() * WRITE_DELAY_MAX_NS), self._resource.write, term.token
            )
            await asyncio.sleep(self._random.random() * THINK_MAX_S)

    def _listen(self, event: TermEvent) -> None:
        self._resource.note(
            KINDS[event.kind],
            election=ELECTION,
            candidate=self._name,
            process=self._name,
            token=event.token,
            deadline_ns=self._real_ns(event.deadline_ns),
            reason=event.reason.value if event.reason is not None else "",
        )

    def _real_ns(self, host_ns: int) -> int:
        """When, in real time, this host's clock shows so much."""
        ahead_ns = host_ns - self._home.now_ns()
        return self._kernel.now_ns + self._home.real_delay_ns(ahead_ns)


class _HostClock:
    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
