"""What operators do to an election, from any process that reaches its engine: no candidacy needed, no session opened.

All of it is one small cell of the election's group, which every candidate of ours reads before it leads, and one call that
removes a member. Another library's candidates read no cell: what cannot be had of them is said in the `Outcome`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from incumbent.engines.inputs import check_name
from incumbent.errors import InvalidInput
from incumbent.leadership import why as whys
from incumbent.leadership.control import DRAINED_MAX, WHY_CHARS_MAX, Ask, Control, Paused, Successor
from incumbent.leadership.following import until
from incumbent.leadership.history import Record
from incumbent.leadership.office import Office
from incumbent.leadership.outcome import Done, Outcome
from incumbent.leadership.preference import Queued, obstacle
from incumbent.leadership.roll import Candidate, Present, candidates_of, leader_of, leads
from incumbent.leadership.scene import Scene, change_control, look
from incumbent.leadership.tenure import Reason
from incumbent.leadership.why import Statement

OBEY_S: Final = 10.0
"""How long a verb waits for the leader to obey, beyond what the leader itself was given."""


class Operations:
    """The verbs of operators, on one election. Made by `Election.operations`.

    Unlike candidates, operators are told when the engine does not answer: every method may raise EngineUnavailable, Overloaded or
    OutcomeUnknown. All of them may be called again.
    """

    def __init__(self, office: Office, election: str) -> None:
        self._office = office
        self.election = election

    # --- looking --------------------------------------------------------------------------------------------------

    async def present(self) -> Present:
        """Who leads, who stands, and what operators said: what `leader`, `candidates` and `control` tell, of one moment."""
        scene = await self._look(history=True)
        return Present(
            leader=leader_of(scene.roster, scene.control, scene.records),
            candidates=candidates_of(scene.roster, scene.control, scene.records),
            control=scene.control,
        )

    async def candidates(self) -> tuple[Candidate, ...]:
        """All who stand, in order, the leader first."""
        scene = await self._look(history=True)
        return candidates_of(scene.roster, scene.control, scene.records)

    async def control(self) -> Control:
        """What operators have said and nobody has lifted."""
        return (await self._look()).control

    async def history(self) -> tuple[Record, ...]:
        """Who led, oldest first: the last RECORDS_MAX leaderships. Times are wall clock, for people."""
        return (await self._look(history=True)).records

    async def why(self) -> tuple[Statement, ...]:
        """Why there is no leader, or why this one: the most important first."""
        scene = await self._look(history=True)
        return whys.why(scene.queue, scene.roster.token, scene.control, scene.records)

    # --- what stays until it is lifted ----------------------------------------------------------------------------

    async def pause(self, *, by: str = "", why: str = "") -> Outcome:
        """From now on nobody begins to lead, until `resume`. Who leads goes on (P42)."""
        for field, text in (("by", by), ("why", why)):
            if len(text) > WHY_CHARS_MAX:
                raise InvalidInput(field, f"has {len(text)} characters", f"at most {WHY_CHARS_MAX}")
        paused = Paused(by, why, self._office.world.wall_ms())
        return await self._say(lambda c: c if c.paused is not None else replace(c, paused=paused))

    async def resume(self) -> Outcome:
        """Lift the pause."""
        return await self._say(lambda c: replace(c, paused=None))

    async def drain(self, candidate: str) -> Outcome:
        """From now on nobody of that name leads, until `undrain`: a leader ends its term, also when nobody follows."""
        check_name("candidate", candidate)

        def alter(control: Control) -> Control:
            drained = tuple(sorted({*control.drained, candidate}))
            if len(drained) > DRAINED_MAX:
                raise InvalidInput("candidate", f"would be the {len(drained)}th drained", "undrain others")
            return replace(control, drained=drained)

        return await self._say(alter, candidate)

    async def undrain(self, candidate: str) -> Outcome:
        """It may lead again."""
        return await self._say(
            lambda c: replace(c, drained=tuple(d for d in c.drained if d != candidate)), candidate
        )

    # --- what is done once ----------------------------------------------------------------------------------------

    async def anoint(self, candidate: str) -> Outcome:
        """Have `candidate` lead next, and now: those in front make room, and a leader ends its term. It is not asked to be warm, as
        it is by `Election.handover`. Waits until it is first. Void when it goes before."""
        scene = await self._look(history=True)
        chosen = next((q for q in scene.queue if q.candidate == candidate), None)
        if chosen is None:
            return Outcome(code=Done.NO_CANDIDATE, candidate=candidate)
        if _same(_leader(scene), chosen):
            return Outcome(code=Done.ALREADY, candidate=candidate)
        if chosen.standing is None or any(q.standing is None for q in scene.queue if q.order < chosen.order):
            return Outcome(code=Done.FOREIGN, candidate=candidate)
        if obstacle(chosen, scene.control) is not None:
            return Outcome(code=Done.UNABLE, candidate=candidate)
        successor = Successor(chosen.id, chosen.order, candidate, handover="")
        await self._say(lambda c: replace(c, successor=successor))
        if scene.control.paused is not None:
            return Outcome(code=Done.PAUSED, candidate=candidate)

        def became(now: Scene) -> Done | None:
            if _same(_leader(now), chosen):
                return Done.DONE
            return None if now.has(chosen) else Done.GONE

        return Outcome(code=await self._until(became, OBEY_S), candidate=candidate)

    async def evict(self, candidate: str, *, force: bool = False) -> Outcome:
        """Have everybody of that name leave. Its process may stand again, behind the others.

        Who waits is removed at once. Who leads is asked to end its term, and leaves when its work has ended. With `force` it is
        removed at once: another may lead before it has noticed, and only the token keeps them apart. Nobody else can do that much.
        """
        scene = await self._look(history=True)
        found = [q for q in scene.queue if q.candidate == candidate]
        leader = _leader(scene)
        if not found:
            return Outcome(code=Done.NO_CANDIDATE, candidate=candidate)
        for one in found:
            if one != leader or force:
                await self._office.engine.remove(self.election, one.id, one.order)
            elif one.standing is None:
                return Outcome(code=Done.FOREIGN, candidate=candidate)
            else:
                return await self._ask_leader(one, "evict")
        return Outcome(code=Done.DONE, candidate=candidate)

    async def resign(self) -> Outcome:
        """Ask whoever leads to end its term, and wait until it has left. To force it, `evict`."""
        leader = _leader(await self._look(history=True))
        if leader is None:
            return Outcome(code=Done.NO_LEADER)
        if leader.standing is None:
            return Outcome(code=Done.FOREIGN, candidate=leader.candidate)
        return await self._ask_leader(leader, "resign")

    async def handover(self, *, to: str | None = None, warm_s: float, drain_s: float) -> Outcome:
        """Ask whoever leads to hand over in good order, as `Election.handover` does it, and wait for its answer."""
        before = await self._look(history=True)
        leader = _leader(before)
        if leader is None:
            return Outcome(code=Done.NO_LEADER)
        if leader.standing is None:
            return Outcome(code=Done.FOREIGN, candidate=leader.candidate)
        request = os.urandom(8).hex()
        ask = Ask(leader.id, leader.order, "handover", request, to or "", warm_s, drain_s)
        await self._say(lambda c: c if _answered(c, request) else replace(c, ask=ask))

        def answered(scene: Scene) -> Done | None:
            answer = scene.control.answer
            if answer is not None and answer.request == request:
                return Done(answer.refused) if answer.refused else Done.DONE
            return None if scene.has(leader) else Done.TERM_OVER

        def ended(scene: Scene) -> Done | None:
            """It has left, and then says why: here, and in the history."""
            record = next((r for r in scene.records if r.token == before.roster.token), None)
            if record is not None and record.reason == Reason.HANDED_OVER:
                return Done.DONE
            return answered(scene) if _answered(scene.control, request) else None

        code = await self._until(answered, warm_s + drain_s + OBEY_S)
        if code is Done.TERM_OVER:
            code = await until(self._office, self.election, ended, self._office.ttl) or code
        follows = _leader(await self._look(history=True))
        leads_now = "" if follows is None else follows.candidate
        return Outcome(code=code, candidate=leads_now if code is Done.DONE else to or leads_now)

    # --- how ------------------------------------------------------------------------------------------------------

    async def _look(self, *, history: bool = False) -> Scene:
        self._office.check_open()
        return await look(self._office.engine, self.election, history=history)

    async def _say(self, alter: Callable[[Control], Control], candidate: str = "") -> Outcome:
        self._office.check_open()
        changed = False

        def noting(control: Control) -> Control:
            nonlocal changed
            after = alter(control)
            changed = changed or after != control
            return after

        await change_control(self._office.engine, self.election, self._office.world.rng, noting)
        return Outcome(code=Done.DONE if changed else Done.ALREADY, candidate=candidate)

    async def _ask_leader(self, leader: Queued, verb: str) -> Outcome:
        ask = Ask(leader.id, leader.order, verb, os.urandom(8).hex())
        await self._say(lambda c: replace(c, ask=ask))
        code = await self._until(lambda scene: None if scene.has(leader) else Done.DONE, OBEY_S)
        return Outcome(code=code, candidate=leader.candidate)

    async def _until(self, result: Callable[[Scene], Done | None], timeout_s: float) -> Done:
        return await until(self._office, self.election, result, timeout_s) or Done.NOT_YET


def _leader(scene: Scene) -> Queued | None:
    return leads(scene.queue, scene.roster.token, scene.control, scene.records)


def _same(one: Queued | None, other: Queued) -> bool:
    """Whether they are that very member, whatever it says of itself by now."""
    return one is not None and (one.id, one.order) == (other.id, other.order)


def _answered(control: Control, request: str) -> bool:
    return control.answer is not None and control.answer.request == request
