"""The stranger's fault hooks do what the tests of the layers above rely on."""

from __future__ import annotations

import asyncio

import pytest

from incumbent.engines.api import Claimed, Ender, Engine
from incumbent.errors import EngineUnavailable, OutcomeUnknown, SessionGone, WatchLost
from tests.engines.stranger import StrangerEnder, StrangerEngine, StrangerStore


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def now_ns(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> StrangerStore:
    return StrangerStore(clock.now_ns)


async def test_a_strangers_classes_fit_the_protocols_without_inheriting(store: StrangerStore) -> None:
    engine: Engine = StrangerEngine(store)
    ender: Ender = StrangerEnder(store)
    session = await engine.open_session(1.0, "a")
    assert await ender.end(session.ref)


async def test_an_error_before_the_effect_leaves_nothing_done(store: StrangerStore) -> None:
    engine = StrangerEngine(store)
    session = await engine.open_session(1.0, "a")
    engine.fail_next("join", EngineUnavailable("no route"), times=2)
    for _ in range(2):
        with pytest.raises(EngineUnavailable):
            await engine.join(session, "g", "j", b"")
    assert (await engine.roster("g")).members == ()
    await engine.join(session, "g", "j", b"")
    assert len((await engine.roster("g")).members) == 1


async def test_a_lost_reply_leaves_the_effect_done(store: StrangerStore) -> None:
    engine = StrangerEngine(store)
    session = await engine.open_session(1.0, "a")
    engine.fail_next("join", OutcomeUnknown("reply lost"), after_effect=True)
    with pytest.raises(OutcomeUnknown):
        await engine.join(session, "g", "j", b"")
    assert len((await engine.roster("g")).members) == 1


async def test_a_held_reply_has_taken_effect_for_others(store: StrangerStore) -> None:
    slow, other = StrangerEngine(store), StrangerEngine(store)
    session = await slow.open_session(1.0, "a")
    gate = asyncio.Event()

    async def hold(method: str) -> None:
        await gate.wait()

    slow.on_reply = hold
    joining = asyncio.create_task(slow.join(session, "g", "j", b""))
    while not (await other.roster("g")).members:
        await asyncio.sleep(0)
    assert not joining.done()
    gate.set()
    slow.on_reply = None
    assert isinstance(await other.claim(await joining), Claimed)


async def test_moving_the_clock_and_a_tick_announces_expiry(store: StrangerStore, clock: Clock) -> None:
    engine = StrangerEngine(store)
    session = await engine.open_session(1.0, "a", release_delay=1.0)
    await engine.join(session, "g", "j", b"")
    watching = engine.watch("g", (await engine.roster("g")).cursor)
    woken = asyncio.create_task(anext(watching))
    clock.now = 1_999_999_999
    store.tick()
    await asyncio.sleep(0)
    assert not woken.done()
    clock.now = 2_000_000_000
    store.tick()
    await woken
    with pytest.raises(SessionGone):
        await engine.renew(session)
    store.lose_watches()
    with pytest.raises(WatchLost):
        await anext(watching)
