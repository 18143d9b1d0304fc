"""What operators do, what preferences do, and what is left in the history. In virtual time, on a strange engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from incumbent.engines.api import CellWrite
from incumbent.errors import EngineError, InvalidInput, LeadershipLost, OutcomeUnknown, Overloaded
from incumbent.leadership.candidacy import GROUP
from incumbent.leadership.control import CONTROL_CELL, DRAINED_MAX
from incumbent.leadership.history import NOT_KNOWN
from incumbent.leadership.operate import Operations
from incumbent.leadership.outcome import Done
from incumbent.leadership.preference import Preference
from incumbent.leadership.roll import Leader
from incumbent.leadership.stance import ATTENTIVE_MAX
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.leadership.why import Finding
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, cut, lead_until_lost, mend, until
from tests.leadership.team import Team, team


@asynccontextmanager
async def desk(t: Team) -> AsyncIterator[Operations]:
    """An operator's process: it has no candidacy and opens no session."""
    async with t.lab.connect() as cluster:
        yield cluster.election("e").operations


def play(story: Callable[[Team, Operations], Awaitable[None]], *names: str) -> None:
    """With candidates of these names, the first of which leads."""

    async def whole(sim: Simulation) -> None:
        async with team(sim) as t, desk(t) as operations:
            for name in names:
                await t.add(name)
            if names:
                await until(lambda: t.leading == [names[0]])
            await story(t, operations)

    simulate(whole)


# --- pause ------------------------------------------------------------------------------------------------------------


def test_while_paused_nobody_takes_over_and_the_leader_goes_on() -> None:
    """P42: the leader may continue, nobody follows it, order is kept, and observers see nobody until it is resumed."""

    async def story(t: Team, operations: Operations) -> None:
        assert (await operations.pause(by="ops", why="disks")).code is Done.DONE
        assert (await operations.pause(by="other")).code is Done.ALREADY
        await asyncio.sleep(10 * TTL_S)
        assert t.leading == ["a"]
        assert await t.elections["b"].leader() == Leader("a", t.terms[0].token)
        cut(t.engines["a"])
        await until(lambda: t.lab.members() == ["b", "c"], within_s=3 * TTL_S)
        await asyncio.sleep(10 * TTL_S)
        assert t.leaders == ["a"]
        assert t.lab.members() == ["b", "c"]
        assert await t.elections["b"].leader() is None
        assert [c.leads for c in await operations.candidates()] == [False, False]
        assert (await operations.why())[0].code is Finding.PAUSED
        assert (await operations.resume()).code is Done.DONE
        await until(lambda: t.leading == ["b"], within_s=1)
        assert (await operations.resume()).code is Done.ALREADY

    play(story, "a", "b", "c")


def test_a_pause_that_was_acknowledged_before_the_claim_is_obeyed() -> None:
    """P42: what operators said comes with the claim, however long ago the candidate looked for the last time."""

    async def story(t: Team, operations: Operations) -> None:
        claimed = asyncio.Event()
        go_on = asyncio.Event()

        async def hold(method: str) -> None:
            if method == "claim" and t.lab.members()[0] == "b":
                claimed.set()
                await go_on.wait()

        t.engines["b"].on_request = hold
        t.tasks["a"].cancel()
        await claimed.wait()
        await operations.pause()
        go_on.set()
        await asyncio.sleep(TTL_S)
        assert t.leaders == ["a"]
        await operations.resume()
        await until(lambda: t.leading == ["b"])

    play(story, "a", "b")


def test_a_pause_keeps_new_elections_from_having_a_leader() -> None:
    async def story(t: Team, operations: Operations) -> None:
        await operations.pause()
        await t.add("a")
        await asyncio.sleep(10 * TTL_S)
        assert t.leaders == []
        assert await t.elections["a"].leader() is None
        await operations.resume()
        await until(lambda: t.leading == ["a"], within_s=1)

    play(story)


def test_what_operators_said_and_nobody_can_read_is_not_overlooked() -> None:
    """P42: an election whose control cell is damaged has no new leader, and says why."""

    async def story(t: Team, operations: Operations) -> None:
        await t.lab.engine().write_cells("e", [CellWrite(CONTROL_CELL, b"{", None)], None)
        with pytest.raises(EngineError, match=CONTROL_CELL):
            await operations.control()
        async with t.lab.connect() as cluster:
            with pytest.raises(EngineError, match=CONTROL_CELL):
                await lead_until_lost(cluster.election("e").campaign(), [])
        assert t.leading == ["a"]

    play(story, "a")


# --- drain, evict, resign, anoint -------------------------------------------------------------------------------------


def test_a_drained_candidate_stops_leading_and_does_not_lead_until_undrained() -> None:
    async def story(t: Team, operations: Operations) -> None:
        assert (await operations.drain("a")).ok
        await until(lambda: t.leading == ["b"], within_s=1)
        assert t.terms[0].reason is Reason.DRAINED
        await until(lambda: "a" in t.lab.members())
        t.tasks["b"].cancel()
        await asyncio.sleep(3 * TTL_S)
        assert t.leading == []
        assert await operations.candidates() != ()
        assert (await operations.why())[0].code is Finding.NOBODY_MAY
        assert await t.elections["b"].leader() is None
        assert (await operations.undrain("a")).ok
        await until(lambda: t.leading == ["a"], within_s=1)

    play(story, "a", "b")


def test_too_many_drained_are_refused() -> None:
    async def story(t: Team, operations: Operations) -> None:
        for number in range(DRAINED_MAX):
            await operations.drain(f"n{number}")
        with pytest.raises(InvalidInput, match="undrain others"):
            await operations.drain("a")
        with pytest.raises(InvalidInput, match="why"):
            await operations.pause(why="x" * 201)
        assert t.leading == ["a"]

    play(story, "a")


def test_an_evicted_candidate_stands_again_behind() -> None:
    async def story(t: Team, operations: Operations) -> None:
        assert (await operations.evict("b")).ok
        await until(lambda: t.lab.members() == ["a", "c", "b"])
        assert t.leaders == ["a"]
        assert (await operations.evict("x")).code is Done.NO_CANDIDATE
        # Who leads is asked, so its work has ended before another begins.
        assert (await operations.evict("a")).ok
        await until(lambda: t.leading == ["c"], within_s=1)
        assert t.terms[0].reason is Reason.EVICTED
        await until(lambda: t.lab.members() == ["c", "b", "a"])

    play(story, "a", "b", "c")


def test_a_leader_that_does_not_answer_is_evicted_by_force() -> None:
    async def story(t: Team, operations: Operations) -> None:
        # A body that does not end when cancelled keeps its place; only force takes it.
        async def stubborn(term: Term) -> None:
            while True:
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    if not term.is_valid and t.leading == ["b"]:
                        raise
                    await asyncio.sleep(60)
                    raise

        await t.add("a", body=stubborn)
        await t.add("b")
        await until(lambda: t.leading == ["a"])
        assert (await operations.evict("a")).code is Done.NOT_YET
        assert t.lab.members()[0] == "a"
        assert (await operations.evict("a", force=True)).ok
        await until(lambda: t.leading == ["b"], within_s=1)
        assert t.terms[1].token > t.terms[0].token

    play(story)


def test_the_leader_resigns_when_asked() -> None:
    async def story(t: Team, operations: Operations) -> None:
        assert (await operations.resign()).candidate == "a"
        await until(lambda: t.leading == ["b"], within_s=1)
        assert t.terms[0].reason is Reason.RESIGNED

    play(story, "a", "b")


def test_without_a_leader_there_is_nobody_to_ask() -> None:
    async def story(_: Team, operations: Operations) -> None:
        assert (await operations.resign()).code is Done.NO_LEADER
        assert (await operations.anoint("a")).code is Done.NO_CANDIDATE
        assert await operations.candidates() == ()
        assert [s.code for s in await operations.why()] == [Finding.NO_CANDIDATES]

    play(story)


def test_the_anointed_leads_next_and_at_once() -> None:
    async def story(t: Team, operations: Operations) -> None:
        assert (await operations.anoint("a")).code is Done.ALREADY
        done = await operations.anoint("d")
        assert (done.code, done.candidate) == (Done.DONE, "d")
        await until(lambda: t.leading == ["d"], within_s=1)
        assert t.leaders == ["a", "d"]
        assert t.terms[0].reason is Reason.HANDED_OVER
        await until(lambda: len(t.lab.members()) == 4)
        await operations.drain("b")
        assert (await operations.anoint("b")).code is Done.UNABLE
        await operations.pause()
        assert (await operations.anoint("c")).code is Done.PAUSED
        assert t.leading == ["d"]

    play(story, "a", "b", "c", "d")


def test_a_foreign_candidate_in_front_cannot_be_asked_to_make_room() -> None:
    async def story(t: Team, operations: Operations) -> None:
        foreign = t.lab.engine()
        session = await foreign.open_session(1000, "x" * 32)
        await foreign.join(session, "e", "x" * 32, b"etcdctl")
        await t.add("b")
        plain = t.lab.store.roster

        def roster(name: str) -> object:
            found = plain(name)
            members = tuple(
                type(m)(m.id, m.order, m.value, ours=m.value != b"etcdctl") for m in found.members
            )
            return type(found)(found.cursor, members, found.token)

        t.lab.store.roster = roster  # type: ignore[method-assign,assignment]
        assert (await operations.anoint("b")).code is Done.FOREIGN
        assert (await t.elections["a"].handover("b")).code is Done.FOREIGN
        assert t.leading == ["a"]
        assert Finding.FOREIGN in [s.code for s in await operations.why()]
        t.tasks["a"].cancel()
        await until(lambda: t.lab.members()[0] == "etcdctl")
        assert (await operations.resign()).code is Done.FOREIGN
        assert (await operations.evict("etcdctl")).code is Done.FOREIGN
        assert (await operations.handover(warm_s=1, drain_s=1)).code is Done.FOREIGN
        assert (await operations.evict("etcdctl", force=True)).ok
        await until(lambda: t.leading == ["b"])

    play(story, "a")


# --- preference -------------------------------------------------------------------------------------------------------


def test_the_most_preferred_follows_wherever_it_stands() -> None:
    async def story(t: Team, _: Operations) -> None:
        for name, priority in (("a", 5), ("b", 1), ("c", 2), ("d", 2)):
            await t.add(name, Preference(priority=priority))
        await until(lambda: t.lab.members() == ["a", "c", "d", "b"])
        t.tasks["a"].cancel()
        await until(lambda: t.leading == ["c"])
        t.tasks["c"].cancel()
        await until(lambda: t.leading == ["d"])

    play(story)


def test_a_preferred_candidate_preempts_once_in_each_delay() -> None:
    """P43: and never one that wants to be left in peace."""

    async def story(t: Team, _: Operations) -> None:
        await t.add("a", Preference(priority=1, preempt_delay=60.0))
        await until(lambda: t.leading == ["a"])
        began_s = t.lab.now_s
        await t.add("b", Preference(priority=2, preempt_delay=60.0))
        await t.add("c", Preference(priority=3, preempt_delay=60.0, stickiness=5))
        await until(lambda: len(t.terms) == 2, within_s=100)
        assert t.lab.now_s - began_s == pytest.approx(60, abs=0.5)
        assert t.leading == ["c"]  # the best of all who waited, at once
        assert t.terms[0].reason is Reason.PREEMPTED
        await t.add("d", Preference(priority=7, preempt_delay=60.0))
        await asyncio.sleep(300)
        assert t.leading == ["c"]
        await t.add("e", Preference(priority=9, preempt_delay=60.0))
        await until(lambda: t.leading == ["e"], within_s=1)

    play(story)


def test_an_ineligible_candidate_never_leads() -> None:
    """P43: it stands, keeps nobody waiting, and leads once it may; a predicate that fails says no."""

    async def story(t: Team, operations: Operations) -> None:
        fit = {"a": False, "b": False}

        def predicate(name: str) -> Callable[[], bool]:
            def eligible() -> bool:
                if name == "c":
                    raise RuntimeError("no metrics")
                return fit[name]

            return eligible

        for name in "abc":
            await t.add(name, Preference(eligible=predicate(name)))
        await asyncio.sleep(10 * TTL_S)
        assert t.leaders == []
        assert await t.elections["a"].leader() is None
        assert [c.eligible for c in await operations.candidates()] == [False, False, False]
        assert (await operations.why())[0].code is Finding.NOBODY_MAY
        fit["b"] = True
        await until(lambda: t.leading == ["b"], within_s=3)
        first = next(c for c in await operations.candidates() if c.candidate == "b")
        assert (first.position, first.leads, first.eligible) == (1, True, True)
        fit["b"] = False
        await asyncio.sleep(TTL_S)
        assert t.leading == ["b"]  # it is asked before an election; who leads goes on
        fit["a"] = True
        t.tasks["b"].cancel()
        await until(lambda: t.leading == ["a"], within_s=3)

    play(story)


def test_what_is_present_is_of_one_look() -> None:
    """Who is said to lead is the one among the candidates who does."""

    async def story(t: Team, operations: Operations) -> None:
        await operations.drain("b")
        seen = set[int]()
        for _ in range(20):
            turning = asyncio.create_task(operations.resign())
            while not turning.done():
                present = await operations.present()
                leading = [c.candidate for c in present.candidates if c.leads]
                assert leading == ([] if present.leader is None else [present.leader.candidate])
                assert present.control.drained == ("b",)
                seen |= set() if present.leader is None else {present.leader.token}
                await asyncio.sleep(0.001)
            await turning
            await asyncio.sleep(1)
        assert len(seen) > 10

    play(story, "a", "c")


# --- what is left behind ----------------------------------------------------------------------------------------------


def test_the_history_says_who_led_and_why_it_ended() -> None:
    async def story(t: Team, operations: Operations) -> None:
        await t.elections["a"].handover("b")
        await until(lambda: t.lab.members() == ["b", "a"])
        cut(t.engines["b"])
        await until(lambda: t.leading == ["a"], within_s=3 * TTL_S)
        await asyncio.sleep(1)
        first, second, third = await operations.history()
        assert [first.token, second.token, third.token] == [term.token for term in t.terms]
        assert (first.candidate, first.reason) == ("a", Reason.HANDED_OVER)
        assert (second.candidate, second.reason) == ("b", NOT_KNOWN)
        assert (third.candidate, third.reason, third.ended_ms) == ("a", None, None)
        assert second.gap_ms is not None
        assert 0 <= second.gap_ms < 100
        assert third.gap_ms is None  # nobody knows since when
        assert third.began_ms - first.began_ms > TTL_S * 1000
        codes = [s.code for s in await operations.why()]
        assert codes == [Finding.LEADS, Finding.LAST]

    play(story, "a", "b")


def test_a_history_that_cannot_be_written_delays_nobody() -> None:
    async def story(t: Team, operations: Operations) -> None:
        engine = t.lab.engine()
        cut(engine, "write_cells")
        async with t.lab.connect(engine) as cluster:
            async with cluster.election("e", candidate="x").campaign() as term:
                assert term.is_valid
            assert await operations.history() == ()

    play(story)


def test_an_answer_that_was_lost_is_looked_for() -> None:
    """P3: a verb whose outcome is not known is asked again and takes effect once."""

    async def story(t: Team, _: Operations) -> None:
        engine = t.lab.engine()
        async with t.lab.connect(engine) as cluster:
            operations = cluster.election("e").operations
            engine.fail_next("write_cells", OutcomeUnknown("lost"), after_effect=True)
            assert (await operations.drain("b")).ok
            assert (await operations.control()).drained == ("b",)
            engine.fail_next("write_cells", OutcomeUnknown("lost"), times=99)
            with pytest.raises(Overloaded):
                await operations.drain("c")

    play(story, "a")


def test_candidates_are_shown_as_they_stand() -> None:
    async def story(t: Team, operations: Operations) -> None:
        await t.add("a", Preference(priority=2, tags={"zone": "x"}))
        await t.add("b")
        await operations.drain("b")
        first, second = await t.elections["b"].candidates()
        assert (first.candidate, first.position, first.leads, first.priority) == ("a", 1, True, 2)
        assert (first.tags, first.eligible, first.ours, first.drained) == ({"zone": "x"}, True, True, False)
        assert (second.candidate, second.position, second.leads, second.drained) == ("b", 2, False, True)

    play(story)


def test_many_who_wait_are_not_all_woken() -> None:
    """Who stands far behind looks when the one in front of it goes, and not before."""

    async def story(t: Team, _: Operations) -> None:
        for number in range(20):
            await t.add(f"n{number:02}")
        await asyncio.sleep(2)
        campaigns = [next(iter(election._office.campaigns)) for election in t.elections.values()]
        watched = [campaign._candidacy._watched for campaign in campaigns]
        ids = [member.id for member in t.lab.store.groups["e"].members]
        assert watched[1 : ATTENTIVE_MAX + 1] == [GROUP] * ATTENTIVE_MAX
        assert watched[ATTENTIVE_MAX + 1 :] == ids[ATTENTIVE_MAX:-1]

    play(story)


def test_lost_in_the_middle_of_a_term_is_lost_as_ever() -> None:
    async def story(t: Team, _: Operations) -> None:
        async with t.lab.connect() as cluster:
            terms: list[Term] = []
            task = asyncio.create_task(lead_until_lost(cluster.election("e").campaign(), terms))
            await until(lambda: terms)
            assert await cluster.election("e").resign()
            with pytest.raises(LeadershipLost, match="resigned"):
                await task

    play(story)


# --- proclaim ---------------------------------------------------------------------------------------------------------


def test_a_leader_proclaims_another_value() -> None:
    async def story(t: Team, _: Operations) -> None:
        a, b = t.elections["a"], t.elections["b"]
        assert await a.proclaim(b"10.0.0.1")
        assert await b.leader() == Leader("a", t.terms[0].token, b"10.0.0.1")
        assert not await b.proclaim(b"me")
        assert [c.value for c in await b.candidates()] == [b"10.0.0.1", b""]
        with pytest.raises(InvalidInput, match="value"):
            await a.proclaim(bytes(20_000))
        engine = t.engines["a"]
        cut(engine, "update")
        with pytest.raises(OutcomeUnknown):
            await a.proclaim(b"lost")
        mend(engine)
        first = t.lab.store.groups["e"].members[0]
        t.lab.store.remove("e", first.id, first.revision)
        assert not await a.proclaim(b"late")
        await until(lambda: t.leading == ["b"])
        await a.resign()
        assert not await a.proclaim(b"later")

    play(story, "a", "b")
