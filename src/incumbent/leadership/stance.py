"""What a candidate in the queue does besides waiting: says whether it may lead, makes room for others, warms up to take over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from incumbent.engines.api import Claimed, Member, Waiting
from incumbent.errors import MemberGone
from incumbent.leadership.control import Control, read
from incumbent.leadership.office import Office
from incumbent.leadership.preference import (
    Code,
    Lead,
    Preference,
    Queued,
    Wait,
    Yield,
    may_begin,
    may_stay,
)
from incumbent.leadership.scene import Scene, look
from incumbent.leadership.standing import Standing, member_value
from incumbent.leadership.world import log, until_answered

ATTENTIVE_MAX: Final = 8
"""So many of the queue's first look at every change of the group, so that they can make room and warm up before it is their turn.
The others look when the one in front of them goes, so that a thousand who wait are not woken for each who comes."""
ELIGIBLE_LOOK_S: Final = 1.0
"""So often a candidate with an `eligible` of its own asks it while it waits."""


class Yielded(Exception):
    """This candidate is to leave and to join again behind."""

    def __init__(self, made: Yield) -> None:
        super().__init__(f"{made.code}: makes room for {made.to}")
        self.made = made


class Stance:
    """One candidate's, over all its attempts. `wake` is called when it has to look again."""

    def __init__(
        self,
        office: Office,
        election: str,
        candidate: str,
        value: bytes,
        preference: Preference,
        wake: Callable[[], None],
    ) -> None:
        self.preference = preference
        self._wake = wake
        self._office = office
        self._election = election
        self._candidate = candidate
        self._value = value
        self._standing = Standing(priority=preference.priority, tags=dict(preference.tags))
        self._said = self._standing  # what the engine was told last
        self._yielded = 0  # to a higher priority, since it began to stand
        self._queue: tuple[Queued, ...] = ()  # as it was when this one last waited
        self._complained = False  # of `eligible`, which failed when it was asked last
        self._warming: asyncio.Task[None] | None = None
        self._warming_for = ""
        member_value(candidate, value, self._standing)  # too large is said before anything is done

    def joining(self) -> bytes:
        """The member's value, as it stands now."""
        self._standing = replace(self._standing, eligible=self._is_eligible())
        self._said = self._standing
        return member_value(self._candidate, self._value, self._standing)

    def joined(self, member: Member) -> None:
        """The last of the queue. Should it be first, it is the only one, too."""
        self._queue = (Queued(member.id, member.revision, self._candidate, self._standing, self._value),)

    def may_lead(self, claimed: Claimed) -> bool:
        """Right after a claim that succeeded. What operators said came with it, so whatever they were acknowledged before it is
        obeyed (P42). The queue may be as it was at the last look: who came since is preferred later, if at all.

        False: there is something to it; `look`.
        """
        queue, self._queue = self._queue, ()  # once: who comes first again looks anew
        member, cell = claimed.member, claimed.cell
        me = next((q for q in queue if (q.id, q.order) == (member.id, member.revision)), None)
        if me is None or cell is None:
            return False
        control = read(cell)
        successor = control.successor
        if successor is not None and (successor.id, successor.order) != (me.id, me.order):
            return False  # it may have come since
        self._standing = replace(self._standing, eligible=self._is_eligible())
        if self.has_news:
            return False
        me = me._replace(standing=self._standing)
        left = (me, *(q for q in queue if q.order > me.order))
        return isinstance(may_begin(left, me, control, yielded=self._yielded), Lead)

    async def look(self, member: Member, answer: Claimed | Waiting) -> tuple[Lead | Wait | Yield, Scene]:
        """What to do now that the claim was answered so. What operators said is read after the claim, too.

        Raises MemberGone.
        """
        scene = await until_answered(
            lambda: look(self._office.engine, self._election), self._office.world.rng
        )
        found = scene.find(member)
        if found is None:
            raise MemberGone("no longer in the queue")
        self._standing = replace(self._standing, eligible=self._is_eligible())
        self._warm_up_for(found, scene.control)
        me = found._replace(standing=self._standing)
        queue = tuple(me if q is found else q for q in scene.queue)
        if isinstance(answer, Waiting):
            self._queue = queue
            return may_stay(queue, me, scene.control), scene
        step = may_begin(queue, me, scene.control, yielded=self._yielded)
        if isinstance(step, Yield) and step.code is Code.LESS_PREFERRED:
            self._yielded += 1
        return step, scene

    @property
    def has_news(self) -> bool:
        """Whether there is something that the others were not told yet."""
        return self._standing != self._said

    async def say(self, member: Member) -> None:
        """Tell the others. Raises MemberGone."""
        standing = self._standing
        value = member_value(self._candidate, self._value, standing)
        await until_answered(lambda: self._office.engine.update(member, value), self._office.world.rng)
        self._said = standing

    @property
    def look_again_s(self) -> float | None:
        """Look by then even if nothing changes."""
        return None if self.preference.eligible is None else ELIGIBLE_LOOK_S

    def value(self, value: bytes) -> bytes:
        """The member's value from now on, with other bytes of the caller's."""
        encoded = member_value(self._candidate, value, self._said)
        self._value = value
        return encoded

    def close(self) -> None:
        if self._warming is not None:
            self._warming.cancel()

    def _is_eligible(self) -> bool:
        if self.preference.eligible is None:
            return True
        try:
            eligible = bool(self.preference.eligible())
        except Exception:
            if not self._complained:  # once, and not every second while it goes on
                log.exception("%s: `eligible` failed; taken for no", self._election)
            self._complained = True
            return False
        self._complained = False
        return eligible

    # --- warming up -----------------------------------------------------------------------------------------------

    def _warm_up_for(self, me: Queued, control: Control) -> None:
        """Begin to warm up when this very member was named to take over, once for each hand-over."""
        successor = control.successor
        if successor is None or (successor.id, successor.order) != (me.id, me.order):
            return
        if not successor.handover or successor.handover == self._warming_for:
            return
        self.close()
        self._warming_for = successor.handover
        if self.preference.warm_up is None:
            self._standing = replace(self._standing, ready=successor.handover)
        else:
            self._warming = self._office.tasks.spawn(
                self._warm_up(successor.handover), f"incumbent-warm-up-{self._election}"
            )

    async def _warm_up(self, handover: str) -> None:
        assert self.preference.warm_up is not None
        try:
            await self.preference.warm_up()
        except Exception:
            log.exception("%s: the warm-up failed, so the leader stays", self._election)
            self._standing = replace(self._standing, failed=handover)
        else:
            self._standing = replace(self._standing, ready=handover)
        self._wake()
