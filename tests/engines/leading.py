"""What tests of engines on foreign servers do again and again, and the two stories that are the same on each."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed, Engine, Session
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotFirst,
    OutcomeUnknown,
)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Any]:
    """The engine itself, so that tests may look into it."""
    engine = await registry.connect(url)
    try:
        yield engine
    finally:
        await engine.close()


async def lead(engine: Engine, group: str = "g", ttl: float = 60.0) -> tuple[Session, Claimed]:
    session = await engine.open_session(ttl, secrets.token_hex(16))
    claimed = await engine.claim(await engine.join(session, group, secrets.token_hex(16), b""))
    assert isinstance(claimed, Claimed)
    return session, claimed


async def until_reached(ask: Callable[[], Awaitable[Any]]) -> Any:
    """Its answer, once the server is there again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await ask()
            except (EngineUnavailable, OutcomeUnknown):
                await asyncio.sleep(0.05)


async def incarnation_raised(engine: Engine, url: str) -> None:
    """Nobody claims beside who still believes; its session ends like any other."""
    session, claimed = await lead(engine, ttl=0.5)
    assert await registry.bump(url) == 1
    for refused in (
        lambda: engine.renew(session),
        lambda: engine.claim(claimed.member),
        lambda: engine.write_cells("g", [CellWrite("c", b"v", None)], claimed),
        lambda: engine.join(session, "other", "r", b""),
    ):
        with pytest.raises(IncarnationChanged):
            await refused()
    heir = await engine.open_session(60.0, secrets.token_hex(16))
    member = await engine.join(heir, "g", "r", b"")
    assert not isinstance(await engine.claim(member), Claimed)
    assert (await engine.roster("g")).token is None
    await asyncio.sleep(0.7)
    after = await engine.claim(member)
    assert isinstance(after, Claimed)
    assert after.token > claimed.token
    with pytest.raises(NotFirst):
        await engine.write_cells("g", [CellWrite("c", b"v", None)], claimed)


async def ended_by_the_guardian(engine: Engine, url: str) -> None:
    """At once, from a process that has only the reference; who watches is woken."""
    session, claimed = await lead(engine)
    guardian = registry.ender(url)
    await guardian.prepare(session.ref)
    await engine.claim(claimed.member)  # to prepare touches nothing
    async with opened(url) as other:
        watch = other.watch("g", (await other.roster("g")).cursor)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0.1)
        assert await guardian.end(session.ref) is True
        async with asyncio.timeout(5):
            await waiting
        await watch.aclose()
    assert await guardian.end(session.ref) is False
    with pytest.raises(MemberGone):
        await engine.claim(claimed.member)
    with pytest.raises(InvalidInput):
        await guardian.end(b"garbage")
    await guardian.close()
