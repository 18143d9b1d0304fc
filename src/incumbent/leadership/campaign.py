"""One candidacy from beginning to having left, as a block: waiting, leading, ending the body, leaving.

The life of a campaign, and what may go wrong at each step:

    place      one candidacy of this cluster object per election at a time (P6, P25)
    queue      session, join, wait, fresh: see `candidacy`
    body       the caller's block; cancelled when the term ends first
    leave      only after the body has ended (P39); repeated until the engine knows, or the session is over

Whatever ends the campaign, a cancellation at any await included, the last two lines happen (P4).
"""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from enum import Enum, auto
from types import TracebackType
from typing import Final

from incumbent.errors import EngineUnavailable, LeadershipLost, invariant
from incumbent.leadership.body import Body, BodyDied
from incumbent.leadership.candidacy import Candidacy
from incumbent.leadership.duties import Duties
from incumbent.leadership.escalation import Escalation, Leash
from incumbent.leadership.events import EventKind, Listener, TermEvent
from incumbent.leadership.keeper import Keeper
from incumbent.leadership.office import Office
from incumbent.leadership.outcome import Done, Handover
from incumbent.leadership.overseer import Overseer
from incumbent.leadership.oversight import OnStuck, Oversight
from incumbent.leadership.preference import Preference
from incumbent.leadership.probe import Probe
from incumbent.leadership.tenure import NS_PER_S, RELEASED, Reason, State
from incumbent.leadership.term import Notice, Seat, Term
from incumbent.leadership.world import Backoff, log

LEAVE_WAIT_PARTS: Final = 3
"""A clean end waits up to TTL/3 for the engine to know; after that, leaving goes on in the background."""


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
        preference: Preference,
        release_delay: float,
        listener: Listener | None,
        oversight: Oversight,
        probe: Probe | None,
    ) -> None:
        self.election = election
        self.candidate = candidate
        self._office = office
        self._listener = listener
        self._oversight = oversight
        self._probe = probe
        self._loop = asyncio.get_running_loop()
        self._pid = os.getpid()
        self._place = office.place(election)
        self._phase = Phase.NEW
        self._task: asyncio.Task[object] | None = None
        self._cancelling_before = 0
        self._cancel_sent = False
        self._candidacy = Candidacy(
            office,
            self,
            election=election,
            candidate=candidate,
            value=value,
            preference=preference,
            release_delay=release_delay,
            grace_ns=None if oversight.on_stuck is None else round(oversight.grace * NS_PER_S),
        )
        self._seat: Seat | None = None
        self._notice = Notice()
        self._duties: Duties | None = None
        self._token = 0
        self._end_told = False
        self._body: Body | None = None
        self._escalation: Escalation | None = None
        self._overseer: Overseer | None = None
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
            leash = await self._office.leash() if self._oversight.on_stuck is OnStuck.KILL else None
            await self._place.acquire()
            try:
                term = await self._win(leash)
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
        self._task.add_done_callback(self._on_task_done)
        return term

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end_phase()
        if os.getpid() != self._pid:
            return  # a forked child: the term, the member and the session are the parent's
        self._on_body_ended()
        seat = self._seat
        assert seat is not None
        # A body that was told to make room, and did, has handed over. Nothing, when it was over before.
        ended = Reason.HANDED_OVER if self._notice.given.is_set() else Reason.BODY_ENDED
        ended_here = seat.end(Reason.BODY_DIED if isinstance(exc, BodyDied) else ended)
        self._tell_end()
        nobody_else_raised = self._took_back_cancel(exc) or exc is None
        leaving = self._start_leaving()
        # After a loss the engine may not be there, and nobody gains by waiting for it.
        if seat.ended_for in RELEASED:
            await asyncio.wait({leaving}, timeout=self._office.ttl / LEAVE_WAIT_PARTS)
        if nobody_else_raised and not ended_here:
            raise LeadershipLost(seat.ended_for) from exc

    @property
    def state(self) -> State:
        """OUT or WAITING until elected, then the term's."""
        if self._seat is not None:
            return self._seat.state
        tenure = self._candidacy.tenure
        return State.OUT if tenure is None else tenure.state

    @property
    def leads(self) -> bool:
        return self._seat is not None and self._seat.remaining_ns() > 0

    @property
    def in_this_thread(self) -> bool:
        """Whether the body runs in the thread that asks, and said so."""
        return self._body is not None and self._body.running and self._body.in_this_thread()

    @property
    def body_runs(self) -> bool:
        return self._phase is Phase.BODY

    @property
    def keeper(self) -> Keeper | None:
        return self._candidacy.keeper

    @property
    def ended_for(self) -> Reason | None:
        return None if self._seat is None else self._seat.reason

    @property
    def ended_ns(self) -> int | None:
        return None if self._seat is None else self._seat.ended_ns

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

    def _on_body_ended(self) -> None:
        if self._task is not None:
            self._task.remove_done_callback(self._on_task_done)
        if self._escalation is not None:
            self._escalation.body_ended()
        if self._body is not None:
            self._body.end()

    def _on_task_done(self, _: asyncio.Task[object]) -> None:
        """The body's task is gone and never left the block: it works no more, so its member need not stay."""
        if self._phase is not Phase.BODY or os.getpid() != self._pid:
            return
        assert self._seat is not None
        log.error("%s: the task that entered the campaign ended without leaving it", self.election)
        self._end_phase()
        self._on_body_ended()
        self._seat.end(Reason.BODY_DIED)
        self._tell_end()
        self._start_leaving()

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

    # --- leading --------------------------------------------------------------------------------------------------

    async def _win(self, leash: Leash | None) -> Term:
        await self._until_healthy()
        won = await self._candidacy.win()
        # No await from here on: what was true of the claim and the lease is still true when the term begins.
        now_ns = self._office.world.clock.now_ns()
        won.tenure.elected(won.asked_ns, now_ns)
        self._token = won.claimed.token
        assert self._task is not None
        self._seat = seat = Seat(won.tenure, self._office.world.clock, self._on_over)
        self._body = body = Body(self._loop, self._task)
        if self._oversight.on_stuck is not None:
            self._escalation = Escalation(
                self._oversight.on_stuck,
                election=self.election,
                seat=seat,
                body=body,
                deadlines=self._office.world.deadlines,
                leash=leash,
            )
        self._tell(EventKind.ELECTED, now_ns)
        self._office.chronicle.began(self.election, self._token, self.candidate)
        self._duties = Duties(
            self._office,
            self.election,
            won.claimed,
            self._candidacy.stance.preference,
            self,
        )
        self._overseer = Overseer(
            self._office,
            self._candidacy,
            won.claimed,
            self._duties,
            seat=seat,
            oversight=self._oversight,
            probe=self._probe,
            end=self.end,
        )
        return Term(
            seat,
            body,
            election=self.election,
            candidate=self.candidate,
            claimed=won.claimed,
            notice=self._notice,
        )

    async def _until_healthy(self) -> None:
        """Who is not well does not stand: it would be elected, lose, and be elected again."""
        backoff = Backoff(self._office.world.rng)
        while self._probe is not None and (complaint := await self._probe.complaint()) is not None:
            log.warning("%s: does not stand: the probe %s", self.election, complaint)
            await backoff.pause()

    # --- handing over: what it may do to us (`handover.Stop`) --------------------------------------------------------

    async def hand_over(self, to: str | None, *, warm_s: float, drain_s: float) -> Handover:
        """See `Election.handover`."""
        if self._duties is None:
            return Handover(code=Done.NO_LEADER)
        return await self._duties.hand_over(to, warm_s=warm_s, drain_s=drain_s)

    async def proclaim(self, value: bytes) -> bool:
        """See `Election.proclaim`."""
        return self.leads and await self._candidacy.proclaim(value) and self.leads

    async def drain(self, drain_s: float) -> None:
        self._notice.given.set()
        if self._notice.heard:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), drain_s)

    def carry_on(self) -> None:
        self._notice.given.clear()

    # --- what becomes of the session --------------------------------------------------------------------------------

    def on_renewed(self) -> None:
        if self._seat is None:
            return
        moved = self._seat.renewed()
        if self._escalation is not None:
            self._escalation.moved()  # also when the term is over: the body has what is left of the lease
        if moved:
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
        self._candidacy.wake()

    def on_deadline(self) -> None:
        """On the alarm's thread: to ask is enough, the seat notices by itself."""
        if self._seat is not None:
            self._seat.remaining_ns()

    def _on_over(self) -> None:
        """From any thread, once: the term is over."""
        if self._escalation is not None:
            self._escalation.moved()
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
                self._overseer.stop()
            await self._candidacy.leave()
            if self._seat is not None:
                self._seat.left()
        finally:
            self._place.release()
            self._when_gone()
        if self._seat is not None:
            self._office.chronicle.ended(self.election, self._token, self._seat.ended_for)

    def _when_gone(self) -> None:
        self._office.campaigns.discard(self)
        self._gone.set()

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
        listener = self._listener
        if listener is None:
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
        self._office.world.tell(listener, event)

    def _left_s(self) -> float:
        return 0.0 if self._seat is None else self._seat.remaining_ns() / 1e9
