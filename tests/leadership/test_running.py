"""Campaigning with a time limit, again and again, with something to do meanwhile; and sections that are guarded."""

from __future__ import annotations

import asyncio

import pytest

from incumbent.errors import InvalidInput, LeadershipLost, LeaseTooShort
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, lead_until_lost, mend, until


class Fault(Exception):
    """Of the user's own code."""


# --- a time limit -----------------------------------------------------------------------------------------------------


def test_try_campaign_gives_none_when_the_time_is_up() -> None:
    """P2, P4: and nothing is left behind; with nobody in front it gives a term like any other."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            front = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), []))
            await until(lambda: lab.members() == ["a"])
            asked_s = lab.now_s
            async with two.election("e", candidate="b").try_campaign(3) as term:
                assert term is None
                assert 3 <= lab.now_s - asked_s < 3.1
                await until(lambda: lab.members() == ["a"], within_s=1)
            front.cancel()
            async with two.election("e", candidate="b").try_campaign(3) as term:
                assert term is not None
                assert term.is_valid
                await asyncio.sleep(2 * TTL_S)  # the limit was for the wait only
                assert term.is_valid
            assert lab.members() == []

    simulate(story)


def test_a_term_of_try_campaign_is_lost_like_any_other() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            with pytest.raises(LeadershipLost, match="evicted"):
                async with cluster.election("e").try_campaign(3):
                    (member,) = lab.store.groups["e"].members
                    lab.store.remove("e", member.id, member.revision)
                    await asyncio.Event().wait()
            with pytest.raises(Fault):
                async with cluster.election("e").try_campaign(3):
                    raise Fault
            assert lab.members() == []

    simulate(story)


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_none_is_refused(timeout: float) -> None:
    async def story(sim: Simulation) -> None:
        async with Lab(sim).connect() as cluster:
            with pytest.raises(InvalidInput):
                async with cluster.election("e").try_campaign(timeout):
                    pytest.fail("entered")

    simulate(story)


# --- standby ----------------------------------------------------------------------------------------------------------


def test_standby_runs_while_not_leading_and_has_ended_before_work_begins() -> None:
    """P25: also when its end takes a while."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        order: list[str] = []

        async def standby() -> None:
            order.append("standby")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(1)
                order.append("standby ended")

        async def work(term: Term) -> str:
            order.append("work")
            assert term.is_valid
            if order.count("work") == 2:
                return "done"
            (member,) = lab.store.groups["e"].members
            lab.store.remove("e", member.id, member.revision)
            await asyncio.Event().wait()
            raise AssertionError

        async with lab.connect() as cluster:
            assert await cluster.election("e").run(work, standby=standby) == "done"
        assert order == ["standby", "standby ended", "work"] * 2

    simulate(story)


def test_a_standby_that_fails_ends_the_wait_with_its_own_error() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        async def standby() -> None:
            await asyncio.sleep(1)
            raise Fault

        async def work(term: Term) -> None:
            pytest.fail("elected")

        async with lab.connect() as one, lab.connect() as two:
            front = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), []))
            await until(lambda: lab.members() == ["a"])
            with pytest.raises(Fault):
                await two.election("e", candidate="b").run(work, standby=standby)
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await until(lambda: lab.members() == ["a"], within_s=1)
            front.cancel()

    simulate(story)


def test_a_standby_that_does_not_end_cannot_outlast_the_lease() -> None:
    """P25, P27: work never begins, and the candidate goes on as after any other loss."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        stubborn = True
        worked: list[int] = []

        async def standby() -> None:
            while stubborn:
                try:
                    await asyncio.sleep(1)
                except asyncio.CancelledError:
                    continue

        async def work(term: Term) -> None:
            worked.append(term.token)

        async with lab.connect(engine) as cluster:
            running = asyncio.create_task(cluster.election("e").run(work, standby=standby))
            await until(lab.members)
            cut(engine, "renew")
            await asyncio.sleep(2 * TTL_S)
            assert worked == []
            mend(engine)
            stubborn = False
            await running
            assert len(worked) == 1

    simulate(story)


def test_a_cancellation_ends_standby_and_stays_one() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        ended: list[int] = []

        async def standby() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(1)

        async def work(term: Term) -> None:
            pytest.fail("elected")

        async with lab.connect() as one, lab.connect() as two:
            front = asyncio.create_task(lead_until_lost(one.election("e").campaign(), []))
            await until(lambda: len(lab.members()) == 1)
            running = asyncio.create_task(two.election("e").run(work, standby=standby))
            await until(lambda: len(lab.members()) == 2)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert ended == [1]
            front.cancel()

    simulate(story)


def test_the_pauses_between_candidacies_grow_and_begin_anew_after_a_term_that_held() -> None:
    """Bounded, and drawn at random: never the same twice, so that many do not stand again in one tick."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        elected_s: list[float] = []
        lost_s: list[float] = []

        async def work(term: Term) -> None:
            elected_s.append(lab.now_s)
            if len(elected_s) == 12:
                return
            if len(elected_s) == 10:
                await asyncio.sleep(3 * TTL_S)
            lost_s.append(lab.now_s)
            (member,) = lab.store.groups["e"].members
            lab.store.remove("e", member.id, member.revision)
            await asyncio.Event().wait()

        async with lab.connect() as cluster:
            await cluster.election("e").run(work)
        pauses_s = [again_s - gone_s for gone_s, again_s in zip(lost_s, elected_s[1:], strict=True)]
        assert max(pauses_s) <= 2.2
        assert pauses_s[8] > 0.9
        assert pauses_s[9] < 0.3
        assert len(set(pauses_s)) == len(pauses_s)

    simulate(story)


# --- guarded sections -------------------------------------------------------------------------------------------------


def test_a_guard_gives_the_token_and_says_when_the_term_ended_in_it() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        async def lead() -> None:
            async with lab.connect() as cluster, cluster.election("e").campaign() as term:
                with term.guard() as token:
                    assert token == term.token
                with pytest.raises(LeaseTooShort) as short, term.guard(min_remaining=2 * TTL_S):
                    pytest.fail("entered")
                assert short.value.remaining <= TTL_S < short.value.min_remaining
                with pytest.raises(Fault), term.guard(0.5):
                    raise Fault
                with pytest.raises(LeadershipLost, match="expired"), term.guard(0.5):
                    sim.stop_process(2 * TTL_S)
                with pytest.raises(LeadershipLost, match="expired"), term.guard(0.5):
                    pytest.fail("entered")
                await asyncio.sleep(1)

        with pytest.raises(LeadershipLost) as lost:
            await lead()
        assert lost.value.reason is Reason.EXPIRED

    simulate(story)


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
def test_a_guard_for_no_time_is_refused(seconds: float) -> None:
    async def story(sim: Simulation) -> None:
        async with Lab(sim).connect() as cluster, cluster.election("e").campaign() as term:
            with pytest.raises(InvalidInput):
                term.guard(seconds)

    simulate(story)
