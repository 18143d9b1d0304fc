"""One session: opened, renewed by one heartbeat for everything it holds, ended.

Rules of the place: the clock is read *before* a request leaves; a renewal counts when the engine acknowledged it; only
the engine can say that a session is over. A renewal that fails in any other way, known or not, changes nothing, and
the deadline decides (P18, P19).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Final, Protocol

from incumbent.engines.api import Engine, Ref, Session
from incumbent.errors import IncarnationChanged, SessionGone, Unsupported
from incumbent.leadership.tenure import NS_PER_S, Lease, Reason, hold_ns
from incumbent.leadership.world import TRANSIENT, Tasks, World, log, log_aside, until_answered

OVERDUE_SLACK_S: Final = 0.001
"""So much later than due: the loop's clock is not the lease's, and a hair too early it would not be overdue yet."""


class Dependant(Protocol):
    """What lives on a session: a candidacy. All but `on_deadline` are called on the event loop."""

    def on_renewed(self) -> None:
        """The lease was renewed."""
        ...

    def on_overdue(self) -> None:
        """A renewal is overdue: JEOPARDY. Once for each time that it comes to that."""
        ...

    def on_session_over(self, reason: Reason) -> None:
        """The session is over for good."""
        ...

    def on_deadline(self) -> None:
        """On the alarm's thread: the deadline may have passed. Ask the clock."""
        ...


class DeathWatch(Protocol):
    """What has a session ended when this process is dead: a guardian at once, a ledger when the process is started again.
    Where it cannot, it says so in the log and the TTL alone protects; it never raises for that."""

    async def watch(self, ref: Ref, release_delay: float) -> None: ...

    async def forget(self, ref: Ref) -> None: ...


class Keeper:
    """One live session. Made by `Sessions`; renews until it is over or closed."""

    def __init__(self, engine: Engine, world: World, tasks: Tasks, session: Session, sent_ns: int) -> None:
        self.session = session
        self.over: Reason | None = None
        self.lease = Lease(
            ttl_ns=round(session.ttl * NS_PER_S),
            lag_ns=round(session.lag * NS_PER_S),
            sent_ns=sent_ns,
            rng=world.rng,
        )
        self._engine = engine
        self._world = world
        self._pid = os.getpid()
        self._dependants: dict[Dependant, None] = {}
        self._news = asyncio.Event()  # set and replaced when a renewal was answered, or the session is over
        self._nudge = asyncio.Event()  # the renewer's pause is to be computed anew
        self._loop = asyncio.get_running_loop()
        self._stall_told = False
        self._overdue: asyncio.Handle = self._loop.call_soon(lambda: None)
        self._arm()
        self._expect_renewal()
        self._renewer = tasks.spawn(self._renew_until_over(), f"incumbent-renew-{id(self):x}")
        self._renewer.add_done_callback(self._on_renewer_done)

    def attach(self, dependant: Dependant) -> None:
        self._dependants[dependant] = None

    def detach(self, dependant: Dependant) -> None:
        self._dependants.pop(dependant, None)

    def check(self) -> None:
        """Raises SessionGone when the session is over."""
        if self.over is not None:
            raise SessionGone(f"the session is over: {self.over}")

    async def wait_fresh(self, *, until_ns: int) -> bool:
        """Until the lease is fresh enough for a term to start. False: `until_ns` came first.

        Raises SessionGone.
        """
        while True:
            self.check()
            now_ns = self._world.clock.now_ns()
            if now_ns >= until_ns:
                return False
            if self.lease.is_fresh(now_ns):
                return True
            self.lease.want_fresh(now_ns)
            self._nudge.set()
            try:
                async with asyncio.timeout((until_ns - now_ns) / NS_PER_S):
                    await self._news.wait()
            except TimeoutError:
                continue

    def end(self, reason: Reason) -> None:
        """The session is over, or this process does not believe in it any more. Everything on it ends now."""
        if self.over is not None:
            return
        self.over = reason
        log.log(
            logging.INFO if reason is Reason.CLOSED else logging.WARNING, "the session is over: %s", reason
        )
        self._world.deadlines.clear(self)
        self._world.deadlines.clear((self, "loop"))
        self._overdue.cancel()
        self._nudge.set()
        self._tell_news()
        for dependant in list(self._dependants):
            dependant.on_session_over(reason)

    # --- the heartbeat --------------------------------------------------------------------------------------------

    async def _renew_until_over(self) -> None:
        while self.over is None and os.getpid() == self._pid:  # a forked child keeps nothing alive (P75)
            if await self._pause():
                await self._renew()

    async def _pause(self) -> bool:
        """Wait for the next renewal's time, or a nudge. True: it is time. The loop's own clock stands still in suspend,
        which at worst makes a renewal late; nobody's leadership hangs on it."""
        self._nudge.clear()
        pause_ns = self.lease.next_renewal_ns - self._world.clock.now_ns()
        if pause_ns <= 0:
            return True
        try:
            async with asyncio.timeout(pause_ns / NS_PER_S):
                await self._nudge.wait()
        except TimeoutError:
            return True
        return False

    async def _renew(self) -> None:
        clock = self._world.clock
        sent_ns = clock.now_ns()  # before the request leaves
        number = self.lease.renewal_sent(sent_ns)
        try:
            async with asyncio.timeout(self.lease.attempt_ns(sent_ns) / NS_PER_S):
                await self._engine.renew(self.session)
        except SessionGone:
            self.end(Reason.SESSION_GONE)
        except IncarnationChanged:
            self.end(Reason.ENGINE_RESET)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled us: something inside the engine was cancelled and let it out. A renewer that died of
            # it would leave live work behind (P19).
            self._unconfirmed(number, "was cancelled inside the engine")
        except TRANSIENT as error:
            self._unconfirmed(number, repr(error))
        except Exception as error:
            log.exception("a renewal failed in an unknown way; the deadline decides")
            self._unconfirmed(number, repr(error))
        else:
            if self.over is None and self.lease.renewal_confirmed(number):
                for dependant in list(self._dependants):
                    dependant.on_renewed()
                self._arm()
                self._expect_renewal()
                self._tell_news()

    def _unconfirmed(self, number: int, why: str) -> None:
        log.info("a renewal was not confirmed: %s", why)
        self.lease.renewal_failed(number, self._world.clock.now_ns())
        self._tell_news()

    def _tell_news(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    def _on_renewer_done(self, renewer: asyncio.Task[None]) -> None:
        if os.getpid() != self._pid:
            return
        if not renewer.cancelled() and renewer.exception() is not None:
            log.error("the renewals ended by a bug", exc_info=renewer.exception())
        self.end(Reason.RENEWER_DIED)  # nothing, when the session was over already

    # --- the alarm ------------------------------------------------------------------------------------------------

    def _arm(self) -> None:
        self._world.deadlines.set(self, self.lease.deadline_ns, self._on_deadline)
        self._look_at_loop()

    def _look_at_loop(self) -> None:
        look_ns = self.lease.next_look_ns(self._world.clock.now_ns())
        if look_ns < self.lease.deadline_ns:
            self._world.deadlines.set((self, "loop"), look_ns, self._on_look_at_loop)

    def _on_look_at_loop(self) -> None:
        """On the alarm's thread: a renewal is late. Is it the loop, on which everything that renews runs?"""
        if self.over is not None:
            return
        if self.lease.loop_asked(self._world.clock.now_ns()):
            self._stall_told = False
            try:
                self._loop.call_soon_threadsafe(self.lease.loop_answered)
            except RuntimeError:
                return  # the loop is closed
        elif not self._stall_told:
            self._stall_told = True
            log_aside(logging.ERROR, "the event loop is blocked; nothing is renewed until it runs again")
        self._look_at_loop()

    def _expect_renewal(self) -> None:
        """Have it told when the next renewal is overdue. For people, so the loop's own timer is good enough."""
        self._overdue.cancel()
        left_ns = self.lease.overdue_ns - self._world.clock.now_ns()
        self._overdue = self._loop.call_later(left_ns / NS_PER_S + OVERDUE_SLACK_S, self._on_overdue)

    def _on_overdue(self) -> None:
        for dependant in list(self._dependants):
            dependant.on_overdue()

    def _on_deadline(self) -> None:
        """On the alarm's thread. It may ring for a deadline that the loop is just moving: then it is set again."""
        for dependant in list(self._dependants):
            dependant.on_deadline()
        if self.over is None and self.lease.deadline_ns > self._world.clock.now_ns():
            self._arm()


class Sessions:
    """The sessions of one cluster object: one per release delay, opened when first needed, and anew when one is over."""

    def __init__(
        self,
        engine: Engine,
        world: World,
        tasks: Tasks,
        *,
        ttl: float,
        death_watches: Sequence[DeathWatch],
    ) -> None:
        self._engine = engine
        self._world = world
        self._tasks = tasks
        self._ttl = ttl
        self._death_watches = death_watches
        self._openings: dict[float, asyncio.Task[Keeper]] = {}

    async def live(self, release_delay: float) -> Keeper:
        """The live session with that release delay. Waits for as long as the engine is not available.

        Raises Unsupported when the engine cannot keep such a session, InvalidInput when it refuses the TTL.
        """
        opening = self._openings.get(release_delay)
        if opening is None or (opening.done() and not _is_live(opening)):
            opening = self._tasks.spawn(self._open(release_delay, opening), "incumbent-open-session")
            self._openings[release_delay] = opening
        # Shielded: several may wait for it, and a session that was asked for must not be forgotten half-way.
        return await asyncio.shield(opening)

    async def _open(self, release_delay: float, former: asyncio.Task[Keeper] | None) -> Keeper:
        # The same for every retry, so that they find what an earlier one opened.
        request_id = self._world.rng.randbytes(16).hex()
        sent_ns = 0

        async def ask() -> Session:
            nonlocal sent_ns
            sent_ns = self._world.clock.now_ns()  # before the request leaves
            return await self._engine.open_session(self._ttl, request_id, release_delay=release_delay)

        session = await until_answered(ask, self._world.rng)
        ttl_ns, lag_ns = round(session.ttl * NS_PER_S), round(session.lag * NS_PER_S)
        if hold_ns(ttl_ns, lag_ns) < ttl_ns // 2:
            await self._end(session.ref)
            raise Unsupported(
                f"this engine learns of renewals up to {session.lag} s late, too much for a TTL of {session.ttl} s; "
                f"use a longer one"
            )
        keeper = Keeper(self._engine, self._world, self._tasks, session, sent_ns)
        for watch in self._death_watches:
            if former is not None and not former.cancelled() and former.exception() is None:
                await watch.forget(former.result().session.ref)
            await watch.watch(session.ref, release_delay)
        return keeper

    async def close(self, *, abandon: frozenset[Keeper]) -> None:
        """End the sessions at once, and all that they hold. Those in `abandon` still carry a body that runs: their
        renewals stop, and they are left to their TTL."""
        openings = tuple(self._openings.values())
        self._openings.clear()
        for opening in openings:
            if not opening.done() or not _is_live(opening):
                opening.cancel()
                continue
            keeper = opening.result()
            keeper.end(Reason.CLOSED)
            if keeper not in abandon:
                await self._end(keeper.session.ref)
                for watch in self._death_watches:
                    await watch.forget(keeper.session.ref)

    async def _end(self, ref: Ref) -> None:
        try:
            async with asyncio.timeout(self._ttl):
                await until_answered(lambda: self._engine.end_session(ref), self._world.rng)
        except TimeoutError:
            log.warning("the engine did not answer; the session is left to its TTL")
        except Exception:
            log.exception("the engine did not end the session; it is left to its TTL")


def _is_live(opening: asyncio.Task[Keeper]) -> bool:
    return not opening.cancelled() and opening.exception() is None and opening.result().over is None
