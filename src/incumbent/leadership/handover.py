"""Handing leadership over in good order: the successor warms up, the body stops, then leadership moves, and only then.

    named     the successor stands in the election's control cell; those between it and the leader make room
    warm      it has run its warm-up, and said so
    drained   the body was told, and has ended or was given its time
    cut over  the term ends and the member leaves; the successor is first and warm, so it begins at its first look

Whatever fails before the last line leaves leadership where it is (P40): the successor is named no more, and the leader goes on.
A body that was told to stop and did so cannot be called back: then leadership goes to whoever is next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Protocol

from msgspec.structs import replace

from incumbent.engines.api import Claimed
from incumbent.errors import EngineError
from incumbent.leadership.control import Control, Successor
from incumbent.leadership.following import until
from incumbent.leadership.office import Office
from incumbent.leadership.outcome import Done, Handover
from incumbent.leadership.preference import Queued, obstacle, successor_of
from incumbent.leadership.scene import Scene, change_control, look
from incumbent.leadership.tenure import NS_PER_S, Reason
from incumbent.leadership.world import log, until_answered

SEEN_S_MAX: Final = 10.0
"""So long a former leader looks for its successor's beginning, to tell how long nobody led."""


class Stop(Protocol):
    """What a hand-over may do to the campaign that leads."""

    @property
    def leads(self) -> bool: ...

    @property
    def ended_for(self) -> Reason | None:
        """Why the term is over; None while it holds."""
        ...

    @property
    def ended_ns(self) -> int | None: ...

    def end(self, reason: Reason) -> bool:
        """End the term. True: this ended it."""
        ...

    async def drain(self, drain_s: float) -> None:
        """Tell the body that it is to stop, and wait until it has, or so long; not at all when nobody listens."""
        ...

    def carry_on(self) -> None:
        """It need not stop after all."""
        ...


class HandingOver:
    """One hand-over."""

    def __init__(self, office: Office, election: str, claimed: Claimed, stop: Stop) -> None:
        self._office = office
        self._election = election
        self._claimed = claimed
        self._stop = stop
        self._name = office.world.rng.randbytes(8).hex()

    async def run(self, to: str | None, *, warm_s: float, drain_s: float) -> Handover:
        """Never raises for what may happen: the `Handover` says it."""
        try:
            return await self._run(to, warm_s, drain_s)
        except EngineError as error:
            log.warning("%s: the hand-over failed: %r", self._election, error)
            return Handover(code=Done.NOT_READY)

    async def _run(self, to: str | None, warm_s: float, drain_s: float) -> Handover:
        scene = await until_answered(
            lambda: look(self._office.engine, self._election), self._office.world.rng
        )
        me = scene.find(self._claimed.member)
        chosen = Done.TERM_OVER if me is None else successor_of(scene.queue, me, scene.control, to)
        if isinstance(chosen, Done):
            return Handover(code=chosen, successor=to or "")
        successor = Successor(chosen.id, chosen.order, chosen.candidate, self._name)
        refusal: Done | None = Done.TERM_OVER
        try:
            await self._change(lambda c: replace(c, successor=successor))
            refusal = await self._until_ready(chosen, warm_s)
            if refusal is None:
                await self._stop.drain(drain_s)
                refusal = await self._cut_over(chosen)
        finally:
            if refusal is not None:
                self._stop.carry_on()
                self._office.tasks.spawn(self._withdraw(successor), f"incumbent-keep-{self._election}")
        leaderless_s = None if refusal is not None else await self._until_followed()
        return Handover(code=refusal or Done.DONE, successor=chosen.candidate, leaderless_s=leaderless_s)

    async def _cut_over(self, chosen: Queued) -> Done | None:
        """None: the term is over for the successor's sake, by the body's own end or by ours."""
        refusal = await self._until_ready(chosen, self._office.ttl)  # it may have gone meanwhile
        if refusal is None:
            self._stop.end(Reason.HANDED_OVER)
        if self._stop.ended_for is Reason.HANDED_OVER:
            return None
        return refusal or Done.TERM_OVER

    async def _until_ready(self, chosen: Queued, timeout_s: float) -> Done | None:
        """None: the successor is warm, and nobody stands between."""

        def result(scene: Scene) -> Done | None:
            if not self._stop.leads:
                return Done.TERM_OVER
            now = next((q for q in scene.queue if (q.id, q.order) == (chosen.id, chosen.order)), None)
            if now is None:
                return Done.GONE
            if scene.control.paused is not None:
                return Done.PAUSED
            if obstacle(now, scene.control) is not None:
                return Done.UNABLE
            if now.standing is not None and now.standing.failed == self._name:
                return Done.NOT_READY
            warm = now.standing is None or now.standing.ready == self._name
            return Done.DONE if warm and scene.queue[1:2] == (now,) else None

        found = await until(self._office, self._election, result, timeout_s)
        return None if found is Done.DONE else found or Done.NOT_READY

    async def _until_followed(self) -> float | None:
        ended_ns = self._stop.ended_ns
        assert ended_ns is not None

        def begun(scene: Scene) -> float | None:
            if not any(record.token > self._claimed.token for record in scene.records):
                return None
            return (self._office.world.clock.now_ns() - ended_ns) / NS_PER_S

        return await until(self._office, self._election, begun, SEEN_S_MAX)

    async def _withdraw(self, successor: Successor) -> None:
        await self._change(lambda c: replace(c, successor=None) if c.successor == successor else c)

    async def _change(self, alter: Callable[[Control], Control]) -> None:
        engine, rng = self._office.engine, self._office.world.rng
        await until_answered(lambda: change_control(engine, self._election, rng, alter), rng)
