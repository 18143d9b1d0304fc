"""Answers that a real ZooKeeper gave and the engine never got: found again, done once, or told as unknown."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from random import Random
from typing import TypeVar

import pytest

from incumbent.engines.api import Cell, CellWrite, Claimed
from incumbent.engines.zookeeper import connect, wire
from incumbent.engines.zookeeper.engine import ZooKeeperEngine
from incumbent.engines.zookeeper.service import exists
from incumbent.errors import VersionConflict
from incumbent.leadership.world import until_answered
from tests.engines.frame_proxy import Proxy, proxy_before
from tests.engines.zookeeper_service import ZooKeeperService, service

pytestmark = pytest.mark.slow

T = TypeVar("T")
TTL_S = 30.0
PING = 11


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperService]:
    with service(tmp_path_factory.mktemp("zookeeper"), 1) as running:
        yield running


@asynccontextmanager
async def bench(zookeeper: ZooKeeperService) -> AsyncIterator[tuple[Proxy, ZooKeeperEngine, ZooKeeperEngine]]:
    """An engine whose answers can be lost, and another on the same server whose answers never are."""
    path = secrets.token_hex(6)
    (address,) = zookeeper.server.clients.values()
    async with proxy_before(address) as proxy:
        engine = await connect(f"zookeeper://127.0.0.1:{proxy.port}/{path}")
        other = await connect(zookeeper.url(path))
        assert isinstance(engine, ZooKeeperEngine)
        assert isinstance(other, ZooKeeperEngine)
        try:
            yield proxy, engine, other
        finally:
            await engine.close()
            await other.close()


async def retried(call: Callable[[], Awaitable[T]]) -> T:
    """As `leadership` calls an engine: the same again, for as long as nobody knows."""
    return await until_answered(call, Random(0))


async def test_what_is_asked_again_is_done_once(zookeeper: ZooKeeperService) -> None:
    """P3: one session, one member, one renewal, one end."""
    async with bench(zookeeper) as (proxy, engine, other):
        proxy.lose.append(wire.CREATE2)
        session = await retried(lambda: engine.open_session(TTL_S, "request"))
        assert proxy.lost == [wire.CREATE2]
        before = await other.join(await other.open_session(TTL_S, "other"), "g", "r", b"")
        await other.leave(before)  # the group is there, so what is lost next was done
        proxy.lose.append(wire.CREATE2)
        member = await retried(lambda: engine.join(session, "g", "r", b"one"))
        (entry,) = (await other.roster("g")).members
        assert (entry.id, entry.order, entry.value) == (member.id, member.revision, b"one")

        proxy.lose.append(wire.SET_DATA)
        await retried(lambda: engine.renew(session))

        proxy.lose.append(wire.MULTI)
        assert isinstance(await retried(lambda: engine.claim(member)), Claimed)
        proxy.lose.append(wire.MULTI)
        await retried(lambda: engine.update(member, b"two"))
        proxy.lose.extend([wire.MULTI, wire.MULTI])
        assert await retried(lambda: engine.remove("g", member.id, member.revision))
        assert not (await other.roster("g")).members

        proxy.lose.append(wire.CLOSE)
        assert await retried(lambda: engine.end_session(session.ref))
        assert not await other.end_session(session.ref)
        assert not proxy.lose


async def test_a_stand_that_is_asked_again_makes_one_member(zookeeper: ZooKeeperService) -> None:
    """P2, P3: whatever of it was lost; and no second node was ever made."""
    async with bench(zookeeper) as (proxy, engine, other):
        (cell,) = await other.write_cells("g", [CellWrite("c", b"said", None)], None)
        session = await engine.open_session(TTL_S, "request")
        first, _ = await engine.stand(session, "g", "r0", b"")
        await engine.leave(first)
        lost = (wire.CREATE2, wire.GET_DATA, wire.GET_CHILDREN2)
        for kind in lost:
            proxy.lose.append(kind)
            member, answer = await retried(lambda: engine.stand(session, "g", "r", b"one", "c"))
            assert isinstance(answer, Claimed)
            assert (answer.member, answer.cell) == (member, cell)
            (entry,) = (await other.roster("g")).members
            assert (entry.id, entry.order, entry.value) == (member.id, member.revision, b"one")
            proxy.lose.append(wire.DELETE)
            await retried(partial(engine.leave, member))
            assert proxy.lost[-2:] == [kind, wire.DELETE]
            assert not (await other.roster("g")).members
        (group,) = await other.service.read(exists(other.service.tree.group("g")))
        assert group.cversion == 2 * (1 + len(lost)), "a change of the group for each that came or went"


async def test_whoever_stands_asks_once_and_reads_behind_its_write(zookeeper: ZooKeeperService) -> None:
    """P41, P42: what was acknowledged before it is in it, because a server does one connection's requests in order."""
    async with bench(zookeeper) as (proxy, engine, _):
        session = await engine.open_session(TTL_S, "request")
        await engine.leave(await engine.join(session, "g", "r", b""))
        proxy.asked.clear()
        member, _ = await engine.stand(session, "g", "r", b"", "c")
        assert asked(proxy) == [wire.CREATE2, wire.GET_DATA, wire.GET_CHILDREN2, wire.GET_DATA]
        await engine.claim(member, "c")
        reads = [wire.EXISTS, wire.GET_DATA, wire.GET_CHILDREN2, wire.GET_DATA]
        assert asked(proxy) == [wire.MULTI, *reads]
        await engine.leave(member)
        assert asked(proxy) == [wire.DELETE]


async def test_who_watches_is_woken_before_it_looks_again(zookeeper: ZooKeeperService) -> None:
    """And then once more if the group had changed more often than that, and else not."""
    async with bench(zookeeper) as (proxy, engine, other):
        sessions = [await other.open_session(TTL_S, f"{n}") for n in range(3)]
        await other.leave(await other.join(sessions[0], "g", "r", b""))
        wakes = engine.watch("g", (await engine.roster("g")).cursor)
        assert isinstance(wakes, AsyncGenerator)
        proxy.asked.clear()
        look = [wire.EXISTS, wire.EXISTS, wire.GET_CHILDREN2]
        for joining in (sessions[:1], sessions[1:]):
            woken = asyncio.ensure_future(anext(wakes))
            await looked(proxy, engine, look)
            assert not woken.done()
            for session in joining:
                await other.join(session, "g", "r", b"")
            await woken
            assert asked(proxy) == [], "it is woken first"
        async with asyncio.timeout(10):
            await anext(wakes)
        assert asked(proxy) == look, "what came behind the first of the two is told by the look"
        await wakes.aclose()


async def test_a_late_word_of_what_was_seen_hides_no_change(zookeeper: ZooKeeperService) -> None:
    """kazoo tells of changes and hands on answers in two threads, so a word may come after the look that has it in it."""
    async with bench(zookeeper) as (proxy, engine, other):
        session = await other.open_session(TTL_S, "request")
        await other.leave(await other.join(session, "g", "r", b""))
        wakes = engine.watch("g", (await engine.roster("g")).cursor)
        assert isinstance(wakes, AsyncGenerator)
        proxy.asked.clear()
        woken = asyncio.ensure_future(anext(wakes))
        await looked(proxy, engine, [wire.EXISTS, wire.EXISTS, wire.GET_CHILDREN2])
        engine.service.line.ring(engine.service.tree.group("g"))
        await woken
        await other.join(session, "g", "r", b"")
        await engine.read_cell("g", "none")  # its answer comes behind the word of the join
        async with asyncio.timeout(10):
            await anext(wakes)
        await wakes.aclose()


async def looked(proxy: Proxy, engine: ZooKeeperEngine, look: list[int]) -> None:
    """Until that was asked, and answered: answers come in the order of the requests."""
    async with asyncio.timeout(10):
        while len(proxy.asked) < len(look):
            await asyncio.sleep(0.001)
        await engine.read_cell("g", "none")
        assert asked(proxy)[: len(look)] == look


def asked(proxy: Proxy) -> list[int]:
    """What was asked since the last time, without the line's signs of life."""
    kinds = [kind for kind in proxy.asked if kind != PING]
    proxy.asked.clear()
    return kinds


async def test_cells_are_written_once(zookeeper: ZooKeeperService) -> None:
    """P3: their own words tell whether it was done."""
    async with bench(zookeeper) as (proxy, engine, other):
        big = b"x" * 100_000
        (one,) = await engine.write_cells("g", [CellWrite("c", b"1", 0)], None)
        proxy.lose.append(wire.MULTI)
        (two,) = await engine.write_cells("g", [CellWrite("c", big, one.version)], None)
        assert proxy.lost[-1] == wire.MULTI
        assert await other.read_cell("g", "c") == two
        assert two == Cell(big, two.version)
        proxy.lose.append(wire.MULTI)
        (three,) = await engine.write_cells("g", [CellWrite("c", b"3", None)], None)
        assert await other.read_cell("g", "c") == three
        with pytest.raises(VersionConflict):
            await engine.write_cells("g", [CellWrite("c", b"4", two.version)], None)
