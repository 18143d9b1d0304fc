"""How terms end against their holder's will, and what is never mistaken for an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    LeadershipLost,
    OutcomeUnknown,
    Overloaded,
)
from incumbent.leadership.connect import Cluster
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.tenure import Reason, State
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine
from tests.leadership.lab import NS, TTL_S, Lab, cut, lead_until_lost, mend, until


def lose(
    sim: Simulation, lab: Lab, engine: StrangerEngine, act: Callable[[Term], object]
) -> asyncio.Task[Reason]:
    """Lead in a task; `act` on the term; the task's result is the reason of the loss."""

    async def lead() -> Reason:
        async with lab.connect(engine) as cluster:
            with pytest.raises(LeadershipLost) as lost:
                async with cluster.election(
                    "e", candidate="a", listener=lab.events.append
                ).campaign() as term:
                    await asyncio.sleep(0.5)
                    act(term)
                    await asyncio.Event().wait()
            mend(engine)
            return Reason(lost.value.reason)

    return asyncio.create_task(lead())


async def lose_by(sim: Simulation, lab: Lab, engine: StrangerEngine, act: Callable[[Term], object]) -> Reason:
    return await lose(sim, lab, engine, act)


# --- by the engine's word ---------------------------------------------------------------------------------------------


def test_a_renewal_that_is_refused_ends_the_term_without_any_other_word() -> None:
    """P18."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect(engine) as cluster:
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
            await until(lambda: terms)
            cut(engine, "claim", "roster")
            (session,) = lab.store.sessions
            lab.store.end_session(session)
            ended_s = lab.now_s
            with pytest.raises(LeadershipLost, match="session_gone"):
                await task
            assert lab.now_s - ended_s <= TTL_S / 3 + 0.01
            mend(engine)

    simulate(story)


def test_an_ended_session_ends_its_terms_at_once() -> None:
    """P18: the engine's word is final; every term on the session ends within one renewal interval, not at the deadline."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        async with lab.connect() as cluster:
            tasks = [
                asyncio.create_task(lead_until_lost(cluster.election(name).campaign(), terms))
                for name in "ab"
            ]
            await until(lambda: len(terms) == 2)
            (session,) = lab.store.sessions
            lab.store.end_session(session)
            ended_s = lab.now_s
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert lab.now_s - ended_s <= TTL_S / 3 + 0.01
            assert [type(r) for r in results] == [LeadershipLost, LeadershipLost]
            assert {t.reason for t in terms} <= {Reason.SESSION_GONE, Reason.EVICTED}

    simulate(story)


def test_an_evicted_leader_stops_at_once() -> None:
    """P18: an operator removed the member; the session lives on."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        def evict(term: Term) -> None:
            (member,) = lab.store.groups["e"].members
            assert lab.store.remove("e", member.id, member.revision)
            evicted_ns.append(sim.clock.now_ns())

        evicted_ns: list[int] = []
        assert await lose_by(sim, lab, lab.engine(), evict) is Reason.EVICTED
        assert sim.clock.now_ns() - evicted_ns[0] < 0.2 * NS

    simulate(story)


def test_an_engine_that_was_replaced_ends_everything_on_it() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        reason = await lose_by(
            sim,
            lab,
            engine,
            lambda _: engine.fail_next("renew", IncarnationChanged("restored from a backup")),
        )
        assert reason is Reason.ENGINE_RESET

    simulate(story)


# --- by silence -------------------------------------------------------------------------------------------------------


def test_a_leader_that_is_cut_off_is_cancelled_before_its_lease_can_expire() -> None:
    """P19, P24, P27: JEOPARDY is told first; at the end the engine still holds the session."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        states: list[State] = []

        async def lead(cluster: Cluster) -> None:
            async with cluster.election("e", listener=lab.events.append).campaign() as term:
                cut(engine)
                try:
                    while True:
                        states.append(term.state)
                        await asyncio.sleep(0.01)
                finally:
                    (session,) = lab.store.sessions.values()
                    assert sim.clock.now_ns() < session.renewed_ns + TTL_S * NS
                    assert not term.is_valid

        async with lab.connect(engine) as cluster:
            with pytest.raises(LeadershipLost, match="renew_timeout"):
                await lead(cluster)
            mend(engine)
        assert list(dict.fromkeys(states)) == [State.HELD, State.JEOPARDY]
        assert lab.kinds() == [EventKind.ELECTED, EventKind.JEOPARDY, EventKind.LOST]
        lost = lab.events[-1]
        assert lost.reason is Reason.RENEW_TIMEOUT
        assert lost.deadline_ns <= lost.time_ns < lost.deadline_ns + NS // 100

    simulate(story)


def test_jeopardy_is_told_in_time_also_when_renewals_hang() -> None:
    """And once for each time that it comes to that."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()

        async def hang(method: str) -> None:
            if method == "renew":
                await asyncio.Event().wait()

        async with (
            lab.connect(engine) as cluster,
            cluster.election("e", listener=lab.events.append).campaign() as term,
        ):
            for _ in range(3):
                engine.on_request = hang
                await until(lambda: term.state is State.JEOPARDY)
                await asyncio.sleep(0.01)
                assert lab.kinds()[-1] is EventKind.JEOPARDY
                engine.on_request = None
                await until(lambda: term.state is State.HELD)
                assert lab.kinds()[-1] is EventKind.EXTENDED
        assert lab.kinds().count(EventKind.JEOPARDY) == 3

    simulate(story)


@pytest.mark.parametrize(
    "error", [EngineUnavailable("x"), Overloaded("x"), OutcomeUnknown("x"), TimeoutError()]
)
def test_transient_errors_within_the_deadline_do_not_drop_leadership(error: Exception) -> None:
    """P18."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster, cluster.election("e").campaign() as term:
            for _ in range(20):
                engine.fail_next("renew", error, times=2)
                await asyncio.sleep(TTL_S / 2)
                assert term.is_valid

    simulate(story)


class Strange(Exception):
    """Nothing that incumbent knows."""


@pytest.mark.parametrize(
    "error", [Strange("?"), KeyError("bug"), asyncio.CancelledError("inside the engine")]
)
def test_unknown_errors_lead_to_stepping_down_by_the_deadline(error: BaseException) -> None:
    """P19: never to a dead renewer with live work, and when they stop, the same renewer goes on."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()

        async def refuse(method: str) -> None:
            if method == "renew":
                raise error.with_traceback(None)

        def spoil(term: Term) -> None:
            spoiled_ns.append(sim.clock.now_ns())
            engine.on_request = refuse

        spoiled_ns: list[int] = []
        assert await lose_by(sim, lab, engine, spoil) is Reason.RENEW_TIMEOUT
        assert sim.clock.now_ns() - spoiled_ns[0] < TTL_S * NS

        async with lab.connect(engine) as cluster, cluster.election("e").campaign() as term:
            engine.on_request = refuse
            await asyncio.sleep(TTL_S / 2)
            engine.on_request = None
            await asyncio.sleep(10 * TTL_S)
            assert term.is_valid

    simulate(story)


def test_a_renewal_confirmed_after_the_deadline_does_not_resurrect() -> None:
    """P12: nobody else was waiting, so the engine still has the session and the member, and says so; the term stays lost,
    and the same election object wins again with a higher token (P7)."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster:
            election = cluster.election(
                "e"
            )  # not fenced: the engine holds on for a second more than the holder
            with pytest.raises(LeadershipLost):
                async with election.campaign() as term:
                    cut(engine)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        mend(engine)
                        renewals = engine.calls.count("renew")
                        await asyncio.sleep(TTL_S / 3 + 0.5)
                        assert engine.calls.count("renew") > renewals
                        assert len(lab.store.sessions) == 1, "the session lives on"
                        assert not term.is_valid
                        assert term.state is State.LOST
            async with election.campaign() as again:
                assert again.token > term.token
                assert not term.is_valid

    simulate(story)


def test_replies_that_take_nearly_the_ttl_never_make_two_lead() -> None:
    """P10: each renewal's reply takes 0.3 TTL; then the leader hears nothing any more, and ends before the engine lets
    go. Red when the holder counts from the reply."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        slow = lab.engine()

        async def late(method: str) -> None:
            if method == "renew":
                await asyncio.sleep(0.3 * TTL_S)

        terms: list[Term] = []
        async with lab.connect(slow) as one, lab.connect() as two:
            first = asyncio.create_task(lead_until_lost(one.election("e", fenced=True).campaign(), terms))
            await until(lambda: terms)
            second = asyncio.create_task(lead_until_lost(two.election("e", fenced=True).campaign(), terms))
            slow.on_reply = late
            for _ in range(100):
                await asyncio.sleep(0.1)
                assert sum(t.is_valid for t in terms) <= 1
            cut(slow)
            for _ in range(2000):
                await asyncio.sleep(0.01)
                assert sum(t.is_valid for t in terms) <= 1
            assert len(terms) == 2
            with pytest.raises(LeadershipLost):
                await first
            second.cancel()
            mend(slow)

    simulate(story)


def test_a_session_whose_opening_took_long_is_not_fresh() -> None:
    """P10, DESIGN §4.8: the opening counts as a renewal from before it was sent, so nobody leads on it without another."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []

        async def slow_opening(method: str) -> None:
            if method == "open_session":
                await asyncio.sleep(0.9 * TTL_S)
                cut(engine, "renew")

        engine.on_reply = slow_opening
        async with lab.connect(engine) as cluster:
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
            await asyncio.sleep(1.5 * TTL_S)
            assert terms == []
            engine.on_reply = None
            mend(engine)
            await until(lambda: terms)
            task.cancel()

    simulate(story)


def test_renewals_never_overlap_and_hung_ones_are_given_up() -> None:
    """P22."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        in_flight = 0

        async def hang(method: str) -> None:
            nonlocal in_flight
            if method == "renew":
                assert in_flight == 0
                in_flight += 1
                try:
                    await asyncio.sleep(sim.rng.choice([0.0, TTL_S / 4, TTL_S]))
                finally:
                    in_flight -= 1

        engine.on_reply = hang
        async with lab.connect(engine) as cluster:
            terms: list[Term] = []
            for _ in range(10):
                task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
                await asyncio.wait({task}, timeout=5 * TTL_S)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        assert terms

    for seed in range(10):
        simulate(story, seed=seed)


# --- by standing still ------------------------------------------------------------------------------------------------


def test_the_first_check_after_a_stop_past_the_ttl_fails() -> None:
    """P11: before any I/O, and before the loop or the alarm ran."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        def stop(term: Term) -> None:
            calls = len(engine.calls)
            sim.stop_process(2 * TTL_S)
            assert not term.is_valid
            assert len(engine.calls) == calls
            with pytest.raises(LeadershipLost) as lost:
                term.check()
            assert lost.value.reason == Reason.EXPIRED

        engine = lab.engine()
        assert await lose_by(sim, lab, engine, stop) is Reason.EXPIRED

    simulate(story)


def test_a_blocked_loop_is_called_by_its_name() -> None:
    """P20: for less than the margin nothing happens; for more, the term ends with loop_stall while the loop is blocked."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        def block(term: Term) -> None:
            sim.block_loop(TTL_S / 2)
            assert term.is_valid
            sim.block_loop(TTL_S)
            assert term.reason is Reason.LOOP_STALL

        assert await lose_by(sim, lab, lab.engine(), block) is Reason.LOOP_STALL

        async with lab.connect() as cluster, cluster.election("e").campaign() as term:
            for _ in range(10):
                sim.block_loop(TTL_S / 2)
                await asyncio.sleep(0.1)
                assert term.is_valid

    simulate(story)


def test_the_loss_is_told_with_the_time_at_which_it_came() -> None:
    """A listener hears late when the loop was blocked; the record says when it was."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await lose_by(sim, lab, lab.engine(), lambda _: sim.block_loop(3 * TTL_S))
        lost: TermEvent = lab.events[-1]
        assert lost.kind is EventKind.LOST
        assert lost.deadline_ns <= lost.time_ns < lost.deadline_ns + 1000

    simulate(story)


# --- who is cancelled, and what comes out -----------------------------------------------------------------------------


def test_a_cancellation_from_outside_stays_one() -> None:
    """Also when the term is lost at the same time: LeadershipLost never takes the place of a cancellation."""

    async def story(sim: Simulation, *, delay_s: float) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect(engine) as cluster:

            async def lead() -> None:
                async with cluster.election("e").campaign() as term:
                    terms.append(term)
                    try:
                        await asyncio.Event().wait()
                    finally:
                        await asyncio.sleep(1)  # still cleaning up when the other cancellation comes

            task = asyncio.create_task(lead())
            await until(lambda: terms)
            resigning: set[asyncio.Task[bool]] = set()
            asyncio.get_running_loop().call_later(delay_s, cluster_resign, cluster, resigning)
            asyncio.get_running_loop().call_later(0.5, task.cancel)
            await asyncio.wait({task})
            assert task.cancelled()
            await asyncio.gather(*resigning)

    def cluster_resign(cluster: Cluster, resigning: set[asyncio.Task[bool]]) -> None:
        resigning.add(asyncio.create_task(cluster.election("e").resign()))

    for delay_s in (0.1, 0.5, 0.9):
        simulate(lambda sim, delay_s=delay_s: story(sim, delay_s=delay_s))  # type: ignore[misc]


def test_our_cancellation_leaves_no_trace_in_the_task() -> None:
    """After LeadershipLost was caught, the task's count of cancellations is what it was, so asyncio.timeout and TaskGroup
    around it work on."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            election = cluster.election("e")
            asyncio.get_running_loop().call_later(
                1, lambda: tasks.append(asyncio.create_task(election.resign()))
            )
            tasks: list[asyncio.Task[bool]] = []
            with pytest.raises(LeadershipLost):
                async with election.campaign():
                    await asyncio.Event().wait()
            task = asyncio.current_task()
            assert task is not None
            assert task.cancelling() == 0
            await asyncio.sleep(1)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1):
                    await asyncio.Event().wait()
            assert await tasks[0]

    simulate(story)


def test_the_bodys_own_error_comes_out_and_releases() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            with pytest.raises(Strange):
                async with cluster.election("e", listener=lab.events.append).campaign():
                    raise Strange
            assert lab.members() == []
        assert [(e.kind, e.reason) for e in lab.events] == [
            (EventKind.ELECTED, None),
            (EventKind.RELEASED, Reason.BODY_ENDED),
        ]

    simulate(story)


def test_a_body_that_swallows_its_cancellation_is_told_at_its_end() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        async def lead(cluster: Cluster) -> None:
            async with cluster.election("e").campaign() as term:
                (member,) = lab.store.groups["e"].members
                lab.store.remove("e", member.id, member.revision)
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    assert not term.is_valid

        async with lab.connect() as cluster:
            with pytest.raises(LeadershipLost, match="evicted"):
                await lead(cluster)

    simulate(story)


# --- stepping back ----------------------------------------------------------------------------------------------------


def test_resigning_lets_the_next_in_after_the_body_has_ended() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        async with lab.connect() as one, lab.connect() as two:
            election = one.election("e")
            assert not await election.resign()
            first = asyncio.create_task(lead_until_lost(election.campaign(), terms))
            await until(lambda: terms)
            second = asyncio.create_task(lead_until_lost(two.election("e").campaign(), terms))
            await until(lambda: len(lab.members()) == 2)
            assert await election.resign()
            assert len(lab.members()) == 1
            with pytest.raises(LeadershipLost, match="resigned"):
                await first
            await until(lambda: len(terms) == 2)
            second.cancel()

    simulate(story)


def test_resigning_from_inside_ends_the_block_there() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as cluster:
            election = cluster.election("e")
            with pytest.raises(LeadershipLost, match="resigned"):
                async with election.campaign():
                    await election.resign()
                    pytest.fail("the block went on")
            assert lab.members() == []

    simulate(story)


def test_run_campaigns_again_after_each_loss_and_returns_what_work_returns() -> None:
    """P7: with a higher token each time; work's end ends it, and so does its exception."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        tokens: list[int] = []

        async def work(term: Term) -> str:
            tokens.append(term.token)
            if len(tokens) == 5:
                return "done"
            (member,) = lab.store.groups["e"].members
            lab.store.remove("e", member.id, member.revision)
            await asyncio.Event().wait()
            raise AssertionError

        async def fail(term: Term) -> None:
            raise Strange

        async with lab.connect() as cluster:
            election = cluster.election("e")
            assert await election.run(work) == "done"
            assert lab.members() == []
            with pytest.raises(Strange):
                await election.run(fail)
            assert lab.members() == []
        assert tokens == sorted(set(tokens))

    simulate(story)


def test_run_does_not_take_another_elections_loss_for_its_own() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)

        async def work(term: Term) -> None:
            raise LeadershipLost("resigned")

        async with lab.connect() as cluster:
            with pytest.raises(LeadershipLost):
                await cluster.election("e").run(work)

    simulate(story)


# --- closing ----------------------------------------------------------------------------------------------------------


def test_closing_ends_terms_waits_and_sessions_in_order() -> None:
    """P29: bodies are cancelled and awaited while the session is still renewed; waiting candidates are let go."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        cleaned: list[int] = []

        async def lead(cluster: Cluster) -> None:
            async with cluster.election("e", listener=lab.events.append).campaign() as term:
                terms.append(term)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(2 * TTL_S)
                    cleaned.append(len(lab.store.sessions))

        async with lab.connect() as one:
            async with lab.connect() as two:
                leader = asyncio.create_task(lead(two))
                await until(lambda: terms)
                local = asyncio.create_task(lead_until_lost(two.election("e").campaign(), []))
                queued = asyncio.create_task(lead_until_lost(two.election("f").campaign(), []))
                front = asyncio.create_task(lead_until_lost(one.election("f").campaign(), []))
                await asyncio.sleep(1)
            assert cleaned == [2]
            with pytest.raises(LeadershipLost, match="closed"):
                await leader
            results = await asyncio.gather(local, queued, return_exceptions=True)
            assert {type(r) for r in results} <= {EngineUnavailable, LeadershipLost}
            assert len(lab.store.sessions) == 1
            with pytest.raises(EngineUnavailable, match="closed"):
                two.election("e")
            front.cancel()
        assert lab.kinds()[-1] is EventKind.RELEASED

    simulate(story)


def test_a_body_that_never_ends_keeps_its_session_from_being_ended() -> None:
    """P39, P76: closing does not wait for ever, and does not let a successor in beside a body that runs."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        terms: list[Term] = []
        stubborn = True

        async def lead(cluster: Cluster) -> None:
            async with cluster.election("e").campaign() as term:
                terms.append(term)
                while stubborn:
                    try:
                        await asyncio.sleep(1)
                    except asyncio.CancelledError:
                        continue

        async with lab.connect() as cluster:
            task = asyncio.create_task(lead(cluster))
            await until(lambda: terms)
        assert not terms[0].is_valid
        assert len(lab.store.sessions) == 1, "left to its TTL"
        stubborn = False
        with pytest.raises(LeadershipLost, match="closed"):
            await task
        await asyncio.sleep(2 * TTL_S)
        assert lab.store.next_expiry_s() in (None, 0.0)

    simulate(story)
