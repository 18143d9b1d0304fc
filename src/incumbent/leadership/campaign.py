"""One candidacy from joining to having left: waiting, leading, ending the body, leaving. Written once for all engines.

The life of a campaign, and what may go wrong at each step:

    place      one candidacy of this cluster object per election at a time (P6, P25)
    session    live, or opened now
    join       idempotent; a reply that was lost is asked for again (P3); a join that may have happened is undone (P2)
    wait       claim → Waiting(cursor) → watch → claim again, until the engine proves that we are first
    fresh      the lease is younger than TTL/3, so the claim and the session are both alive (P1, DESIGN §4.8)
    body       the caller's block; cancelled when the term ends first
    leave      only after the body has ended (P39); repeated until the engine knows, or the session is over

Whatever ends the campaign, a cancellation at any await included, the last two lines happen (P4).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field
from enum import Enum, auto
from types import TracebackType
from typing import Final
from weakref import WeakValueDictionary

from incumbent.engines.api import Claimed, Engine, Member
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    LeadershipLost,
    MemberGone,
    SessionGone,
    invariant,
)
from incumbent.leadership.events import EventKind, Listener, TermEvent
from incumbent.leadership.keeper import Keeper, Sessions
from incumbent.leadership.roll import member_value
from incumbent.leadership.tenure import RELEASED, Reason, State, Tenure
from incumbent.leadership.term import Seat, Term
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import Backoff, Tasks, World, log, until_answered

LEAVE_WAIT_PARTS: Final = 3
"""A clean end waits up to TTL/3 for the engine to know; after that, leaving goes on in the background."""
LOOK_AGAIN_S_MIN: Final = 0.05
"""A leader asks at most this often whether it is still first, however often its group changes."""


@dataclass
class Office:
    """What all elections of one cluster object share."""

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


class Phase(Enum):
    NEW = auto()
    ENTERING = auto()  # waiting to be elected
    BODY = auto()  # the caller's block runs
    ENDED = auto()  # it does not; nobody is cancelled any more


class Campaign:
    """``async with`` gives the Term once elected. Used once, entered and left by the same task.

    The body is cancelled when the term ends first, and then ``async with`` raises LeadershipLost. A cancellation that
    came from outside stays one: it is never turned into LeadershipLost.
    """

    def __init__(
        self,
        office: Office,
        *,
        election: str,
        candidate: str,
        value: bytes,
        release_delay: float,
        listener: Listener | None,
    ) -> None:
        self.election = election
        self.candidate = candidate
        self._office = office
        self._value = value
        self._release_delay = release_delay
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._place = office.place(election)
        self._phase = Phase.NEW
        self._task: asyncio.Task[object] | None = None
        self._cancelling_before = 0
        self._cancel_sent = False
        self._keeper: Keeper | None = None
        self._joining: asyncio.Task[Member] | None = None
        self._watch: Watch | None = None
        self._seat: Seat | None = None
        self._token = 0
        self._end_told = False
        self._overseer: asyncio.Task[None] | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._gone = asyncio.Event()

    # --- the block ------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Term:
        invariant(self._phase is Phase.NEW, "a campaign is used once", election=self.election)
        self._office.check_open()
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling_before = self._task.cancelling()
        self._phase = Phase.ENTERING
        self._office.campaigns.add(self)
        try:
            await self._place.acquire()
            try:
                term = await self._win()
            except BaseException:
                # Not awaited: whoever was cancelled does not wait for the engine. The place is kept until it is done.
                self._end_phase()
                self._start_leaving()
                raise
        except BaseException as error:
            self._end_phase()
            if self._leaving is None:
                self._when_gone()
            if self._took_back_cancel(error):
                raise EngineUnavailable("this cluster object was closed") from error
            raise
        self._phase = Phase.BODY
        return term

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_phase()
        if os.getpid() != self._pid:
            return  # a forked child: the term, the member and the session are the parent's
        seat = self._seat
        assert seat is not None
        seat.end(Reason.BODY_ENDED)  # nothing, when it was over before
        self._tell_end()
        nobody_else_raised = self._took_back_cancel(exc) or exc is None
        leaving = self._start_leaving()
        # After a loss the engine may not be there, and nobody gains by waiting for it.
        if seat.ended_for in RELEASED:
            await asyncio.wait({leaving}, timeout=self._office.ttl / LEAVE_WAIT_PARTS)
        if nobody_else_raised and seat.ended_for is not Reason.BODY_ENDED:
            raise LeadershipLost(seat.ended_for) from exc

    @property
    def leads(self) -> bool:
        return self._seat is not None and self._seat.remaining_ns() > 0

    @property
    def body_runs(self) -> bool:
        return self._phase is Phase.BODY

    @property
    def keeper(self) -> Keeper | None:
        return self._keeper

    @property
    def ended_for(self) -> Reason | None:
        return None if self._seat is None else self._seat.reason

    def end(self, reason: Reason) -> bool:
        """End the term, if there is one, or the wait for it when the cluster is closed. True: a term ended by this."""
        if self._seat is not None:
            return self._seat.end(reason)
        if reason is Reason.CLOSED:
            self._loop.call_soon(self._close)
        return False

    def _close(self) -> None:
        if self._seat is not None:  # elected meanwhile
            self._seat.end(Reason.CLOSED)
        else:
            self._cancel()

    async def wait_body_ended(self) -> None:
        """Until the body has ended, or the wait for election. At once for the body's own task."""
        if self._task is not asyncio.current_task():
            await self._ended.wait()

    async def wait_gone(self) -> None:
        """Until the body has ended and the member has left. At once for the body's own task, which cannot wait for that."""
        if self._task is not asyncio.current_task():
            await self._gone.wait()

    def _end_phase(self) -> None:
        self._phase = Phase.ENDED
        self._ended.set()

    # --- cancelling, as asyncio.timeout does it -------------------------------------------------------------------

    def _cancel(self) -> None:
        """On the loop, never from inside the body itself, so that the body is at an await and sees it there."""
        if self._phase in (Phase.ENTERING, Phase.BODY) and not self._cancel_sent:
            assert self._task is not None
            self._cancel_sent = True
            self._task.cancel("the term is over, or the cluster object is closed")

    def _took_back_cancel(self, error: BaseException | None) -> bool:
        """Whether `error` is our own cancellation and nobody else's. Takes ours out of the task's count."""
        if not self._cancel_sent:
            return False
        assert self._task is not None
        ours_alone = self._task.uncancel() <= self._cancelling_before
        return ours_alone and isinstance(error, asyncio.CancelledError)

    # --- winning --------------------------------------------------------------------------------------------------

    async def _win(self) -> Term:
        """Stand until elected. A candidacy whose session or member is gone is given up, and another one begun (P1)."""
        backoff = Backoff(self._office.world.rng)
        while True:
            self._keeper = await self._office.sessions.live(self._release_delay)
            try:
                return await self._stand(self._keeper)
            except SessionGone:
                self._keeper.end(Reason.SESSION_GONE)
            except IncarnationChanged:
                self._keeper.end(Reason.ENGINE_RESET)
            except MemberGone:
                log.warning("%s: removed from the queue; joining again behind", self.election)
            await self._leave(self._keeper)
            await backoff.pause()

    async def _stand(self, keeper: Keeper) -> Term:
        keeper.check()
        keeper.attach(self)
        tenure = Tenure(keeper.lease)
        member = await self._join(keeper)
        tenure.joined()
        while True:
            await keeper.wait_fresh()
            claimed, asked_ns = await self._wait_until_first(keeper, member)
            now_ns = self._office.world.clock.now_ns()
            if keeper.over is None and keeper.lease.may_start(asked_ns, now_ns):
                break  # else the claim may be stale by the time the lease is fresh: ask again
        # No await from here on: what was true of the claim and the lease is still true when the term begins.
        tenure.elected(asked_ns, now_ns)
        self._token = claimed.token
        self._seat = Seat(tenure, self._office.world.clock, self._on_over)
        self._tell(EventKind.ELECTED, now_ns)
        self._overseer = self._office.tasks.spawn(
            self._oversee(claimed), f"incumbent-oversee-{self.election}"
        )
        return Term(self._seat, election=self.election, candidate=self.candidate, claimed=claimed)

    async def _join(self, keeper: Keeper) -> Member:
        request_id = self._office.world.rng.randbytes(16).hex()
        engine, value = self._office.engine, member_value(self.candidate, self._value)

        async def ask() -> Member:
            return await engine.join(keeper.session, self.election, request_id, value)

        # Shielded: a join that was sent must run to its end, or nobody knows what to leave.
        self._joining = self._office.tasks.spawn(
            until_answered(ask, self._office.world.rng), f"incumbent-join-{self.election}"
        )
        return await asyncio.shield(self._joining)

    async def _wait_until_first(self, keeper: Keeper, member: Member) -> tuple[Claimed, int]:
        """Claim, and when others are in front, again whenever the group may have changed. Returns also the time at
        which the claim that succeeded was asked for."""
        engine, rng = self._office.engine, self._office.world.rng
        backoff = Backoff(rng)
        behind: str | None = None  # whom the watch is about
        try:
            while True:
                keeper.check()
                asked_ns = self._office.world.clock.now_ns()
                answer = await until_answered(lambda: engine.claim(member), rng)
                if isinstance(answer, Claimed):
                    return answer, asked_ns
                if answer.behind != behind:
                    self._close_watch()
                    behind = answer.behind
                self._watch = await renewed_watch(
                    self._watch, self._office, self.election, answer.cursor, backoff
                )
                keeper.check()  # what ended it did not know yet whom to wake
                await self._watch.wait(answer.retry_after)
        finally:
            self._close_watch()

    # --- leading --------------------------------------------------------------------------------------------------

    async def _oversee(self, claimed: Claimed) -> None:
        """While the term holds: is our member still there, and still first? The engine's word ends it at once (P18);
        no word changes nothing."""
        engine, rng = self._office.engine, self._office.world.rng
        backoff = Backoff(rng)
        while self.leads:
            try:
                if self._watch is None or self._watch.lost:
                    roster = await until_answered(lambda: engine.roster(self.election), rng)
                    self._watch = await renewed_watch(
                        self._watch, self._office, self.election, roster.cursor, backoff
                    )
                if await until_answered(lambda: engine.claim(claimed.member), rng) != claimed:
                    self.end(Reason.SUPERSEDED)
                    return
                await asyncio.sleep(LOOK_AGAIN_S_MIN)
                await self._watch.wait()
            except (MemberGone, SessionGone):  # of the session the renewals know more
                self.end(Reason.EVICTED)
            except IncarnationChanged:
                self.end(Reason.ENGINE_RESET)
            except Exception:
                log.exception("%s: asking whether we still lead failed in an unknown way", self.election)
                await backoff.pause()

    def on_renewed(self) -> None:
        if self._seat is not None and self._seat.renewed():
            self._tell(EventKind.EXTENDED, self._office.world.clock.now_ns())

    def on_overdue(self) -> None:
        if self._seat is not None and self._seat.state is State.JEOPARDY:
            log.warning(
                "%s: a renewal is overdue; leadership ends in %.3f s without one",
                self.election,
                self._left_s(),
            )
            self._tell(EventKind.JEOPARDY, self._office.world.clock.now_ns())

    def on_session_over(self, reason: Reason) -> None:
        self.end(reason)
        if self._watch is not None:
            self._watch.wake()

    def on_deadline(self) -> None:
        """On the alarm's thread: to ask is enough, the seat notices by itself."""
        if self._seat is not None:
            self._seat.remaining_ns()

    def _on_over(self) -> None:
        """From any thread, once: the term is over."""
        try:
            self._loop.call_soon_threadsafe(self._when_over)
        except RuntimeError:
            log.debug("%s: over, and so is the event loop; there is no body left to cancel", self.election)

    def _when_over(self) -> None:
        self._tell_end()
        self._cancel()

    # --- leaving --------------------------------------------------------------------------------------------------

    def _start_leaving(self) -> asyncio.Task[None]:
        if self._leaving is None:
            self._leaving = self._office.tasks.spawn(self._finish(), f"incumbent-leave-{self.election}")
        return self._leaving

    async def _finish(self) -> None:
        try:
            if self._overseer is not None:
                self._overseer.cancel()
            self._close_watch()
            if self._keeper is not None:
                await self._leave(self._keeper)
            if self._seat is not None:
                self._seat.left()
        finally:
            self._place.release()
            self._when_gone()

    def _when_gone(self) -> None:
        self._office.campaigns.discard(self)
        self._gone.set()

    async def _leave(self, keeper: Keeper) -> None:
        """Make sure that no member of this attempt remains while the session lives (P2)."""
        backoff = Backoff(self._office.world.rng)
        while self._joining is not None and keeper.over is None:
            try:
                await self._leave_once(await asyncio.shield(self._joining))
                self._joining = None
            except (SessionGone, MemberGone):
                self._joining = None
            except Exception:
                log.exception("%s: leaving failed; it is tried again while the session lives", self.election)
                await backoff.pause()
        self._joining = None
        keeper.detach(self)

    async def _leave_once(self, member: Member) -> None:
        await until_answered(lambda: self._office.engine.leave(member), self._office.world.rng)

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    # --- telling --------------------------------------------------------------------------------------------------

    def _tell_end(self) -> None:
        if self._end_told:
            return
        self._end_told = True
        assert self._seat is not None
        reason, ended_ns = self._seat.ended_for, self._seat.ended_ns
        assert ended_ns is not None
        log.info("%s: term %d is over: %s", self.election, self._token, reason)
        self._tell(EventKind.RELEASED if reason in RELEASED else EventKind.LOST, ended_ns, reason)

    def _tell(self, kind: EventKind, time_ns: int, reason: Reason | None = None) -> None:
        if self._listener is None:
            return
        assert self._seat is not None
        event = TermEvent(
            kind=kind,
            election=self.election,
            candidate=self.candidate,
            token=self._token,
            time_ns=time_ns,
            pid=self._pid,
            deadline_ns=self._seat.deadline_ns,
            reason=reason,
        )
        try:
            self._listener(event)
        except Exception as error:
            # A listener's bug must not end a leadership; asyncio's own place for such errors shows it.
            self._loop.call_exception_handler(
                {"message": "a listener of an election failed", "exception": error}
            )

    def _left_s(self) -> float:
        return 0.0 if self._seat is None else self._seat.remaining_ns() / 1e9


async def renewed_watch(
    watch: Watch | None, office: Office, group: str, cursor: object, backoff: Backoff
) -> Watch:
    """`watch` while it works, else a new one from `cursor`; after one that never worked, not before a pause."""
    if watch is not None and not watch.lost:
        return watch
    if watch is not None:
        if watch.woken:
            backoff.reset()
        await backoff.pause()
    return Watch(office.engine, group, cursor, office.tasks)
