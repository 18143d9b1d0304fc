"""Leadership on a real engine, in real time: what the laboratory shows on a strange one, once more where it matters.

Every story is run on each engine (`test_leadership.py`). A `Gate` stands between a cluster object and its engine, and lets
through what it is told to.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, TypeAlias

import pytest

import incumbent
from incumbent.engines.api import Engine
from incumbent.errors import EngineUnavailable, LeadershipLost, OutcomeUnknown
from incumbent.leadership.campaign import Campaign
from incumbent.leadership.connect import Cluster
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.tenure import Reason
from incumbent.leadership.term import Term
from incumbent.runtime.clock import BoottimeClock

TTL_S: Final = 1.0
PATIENCE_S: Final = 15.0
CLOCK: Final = BoottimeClock()
Client: TypeAlias = Callable[[], Awaitable[Engine]]
Story: TypeAlias = Callable[["Stage"], Awaitable[None]]


class Gate:
    """An engine whose calls can be refused, lost, or slowed down, by the names of its methods."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.refused: set[str] = set()
        self.lost: set[str] = set()  # done, and the caller is not told; each once
        self.slow_s: dict[str, float] = {}
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(self.engine, name)
        if name in ("guarantees", "watch", "close"):
            return real

        async def call(*arguments: object, **options: object) -> object:
            self.calls.append(name)
            if name in self.refused or "*" in self.refused:
                raise EngineUnavailable("the gate is shut")
            result = await real(*arguments, **options)
            await asyncio.sleep(self.slow_s.get(name, 0.0))
            if name in self.lost:
                self.lost.discard(name)
                raise OutcomeUnknown("the answer was lost")
            return result

        return call


class Stage:
    """Cluster objects on one engine, each as a process of its own would have it."""

    def __init__(self, client: Client, stack: AsyncExitStack) -> None:
        self.election = f"e-{secrets.token_hex(4)}"
        self.events: list[TermEvent] = []
        self._client = client
        self._stack = stack

    async def gate(self) -> Gate:
        engine = await self._client()
        self._stack.push_async_callback(engine.close)
        return Gate(engine)

    async def cluster(self, gate: Gate | None = None) -> Cluster:
        engine: Any = gate or await self.gate()
        return await self._stack.enter_async_context(incumbent.connect(engine=engine, ttl=TTL_S))

    async def members(self) -> list[str]:
        engine = await self._client()
        try:
            return [entry.value.decode() for entry in (await engine.roster(self.election)).members]
        finally:
            await engine.close()


async def until(condition: Callable[[], object], *, within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


async def lead(campaign: Campaign, terms: list[Term]) -> None:
    async with campaign as term:
        terms.append(term)
        await asyncio.Event().wait()


async def end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


# --- candidates -------------------------------------------------------------------------------------------------------


async def check_a_cancelled_candidate_leaves_nothing(stage: Stage) -> None:
    """P2, P4: cancelled at any moment, from the first call to some time after its election."""
    cluster = await stage.cluster()
    for turn in range(12):
        task = asyncio.create_task(lead(cluster.election(stage.election).campaign(), []))
        await asyncio.sleep(turn * 0.004)
        await end(task)
    async with asyncio.timeout(PATIENCE_S):
        while await stage.members():
            await asyncio.sleep(0.02)
        async with cluster.election(stage.election).campaign() as term:
            assert term.is_valid


async def check_lost_answers_are_asked_for_again(stage: Stage) -> None:
    """P3, P6: one session, one member; and two candidacies of one identity stand one after the other."""
    gate = await stage.gate()
    cluster = await stage.cluster(gate)
    gate.lost = {"open_session", "stand"}
    terms: list[Term] = []
    tasks = [
        asyncio.create_task(lead(cluster.election(stage.election, candidate="a").campaign(), terms))
        for _ in "12"
    ]
    await until(lambda: terms)
    await asyncio.sleep(0.1)
    assert await stage.members() == ["a"]
    assert len(terms) == 1
    assert gate.calls.count("stand") == 2
    await end(*tasks)


async def check_everybody_comes_back_from_an_outage(stage: Stage) -> None:
    """P7, P8, P18, P19, P30: all are cut off until every lease is over; when the engine is back, one leads, with a higher
    token, and soon."""
    gates = [await stage.gate() for _ in range(8)]
    tokens: list[int] = []
    leading: list[Term] = []

    async def work(term: Term) -> None:
        assert not any(other.is_valid for other in leading)
        leading.append(term)
        tokens.append(term.token)
        await asyncio.Event().wait()

    tasks = [
        asyncio.create_task((await stage.cluster(gate)).election(stage.election, fenced=True).run(work))
        for gate in gates
    ]
    await until(lambda: tokens)
    for gate in gates:
        gate.refused = {"*"}
    await until(lambda: not leading[0].is_valid)
    await asyncio.sleep(TTL_S)
    assert len(tokens) == 1
    for gate in gates:
        gate.refused = set()
    await until(lambda: len(tokens) == 2, within_s=2 * TTL_S + 4)
    assert tokens[1] > tokens[0]
    await end(*tasks)


# --- leases -----------------------------------------------------------------------------------------------------------


async def check_a_leader_that_is_cut_off_ends_before_its_successor_begins(stage: Stage) -> None:
    """P10, P12, P13, P24, P27: counted from before its last renewal left, whose answer was slow; and a renewal that
    succeeds afterwards brings nothing back."""
    gate = await stage.gate()
    one, two = await stage.cluster(gate), await stage.cluster()
    terms: list[Term] = []
    first = asyncio.create_task(
        lead(one.election(stage.election, fenced=True, listener=stage.events.append).campaign(), terms)
    )
    await until(lambda: terms)
    second = asyncio.create_task(lead(two.election(stage.election, fenced=True).campaign(), terms))
    gate.slow_s["renew"] = 0.25 * TTL_S
    before = TTL_S
    end_s = time.monotonic() + 2 * TTL_S
    while time.monotonic() < end_s:
        remaining = terms[0].remaining()
        assert 0 < remaining <= TTL_S
        before = remaining
        await asyncio.sleep(0.01)
    assert before
    gate.refused = {"renew"}
    while len(terms) == 1:
        await asyncio.sleep(0.001)
        assert len(terms) == 1 or not terms[0].is_valid
    assert terms[1].token > terms[0].token
    gate.refused, gate.slow_s = set(), {}
    await asyncio.sleep(0.2)
    assert not terms[0].is_valid
    with pytest.raises(LeadershipLost):
        await first
    await until(lambda: stage.events[-1].kind is EventKind.LOST)
    kinds = [event.kind for event in stage.events]
    assert (kinds[0], kinds.count(EventKind.ELECTED), kinds.count(EventKind.LOST)) == (
        EventKind.ELECTED,
        1,
        1,
    )
    await end(second)


async def check_a_blocked_loop_within_the_margin_loses_nothing(stage: Stage) -> None:
    """P20, P22: the next renewal comes when it runs again; past the margin the term ends, by its name."""
    cluster = await stage.cluster()
    with pytest.raises(LeadershipLost, match="loop_stall"):
        async with cluster.election(stage.election).campaign() as term:
            for _ in range(3):
                time.sleep(0.4 * TTL_S)
                await asyncio.sleep(0.05)
                assert term.is_valid
            time.sleep(1.2 * TTL_S)
            assert not term.is_valid
            await asyncio.sleep(1)


async def check_a_thread_sees_the_end_by_asking(stage: Stage) -> None:
    """P28: no later than at the deadline that it could know, and without a call to the engine."""
    gate = await stage.gate()
    cluster = await stage.cluster(gate)
    looks: list[int] = []

    def look(term: Term) -> None:
        asked_ns = CLOCK.now_ns()
        while term.is_valid:
            looks.append(asked_ns)
            time.sleep(0.001)
            asked_ns = CLOCK.now_ns()

    async def work() -> None:
        async with cluster.election(stage.election).campaign() as term:
            gate.refused = {"renew"}
            until_ns = CLOCK.now_ns() + round(term.remaining() * 1e9)
            try:
                await asyncio.to_thread(look, term)
            finally:
                ended.append(until_ns)

    ended: list[int] = []
    with pytest.raises(LeadershipLost, match="renew_timeout"):
        await work()
    gate.refused = set()
    await until(lambda: ended)
    assert looks[-1] <= ended[0] + 5_000_000


# --- bodies -----------------------------------------------------------------------------------------------------------


async def check_nobody_leads_beside_a_body_that_drains(stage: Stage) -> None:
    """P25, P39: it takes two TTLs to end, renewed all the while."""
    one, two = await stage.cluster(), await stage.cluster()
    order: list[str] = []

    async def drain() -> None:
        async with one.election(stage.election).campaign():
            order.append("first")
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(2 * TTL_S)
                order.append("first ended")

    async def follow() -> None:
        async with two.election(stage.election).campaign():
            order.append("second")

    first = asyncio.create_task(drain())
    await until(lambda: order)
    second = asyncio.create_task(follow())
    resigned = asyncio.create_task(one.election(stage.election).resign())
    await second
    assert order == ["first", "first ended", "second"]
    assert await resigned
    with pytest.raises(LeadershipLost, match="resigned"):
        await first


async def check_a_sick_leader_is_followed(stage: Stage) -> None:
    """P21: a probe that hangs stops no renewal; its own term ends and is released, and another one of the same session goes on."""
    one, two = await stage.cluster(), await stage.cluster()
    sick = asyncio.Event()
    loop = asyncio.get_running_loop()
    hung = loop.create_future()

    async def healthy() -> bool:
        if sick.is_set():
            await hung
        return True

    terms: list[Term] = []
    ill = one.election(stage.election, healthy=healthy, probe_interval=0.1, probe_timeout=0.2)
    first = asyncio.create_task(lead(ill.campaign(), terms))
    other = asyncio.create_task(lead(one.election(f"{stage.election}-other").campaign(), terms))
    await until(lambda: len(terms) == 2)
    second = asyncio.create_task(lead(two.election(stage.election).campaign(), terms))
    await asyncio.sleep(0.3)
    sick.set()
    await until(lambda: len(terms) == 3)
    with pytest.raises(LeadershipLost, match="unhealthy"):
        await first
    assert terms[2].is_valid
    assert not other.done()
    await end(other, second)


async def check_closing_tells_everybody(stage: Stage) -> None:
    """P26, P29: the leader, who waits, and who observes; and the observer saw every leader's token rise."""
    two = await stage.cluster()
    seen: list[int] = []

    async def watch() -> None:
        async for sighting in two.election(stage.election).observe():
            seen.extend([sighting.token] if isinstance(sighting, incumbent.Leader) else [])

    observing = asyncio.create_task(watch())
    tokens: list[int] = []
    for _ in range(3):
        async with two.election(stage.election).campaign() as term:
            tokens.append(term.token)
            await until(lambda: seen and seen[-1] == tokens[-1])
    async with AsyncExitStack() as stack:
        engine: Any = await stage.gate()
        one = await stack.enter_async_context(incumbent.connect(engine=engine, ttl=TTL_S))
        terms: list[Term] = []
        leading = asyncio.create_task(lead(one.election(stage.election).campaign(), terms))
        await until(lambda: terms)
        queued = asyncio.create_task(lead(one.election(stage.election).campaign(), terms))
        await asyncio.sleep(0.05)
    assert terms[0].reason is Reason.CLOSED
    with pytest.raises(LeadershipLost, match="closed"):
        await leading
    with pytest.raises((EngineUnavailable, LeadershipLost)):
        await queued
    assert seen == sorted(seen)
    assert seen[: len(tokens)] == tokens
    await end(observing)


STORIES: Final[tuple[Story, ...]] = (
    check_a_cancelled_candidate_leaves_nothing,
    check_lost_answers_are_asked_for_again,
    check_everybody_comes_back_from_an_outage,
    check_a_leader_that_is_cut_off_ends_before_its_successor_begins,
    check_a_blocked_loop_within_the_margin_loses_nothing,
    check_a_thread_sees_the_end_by_asking,
    check_nobody_leads_beside_a_body_that_drains,
    check_a_sick_leader_is_followed,
    check_closing_tells_everybody,
)


async def perform(story: Story, client: Client) -> None:
    async with AsyncExitStack() as stack:
        await story(Stage(client, stack))
