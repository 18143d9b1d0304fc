"""Handing over: warm, drained, cut over; and everything that must leave leadership where it is. In virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from incumbent.errors import InvalidInput, LeadershipLost
from incumbent.leadership.candidacy import LOOK_AGAIN_S_MIN
from incumbent.leadership.election import Election
from incumbent.leadership.events import EventKind
from incumbent.leadership.outcome import Done, Handover
from incumbent.leadership.preference import Preference
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, mend, until
from tests.leadership.team import Team, team

TRIP_S = 0.01


def test_leadership_goes_to_the_one_that_was_named() -> None:
    """P39, P41: those between make room first, the body has ended when the successor begins, tokens rise, and the time without
    a leader was measured."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            for name in "abcd":
                await t.add(name)
            await until(lambda: t.leading == ["a"])
            done = await t.elections["a"].handover("c")
            assert (done.code, done.successor) == (Done.DONE, "c")
            assert done.leaderless_s is not None
            assert 0 <= done.leaderless_s < 0.1
            assert t.leaders == ["a", "c"]
            assert "remove" not in {call for engine in t.engines.values() for call in engine.calls}
            assert t.terms[1].token > t.terms[0].token
            assert t.terms[0].reason is Reason.HANDED_OVER
            await until(lambda: t.lab.members()[0] == "c" and len(t.lab.members()) == 4)
            await asyncio.sleep(2 * LOOK_AGAIN_S_MIN)
            assert (await t.elections["a"].operations.control()).successor is None

    simulate(story)


@pytest.mark.parametrize("verb", ["resign", "handover"])
def test_letting_go_costs_two_round_trips(verb: str) -> None:
    """P41: from the end of the one body to the beginning of the next, the former leader leaves and its successor claims, and
    that is all: what operators said comes with the claim."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            times: list[float] = []

            async def body(_: Term) -> None:
                times.append(t.lab.now_s)
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(
                        10 * TRIP_S
                    )  # puts its work away; the other one has looked at everything by then
                    times.append(t.lab.now_s)

            for name in "ab":
                await t.add(name, body=body)
                t.engines[name].on_request = lambda _: asyncio.sleep(TRIP_S)
            await asyncio.sleep(TTL_S)
            await getattr(t.elections["a"], verb)()
            await until(lambda: t.leading == ["b"])
            _, ended_s, began_s = times[:3]
            assert began_s - ended_s == pytest.approx(2 * TRIP_S, abs=TRIP_S / 10)

    simulate(story)


def test_the_leader_lets_go_only_when_its_successor_is_next() -> None:
    """P40, P41: somebody between that makes no room keeps leadership where it is, and is not let in by mistake."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            for name in "abc":
                await t.add(name)
            cut(t.engines["b"], "read_cell")  # it knows of nothing
            assert (await t.elections["a"].handover("c", warm_s=2)).code is Done.NOT_READY
            assert t.leading == ["a"]
            mend(t.engines["b"])
            assert (await t.elections["a"].handover("c", warm_s=5)).ok
            assert t.leaders == ["a", "c"]

    simulate(story)


def test_without_a_name_the_most_preferred_takes_over() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a", Preference(priority=9))
            await t.add("b")
            await t.add("c", Preference(priority=1))
            assert (await t.elections["a"].handover()).successor == "c"
            await until(lambda: t.leading == ["c"])

    simulate(story)


def test_the_successor_is_warm_before_the_leader_stops() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            order: list[str] = []

            async def warm_up() -> None:
                assert t.leading == ["a"]
                order.append("warming")
                await asyncio.sleep(3)
                order.append("warm")

            async def body(term: Term) -> None:
                await term.wait_handover()
                assert term.handover_requested
                order.append("draining")
                await asyncio.sleep(1)
                assert term.is_valid
                order.append("drained")

            await t.add("a", body=body)
            await t.add("b", Preference(warm_up=warm_up))
            done = await t.elections["a"].handover("b")
            await until(lambda: t.leading == ["b"])
            assert done.ok
            assert t.terms[0].reason is Reason.HANDED_OVER
            await t.tasks["a"]  # its work has returned
            assert order == ["warming", "warm", "draining", "drained"]

    simulate(story)


def test_a_body_that_listens_and_does_not_end_is_cancelled_when_its_time_is_up() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:

            async def body(term: Term) -> None:
                while not term.handover_requested or term.is_valid:
                    await asyncio.sleep(0.1)

            await t.add("a", body=body)
            await t.add("b")
            began_s = t.lab.now_s
            assert (await t.elections["a"].handover("b", drain_s=4)).ok
            assert 4 <= t.lab.now_s - began_s < 5
            assert t.terms[0].reason is Reason.HANDED_OVER

    simulate(story)


def test_a_body_hands_over_itself() -> None:
    """The call does not return: the block ends there."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            returned: list[Handover] = []
            lab = t.lab
            await t.add("b")
            await until(lambda: t.leading == ["b"])
            async with lab.connect() as cluster:
                election = cluster.election("e", candidate="z", fenced=True)
                standing = asyncio.create_task(stand_and_hand_over(election, returned, lab))
                await until(lambda: "z" in lab.members())
                assert (await t.elections["b"].handover("z")).ok
                with pytest.raises(LeadershipLost, match="handed_over"):
                    await standing
            assert returned == []
            await until(lambda: t.leading == ["b"])

    async def stand_and_hand_over(election: Election, returned: list[Handover], lab: Lab) -> None:
        async with election.campaign():
            await until(lambda: "b" in lab.members())
            returned.append(await election.handover("b"))

    simulate(story)


# --- what leaves leadership where it is (P40) -------------------------------------------------------------------------


async def gone(t: Team) -> None:
    t.tasks["b"].cancel()
    await until(lambda: "b" not in t.lab.members())


async def dies(t: Team) -> None:
    """Silence: its session ends a TTL later."""
    cut(t.engines["b"])


async def drained(t: Team) -> None:
    await t.elections["a"].operations.drain("b")


async def paused(t: Team) -> None:
    await t.elections["a"].operations.pause()


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (gone, Done.NO_CANDIDATE),
        (dies, Done.GONE),
        (drained, Done.UNABLE),
        (paused, Done.PAUSED),
    ],
)
def test_a_successor_that_is_not_there_leaves_leadership_where_it_is(
    happens: Callable[[Team], Awaitable[None]], code: Done
) -> None:
    """P40: and the next hand-over works."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            for name in "abc":
                await t.add(name)
            await happens(t)
            done = await t.elections["a"].handover("b", warm_s=3 * TTL_S)
            assert (done.code, done.leaderless_s) == (code, None)
            assert t.leaders == ["a"]
            assert t.leading == ["a"]
            await t.elections["a"].operations.resume()
            assert (await t.elections["a"].handover("c")).ok
            await until(lambda: t.leading == ["c"])

    simulate(story)


def test_a_successor_that_goes_while_it_warms_up_leaves_leadership_where_it_is() -> None:
    """P40."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            warming = asyncio.Event()

            async def warm_up() -> None:
                warming.set()
                await asyncio.Event().wait()

            await t.add("a")
            await t.add("b", Preference(warm_up=warm_up))
            handing = asyncio.create_task(t.elections["a"].handover("b", warm_s=60))
            await warming.wait()
            assert (await t.elections["a"].handover("b")).code is Done.BUSY
            t.tasks["b"].cancel()
            assert (await handing).code is Done.GONE
            assert t.leading == ["a"]
            assert not t.terms[0].handover_requested

    simulate(story)


async def fails() -> None:
    raise RuntimeError("no cache")


async def hangs() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("warm_up", [fails, hangs])
def test_a_successor_that_is_not_warm_in_time_leaves_leadership_where_it_is(
    warm_up: Callable[[], Awaitable[None]],
) -> None:
    """P40."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a")
            await t.add("b", Preference(warm_up=warm_up))
            assert (await t.elections["a"].handover("b", warm_s=2)).code is Done.NOT_READY
            assert t.leading == ["a"]
            await until(lambda: t.lab.store.read_cell("e", "incumbent.control").value == b"{}")

    simulate(story)


def test_a_warm_up_that_failed_is_known_at_once() -> None:
    """P40: nobody waits for the time that it was given."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a")
            await t.add("b", Preference(warm_up=fails))
            began_s = t.lab.now_s
            assert (await t.elections["a"].handover("b", warm_s=60)).code is Done.NOT_READY
            assert t.lab.now_s - began_s < 1

    simulate(story)


def test_a_leader_that_dies_while_it_hands_over_is_followed() -> None:
    """P40: naming a successor never leaves an election without a leader, whoever of the two dies."""

    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a")
            await t.add("b", Preference(warm_up=hangs))
            await t.add("c")
            handing = asyncio.create_task(t.elections["a"].handover("b", warm_s=60))
            await until(lambda: t.lab.store.read_cell("e", "incumbent.control").value not in (None, b"{}"))
            cut(t.engines["a"])
            cut(t.engines["b"])
            await until(lambda: t.leading == ["c"], within_s=4 * TTL_S)
            handing.cancel()

    simulate(story)


def test_an_operator_asks_the_leader_to_hand_over() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            for name in "abc":
                await t.add(name)
            async with t.lab.connect() as desk:
                operations = desk.election("e").operations
                done = await operations.handover(to="c", warm_s=5, drain_s=5)
                assert (done.code, done.candidate) == (Done.DONE, "c")
                assert t.leading == ["c"]
                assert (await operations.handover(to="x", warm_s=5, drain_s=5)).code is Done.NO_CANDIDATE
                await operations.pause()
                assert (await operations.handover(to="a", warm_s=5, drain_s=5)).code is Done.PAUSED

    simulate(story)


def test_who_does_not_lead_has_nothing_to_hand_over() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a")
            await t.add("b")
            assert (await t.elections["b"].handover("a")).code is Done.NO_LEADER
            async with t.lab.connect() as desk:
                nobody = desk.election("other").operations
                assert (await nobody.handover(warm_s=1, drain_s=1)).code is Done.NO_LEADER
            with pytest.raises(InvalidInput, match="warm_s"):
                await t.elections["a"].handover(warm_s=-1)

    simulate(story)


def test_a_handed_over_term_is_told_as_released() -> None:
    async def story(sim: Simulation) -> None:
        async with team(sim) as t:
            await t.add("a")
            await t.add("b")
            await t.elections["a"].handover("b")
            kinds = t.lab.kinds(candidate="a")
            assert (kinds[0], kinds[-1]) == (EventKind.ELECTED, EventKind.RELEASED)

    simulate(story)
