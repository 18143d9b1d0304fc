"""The way in: from a URL to a cluster object, and out again in the right order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, Literal

from incumbent.engines import registry
from incumbent.engines.api import Engine, Guarantees, Ref
from incumbent.engines.inputs import check_ttl
from incumbent.engines.url import scheme_of
from incumbent.errors import IncumbentError, InvalidInput, Unsupported
from incumbent.leadership.chronicle import Chronicle
from incumbent.leadership.election import Election
from incumbent.leadership.events import Listener
from incumbent.leadership.keeper import DeathWatch, Sessions
from incumbent.leadership.office import Office
from incumbent.leadership.oversight import Healthy, Oversight
from incumbent.leadership.preference import Preference
from incumbent.leadership.tenure import Reason
from incumbent.leadership.world import Tasks, World, log
from incumbent.ports import Clock

if TYPE_CHECKING:
    from incumbent.guardian.supervisor import Guardian
    from incumbent.leadership.resume import Ledger

DRAIN_S_MAX: Final = 30.0
"""How long closing waits for bodies that were cancelled. A session whose body still runs then is left to its TTL."""
LEAVING_PARTS: Final = 3
"""Closing waits up to TTL/3 for members to have left, so that the ends of their terms are known to the history."""


def connect(
    url: str | None = None,
    *,
    ttl: float = 5.0,
    require: Iterable[str] = (),
    guardian: bool | None = None,
    resume: str | os.PathLike[str] | None = None,
    engine: Engine | None = None,
    world: World | None = None,
) -> AbstractAsyncContextManager[Cluster]:
    """``async with incumbent.connect("local:///var/lib/app") as cluster:``

    - `ttl`: seconds after which a silent leader is given up. Honoured exactly, or refused.
    - `require`: guarantees (fields of `Guarantees`) without which you would rather not run.
    - `guardian`: True = a helper process ends this one's sessions as soon as the kernel says that it is dead; False =
      none; None = one where the engine does not see that by itself and the platform can.
    - `resume`: a file of this process alone. A process that is started again with the same file ends the sessions of the one
      before, which the kernel has to prove dead, and need not wait for their TTL. Keep it secret, and on a local disk.
    - `engine`: an engine object instead of a URL; it stays yours to close. `world`: another clock, for tests.

    Leaving the block ends all terms (bodies are cancelled and awaited), then the sessions.
    Raises InvalidInput before anything is done, Unsupported for what cannot be had, EngineUnavailable.
    """
    check_ttl(ttl)
    if (url is None) == (engine is None):
        raise InvalidInput("url", "one of a URL and an engine object is needed", "give exactly one")
    if engine is not None and guardian:
        raise InvalidInput(
            "guardian", "needs the URL's scheme to end sessions by", "give a URL, not an engine"
        )
    if engine is not None and tuple(require):
        raise InvalidInput(
            "require", "is for engines that a URL names", "look at the engine's own guarantees"
        )
    if url is not None:
        scheme_of(url)
    path = None
    if resume is not None:
        from incumbent.leadership.resume import path_of

        path = path_of(resume)
    return _connected(
        url, ttl, require=tuple(require), guardian=guardian, resume=path, engine=engine, world=world
    )


class Cluster:
    """What `connect` gives: elections on one engine, kept alive by one heartbeat per session."""

    def __init__(self, office: Office) -> None:
        self._office = office
        # Unique per process start, also when names of hosts and processes come back (P6).
        self._candidate = f"{os.uname().nodename}-{os.getpid()}-{os.urandom(4).hex()}"

    @property
    def guarantees(self) -> Guarantees:
        """What the engine declares."""
        return self._office.engine.guarantees

    @property
    def engine(self) -> Engine:
        """The engine itself: for cells and groups of your own, and for what is peculiar to one. It stays the cluster's."""
        return self._office.engine

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
        """The election called `name`. Costs nothing and touches nothing.

        - `candidate`: this candidate's name for others to see; by default unique per process start.
        - `fenced`: True when every resource checks tokens; then a dead leader's successor does not wait RELEASE_DELAY_S.
        - `preference`: what this candidate wants to be preferred by; by default nothing.
        - `listener`: called with each TermEvent of this candidate, in order, in a thread of its own: it may block, and stops
          nothing by that; what it is too slow for is merged, or forgotten by whole terms.

        - `healthy`: asked before standing, and while leading every `probe_interval` seconds (TTL/3); an async function, or any other, which runs
          in a thread of its own. What is false, raises, or says nothing for `probe_timeout` seconds (TTL/3) ends the term as
          `unhealthy`.
        - `progress_timeout`: a term whose body does not call ``term.beat()`` for so many seconds ends as `stuck`.
        - `on_stuck`: what happens to a body that runs on after `grace` seconds (TTL/6, at most TTL/4): "raise" raises
          LeadershipLost in it, "exit" ends this process, "kill" has another process kill it, which alone works while C code
          holds the interpreter's lock. The term then ends by `grace` and TTL/20 earlier, so that this is inside the lease.

        Raises InvalidInput for a name that is empty, too long, or not UTF-8, and for times that do not fit.
        """
        self._office.check_open()
        return Election(
            self._office,
            name=name,
            candidate=self._candidate if candidate is None else candidate,
            fenced=fenced,
            preference=preference or Preference(),
            listener=listener,
            oversight=Oversight.of(
                self._office.ttl,
                healthy=healthy,
                probe_interval=probe_interval,
                probe_timeout=probe_timeout,
                progress_timeout=progress_timeout,
                on_stuck=on_stuck,
                grace=grace,
            ),
        )


def office_of(cluster: Cluster) -> Office:
    """For recipes: what all elections of this cluster object share."""
    return cluster._office  # noqa: SLF001  - one subject in two layers, and nothing for users


@asynccontextmanager
async def _connected(
    url: str | None,
    ttl: float,
    *,
    require: tuple[str, ...],
    guardian: bool | None,
    resume: Path | None,
    engine: Engine | None,
    world: World | None,
) -> AsyncIterator[Cluster]:
    pid = os.getpid()
    async with AsyncExitStack() as stack:
        if world is None:
            world = _real_world(stack)
        ledger = None if resume is None else await _ledger(resume, stack, ttl=ttl, clock=world.clock)
        if engine is None:
            assert url is not None
            engine = await registry.connect(url, require=require)
            stack.push_async_callback(engine.close)
        death_watch = (
            None if url is None else await _death_watch(scheme_of(url), engine, stack, wanted=guardian)
        )
        tasks = Tasks()
        watches = [watch for watch in (ledger, death_watch) if watch is not None]
        sessions = Sessions(engine, world, tasks, ttl=ttl, death_watches=watches)
        chronicle = Chronicle(engine, world.rng, world.wall_ms, tasks, ttl)
        office = Office(engine, world, sessions, tasks, chronicle, ttl)
        if ledger is not None:
            tasks.spawn(ledger.end_former(engine, world), "incumbent-resume")
        try:
            yield Cluster(office)
        finally:
            if os.getpid() == pid:
                await _close(office)
            else:
                stack.pop_all()  # a forked child: all of it is the parent's


async def _close(office: Office) -> None:
    """Terms end, bodies are cancelled and awaited, members leave, sessions end: in this order."""
    office.closed = True
    campaigns = tuple(office.campaigns)
    for campaign in campaigns:
        campaign.end(Reason.CLOSED)
    try:
        async with asyncio.timeout(DRAIN_S_MAX):
            for campaign in campaigns:
                await campaign.wait_body_ended()
    except TimeoutError:
        log.error(
            "a body did not end within %s s of its cancellation; its session is left to its TTL", DRAIN_S_MAX
        )
    finally:
        running = frozenset(c.keeper for c in office.campaigns if c.body_runs and c.keeper is not None)
        try:
            await office.sessions.close(abandon=running)
        finally:
            with suppress(TimeoutError):
                async with asyncio.timeout(office.ttl / LEAVING_PARTS):
                    for campaign in campaigns:
                        if not campaign.body_runs:
                            await campaign.wait_gone()  # that its term ended goes into the history
            await office.chronicle.close()
            await office.close_leash()
            await office.tasks.close()


async def _ledger(path: Path, stack: AsyncExitStack, *, ttl: float, clock: Clock) -> Ledger:
    from incumbent.leadership.resume import Ledger

    ledger = await Ledger.open(path, ttl=ttl, clock=clock)
    stack.callback(ledger.close)
    return ledger


async def _death_watch(
    scheme: str, engine: Engine, stack: AsyncExitStack, *, wanted: bool | None
) -> DeathWatch | None:
    if wanted is False or (wanted is None and engine.guarantees.detects_process_death):
        return None
    from incumbent.guardian.supervisor import Guardian

    try:
        guardian = await Guardian.start()
    except Unsupported as error:
        if wanted:
            raise
        log.warning("no guardian: %s", error)
        return None
    stack.push_async_callback(guardian.close)
    return _Guarded(guardian, scheme)


def _real_world(stack: AsyncExitStack) -> World:
    from incumbent.leadership.telling import Teller
    from incumbent.runtime.clock import BoottimeClock, Deadlines, wall_ms

    clock, teller = BoottimeClock(), Teller()
    deadlines = Deadlines(clock)
    stack.callback(deadlines.close)
    stack.push_async_callback(teller.close)
    return World(clock, deadlines, Random(os.urandom(16)), teller.tell, wall_ms)


class _Guarded:
    """A guardian, for one engine's sessions. What it cannot do is said in the log: the TTL protects in any case."""

    def __init__(self, guardian: Guardian, scheme: str) -> None:
        self._guardian = guardian
        self._scheme = scheme

    async def watch(self, ref: Ref, release_delay: float) -> None:
        try:
            await self._guardian.watch(self._scheme, ref, release_delay)
        except IncumbentError as error:
            log.warning("this session is not guarded, the TTL alone protects: %s", error)

    async def forget(self, ref: Ref) -> None:
        await self._guardian.forget(ref)
