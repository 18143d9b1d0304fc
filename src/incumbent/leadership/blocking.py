"""The same elections for code that blocks. One implementation: everything happens on an event loop in a daemon thread.

    with incumbent.blocking.connect("local:///var/lib/app", ttl=5.0) as cluster:
        with cluster.election("scheduler").campaign() as term:      # waits until elected
            while True:
                term.check()                                        # raises LeadershipLost: stop
                work(fencing_token=term.token)

The block runs in the caller's thread, and a thread cannot be cancelled: it learns of the end by ``term.check()``, at latest at
the deadline. So ask before every act. As long as the block runs, the member does not leave.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    contextmanager,
)
from types import TracebackType
from typing import Generic, Literal, TypeVar

from incumbent.engines.api import Engine, Guarantees
from incumbent.leadership import connect as asynchronous
from incumbent.leadership import election as elections
from incumbent.leadership.events import Listener
from incumbent.leadership.outcome import Handover
from incumbent.leadership.oversight import Healthy
from incumbent.leadership.portal import Block, Held, Portal, Serving
from incumbent.leadership.preference import Preference
from incumbent.leadership.roll import Candidate, Sighting
from incumbent.leadership.term import Term
from incumbent.leadership.world import World

T = TypeVar("T")
M = TypeVar("M", bound=Term | None)


def connect(
    url: str | None = None,
    *,
    ttl: float = 5.0,
    require: Iterable[str] = (),
    guardian: bool | None = None,
    resume: str | os.PathLike[str] | None = None,
    engine: Engine | None = None,
    world: World | None = None,
) -> AbstractContextManager[Cluster]:
    """``with incumbent.blocking.connect("local:///var/lib/app") as cluster:`` as `incumbent.connect`, which says what the
    arguments mean and what is raised. The cluster object may be used by many threads."""
    manager = asynchronous.connect(
        url, ttl=ttl, require=require, guardian=guardian, resume=resume, engine=engine, world=world
    )
    return _connected(manager)


@contextmanager
def _connected(
    manager: AbstractAsyncContextManager[asynchronous.Cluster],
) -> Generator[Cluster, None, None]:
    with ExitStack() as stack:
        portal = Portal()
        stack.callback(portal.close)
        yield Cluster(portal, stack.enter_context(Held(portal, lambda: manager)))


class Cluster:
    """What `connect` gives."""

    def __init__(self, portal: Portal, cluster: asynchronous.Cluster) -> None:
        self._portal = portal
        self._cluster = cluster

    @property
    def guarantees(self) -> Guarantees:
        """What the engine declares."""
        return self._cluster.guarantees

    def election(
        self,
        name: str,
        *,
        candidate: str | None = None,
        fenced: bool = False,
        preference: Preference | None = None,
        listener: Listener | None = None,
        healthy: Healthy | None = None,
        probe_interval: float | None = None,
        probe_timeout: float | None = None,
        progress_timeout: float | None = None,
        on_stuck: Literal["raise", "exit", "kill"] | None = None,
        grace: float | None = None,
    ) -> Election:
        """The election called `name`; see `incumbent.Cluster.election`. A preference's callables run on the loop's thread."""
        election = self._cluster.election(
            name,
            candidate=candidate,
            fenced=fenced,
            preference=preference,
            listener=listener,
            healthy=healthy,
            probe_interval=probe_interval,
            probe_timeout=probe_timeout,
            progress_timeout=progress_timeout,
            on_stuck=on_stuck,
            grace=grace,
        )
        return Election(self._portal, election)


def portal_of(cluster: Cluster) -> tuple[Portal, asynchronous.Cluster]:
    """For recipes: the way onto the loop, and what lives there."""
    return cluster._portal, cluster._cluster  # noqa: SLF001  - one subject in two layers, and nothing for users


class Election:
    """One election, as one candidate of this process sees it. May be used by many threads; its candidacies stand one after
    another."""

    def __init__(self, portal: Portal, election: elections.Election) -> None:
        self._portal = portal
        self._election = election
        self.name = election.name
        self.candidate = election.candidate
        self.fenced = election.fenced

    def campaign(self, value: bytes = b"") -> AbstractContextManager[Term]:
        """``with election.campaign() as term:`` waits until elected, then runs the block as the leader.

        The block learns of a loss by ``term.check()``, which raises LeadershipLost; a block that ends without having
        asked gets LeadershipLost then. The leadership ends with the block. Ctrl-C while waiting leaves nothing behind.
        """
        return _Led(Held(self._portal, lambda: self._election.campaign(value)))

    def try_campaign(self, timeout: float, value: bytes = b"") -> AbstractContextManager[Term | None]:
        """As `campaign`, but waits at most `timeout` seconds, and gives None when it was not elected by then."""
        return _Led(Held(self._portal, lambda: self._election.try_campaign(timeout, value)))

    def run(
        self,
        work: Callable[[Term], T],
        *,
        value: bytes = b"",
        standby: Callable[[threading.Event], object] | None = None,
    ) -> T:
        """Campaign, and call ``work(term)`` in this thread as the leader; after each loss, campaign again.

        `work` has to ask ``term.check()``. When it returns, so does this, with its result; its exception propagates, but
        for LeadershipLost once the term is over. ``standby(stop)`` runs in a thread of its own while this candidate
        does not lead; it returns when ``stop`` is set, and `work` begins only then.
        """
        serving = Serving()

        def work_here(term: Term) -> T:
            with term.in_this_thread():
                return work(term)

        async def lead(term: Term) -> T:
            return await serving.do(lambda: work_here(term))

        async def wait() -> None:
            assert standby is not None
            await _in_a_thread(standby)

        job = self._portal.begin(
            self._election.run(lead, value=value, standby=None if standby is None else wait)
        )
        return serving.until_ended(job)

    def observe(self) -> Generator[Sighting, None, None]:
        """Who leads: a Leader, None, or UNKNOWN. First as of now, then at each change, the latest only."""
        return self._portal.each(self._election.observe)

    def leader(self) -> Sighting:
        """Who leads now. UNKNOWN when the engine does not answer within a TTL."""
        return self._portal.call(self._election.leader())

    def resign(self) -> bool:
        """End this process's leadership in this election, and wait until the block has ended and the member has left. True:
        there was one. NB a block ends only by asking ``term.check()``. From inside the block it raises LeadershipLost."""
        self._election.resign_here()
        return self._portal.call(self._election.resign())

    def proclaim(self, value: bytes) -> bool:
        """Have observers see `value` from now on. False: this process does not lead."""
        return self._portal.call(self._election.proclaim(value))

    def candidates(self) -> tuple[Candidate, ...]:
        """All who stand, in order."""
        return self._portal.call(self._election.candidates())

    def handover(self, to: str | None = None, *, warm_s: float = 10.0, drain_s: float = 5.0) -> Handover:
        """See `incumbent.Election.handover`. From another thread than the block's, which learns of it by
        ``term.handover_requested`` and ``term.check()``: leadership moves when the block has ended."""
        return self._portal.call(self._election.handover(to, warm_s=warm_s, drain_s=drain_s))

    def __repr__(self) -> str:
        return repr(self._election)


class _Led(Generic[M]):
    """A held campaign whose term knows its thread, which on_stuck="raise" needs."""

    def __init__(self, held: Held[M]) -> None:
        self._held = held
        self._here = ExitStack()

    def __enter__(self) -> M:
        term = self._held.__enter__()
        if term is not None:
            self._here.enter_context(term.in_this_thread())
        return term

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._here.close()
        self._held.__exit__(exc_type, exc, traceback)


async def _in_a_thread(standby: Callable[[threading.Event], object]) -> None:
    """Until it returns. Cancelled, tell it to, and wait all the same. Not in asyncio's pool of threads: the interpreter
    waits for those at its end, and for one that hangs it would for ever."""
    stop, block = threading.Event(), Block()

    def run() -> None:
        try:
            standby(stop)
        except BaseException as error:
            block.end(error)
        else:
            block.end(None)

    threading.Thread(target=run, name="incumbent-standby", daemon=True).start()
    await block.outlast(stop.set)
