"""One candidate in the queue of one election: stands, waits, is watched over while it leads, and leaves.

    session    live, or opened now
    stand      join and claim; idempotent; a reply that was lost is asked for again (P3); a join that may have happened is undone (P2)
    wait       claim → Waiting(cursor) → watch → claim again, until the engine proves that we are first
    turn       first and not paused, drained, ineligible or less preferred: else wait, or make room and join again (`stance`)
    fresh      the lease is younger than TTL/3, so the claim and the session are both alive (P1, DESIGN §4.8)
    leave      repeated until the engine knows, or the session is over; a member that is leaving never leads

What the caller does with a won election, and when it is over, is `campaign`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from incumbent.engines.api import Claimed, Member, Waiting
from incumbent.errors import (
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotAllowed,
    OutcomeUnknown,
    SessionGone,
    Unsupported,
)
from incumbent.leadership.control import CONTROL_CELL
from incumbent.leadership.following import renewed_watch
from incumbent.leadership.keeper import Dependant, Keeper
from incumbent.leadership.office import Office
from incumbent.leadership.preference import Lead, Preference, Yield
from incumbent.leadership.scene import Scene
from incumbent.leadership.stance import ATTENTIVE_MAX, Stance, Yielded
from incumbent.leadership.tenure import NS_PER_S, Reason, State, Tenure
from incumbent.leadership.watch import Watch
from incumbent.leadership.world import Backoff, log, until_answered

LOOK_AGAIN_S_MIN: Final = 0.05
"""A leader asks at most this often whether it is still first, however often its group changes."""
ROOM_CALM_NS: Final = NS_PER_S
"""Who made room twice within this waits before it stands again: whatever makes candidates run in circles, they do it slowly."""
REFUSALS: Final = (InvalidInput, NotAllowed, Unsupported)
"""Of an engine that leaves no member behind: asking again does not help."""
GROUP: Final = "\0"
"""No member's id: the watch is about the whole group."""


@dataclass(frozen=True, slots=True)
class Won:
    """The engine says that our member is first, and the lease is fresh."""

    tenure: Tenure
    claimed: Claimed
    asked_ns: int  # when the claim was asked for


class Hindered(Exception):
    """First, and for a TTL not able to begin: renewals or claims take longer than TTL/3."""


class Candidacy:
    """Used by one campaign. `dependant` is told what becomes of the session."""

    def __init__(
        self,
        office: Office,
        dependant: Dependant,
        *,
        election: str,
        candidate: str,
        value: bytes,
        preference: Preference,
        release_delay: float,
        grace_ns: int | None,
    ) -> None:
        self.election = election
        self.keeper: Keeper | None = None
        self.tenure: Tenure | None = None  # of the present attempt
        self._office = office
        self._dependant = dependant
        self.stance = Stance(office, election, candidate, value, preference, self.wake)
        self._release_delay = release_delay
        self._grace_ns = grace_ns
        self._standing: asyncio.Task[tuple[Member, Claimed | Waiting]] | None = None
        self._begin_standing: Callable[[], asyncio.Task[tuple[Member, Claimed | Waiting]]]
        self._watch: Watch | None = None
        self._watched = ""  # whom the watch is about: the id of the member in front, or the whole group

    # --- standing -------------------------------------------------------------------------------------------------

    async def win(self) -> Won:
        """Stand until elected. A candidacy whose session or member is gone is given up, and another one begun (P1).

        No await may come between its return and the beginning of the term.
        """
        backoff = Backoff(self._office.world.rng)
        room_made_ns: int | None = None
        while True:
            self.keeper = await self._office.sessions.live(self._release_delay)
            try:
                return await self._stand(self.keeper)
            except SessionGone:
                self.keeper.end(Reason.SESSION_GONE)
            except IncarnationChanged:
                self.keeper.end(Reason.ENGINE_RESET)
            except MemberGone:
                log.warning("%s: removed from the queue; joining again behind", self.election)
            except Hindered as hindered:
                log.warning("%s: %s; joining again behind, so that others can lead", self.election, hindered)
            except Yielded as yielded:
                log.info("%s: %s", self.election, yielded)
                now_ns, before_ns = self._office.world.clock.now_ns(), room_made_ns
                room_made_ns = now_ns
                if before_ns is None or now_ns - before_ns > ROOM_CALM_NS:
                    await self.leave()
                    continue  # at once: it is a place in the queue that is given up, not the candidacy
            await self.leave()
            await backoff.pause()

    async def _stand(self, keeper: Keeper) -> Won:
        clock, ttl_ns = self._office.world.clock, keeper.lease.ttl_ns
        keeper.check()
        keeper.attach(self._dependant)
        self.tenure = Tenure(keeper.lease, grace_ns=self._grace_ns)
        if self.tenure.lasts_ns < ttl_ns // 2:
            raise Unsupported(
                "what this engine's lag leaves of the TTL has no room for a grace; use a longer TTL"
            )
        asked_ns = clock.now_ns()
        answer: Claimed | Waiting | None
        member, answer = await self._stand_behind_all(keeper)
        self.tenure.joined()
        self.stance.joined(member)
        first_ns: int | None = None  # since when nobody leads because of us
        while True:
            claimed, asked_ns = await self._wait_until_first(keeper, member, answer, asked_ns)
            now_ns = clock.now_ns()
            if keeper.over is None and keeper.lease.may_start(asked_ns, now_ns):
                return Won(self.tenure, claimed, asked_ns)
            if first_ns is None:
                first_ns = now_ns
            if not await keeper.wait_fresh(until_ns=first_ns + ttl_ns):
                raise Hindered("first, but renewals or claims take longer than TTL/3")
            answer = None  # it may be stale now that the lease is fresh: ask again

    async def _stand_behind_all(self, keeper: Keeper) -> tuple[Member, Claimed | Waiting]:
        request_id = self._office.world.rng.randbytes(16).hex()
        engine, value = self._office.engine, self.stance.joining()

        async def ask() -> tuple[Member, Claimed | Waiting]:
            return await engine.stand(keeper.session, self.election, request_id, value, CONTROL_CELL)

        def begin() -> asyncio.Task[tuple[Member, Claimed | Waiting]]:
            standing = until_answered(ask, self._office.world.rng)
            return self._office.tasks.spawn(standing, f"incumbent-stand-{self.election}")

        # Shielded: a join that was sent must run to its end, or nobody knows what to leave.
        self._begin_standing, self._standing = begin, begin()
        return await asyncio.shield(self._standing)

    async def _wait_until_first(
        self, keeper: Keeper, member: Member, answer: Claimed | Waiting | None, asked_ns: int
    ) -> tuple[Claimed, int]:
        """Claim, unless an `answer` is there already, and when others are in front, or something is against leading, again
        whenever that may have changed. Returns also the time at which the claim that succeeded was asked for. Raises Yielded."""
        engine, rng = self._office.engine, self._office.world.rng
        backoff = Backoff(rng)
        try:
            while True:
                keeper.check()
                if answer is None:
                    asked_ns = self._office.world.clock.now_ns()
                    answer = await until_answered(lambda: engine.claim(member, CONTROL_CELL), rng)
                said, answer = answer, None
                if isinstance(said, Claimed) and self.stance.may_lead(said):
                    return said, asked_ns
                step, scene = await self.stance.look(member, said)
                if isinstance(step, Yield):
                    raise Yielded(step)
                if self.stance.has_news:  # also before leading: whoever leads is not to look unfit
                    await self.stance.say(member)
                    continue
                if isinstance(step, Lead) and isinstance(said, Claimed):
                    return said, asked_ns
                former = self._watch
                await self._watch_for(said, scene, backoff)
                if self._watched == GROUP and self._watch is not former:
                    continue  # what was read beside the roster may have changed before the watch began
                keeper.check()  # what ended it did not know yet whom to wake
                await self._wait(said)
        finally:
            self._close_watch()

    async def _watch_for(self, answer: Claimed | Waiting, scene: Scene, backoff: Backoff) -> None:
        about, cursor = GROUP, scene.roster.cursor
        if isinstance(answer, Waiting) and not scene.is_near(answer.behind, ATTENTIVE_MAX):
            about, cursor = answer.behind, answer.cursor
        if about != self._watched:
            self._close_watch()
            self._watched = about
        self._watch = await renewed_watch(self._watch, self._office, self.election, cursor, backoff)

    async def _wait(self, answer: Claimed | Waiting) -> None:
        assert self._watch is not None
        limits = [self.stance.look_again_s]
        if isinstance(answer, Waiting):
            limits.append(answer.retry_after)
        await self._watch.wait(min((limit for limit in limits if limit is not None), default=None))

    def wake(self) -> None:
        """The session is over: whoever waits on it shall look."""
        if self._watch is not None:
            self._watch.wake()

    # --- while it leads -------------------------------------------------------------------------------------------

    async def until_ousted(
        self,
        claimed: Claimed,
        leads: Callable[[], bool],
        duties: Callable[[], Awaitable[Reason | float | None]],
    ) -> Reason | None:
        """Is our member still there, and still first? The engine's word ends the term at once (P18); no word changes
        nothing. `duties` is asked at each change of the group: a reason ends the term, too, a number is the seconds after
        which to ask again. None: the term was over before anybody said anything."""
        engine, rng = self._office.engine, self._office.world.rng
        backoff = Backoff(rng)
        await asyncio.sleep(LOOK_AGAIN_S_MIN)  # many a term is over by then
        while leads():
            try:
                if self._watch is None or self._watch.lost:
                    roster = await until_answered(lambda: engine.roster(self.election), rng)
                    self._watch = await renewed_watch(
                        self._watch, self._office, self.election, roster.cursor, backoff
                    )
                if await until_answered(lambda: engine.claim(claimed.member), rng) != claimed:
                    return Reason.SUPERSEDED
                due = await duties()
                if isinstance(due, Reason):
                    return due
                await asyncio.sleep(LOOK_AGAIN_S_MIN)
                await self._watch.wait(due)
            except (MemberGone, SessionGone):  # of the session the renewals know more
                return Reason.EVICTED
            except IncarnationChanged:
                return Reason.ENGINE_RESET
            except Exception:
                log.exception("%s: asking whether we still lead failed in an unknown way", self.election)
                await backoff.pause()
        return None

    async def proclaim(self, value: bytes) -> bool:
        """Have observers see other bytes. False: the member is gone. Raises InvalidInput, OutcomeUnknown."""
        encoded = self.stance.value(value)
        if self._standing is None:
            return False
        member, _ = await asyncio.shield(self._standing)
        engine, rng = self._office.engine, self._office.world.rng
        try:
            async with asyncio.timeout(self._office.ttl):
                await until_answered(lambda: engine.update(member, encoded), rng)
        except (MemberGone, SessionGone):
            return False
        except TimeoutError as error:
            raise OutcomeUnknown("the engine did not answer within a TTL") from error
        return True

    # --- leaving --------------------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Make sure that no member of this attempt remains while the session lives (P2). Should the member become first
        meanwhile, nobody claims for it, so it never leads."""
        self._close_watch()
        self.stance.close()
        keeper = self.keeper
        if keeper is None:
            return
        if self.tenure is not None and self.tenure.state is State.WAITING:
            self.tenure.withdrew()
        backoff = Backoff(self._office.world.rng)
        while (standing := self._standing) is not None and keeper.over is None:
            try:
                member, _ = await asyncio.shield(standing)
                await self._leave_once(member)
                self._standing = None
            except (SessionGone, MemberGone, *REFUSALS):
                self._standing = None
            except Exception:
                log.exception("%s: leaving failed; it is tried again while the session lives", self.election)
                await backoff.pause()
                if standing.exception() is not None:  # it may have made a member all the same: this finds it
                    self._standing = self._begin_standing()
        self._standing = None
        keeper.detach(self._dependant)

    async def _leave_once(self, member: Member) -> None:
        await until_answered(lambda: self._office.engine.leave(member), self._office.world.rng)

    def _close_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
            self._watched = ""
