"""Leadership is coupled to progress: a probe that fails, a body that is stuck or gone, a loop that stands still."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from incumbent.errors import InvalidInput, LeadershipLost
from incumbent.leadership.events import EventKind
from incumbent.leadership.oversight import Healthy
from incumbent.leadership.probe import Probe
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.leadership.world import Tasks
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, lead_until_lost, mend, until


class Fault(Exception):
    """Of the user's own code."""


# --- the user's probe -------------------------------------------------------------------------------------------------


async def says_no() -> bool:
    return False


async def falls_over() -> bool:
    raise Fault


async def hangs() -> bool:
    await asyncio.Event().wait()
    return True


async def hangs_on() -> bool:
    """Also when it is cancelled."""
    for _ in range(100):
        try:
            await asyncio.sleep(TTL_S)
        except asyncio.CancelledError:
            continue
    return True


@pytest.mark.parametrize("sick", [says_no, falls_over, hangs, hangs_on])
def test_a_probe_that_fails_or_hangs_ends_its_own_term_only(sick: Callable[[], Awaitable[bool]]) -> None:
    """P21: the other election's term goes on under the same session, renewals never stop, and the member leaves once the
    body has ended."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        ill = False
        probes: list[float] = []

        async def healthy() -> bool:
            probes.append(lab.now_s)
            return await sick() if ill else True

        terms: list[Term] = []
        order: list[str] = []

        async def lead() -> None:
            async with cluster.election("e", healthy=healthy).campaign() as term:
                terms.append(term)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(2 * TTL_S)
                    order.append(f"body ended beside {len(lab.members())} member")

        async with lab.connect(engine) as cluster:
            well = asyncio.create_task(lead_until_lost(cluster.election("f").campaign(), []))
            task = asyncio.create_task(lead())
            await until(lambda: terms)
            await asyncio.sleep(10 * TTL_S)
            assert terms[0].is_valid
            assert len(probes) > 20
            ill = True
            became_ill_s = lab.now_s
            await until(lambda: not terms[0].is_valid)
            assert lab.now_s - became_ill_s <= 2 * TTL_S / 3 + 0.1
            assert terms[0].reason is Reason.UNHEALTHY
            renewals = engine.calls.count("renew")
            with pytest.raises(LeadershipLost, match="unhealthy"):
                await task
            assert engine.calls.count("renew") > renewals
            await until(lambda: lab.members("e") == [], within_s=1)
            assert order == ["body ended beside 1 member"]
            assert len(lab.members("f")) == 1
            assert not well.done()
            well.cancel()

    simulate(story)


def test_who_is_not_well_does_not_stand() -> None:
    """P43: nobody unfit is elected; well again, it stands."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        well = False
        terms: list[Term] = []

        async def healthy() -> bool:
            return well

        async with lab.connect() as cluster:
            task = asyncio.create_task(
                lead_until_lost(cluster.election("e", healthy=healthy).campaign(), terms)
            )
            await asyncio.sleep(5 * TTL_S)
            assert lab.members() == []
            well = True
            await until(lambda: terms, within_s=3)
            task.cancel()

    simulate(story)


def test_a_probe_is_asked_before_standing_and_while_leading() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        probes: list[float] = []

        async def healthy() -> bool:
            probes.append(lab.now_s)
            return True

        async with lab.connect() as one, lab.connect() as two:
            front = asyncio.create_task(lead_until_lost(one.election("e").campaign(), []))
            await until(lambda: len(lab.members()) == 1)
            queued = asyncio.create_task(
                lead_until_lost(two.election("e", healthy=healthy, probe_interval=1).campaign(), [])
            )
            await asyncio.sleep(5 * TTL_S)
            assert len(probes) == 1
            front.cancel()
            await asyncio.sleep(10.5)
            assert len(probes) == 12
            queued.cancel()
            await asyncio.wait({queued})
            asked = len(probes)
            await asyncio.sleep(10)
            assert len(probes) == asked

    simulate(story)


@pytest.mark.parametrize(
    ("healthy", "says"),
    [
        (lambda: True, None),
        (lambda: 0, "said 0"),
        (lambda: 1 / 0, "ZeroDivisionError"),
    ],
)
async def test_a_probe_that_is_no_coroutine_runs_in_a_thread(healthy: Healthy, says: str | None) -> None:
    where: list[threading.Thread] = []

    def ask() -> object:
        where.append(threading.current_thread())
        return healthy()

    complaint = await Probe(ask, 5.0, Tasks()).complaint()
    assert complaint is None if says is None else says in str(complaint)
    assert where[0] is not threading.main_thread()


async def test_a_probe_that_hangs_in_a_thread_is_not_asked_twice() -> None:
    """P21: it neither blocks the loop nor piles up threads, over terms too, and is asked again once it has answered."""
    go = threading.Event()
    asked: list[int] = []

    def hang() -> bool:
        asked.append(1)
        return go.wait(10)

    probe = Probe(hang, 0.01, Tasks())
    for _ in range(3):
        complaint = await probe.complaint()
        assert complaint is not None
        assert "said nothing" in complaint
    assert asked == [1]
    go.set()
    while await probe.complaint() is not None:
        pass
    assert len(asked) >= 1


async def test_a_probe_that_cancels_itself_is_a_complaint() -> None:
    async def cancels() -> bool:
        raise asyncio.CancelledError

    assert await Probe(cancels, 1.0, Tasks()).complaint() == "was cancelled"


# --- the body ---------------------------------------------------------------------------------------------------------


def test_a_body_without_progress_is_stuck() -> None:
    """P21: as long as it beats, it leads; then the term ends, also while the body blocks the loop."""

    async def story(sim: Simulation, *, blocks: bool) -> None:
        lab = Lab(sim)

        async def lead() -> None:
            async with (
                lab.connect() as cluster,
                cluster.election("e", progress_timeout=2.0).campaign() as term,
            ):
                for _ in range(50):
                    await asyncio.sleep(1.9)
                    term.beat()
                    assert term.is_valid
                beat_s.append(lab.now_s)
                if blocks:
                    sim.block_loop(2.1)
                    ended_s.append(lab.now_s)
                    assert not term.is_valid
                try:
                    await asyncio.Event().wait()
                finally:
                    ended_s.append(lab.now_s)

        beat_s: list[float] = []
        ended_s: list[float] = []
        with pytest.raises(LeadershipLost, match="stuck"):
            await lead()
        assert 2.0 <= ended_s[0] - beat_s[0] < 2.2

    for blocks in (False, True):
        simulate(lambda sim, blocks=blocks: story(sim, blocks=blocks))  # type: ignore[misc]


def test_a_body_whose_task_is_gone_is_released() -> None:
    """P21: the task that entered ended without leaving: nobody works, so the term ends and the next one leads."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []

        async def enter_and_go() -> None:
            terms.append(await campaign.__aenter__())

        async with lab.connect() as one, lab.connect() as two:
            campaign = one.election("e", candidate="a", listener=lab.events.append).campaign()
            await asyncio.create_task(enter_and_go())
            await asyncio.sleep(0)
            assert terms[0].reason is Reason.BODY_DIED
            async with asyncio.timeout(1), two.election("e", candidate="b").campaign() as term:
                assert term.token > terms[0].token
            with pytest.raises(LeadershipLost, match="body_died"):
                await campaign.__aexit__(None, None, None)
        assert lab.kinds() == [EventKind.ELECTED, EventKind.LOST]

    simulate(story)


# --- the loop ---------------------------------------------------------------------------------------------------------


def test_a_loop_that_stalls_after_a_renewal_was_sent_is_still_called_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """P20: the renewal is on its way, its answer is never looked at; and it is said while it happens, not at the end."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        sent = asyncio.Event()

        async def slow(method: str) -> None:
            if method == "renew":
                sent.set()
                await asyncio.sleep(0.1)

        async def lead() -> None:
            async with lab.connect(engine) as cluster, cluster.election("e").campaign() as term:
                engine.on_reply = slow
                await sent.wait()
                sim.block_loop(0.55 * TTL_S)
                said.append("the event loop is blocked" in caplog.text)
                assert term.is_valid
                sim.block_loop(TTL_S)
                assert term.reason is Reason.LOOP_STALL
                engine.on_reply = None
                await asyncio.sleep(1)

        said: list[bool] = []
        with pytest.raises(LeadershipLost, match="loop_stall"):
            await lead()
        assert said == [True]

    with caplog.at_level(logging.ERROR, "incumbent.leadership"):
        simulate(story)
    assert caplog.text.count("the event loop is blocked") == 1


def test_renewals_that_fail_are_not_called_a_stall() -> None:
    """P20: while the loop gives signs of life."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()

        async def lead() -> None:
            async with lab.connect(engine) as cluster, cluster.election("e").campaign():
                cut(engine)
                try:
                    await asyncio.Event().wait()
                finally:
                    mend(engine)

        with pytest.raises(LeadershipLost, match="renew_timeout"):
            await lead()

    simulate(story)


# --- what is left behind ----------------------------------------------------------------------------------------------


def test_a_member_whose_removal_is_unconfirmed_never_leads() -> None:
    """P2, P39: it becomes first while its leave is not confirmed; nobody claims for it, it is released as soon as the engine
    answers, and the next one leads."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect() as one, lab.connect(engine) as two, lab.connect() as three:
            front = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), []))
            await until(lambda: lab.members() == ["a"])
            leaving = asyncio.create_task(lead_until_lost(two.election("e", candidate="b").campaign(), terms))
            await until(lambda: lab.members() == ["a", "b"])
            behind = asyncio.create_task(
                lead_until_lost(three.election("e", candidate="c").campaign(), terms)
            )
            await until(lambda: len(lab.members()) == 3)
            cut(engine, "leave")
            leaving.cancel()
            await asyncio.wait({leaving})
            again = asyncio.create_task(lead_until_lost(two.election("e", candidate="b").campaign(), terms))
            front.cancel()
            await until(lambda: lab.members()[0] == "b")
            claims = engine.calls.count("claim")
            await asyncio.sleep(10 * TTL_S)
            assert lab.members() == ["b", "c"], "its session is renewed, so it stays until the engine answers"
            assert engine.calls.count("claim") == claims
            assert terms == []
            mend(engine)
            await until(lambda: terms)
            assert terms[0].candidate == "c"
            for task in (behind, again):
                task.cancel()

    simulate(story)


# --- the door ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"healthy": says_no, "probe_interval": 0}, "probe_interval"),
        ({"healthy": says_no, "probe_timeout": float("nan")}, "probe_timeout"),
        ({"probe_timeout": 1.0}, "healthy"),
        ({"progress_timeout": -1}, "progress_timeout"),
        ({"on_stuck": "shout"}, "on_stuck"),
        ({"grace": 1.0}, "grace"),
        ({"on_stuck": "exit", "grace": TTL_S / 3}, "grace"),
        ({"on_stuck": "exit", "grace": float("inf")}, "grace"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, Any], field: str) -> None:
    async def story(sim: Simulation) -> None:
        async with Lab(sim).connect() as cluster:
            with pytest.raises(InvalidInput) as refused:
                cluster.election("e", **options)
            assert refused.value.field == field

    simulate(story)
