"""The functions of the PostgreSQL engine: what they see behind a lock, what they refuse before they do anything, whose they are."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from itertools import count

import psycopg
import pytest

from incumbent.engines.api import Cell, CellWrite, Claimed, Waiting
from incumbent.engines.postgres import connect, functions
from incumbent.engines.postgres.engine import SCHEME, PostgresEngine
from incumbent.engines.postgres.pool import Head
from incumbent.engines.reference import Reference
from incumbent.errors import IncarnationChanged, NotAllowed
from tests.engines.leading import lead, opened
from tests.servers.postgres import Postgres, postgres

pytestmark = pytest.mark.slow
SCHEMAS = (f"n{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(fsync="off") as server:
        yield server


@pytest.fixture
def schema() -> str:
    return next(SCHEMAS)


@pytest.fixture
def url(server: Postgres, schema: str) -> str:
    return f"{server.url()}?schema={schema}&timeout=5"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[PostgresEngine]:
    async with opened(url) as engine:
        yield engine


async def test_who_waited_for_the_groups_lock_sees_who_came_before(
    server: Postgres, engine: PostgresEngine, schema: str
) -> None:
    """P45: a stand that began when nobody was there is behind whoever had the lock before it."""
    session = await engine.open_session(60.0, secrets.token_hex(16))
    await engine.leave(await engine.join(session, "g", "r", b""))
    ahead = await engine.open_session(60.0, secrets.token_hex(16))
    with psycopg.connect(server.url()) as other:
        other.execute(f"SET search_path = {schema}".encode())
        other.execute("UPDATE team SET joins = joins + 1")
        standing = asyncio.create_task(engine.stand(session, "g", "r", b""))
        await waits_for_a_lock(server)
        own = Reference.from_bytes(ahead.ref, SCHEME).session
        other.execute("INSERT INTO member SELECT name, joins, %s, '' FROM team", (own,))
        other.commit()
    member, answer = await standing
    assert isinstance(answer, Waiting)
    first, second = (await engine.roster("g")).members
    assert (answer.behind, member.id) == (first.id, second.id)


async def test_the_same_stand_twice_at_once_is_one_member(engine: PostgresEngine) -> None:
    """P3."""
    session = await engine.open_session(60.0, secrets.token_hex(16))
    for group in ("a", "b", "c"):
        stood = await asyncio.gather(*(engine.stand(session, group, "r", b"") for _ in range(4)))
        assert len({member for member, _ in stood}) == 1
        assert all(isinstance(answer, Claimed) for _, answer in stood)
        assert len((await engine.roster(group)).members) == 1


async def test_nothing_is_done_on_a_server_that_went_back(
    server: Postgres, engine: PostgresEngine, schema: str
) -> None:
    """P31, P45: a guarded write and a renewal are refused before they have an effect, not after."""
    session, claimed = await lead(engine)
    await engine.renew(session)
    beats = server.ask(f"SELECT beats FROM {schema}.session")
    remembered = engine._memory.position
    uuid = server.ask(f"SELECT uuid::text FROM {schema}.meta")[0][0]
    engine._memory.learn(Head(uuid, 0, remembered.rest[0], remembered.rest[1] + (1 << 40), ""))
    write = [CellWrite("c", b"v", None)]
    for _ in range(2):  # the first one notices, the second one knows
        with pytest.raises(IncarnationChanged):
            await engine.write_cells("g", write, claimed)
        with pytest.raises(IncarnationChanged):
            await engine.renew(session)
    assert await engine.read_cell("g", "c") == Cell(None, 0)
    assert server.ask(f"SELECT beats FROM {schema}.session") == beats


async def test_nothing_is_written_where_a_group_lacks_changes(engine: PostgresEngine) -> None:
    """P45: once, as a claim is refused once: whoever leads then has looked anew."""
    _, claimed = await lead(engine)
    engine._memory.learn_group("g", 1 << 40)
    with pytest.raises(IncarnationChanged, match="lacks changes"):
        await engine.write_cells("g", [CellWrite("c", b"v", None)], claimed)
    assert await engine.read_cell("g", "c") == Cell(None, 0)
    engine._memory.learn_group("g", 1 << 40)
    session = await engine.open_session(60.0, secrets.token_hex(16))
    with pytest.raises(IncarnationChanged, match="lacks changes"):
        await engine.stand(session, "g", "r", b"")
    assert isinstance(await engine.claim(claimed.member), Claimed)


async def test_another_release_brings_its_own_functions(
    server: Postgres, engine: PostgresEngine, url: str, schema: str
) -> None:
    """Those that are there are left alone: whoever runs with them goes on."""
    await lead(engine)
    mine = server.ask("SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace", schema)
    for (name,) in mine:
        old = name.rpartition("_")[0] + "_00000000"
        server.ask(f"ALTER FUNCTION {schema}.{name} RENAME TO {old}")
    async with opened(url) as newer:
        _, answer = await newer.stand(await newer.open_session(60.0, secrets.token_hex(16)), "g", "r", b"")
        assert isinstance(answer, Waiting)
    names = server.ask("SELECT proname FROM pg_proc WHERE pronamespace = %s::regnamespace", schema)
    assert len(names) == 2 * len(mine)
    assert set(mine) < set(names)


async def test_who_may_use_the_tables_may_call_the_functions(
    server: Postgres, engine: PostgresEngine, url: str, schema: str
) -> None:
    """They run with the rights of whoever calls them. Only to make them needs more, and the error says so."""
    server.ask(f"CREATE ROLE {schema}_user LOGIN")
    server.ask(f"ALTER ROLE {schema}_user SET default_transaction_isolation = 'repeatable read'")
    server.ask(f"ALTER ROLE {schema}_user SET default_transaction_read_only = on")
    server.ask(f"GRANT USAGE ON SCHEMA {schema} TO {schema}_user")
    theirs = url.replace("postgres@", f"{schema}_user@", 1)
    server.ask(f"GRANT SELECT ON {schema}.meta TO {schema}_user")
    async with opened(theirs) as poor:
        with pytest.raises(NotAllowed):
            await poor.open_session(60.0, secrets.token_hex(16))
        server.ask(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}_user")
        await lead(poor)
    server.ask(f"DROP FUNCTION {schema}.{functions.ANY}")
    with pytest.raises(NotAllowed, match="as its owner"):
        await connect(theirs)


async def waits_for_a_lock(server: Postgres) -> None:
    async with asyncio.timeout(5):
        while not await asyncio.to_thread(server.ask, "SELECT 1 FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
