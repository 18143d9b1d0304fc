"""The Redis engine when answers are lost, servers hang, forget, are emptied or replaced by a replica that knows less."""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trustme

from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed, Member
from incumbent.engines.examination import Severity
from incumbent.engines.redis import connect
from incumbent.engines.redis.engine import RedisEngine
from incumbent.engines.redis.link import Link
from incumbent.engines.redis.settings import Settings
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    MemberGone,
    NotAllowed,
    OutcomeUnknown,
    SessionGone,
    Unsupported,
    WatchLost,
)
from tests.engines.leading import ended_by_the_guardian, incarnation_raised, lead, opened, until_reached
from tests.runtime.ports import free_addresses
from tests.servers.redis import REPLICA, Redis, redis
from tests.servers.wallclock import WallClock

pytestmark = pytest.mark.slow
NAMESPACES = (f"f{number}" for number in count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def url(server: Redis) -> str:
    return f"{server.url()}?namespace={next(NAMESPACES)}&timeout=1&accept=advisory"


@pytest.fixture
async def engine(url: str) -> AsyncIterator[RedisEngine]:
    async with opened(url) as engine:
        yield engine


# --- lost answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["answer lost", "request lost"])
async def test_a_lost_answer_is_unknown_and_asking_again_settles_it(
    engine: RedisEngine, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P3: one session, one member, one end."""
    real, plan, request = Link.ask, list[str](), secrets.token_hex(16)

    async def ask(link: Link, *words: Any) -> Any:
        if words[0] == "EVALSHA" and plan:
            if plan.pop() == "answer lost":
                await real(link, *words)
            await link.close()
            raise OutcomeUnknown("fault")
        return await real(link, *words)

    async def twice(ask: Callable[[], Awaitable[Any]]) -> Any:
        plan.append(fault)
        with pytest.raises(OutcomeUnknown):
            await ask()
        return await ask()

    async with opened(engine._settings.url) as other:  # has the server know every script
        session, claimed = await lead(other, "warm")
        await other.renew(session)
        await other.update(claimed.member, b"")
        await other.stand(session, "warm", "r", b"")
        await other.remove("warm", claimed.member.id, claimed.member.revision)
        await other.end_session(session.ref)
    monkeypatch.setattr(Link, "ask", ask)
    session = await twice(lambda: engine.open_session(60.0, request))
    member = await twice(lambda: engine.join(session, "g", "r", b"one"))
    assert isinstance(member, Member)
    stood, answer = await twice(lambda: engine.stand(session, "h", "r", b"one", "c"))
    assert isinstance(answer, Claimed)
    assert [entry.id for entry in (await engine.roster("h")).members] == [stood.id]
    (entry,) = (await engine.roster("g")).members
    assert (entry.id, entry.value) == (member.id, b"one")
    await twice(lambda: engine.renew(session))
    await twice(lambda: engine.update(member, b"two"))
    assert (await engine.roster("g")).members[0].value == b"two"
    assert await twice(lambda: engine.remove("g", member.id, member.revision)) is (fault == "request lost")
    assert await twice(lambda: engine.end_session(session.ref)) is (fault == "request lost")
    with pytest.raises(SessionGone):
        await engine.renew(session)


async def test_a_silent_server_is_given_up_in_time(server: Redis, engine: RedisEngine) -> None:
    session, _ = await lead(engine)
    watch = engine.watch("g", (await engine.roster("g")).cursor)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.1)
    server.stop()
    try:
        for ask, error in (
            (lambda: engine.renew(session), OutcomeUnknown),
            (lambda: engine.roster("g"), EngineUnavailable),
        ):
            begun = time.monotonic()
            with pytest.raises(error):
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


async def test_a_restart_costs_no_leadership_where_writes_are_on_disk(
    server: Redis, engine: RedisEngine
) -> None:
    session, claimed = await lead(engine)
    server.kill()
    server.start()
    await engine.renew(session)
    assert await engine.claim(claimed.member) == claimed


# --- what is forgotten ------------------------------------------------------------------------------------------------


async def test_a_replica_that_lacks_what_was_acknowledged(tmp_path: Path) -> None:
    """P46: who was connected stops, and who comes new has a higher token, also where the key is missing altogether."""
    with redis(tmp_path, replica=True) as server:
        async with opened(f"{server.url()}?timeout=1") as engine:
            await lead(engine, "other")
            server.ask("WAIT", "1", "2000")
            server.stop(REPLICA)
            session, claimed = await lead(engine)
            # Kept from the replica for good, as by a cut: what waits in the socket would still reach it.
            server.ask("CLIENT", "KILL", "TYPE", "replica")
            session, claimed = await lead(engine, "late")
            server.kill()
            server.go_on(REPLICA)
            server.promote()
            async with opened(f"{server.url(REPLICA)}?timeout=1") as newcomer:
                assert (await newcomer.roster("late")).members == ()
                _, new = await lead(newcomer, "late")
                assert new.token > claimed.token
            engine._beats._address = engine._calls._address = server.addresses[REPLICA]  # a name that moved
            with pytest.raises((IncarnationChanged, SessionGone)):
                await until_reached(lambda: engine.renew(session))
            with pytest.raises((IncarnationChanged, MemberGone)):
                await engine.claim(claimed.member)


@pytest.mark.parametrize("how", ["flushed", "restarted without persistence", "older copy"])
async def test_data_that_went_back_is_refused_until_the_incarnation_is_raised(
    how: str, tmp_path: Path
) -> None:
    """P31, P46: and tokens rise in any case."""
    with redis(tmp_path, persistent=how == "older copy") as server:
        url = f"{server.url()}?timeout=1"
        async with opened(url) as engine:
            await lead(engine, "early")
            copy = server.backup()
            session, claimed = await lead(engine)
            if how == "flushed":
                server.ask("FLUSHALL")
            else:
                server.kill()
                if how == "older copy":
                    server.restore(copy)
                server.start()
            with pytest.raises(IncarnationChanged):
                await until_reached(lambda: engine.renew(session))
            with pytest.raises(IncarnationChanged):
                await engine.claim(claimed.member)
            fresh = await engine.open_session(60.0, secrets.token_hex(16))
            with pytest.raises(IncarnationChanged):
                await engine.stand(fresh, "second", "r", b"")
            async with opened(url) as newcomer:
                _, new = await lead(newcomer)
                assert new.token > claimed.token
            for _ in range(5):
                with pytest.raises(IncarnationChanged):  # also once it looks as if it had gone far enough
                    await lead(engine, "third")
            assert await registry.bump(url) == 1
            _, after = await lead(engine, "fourth")
            assert after.token >> 56 == 1


async def test_a_raised_incarnation_ends_what_was_before(engine: RedisEngine, url: str) -> None:
    """P31."""
    await incarnation_raised(engine, url)


async def test_tokens_rise_over_steps_of_the_servers_clock(tmp_path: Path) -> None:
    """P46: within one server's data also backwards, and after data was lost forwards. Text keeps all the bits."""
    clock = WallClock(tmp_path)
    with redis(tmp_path) as server:
        server.kill()
        server.environment = clock.environment
        server.start()
        async with opened(server.url()) as engine:
            tokens = list[int]()
            for step in (0, 3600, -3600, 8_000_000_000, 0):  # the last but one: µs above 2**53
                clock.step(step)
                session = await engine.open_session(3600.0, secrets.token_hex(16))
                member = await engine.join(session, "g", "r", b"")
                claimed = await engine.claim(member)
                assert isinstance(claimed, Claimed)
                tokens.append(claimed.token)
                await engine.leave(member)
                again = await engine.claim(await engine.join(session, "g", "r", b""))
                assert isinstance(again, Claimed)
                tokens.append(again.token)
                await engine.leave(again.member)
            assert tokens == sorted(set(tokens))
            assert tokens[-1] > 1 << 53


async def test_who_stands_alone_among_the_dead_is_first(engine: RedisEngine) -> None:
    """Nobody has swept them yet."""
    await lead(engine, ttl=0.1)
    heir = await engine.open_session(60.0, secrets.token_hex(16))
    await asyncio.sleep(0.2)
    _, answer = await engine.stand(heir, "g", "r", b"")
    assert isinstance(answer, Claimed)


async def test_extending_sets_and_never_adds(server: Redis, engine: RedisEngine) -> None:
    """P46."""
    session, _ = await lead(engine, ttl=5.0)
    for _ in range(20):
        await engine.renew(session)
    (key,) = keys(server, f"{{{engine._settings.namespace}}}s:*")
    assert 0 < int(server.ask("PTTL", key)) <= 5000


async def test_a_release_removes_only_its_own(engine: RedisEngine) -> None:
    """P46: compare and delete."""
    session, claimed = await lead(engine)
    await engine.leave(claimed.member)
    again = await engine.join(session, "g", "r", b"new")
    await engine.leave(claimed.member)
    assert not await engine.remove("g", claimed.member.id, claimed.member.revision)
    (entry,) = (await engine.roster("g")).members
    assert (entry.order, entry.value) == (again.revision, b"new")


def keys(server: Redis, pattern: str) -> list[str]:
    """One key is enough here: `ask` shows the first line of a nested answer only, so a script joins them."""
    found = server.ask("EVAL", "return table.concat(redis.call('KEYS', ARGV[1]), ' ')", "0", pattern)
    return found.decode().split()


async def test_all_keys_share_a_slot(server: Redis, engine: RedisEngine) -> None:
    """The one of what stands in braces."""
    before = set(keys(server, "*"))
    await lead(engine)
    await engine.write_cells("g", [CellWrite("c", b"v", None)], None)
    made = set(keys(server, "*")) - before
    assert len(made) == 6
    assert all(key.startswith(f"{{{engine._settings.namespace}}}") for key in made)


async def test_a_node_that_sends_us_elsewhere_is_obeyed(tmp_path: Path) -> None:
    """Redis Cluster: all keys of a namespace are in one slot, and its node is found."""
    cluster = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no")
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with redis(tmp_path / "a", *cluster) as empty, redis(tmp_path / "b", *cluster) as full:
        full.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        host, port = full.addresses["primary"]
        empty.ask("CLUSTER", "MEET", host, str(port))
        async with asyncio.timeout(20):
            while not all(b"cluster_state:ok" in node.ask("CLUSTER", "INFO") for node in (empty, full)):
                await asyncio.sleep(0.1)
        async with opened(empty.url()) as engine:
            session, claimed = await lead(engine)
            await engine.renew(session)
            guardian = registry.ender("redis")
            assert await guardian.end(session.ref) is True
            await guardian.close()
            with pytest.raises(MemberGone):
                await engine.claim(claimed.member)


# --- coming and going -------------------------------------------------------------------------------------------------


async def test_fenced_is_refused_unless_the_caller_says_what_it_is_worth(server: Redis) -> None:
    """P46."""
    with pytest.raises(Unsupported, match="fenced"):
        await registry.connect(server.url(), require=["fenced"])
    with pytest.raises(Unsupported, match="linearizable"):
        await registry.connect(f"{server.url()}?accept=advisory", require=["linearizable"])
    engine = await registry.connect(server.url(), require=["fenced"], accept="advisory")
    assert engine.guarantees.fenced
    await engine.close()


async def test_the_guardians_ender_ends_and_wakes(engine: RedisEngine, url: str) -> None:
    await ended_by_the_guardian(engine, url)


async def test_the_ender_imports_no_client_library() -> None:
    script = "import sys, incumbent.engines.redis.ender; sys.exit('redis' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
    assert await process.wait() == 0


async def test_passwords_open_the_door_and_are_not_shown(tmp_path: Path) -> None:
    with redis(tmp_path) as server:
        server.ask("ACL", "SETUSER", "app", "on", ">s3cret", "~*", "&*", "+@all")
        host, port = server.addresses["primary"]
        url = f"redis://app:s3cret@{host}:{port}/3"
        async with opened(url) as engine:
            session, _ = await lead(engine)
            assert "s3cret" not in repr(session) + repr(engine._settings)
            guardian = registry.ender("redis")
            assert await guardian.end(session.ref)
            await guardian.close()
        with pytest.raises(NotAllowed) as refused:
            await connect(f"redis://app:wr0ng@{host}:{port}/3")
        assert "wr0ng" not in str(refused.value)


async def test_a_stand_that_is_refused_leaves_no_member(server: Redis, engine: RedisEngine) -> None:
    """P2: this user may join, and may not ask when the one in front would end."""
    await lead(engine)
    server.ask("ACL", "SETUSER", "half", "on", ">half", "~*", "&*", "+@all", "-pttl")
    async with opened(engine._settings.url.replace("redis://", "redis://half:half@")) as half:
        session = await half.open_session(60.0, secrets.token_hex(16))
        with pytest.raises(NotAllowed):
            await half.stand(session, "g", "r", b"")
        assert len((await half.roster("g")).members) == 1


async def test_another_format_is_refused(server: Redis, url: str) -> None:
    async with opened(url):
        server.ask("HSET", "{" + Settings.parse(url).namespace + "}meta", "format", "2")
    with pytest.raises(Unsupported, match="format 2"):
        await connect(url)


async def test_the_doctor_names_what_is_wrong(tmp_path: Path) -> None:
    with redis(tmp_path, "--maxmemory-policy", "allkeys-lru", persistent=False, replica=True) as server:
        examination = await registry.examine(server.url())
        assert {finding.code: finding.severity for finding in examination.findings} == {
            "redis-evicts": Severity.FAULT,
            "redis-advisory": Severity.WARNING,
            "redis-forgets": Severity.WARNING,
            "redis-failover-forgets": Severity.WARNING,
        }
        assert examination.server == "Redis 7.0.15, 2 servers"
        codes = {finding.code for finding in (await registry.examine(server.url(REPLICA))).findings}
        assert "redis-replica" in codes
        with pytest.raises(EngineUnavailable):
            await connect(server.url(REPLICA))
    (tmp_path / "good").mkdir()
    with redis(tmp_path / "good") as server:
        assert (await registry.examine(f"{server.url()}?accept=advisory")).findings == ()


async def test_tls_proves_who_the_server_is(tmp_path: Path) -> None:
    ours, other = trustme.CA(), trustme.CA()
    server_certificate, client_certificate = ours.issue_cert("127.0.0.1"), ours.issue_cert("client")
    paths = {name: str(tmp_path / name) for name in ("ca", "other", "cert", "key", "client", "client_key")}
    ours.cert_pem.write_to_path(paths["ca"])
    other.cert_pem.write_to_path(paths["other"])
    for certificate, name, key in (
        (server_certificate, "cert", "key"),
        (client_certificate, "client", "client_key"),
    ):
        certificate.cert_chain_pems[0].write_to_path(paths[name])
        certificate.private_key_pem.write_to_path(paths[key])
    ((_, port),) = free_addresses("tls").values()
    files = (
        "--tls-cert-file",
        paths["cert"],
        "--tls-key-file",
        paths["key"],
        "--tls-ca-cert-file",
        paths["ca"],
    )
    with redis(tmp_path, "--tls-port", str(port), *files):
        url = f"redis://127.0.0.1:{port}/0?timeout=2&tls_certificate={paths['client']}&tls_key={paths['client_key']}"
        async with opened(f"{url}&tls_ca={paths['ca']}") as engine:
            session, _ = await lead(engine)
            guardian = registry.ender("redis")
            assert await guardian.end(session.ref) is True
            await guardian.close()
        with pytest.raises(EngineUnavailable):
            await connect(f"{url}&tls_ca={paths['other']}")
