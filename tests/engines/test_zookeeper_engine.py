"""What is peculiar to ZooKeeper, on a real one: shared queues, access, bounds, large cells, and an operator's bump."""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import pytest
from kazoo.client import KazooClient

from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed, Engine, Waiting
from incumbent.engines.zookeeper import connect
from incumbent.engines.zookeeper.engine import ZooKeeperEngine
from incumbent.engines.zookeeper.members import check_first
from incumbent.engines.zookeeper.place import parse
from incumbent.errors import (
    IncarnationChanged,
    InvalidInput,
    MemberGone,
    NotAllowed,
    NotFirst,
    Unsupported,
)
from incumbent.ids import make_token, split_token
from tests.engines.zookeeper_service import TICK_S, ZooKeeperService, service

pytestmark = pytest.mark.slow

TTL_S = 30.0


@pytest.fixture(scope="module")
def zookeeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperService]:
    with service(tmp_path_factory.mktemp("zookeeper"), 1) as running:
        yield running


@pytest.fixture
def path() -> str:
    return secrets.token_hex(6)


@asynccontextmanager
async def engine_at(url: str) -> AsyncIterator[ZooKeeperEngine]:
    engine = await connect(url)
    assert isinstance(engine, ZooKeeperEngine)
    try:
        yield engine
    finally:
        await engine.close()


@contextmanager
def kazoo_of(zookeeper: ZooKeeperService) -> Iterator[KazooClient]:
    client = KazooClient(zookeeper.server.hosts)
    client.start()
    try:
        yield client
    finally:
        client.stop()
        client.close()


async def new_session(engine: Engine) -> bytes:
    return (await engine.open_session(TTL_S, secrets.token_hex(16))).ref


async def until_first(engine: Engine, answer: Claimed | Waiting, group: str) -> None:
    assert isinstance(answer, Waiting)
    async with asyncio.timeout(10):
        async for _ in engine.watch(group, answer.cursor):
            return


# --- others in the same queue ---------------------------------------------------------------------------------------


async def test_we_wait_for_kazoos_candidate(zookeeper: ZooKeeperService, path: str) -> None:
    with kazoo_of(zookeeper) as client:
        leads, leave = threading.Event(), threading.Event()

        def lead() -> None:
            leads.set()
            leave.wait(20)

        election = client.Election(f"/{path}/e", "theirs")
        thread = threading.Thread(target=election.run, args=(lead,))
        thread.start()
        assert await asyncio.to_thread(leads.wait, 10)
        async with engine_at(zookeeper.url(path)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            member = await engine.join(session, "e", "r", b"ours")
            answer = await engine.claim(member)
            first, second = (await engine.roster("e")).members
            assert (first.value, first.ours, second.value, second.ours) == (b"theirs", False, b"ours", True)
            assert isinstance(answer, Waiting)
            assert answer.behind == first.id
            assert await asyncio.to_thread(election.contenders) == ["theirs", "ours"]
            leave.set()
            await until_first(engine, answer, "e")
            claimed = await engine.claim(member)
            assert isinstance(claimed, Claimed)
            assert claimed.token > first.order
            await engine.end_session(session.ref)
        await asyncio.to_thread(thread.join, 10)


async def test_kazoos_candidate_waits_for_us(zookeeper: ZooKeeperService, path: str) -> None:
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            member = await engine.join(session, "e", "r", b"ours")
            lock = client.Lock(f"/{path}/e", "theirs")
            assert not await asyncio.to_thread(lock.acquire, False)
            assert isinstance(await engine.claim(member), Claimed)
            waiting = asyncio.create_task(asyncio.to_thread(lock.acquire, True, 20))
            async with asyncio.timeout(10):
                while len((await engine.roster("e")).members) < 2:
                    await asyncio.sleep(0.01)
            assert not waiting.done()
            assert await engine.end_session(session.ref)
            assert await waiting
            (entry,) = (await engine.roster("e")).members
            assert (entry.value, entry.ours) == (b"theirs", False)
            assert (await engine.roster("e")).token == entry.order
            assert await engine.remove("e", entry.id, entry.order), "an operator may evict it too"


async def test_curators_candidates_queue_with_us_in_their_layout(
    zookeeper: ZooKeeperService, path: str
) -> None:
    """Named as Curator's InterProcessMutex names them."""
    with kazoo_of(zookeeper) as client:
        theirs = client.create(
            f"/{path}/e/_c_6a1f3d2c-0b53-4d4e-9d3c-111122223333-lock-",
            b"10.0.0.7",
            ephemeral=True,
            sequence=True,
            makepath=True,
        )
        async with engine_at(zookeeper.url(path, "?layout=curator")) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            member = await engine.join(session, "e", "r", b"ours")
            assert member.id.startswith("_c_")
            assert "-lock-" in member.id
            answer = await engine.claim(member)
            assert [entry.ours for entry in (await engine.roster("e")).members] == [False, True]
            client.delete(theirs)
            await until_first(engine, answer, "e")
            assert isinstance(await engine.claim(member), Claimed)
            await engine.end_session(session.ref)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ("", "_c_6a1f3d2c-0b53-4d4e-9d3c-111122223333-lock-"),
        ("", "_c_6a1f3d2c-0b53-4d4e-9d3c-111122223333-latch-"),
        ("", "0123456789abcdef0123456789abcdef__rlock__"),
        ("?layout=curator", "0123456789abcdef0123456789abcdef__lock__"),
    ],
)
async def test_another_layouts_candidate_means_refusal(
    zookeeper: ZooKeeperService, path: str, options: str, name: str
) -> None:
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path, options)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            member = await engine.join(session, "e", "r", b"")
            claimed = await engine.claim(member)
            assert isinstance(claimed, Claimed)
            client.create(f"/{path}/e/{name}", ephemeral=True, sequence=True)
            for call in (
                engine.claim(member),
                engine.roster("e"),
                engine.join(session, "e", "again", b""),
                engine.write_cells("e", [CellWrite("c", b"", None)], claimed),
            ):
                with pytest.raises(Unsupported, match="layout"):
                    await call
            await engine.end_session(session.ref)


async def test_a_node_of_our_name_and_another_owner_is_not_ours(
    zookeeper: ZooKeeperService, path: str
) -> None:
    """P47: as a session that ended would leave behind."""
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            member = await engine.join(session, "e", "r", b"")
            await engine.leave(member)
            client.create(f"/{path}/e/{member.id[:-10]}", ephemeral=True, sequence=True)
            again = await engine.join(session, "e", "r", b"")
            assert isinstance(await engine.claim(again), Waiting)
            assert [entry.ours for entry in (await engine.roster("e")).members] == [False, True]
            await engine.end_session(session.ref)


async def test_two_who_share_a_session_are_one_member(zookeeper: ZooKeeperService, path: str) -> None:
    """P3: neither knows of the other's join but by what ZooKeeper shows it."""
    async with engine_at(zookeeper.url(path)) as engine, engine_at(zookeeper.url(path)) as other:
        session = await engine.open_session(TTL_S, "shared")
        shared = await other.open_session(TTL_S, "shared")
        member, answer = await engine.stand(session, "e", "r1", b"1")
        assert isinstance(answer, Claimed)
        again, answer = await other.stand(shared, "e", "r2", b"2")
        assert again == member
        assert isinstance(answer, Claimed)
        assert [entry.value for entry in (await engine.roster("e")).members] == [b"1"]
        await engine.end_session(session.ref)


async def test_a_late_leave_spares_a_member_of_the_same_name(zookeeper: ZooKeeperService, path: str) -> None:
    """P3: numbers begin anew where somebody deleted the group's node by hand."""
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            old = await engine.join(session, "e", "r", b"")
            client.delete(f"/{path}/e", recursive=True)
            new = await engine.join(session, "e", "r", b"")
            assert (new.id, new.revision > old.revision) == (old.id, True)
            await engine.leave(old)
            assert isinstance(await engine.claim(new), Claimed)
            await engine.leave(new)
            assert not (await engine.roster("e")).members
            await engine.end_session(session.ref)


async def test_a_stand_beside_another_layout_leaves_nobody(zookeeper: ZooKeeperService, path: str) -> None:
    """P2: also where the answer was lost, or it stood there before the other came."""
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            session = await engine.open_session(TTL_S, secrets.token_hex(16))
            client.create(f"/{path}/e/_c_6a1f3d2c-latch-", ephemeral=True, sequence=True, makepath=True)
            for _ in range(2):
                with pytest.raises(Unsupported, match="layout"):
                    await engine.stand(session, "e", "r", b"")
                assert len(client.get_children(f"/{path}/e")) == 1
            await engine.join(session, "f", "r", b"")
            client.create(f"/{path}/f/_c_6a1f3d2c-latch-", ephemeral=True, sequence=True)
            with pytest.raises(Unsupported, match="layout"):
                await engine.stand(session, "f", "r", b"")
            assert len(client.get_children(f"/{path}/f")) == 1
            await engine.end_session(session.ref)


async def test_a_claim_brings_a_large_cell(zookeeper: ZooKeeperService, path: str) -> None:
    """It lies in a node of its own, which takes another look."""
    async with engine_at(zookeeper.url(path)) as engine:
        (cell,) = await engine.write_cells("e", [CellWrite("c", b"x" * 100_000, None)], None)
        session = await engine.open_session(TTL_S, secrets.token_hex(16))
        member, answer = await engine.stand(session, "e", "r", b"", "c")
        for claimed in (answer, await engine.claim(member, "c")):
            assert isinstance(claimed, Claimed)
            assert claimed.cell == cell
        await engine.end_session(session.ref)


# --- access, bounds -------------------------------------------------------------------------------------------------


async def test_what_a_user_made_only_that_user_touches(zookeeper: ZooKeeperService, path: str) -> None:
    url = zookeeper.url(path)
    async with engine_at(url.replace("//", "//app:geheim@")) as mine:
        session = await mine.open_session(TTL_S, secrets.token_hex(16))
        member = await mine.join(session, "e", "r", b"")
        claimed = await mine.claim(member)
        assert isinstance(claimed, Claimed)
        await mine.write_cells("e", [CellWrite("c", b"x" * 100_000, 0)], claimed)
        await mine.update(member, b"new")
        await mine.renew(session)
        for login in ("//", "//app:falsch@"):
            with pytest.raises(NotAllowed):
                await connect(url.replace("//", login))
        # Who was let in before the nodes were made that are not to be touched.
        theirs = ZooKeeperEngine(parse(url))
        for call in (theirs.update(member, b"bad"), theirs.leave(member), theirs.read_cell("e", "c")):
            with pytest.raises(NotAllowed):
                await call
        await theirs.close()
        assert await mine.end_session(session.ref)


async def test_a_ttl_outside_of_the_bounds_is_refused(zookeeper: ZooKeeperService, path: str) -> None:
    """P16: what the server would make of it is told, and nothing stays behind."""
    async with engine_at(zookeeper.url(path)) as engine:
        for ttl, delay in ((TICK_S, 0.0), (699.0, 2.0)):
            with pytest.raises(InvalidInput, match="grants"):
                await engine.open_session(ttl, secrets.token_hex(16), release_delay=delay)
        session = await engine.open_session(TICK_S, secrets.token_hex(16), release_delay=TICK_S)
        assert session.ttl == TICK_S
        await engine.end_session(session.ref)


async def test_a_request_opens_one_kind_of_session(zookeeper: ZooKeeperService, path: str) -> None:
    async with engine_at(zookeeper.url(path)) as engine:
        session = await engine.open_session(TTL_S, "same")
        with pytest.raises(InvalidInput, match="another ttl"):
            await engine.open_session(TTL_S + 1, "same")
        await engine.end_session(session.ref)


async def test_sixteen_of_the_largest_cells_are_one_step(zookeeper: ZooKeeperService, path: str) -> None:
    """Four megabytes, where a transaction is at most one. What was overwritten or refused leaves no node behind."""
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            size = engine.guarantees.cell_bytes_max

            def writes(seed: int) -> list[CellWrite]:
                return [CellWrite(f"{n}", bytes([n + seed]) * size, None) for n in range(16)]

            for seed in (0, 100):
                written = await engine.write_cells("e", writes(seed), None)
                assert len({cell.version for cell in written}) == 1
                for n, cell in enumerate(written):
                    assert await engine.read_cell("e", f"{n}") == cell
            stale = [CellWrite("0", b"x" * size, 1)]
            with pytest.raises(Exception, match="version"):
                await engine.write_cells("e", stale, None)
            for n in range(16):
                assert len(client.get_children(f"/{path}/.incumbent/groups/e/{n}")) == 1


async def test_a_large_value_that_nobody_named_is_swept_away(zookeeper: ZooKeeperService, path: str) -> None:
    with kazoo_of(zookeeper) as client:
        async with engine_at(zookeeper.url(path)) as engine:
            big = b"x" * 100_000
            await engine.write_cells("e", [CellWrite("c", big, 0)], None)
            cell = f"/{path}/.incumbent/groups/e/c"
            client.create(f"{cell}/{'ab' * 16}", b"of a writer that died")
            await engine.write_cells("e", [CellWrite("c", big, None)], None)
            assert len(client.get_children(cell)) == 2, "it may yet be named"
            await engine.write_cells("e", [CellWrite("c", big, None)], None)
            assert len(client.get_children(cell)) == 1


async def test_a_guard_needs_more_than_a_live_member_and_its_token(
    zookeeper: ZooKeeperService, path: str
) -> None:
    """P33: a live member that is not first would have the right token for it, were it first."""
    async with engine_at(zookeeper.url(path)) as engine, engine_at(zookeeper.url(path)) as other:
        one = await engine.join(await engine.open_session(TTL_S, "one"), "e", "r", b"")
        two = await other.join(await other.open_session(TTL_S, "two"), "e", "r", b"")
        forged = Claimed(two, make_token(0, two.revision))
        with pytest.raises(NotFirst):
            await other.write_cells("e", [CellWrite("c", b"bad", None)], forged)
        await engine.leave(one)
        assert await other.claim(two) == forged
        await other.write_cells("e", [CellWrite("c", b"good", None)], forged)


async def test_a_guard_holds_until_the_transaction(
    zookeeper: ZooKeeperService, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P33: the member is removed after it was seen to be first, and before the cells are written."""
    async with engine_at(zookeeper.url(path)) as engine, engine_at(zookeeper.url(path)) as other:
        member = await engine.join(await engine.open_session(TTL_S, "one"), "e", "r", b"")
        claimed = await engine.claim(member)
        assert isinstance(claimed, Claimed)

        async def and_then_removed(*arguments: Any) -> int:
            counter = await check_first(*arguments)
            assert await other.remove("e", member.id, member.revision)
            return counter

        await engine.write_cells("e", [CellWrite("c", b"good", None)], claimed)
        monkeypatch.setattr("incumbent.engines.zookeeper.cell_steps.check_first", and_then_removed)
        with pytest.raises(NotFirst):
            await engine.write_cells("e", [CellWrite("c", b"bad", None)], claimed)
        assert (await other.read_cell("e", "c")).value == b"good"


# --- operators ------------------------------------------------------------------------------------------------------


async def test_a_bump_puts_all_tokens_above(zookeeper: ZooKeeperService, path: str) -> None:
    """P31: whoever leads joins again, under the new incarnation."""
    async with engine_at(zookeeper.url(path)) as engine:
        session = await engine.open_session(TTL_S, secrets.token_hex(16))
        member = await engine.join(session, "e", "r", b"")
        before = await engine.claim(member)
        assert isinstance(before, Claimed)
        assert await registry.bump(zookeeper.url(path)) == 1
        with pytest.raises(IncarnationChanged):
            await engine.claim(member)
        assert (await engine.roster("e")).token is None
        with pytest.raises(NotFirst):
            await engine.write_cells("e", [CellWrite("c", b"", None)], before)
        await engine.leave(member)
        with pytest.raises(MemberGone):
            await engine.claim(member)
        after = await engine.claim(await engine.join(session, "e", "r2", b""))
        assert isinstance(after, Claimed)
        assert split_token(after.token)[0] == 1
        assert after.token > before.token
        assert (await engine.roster("e")).token == after.token
        await engine.write_cells("e", [CellWrite("c", b"", None)], after)
        assert await registry.bump(zookeeper.url(path)) == 2
        await engine.end_session(session.ref)


async def test_the_doctor_finds_the_bounds(zookeeper: ZooKeeperService) -> None:
    found = await registry.examine(zookeeper.url("x") + "")
    assert "3.8.0" in found.server
    assert (found.ttl_min_s, found.ttl_max_s, found.ttl_step_s) == (2 * TICK_S, 700.0, 0.0)
    assert {finding.code for finding in found.findings} == {"standalone", "open-to-all"}
    with_login = await registry.examine(zookeeper.url("x").replace("//", "//app:geheim@"))
    assert "password-in-clear" in {finding.code for finding in with_login.findings}


async def test_the_doctor_does_without_four_letter_words(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    options = ("4lw.commands.whitelist=srvr", "maxSessionTimeout=4000")
    with service(tmp_path_factory.mktemp("quiet"), 1, *options) as running:
        dead = "127.0.0.1:1"
        found = await registry.examine(running.url("x").replace("//", f"//{dead},"))
        assert found.ttl_max_s == 4.0
        assert {"usual-ttl-refused", "server-unreachable"} <= {finding.code for finding in found.findings}
