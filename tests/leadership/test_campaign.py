"""Standing, leading, losing and leaving, on a strange engine and in virtual time."""

from __future__ import annotations

import asyncio

import pytest

from incumbent.errors import EngineUnavailable, LeadershipLost
from incumbent.leadership.events import EventKind
from incumbent.leadership.tenure import Reason, State
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, lead_until_lost, until


def test_a_candidate_alone_leads_and_leaves() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            election = cluster.election("e", candidate="a", listener=lab.events.append)
            async with election.campaign() as term:
                assert (term.election, term.candidate, term.state) == ("e", "a", State.HELD)
                assert term.is_valid
                assert term.token > 0
                assert 0 < term.remaining() <= TTL_S
                term.check()
                await asyncio.sleep(100 * TTL_S)
                assert term.is_valid
            assert (term.is_valid, term.remaining()) == (False, 0)
            assert (term.state, term.reason) == (State.OUT, Reason.BODY_ENDED)
            with pytest.raises(LeadershipLost) as lost:
                term.check()
            assert lost.value.reason == Reason.BODY_ENDED
            assert lab.members() == []
        assert lab.store.sessions == {}
        kinds = lab.kinds()
        assert (kinds[0], kinds[-1]) == (EventKind.ELECTED, EventKind.RELEASED)
        assert set(kinds[1:-1]) == {EventKind.EXTENDED}

    simulate(story)


def test_the_next_in_the_queue_leads_after_the_body_has_ended() -> None:
    """P24, P39: the member leaves only after the body has ended, however long its clean-up takes."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        order: list[str] = []
        async with lab.connect() as one, lab.connect() as two:

            async def first() -> None:
                async with one.election("e", candidate="a").campaign():
                    try:
                        await asyncio.Event().wait()
                    finally:
                        await asyncio.sleep(3 * TTL_S)
                        order.append("the first body ended")

            async def second() -> None:
                async with two.election("e", candidate="b").campaign():
                    order.append("the second was elected")

            async with asyncio.TaskGroup() as group:
                leading = group.create_task(first())
                await until(lambda: lab.members() == ["a"])
                group.create_task(second())
                await until(lambda: lab.members() == ["a", "b"])
                await asyncio.sleep(TTL_S)
                leading.cancel()
        assert order == ["the first body ended", "the second was elected"]

    simulate(story)


def test_the_body_is_cancelled_before_the_lease_can_expire() -> None:
    """P19, P27: no renewal gets through. The body is told in time, and the successor comes after it."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        cut = lab.engine()
        ended_s: list[float] = []
        async with lab.connect(cut) as one, lab.connect() as two:
            with pytest.raises(LeadershipLost) as lost:
                async with one.election("e", candidate="a", listener=lab.events.append).campaign() as term:
                    cut.fail_next("renew", EngineUnavailable("cut off"), times=10_000)
                    successor = asyncio.create_task(
                        lead_until_lost(two.election("e").campaign(), terms := [])
                    )
                    try:
                        await asyncio.Event().wait()
                    finally:
                        ended_s.append(lab.now_s)
                        assert not term.is_valid
                        (session,) = [
                            s
                            for s in lab.store.sessions.values()
                            if s.renewed_ns < sim.clock.now_ns() - 10**9
                        ]
                        assert sim.clock.now_ns() < session.ends_ns
            assert lost.value.reason == Reason.RENEW_TIMEOUT
            await until(lambda: terms)
            assert lab.now_s > ended_s[0]
            successor.cancel()
        kinds = lab.kinds()
        assert kinds.count(EventKind.JEOPARDY) == 1
        assert kinds[-1] is EventKind.LOST
        assert kinds.count(EventKind.ELECTED) == kinds.count(EventKind.LOST) == 1

    simulate(story)
