"""The PostgreSQL engine when answers are lost, servers hang, standbys lag, and older copies come back."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
import trustme

from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed, Member, Session
from incumbent.engines.examination import Severity
from incumbent.engines.history import Position
from incumbent.engines.postgres import connect
from incumbent.engines.postgres.engine import PostgresEngine
from incumbent.engines.postgres.link import Link, Row
from incumbent.engines.postgres.memory import Need
from incumbent.engines.postgres.settings import Settings
from incumbent.engines.postgres.store import write_cells
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    MemberGone,
    OutcomeUnknown,
    SessionGone,
    Unsupported,
    WatchLost,
)
from tests.engines.leading import ended_by_the_guardian, incarnation_raised, lead, opened, until_reached
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import STANDBY, Postgres, postgres

pytestmark = pytest.mark.slow
SCHEMAS = (f"f{number}" for number in count())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(fsync="off") as server:
        yield server


@pytest.fixture
def url(server: Postgres) -> str:
    return f"{server.url()}?schema={next(SCHEMAS)}&timeout=1"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[PostgresEngine]:
    async with opened(url) as engine:
        yield engine


# --- lost answers -----------------------------------------------------------------------------------------------------


class Fault:
    """The next questions fail: before they reach the server, or after it did them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.plan: list[str] = []
        real = Link.transact

        async def transact(link: Link, statements: bytes) -> Row:
            if not self.plan:
                return await real(link, statements)
            if self.plan.pop(0) == "answer lost":
                await real(link, statements)
            link.abort()
            raise psycopg.OperationalError("fault")

        monkeypatch.setattr(Link, "transact", transact)


@pytest.mark.parametrize("fault", ["answer lost", "request lost"])
async def test_a_lost_answer_is_unknown_and_asking_again_settles_it(
    engine: PostgresEngine, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: one session, one member, one end."""
    faults = Fault(monkeypatch)
    request = secrets.token_hex(16)

    async def twice(ask: Callable[[], object]) -> object:
        faults.plan.append(fault)
        with pytest.raises(OutcomeUnknown):
            await ask()  # type: ignore[misc]
        return await ask()  # type: ignore[misc]

    session = await twice(lambda: engine.open_session(60.0, request))
    assert isinstance(session, Session)
    member = await twice(lambda: engine.join(session, "g", "r", b"one"))
    assert isinstance(member, Member)
    ((entry),) = (await engine.roster("g")).members
    assert (entry.id, entry.value) == (member.id, b"one")
    await twice(lambda: engine.renew(session))
    await twice(lambda: engine.update(member, b"two"))
    assert (await engine.roster("g")).members[0].value == b"two"
    await engine.write_cells("h", [CellWrite("c", b"v", None)], None)
    stood = await twice(lambda: engine.stand(session, "h", "r", b"", "c"))
    assert isinstance(stood, tuple)
    mine, answer = stood
    assert isinstance(answer, Claimed)
    assert answer.cell == await engine.read_cell("h", "c")
    assert [entry.id for entry in (await engine.roster("h")).members] == [mine.id]
    await twice(lambda: engine.leave(mine))
    assert (await engine.roster("h")).members == ()
    assert await twice(lambda: engine.remove("g", member.id, member.revision)) is (fault == "request lost")
    assert await twice(lambda: engine.end_session(session.ref)) is (fault == "request lost")
    with pytest.raises(SessionGone):
        await engine.renew(session)


async def test_a_cancelled_call_harms_nobody(server: Postgres, engine: PostgresEngine) -> None:
    session, _ = await lead(engine)

    with psycopg.connect(server.url(), autocommit=False) as other:
        other.execute(f"SELECT FROM {engine._settings.schema}.team FOR UPDATE".encode())
        for _ in range(10):  # more often than there are connections
            asking = asyncio.create_task(engine.write_cells("g", [CellWrite("c", b"v", None)], None))
            await asyncio.sleep(0.02)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
        await engine.renew(session)
        assert len((await engine.roster("g")).members) == 1
        other.rollback()
    await engine.write_cells("g", [CellWrite("c", b"w", None)], None)


async def test_a_silent_server_is_given_up_in_time(server: Postgres, engine: PostgresEngine) -> None:
    session, claimed = await lead(engine)
    watch = engine.watch("g", (await engine.roster("g")).cursor)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.1)
    server.stop()
    try:
        asked: tuple[tuple[Callable[[], Awaitable[object]], type[Exception]], ...] = (
            (lambda: engine.renew(session), EngineUnavailable),  # on a connection that is not there yet
            (lambda: engine.update(claimed.member, b"new"), OutcomeUnknown),
            (lambda: engine.roster("g"), EngineUnavailable),
        )
        for ask, lost in asked:
            begun = time.monotonic()
            with pytest.raises(lost):
                await ask()
            assert time.monotonic() - begun < 5
        with pytest.raises(EngineUnavailable):
            await connect(engine._settings.url)
        with pytest.raises(WatchLost):  # P38
            async with asyncio.timeout(10):
                await waiting
    finally:
        server.go_on()
    await engine.renew(session)


async def test_who_stops_before_the_answer_keeps_no_locks(url: str) -> None:
    """A transaction is one trip: nobody holds it open between two."""
    async with opened(url) as stopped, opened(url) as engine:
        _, claimed = await lead(engine)
        await stopped.read_cell("g", "c")
        (link,) = stopped._calls._idle
        statements = stopped._calls._statements(
            link, write_cells("g", [CellWrite("c", b"v", None)], None, Need("", Position(0, ())), 0)
        )
        link._connection.pgconn.send_query(statements)  # and nothing more of it runs, its own timer included
        async with asyncio.timeout(5):
            while (await engine.read_cell("g", "c")).value is None:
                await asyncio.sleep(0.01)
            await engine.write_cells("g", [CellWrite("c", b"w", None)], claimed)


# --- standbys ---------------------------------------------------------------------------------------------------------


async def test_what_no_standby_has_is_not_acknowledged() -> None:
    """P45: also when somebody breaks off the wait, which the server calls a success with a warning."""
    with postgres(standby="synchronous", fsync="off") as server:
        async with opened(f"{server.url()}?timeout=1&standby=synchronous") as engine:
            assert engine.guarantees.survives_failover
            session, _ = await lead(engine)
            server.stop(STANDBY)
            with pytest.raises(OutcomeUnknown, match="no answer"):
                await engine.renew(session)
            joining = asyncio.create_task(engine.open_session(60.0, secrets.token_hex(16)))
            waits = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE 'BEGIN%'"
            for _ in range(50):
                await asyncio.sleep(0.02)
                if len(await asyncio.to_thread(server.ask, waits)) > 1:  # that of the renewal before, too
                    break
            with pytest.raises(OutcomeUnknown, match="warned"):
                await joining
            server.go_on(STANDBY)
            await engine.renew(session)


async def test_a_standby_that_is_promised_has_to_be_there(url: str) -> None:
    with pytest.raises(Unsupported, match="synchronous_standby_names"):
        await connect(f"{url}&standby=synchronous")
    with pytest.raises(Unsupported, match="survives_failover"):
        await registry.connect(url, require=["survives_failover"])
    with pytest.raises(Unsupported, match="survives_partition"):
        await registry.connect(f"{url}&standby=asynchronous", require=["survives_partition"])


async def test_a_promoted_standby_that_lacks_rows_is_noticed() -> None:
    """P30, P45: sessions and members that it never heard of are over with `engine reset`, and tokens rise all the same."""
    with postgres(standby="asynchronous", fsync="off") as server:
        hosts = ",".join(f"{host}:{port}" for host, port in server.addresses.values())
        async with opened(f"postgresql://postgres@{hosts}/postgres?timeout=1&standby=asynchronous") as engine:
            early, early_lead = await lead(engine, "early")
            await asyncio.sleep(0.3)
            server.part()
            await engine.renew(early)
            late, late_lead = await lead(engine, "late")
            await engine.write_cells("early", [CellWrite("c", b"v", None)], early_lead)
            server.kill()
            server.promote()
            with pytest.raises(IncarnationChanged):  # a renewal is missing
                await until_reached(lambda: engine.renew(early))
            with pytest.raises(IncarnationChanged):
                await engine.claim(early_lead.member)
            with pytest.raises(IncarnationChanged):
                await engine.renew(late)
            with pytest.raises(MemberGone):
                await engine.claim(late_lead.member)
            _, again = await lead(engine, "late")
            assert again.token > late_lead.token


# --- older copies -----------------------------------------------------------------------------------------------------


async def test_a_restored_backup_is_refused_until_the_incarnation_is_raised() -> None:
    """P31, P45."""
    with postgres(fsync="off") as server:
        url = f"{server.url()}?timeout=1"
        async with opened(url) as engine:
            await lead(engine)
            server.shut_down()
            copy = server.backup()
            server.start()
            session, claimed = await until_reached(lambda: lead(engine, "other"))
            server.shut_down()
            server.restore(copy)
            server.start()
            with pytest.raises(IncarnationChanged, match="went back"):
                await until_reached(lambda: engine.renew(session))
            with pytest.raises(IncarnationChanged):
                await engine.claim(claimed.member)
            with pytest.raises(IncarnationChanged):
                await lead(engine, "other")
            assert await registry.bump(url) == 1
            _, after = await lead(engine, "third")
            assert after.token > claimed.token
            assert after.token >> 56 == 1


async def test_a_schema_that_was_dropped_and_made_anew(server: Postgres, url: str) -> None:
    """P31, P32: whoever was connected does not lead on it; who comes new gets higher tokens all the same."""
    schema = Settings.parse(url).schema
    async with opened(url) as engine:
        session, claimed = await lead(engine)
        server.ask(f"DROP SCHEMA {schema} CASCADE")
        with pytest.raises(IncarnationChanged, match="gone"):
            await engine.renew(session)
        async with opened(url) as newcomer:
            _, new = await lead(newcomer)
            assert new.token > claimed.token
            with pytest.raises(IncarnationChanged, match="made anew"):
                await engine.renew(session)
            await registry.bump(url)
            with pytest.raises(IncarnationChanged):
                await newcomer.claim(new.member)
            with pytest.raises(SessionGone):
                await engine.renew(session)
            _, again = await lead(engine, "other")
            assert again.token > new.token


async def test_a_raised_incarnation_ends_what_was_before(engine: PostgresEngine, url: str) -> None:
    """P31."""
    await incarnation_raised(engine, url)


# --- coming and going -------------------------------------------------------------------------------------------------


async def test_many_make_the_schema_at_once(url: str) -> None:
    engines = await asyncio.gather(*(connect(url) for _ in range(8)))
    heads = {(await engine.read_cell("g", "c")).version for engine in engines}
    assert heads == {0}
    for engine in engines:
        await engine.close()


async def test_another_format_is_refused(server: Postgres, url: str) -> None:
    async with opened(url):
        server.ask(f"UPDATE {Settings.parse(url).schema}.meta SET format = 2")
    with pytest.raises(Unsupported, match="format 2"):
        await connect(url)


async def test_the_guardians_ender_ends_and_wakes(engine: PostgresEngine, url: str) -> None:
    await ended_by_the_guardian(engine, url)


async def test_behind_a_pool_watches_look_by_themselves(server: Postgres) -> None:
    with pgbouncer(server) as pool:
        url = f"{pool.url}?schema={next(SCHEMAS)}&poll=0.05"
        async with opened(url) as one, opened(url) as two:
            watch = two.watch("g", (await two.roster("g")).cursor)
            waiting = asyncio.ensure_future(anext(watch))
            await lead(one)
            async with asyncio.timeout(5):
                await waiting
            await watch.aclose()
            assert two._wakeups.polls
        findings = {finding.code for finding in (await registry.examine(url)).findings}
        assert findings == {"postgresql-fsync-off", "postgresql-pooled"}


async def test_the_doctor_names_what_is_wrong(server: Postgres, url: str) -> None:
    examination = await registry.examine(f"{url}&standby=synchronous")
    found = {finding.code: finding.severity for finding in examination.findings}
    assert found == {
        "postgresql-fsync-off": Severity.FAULT,
        "postgresql-no-synchronous-standby": Severity.FAULT,
    }
    assert examination.server.startswith("PostgreSQL 15")
    with postgres(standby="asynchronous") as pair:
        (finding,) = (await registry.examine(pair.url())).findings
        assert finding.code == "postgresql-asynchronous-standby"
        (finding,) = (await registry.examine(pair.url(STANDBY))).findings
        assert finding.code == "postgresql-standby"
        with pytest.raises(EngineUnavailable, match="follows"):
            await connect(pair.url(STANDBY))


async def test_passwords_are_not_shown(server: Postgres) -> None:
    host, port = server.addresses["primary"]
    _, nobodys = server.addresses[STANDBY]
    with pytest.raises(EngineUnavailable) as refused:
        await connect(f"postgresql://u:s3cret@{host}:{nobodys}/d?timeout=1")
    assert "s3cret" not in str(refused.value)
    async with opened(
        f"postgresql://postgres:s3cret@{host}:{port}/postgres?schema={next(SCHEMAS)}"
    ) as engine:
        session, _ = await lead(engine)
        assert "s3cret" not in repr(session) + repr(engine)


async def test_tls_proves_who_the_server_is(tmp_path: Path) -> None:
    """Through libpq's sslmode, also in the guardian's ender."""
    ours, other = trustme.CA(), trustme.CA()
    certificate = ours.issue_cert("127.0.0.1")
    for authority, name in ((ours, "ours"), (other, "other")):
        authority.cert_pem.write_to_path(str(tmp_path / name))
    with postgres(fsync="off") as server:
        server.kill()
        cert = server.home.write("cert", certificate.cert_chain_pems[0].bytes().decode())
        key = server.home.write("key", certificate.private_key_pem.bytes().decode())
        server.settings.update(ssl="on", ssl_cert_file=str(cert), ssl_key_file=str(key))
        server.start()
        url = f"{server.url()}?timeout=2&sslmode=verify-full&sslrootcert={tmp_path}"
        async with opened(f"{url}/ours") as engine:
            assert server.ask("SELECT bool_or(ssl) FROM pg_stat_ssl") == [(True,)]
            session, _ = await lead(engine)
            guardian = registry.ender("postgresql")
            assert await guardian.end(session.ref) is True
            await guardian.close()
        with pytest.raises(EngineUnavailable, match="certificate"):
            await connect(f"{url}/other")
