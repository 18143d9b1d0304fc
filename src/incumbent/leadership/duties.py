"""What a leader looks after while it leads: what operators ask of it, whether it has to make room. Beside the body, so that nothing
of it delays the leading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from incumbent.engines.api import Claimed
from incumbent.errors import Overloaded
from incumbent.leadership.control import Answer, Ask, Control
from incumbent.leadership.handover import HandingOver, Stop
from incumbent.leadership.office import Office
from incumbent.leadership.outcome import Done, Handover
from incumbent.leadership.preference import REASONS, Code, Preference, Wait, Yield, may_go_on, named
from incumbent.leadership.scene import Scene, change_control, look
from incumbent.leadership.tenure import NS_PER_S, Reason
from incumbent.leadership.world import log, until_answered

ROOM_S: Final = 1.0
"""So long a leader that another was preferred to waits for those between to make room. Whoever has not by then makes it later."""


class Duties:
    """One leader's, for one term."""

    def __init__(
        self,
        office: Office,
        election: str,
        claimed: Claimed,
        preference: Preference,
        stop: Stop,
    ) -> None:
        self._office = office
        self._election = election
        self._claimed = claimed
        self._preference = preference
        self._stop = stop
        self._elected_ns = office.world.clock.now_ns()
        self._room_since_ns: int | None = None
        self._obeyed = ""  # the request that was taken up last
        self._handing: asyncio.Task[Handover] | None = None

    # --- looking --------------------------------------------------------------------------------------------------

    async def look(self) -> Reason | float | None:
        """At each change of the group: a reason to end the term, or the seconds after which to look again, or neither."""
        engine, world = self._office.engine, self._office.world
        scene = await until_answered(lambda: look(engine, self._election), world.rng)
        me = scene.find(self._claimed.member)
        if me is None:
            return None  # the claim tells why
        control = scene.control
        if control.ask is not None and (control.ask.id, control.ask.order) == (me.id, me.order):
            reason = self._obey(control.ask)
            if reason is not None:
                return reason
        if control.successor is not None and control.successor.id == me.id and not self._is_handing:
            self._tell(lambda c: replace(c, successor=None) if c.successor == control.successor else c)
        now_ns = world.clock.now_ns()
        step = may_go_on(
            scene.queue, me, control, self._preference, elected_ns=self._elected_ns, now_ns=now_ns
        )
        if isinstance(step, Wait) and step.at_ns is not None:
            return max(0.0, (step.at_ns - now_ns) / NS_PER_S)
        if not isinstance(step, Yield):
            self._room_since_ns = None
            return None
        return self._make_room(scene, step, now_ns)

    def _make_room(self, scene: Scene, step: Yield, now_ns: int) -> Reason | float:
        """At once, or once those between have made room for the one that was named."""
        chosen = named(scene.queue, scene.control.successor, scene.control)
        if step.code is Code.OTHER_NAMED and scene.queue[1] != chosen:
            if self._room_since_ns is None:
                self._room_since_ns = now_ns
            left_s = ROOM_S - (now_ns - self._room_since_ns) / NS_PER_S
            if left_s > 0:
                return left_s
        log.info("%s: %s, so it makes room for %s", self._election, step.code, step.to or "nobody")
        return REASONS[step.code]

    def _obey(self, ask: Ask) -> Reason | None:
        match ask.verb:
            case "resign":
                return Reason.RESIGNED
            case "evict":
                return Reason.EVICTED
            case "handover" if ask.request != self._obeyed:
                self._obeyed = ask.request
                self._office.tasks.spawn(self._hand_over_as_asked(ask), f"incumbent-asked-{self._election}")
            case _:
                pass  # taken up already; or of a newer version, whose asker is told that nothing came of it
        return None

    # --- handing over ---------------------------------------------------------------------------------------------

    @property
    def _is_handing(self) -> bool:
        return self._handing is not None and not self._handing.done()

    async def hand_over(self, to: str | None, *, warm_s: float, drain_s: float) -> Handover:
        """One at a time. Cancelling the call does not stop it."""
        if self._is_handing:
            return Handover(code=Done.BUSY)
        handing = HandingOver(self._office, self._election, self._claimed, self._stop)
        self._handing = self._office.tasks.spawn(
            handing.run(to, warm_s=warm_s, drain_s=drain_s), f"incumbent-hand-over-{self._election}"
        )
        return await asyncio.shield(self._handing)

    async def _hand_over_as_asked(self, ask: Ask) -> None:
        done = await self.hand_over(ask.to or None, warm_s=ask.warm_s, drain_s=ask.drain_s)
        answer = Answer(ask.request, "" if done.ok else done.code, done.successor)
        await self._change(lambda c: replace(c, answer=answer, ask=None if c.ask == ask else c.ask))

    # --- telling --------------------------------------------------------------------------------------------------

    def _tell(self, alter: Callable[[Control], Control]) -> None:
        self._office.tasks.spawn(self._change(alter), f"incumbent-tell-{self._election}")

    async def _change(self, alter: Callable[[Control], Control]) -> None:
        engine, rng = self._office.engine, self._office.world.rng
        try:
            await until_answered(lambda: change_control(engine, self._election, rng, alter), rng)
        except Overloaded as error:
            log.warning("%s: nobody could be told: %r", self._election, error)
