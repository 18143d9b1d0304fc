"""The local engine among real processes: proof of death, ending from outside, deleted directories, reboots."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shutil
import signal
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from incumbent.engines.api import CellWrite, Claimed, Member, Session, Waiting
from incumbent.engines.local import connect
from incumbent.engines.local.boot import Boot
from incumbent.engines.local.ender import make_ender
from incumbent.engines.local.engine import LocalEngine
from incumbent.engines.local.holder import Holder
from incumbent.engines.local.store import Store
from incumbent.engines.registry import ender
from incumbent.errors import EngineUnavailable, InvalidInput, MemberGone, SessionGone, Unsupported, WatchLost
from tests.engines.local_process import Process, run_race

TTL_S = 30.0  # so long that nothing below can be the TTL's doing


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "engine"


@pytest.fixture(autouse=True)
def _only_wake_ups(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that looks by itself would hide a wake-up that never came."""
    monkeypatch.setattr("incumbent.engines.local.engine.LOOK_EVERY_S", 3600.0)


@pytest.fixture
async def engine(directory: Path) -> AsyncIterator[LocalEngine]:
    engine = await LocalEngine.open(directory)
    yield engine
    await engine.close()


async def member_of(
    engine: LocalEngine, group: str = "g", ttl: float = TTL_S, delay: float = 0.0
) -> tuple[Session, Member]:
    session = await engine.open_session(ttl, secrets.token_hex(16), release_delay=delay)
    return session, await engine.join(session, group, secrets.token_hex(16), b"")


async def until_first(engine: LocalEngine, member: Member) -> Claimed:
    while True:
        answer = await engine.claim(member)
        if isinstance(answer, Claimed):
            return answer
        watch = engine.watch(member.group, answer.cursor)
        await anext(watch)
        await watch.aclose()


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.6])
async def test_a_killed_holder_is_succeeded_long_before_its_ttl(
    engine: LocalEngine, directory: Path, delay_s: float
) -> None:
    """The pidfd proves it; what it already sent may still arrive, so its release delay is waited out."""
    with Process(directory, "g", TTL_S, delay_s) as holder:
        assert holder.token
        _, heir = await member_of(engine)
        waiting = asyncio.create_task(until_first(engine, heir))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        killed = time.monotonic()
        holder.kill()
        claimed = await waiting
        took_s = time.monotonic() - killed
        assert delay_s <= took_s < TTL_S / 2
        assert claimed.token > holder.token


@pytest.mark.slow
async def test_a_death_that_nobody_watched_is_found_by_the_next_claim(
    engine: LocalEngine, directory: Path
) -> None:
    with Process(directory, "g", TTL_S) as holder:
        holder.kill()
    _, heir = await member_of(engine)
    assert isinstance(await engine.claim(heir), Claimed)


@pytest.mark.slow
async def test_a_stopped_holder_is_not_taken_for_dead(engine: LocalEngine, directory: Path) -> None:
    with Process(directory, "g", TTL_S) as holder:
        _, heir = await member_of(engine)
        os.kill(holder.pid, signal.SIGSTOP)
        assert isinstance(await engine.claim(heir), Waiting)


@pytest.mark.slow
async def test_end_session_from_another_process_wakes_who_waits(engine: LocalEngine, directory: Path) -> None:
    with Process(directory, "g", TTL_S) as holder:
        _, heir = await member_of(engine)
        waiting = asyncio.create_task(until_first(engine, heir))
        guardian = ender("local")
        await guardian.prepare(holder.ref)
        assert not waiting.done()
        started = time.monotonic()
        assert await guardian.end(holder.ref) is True
        await waiting
        assert time.monotonic() - started < TTL_S / 2
        assert await guardian.end(holder.ref) is False
        await guardian.close()


@pytest.mark.slow
async def test_processes_that_race_never_lead_together(directory: Path) -> None:
    """Each leads many times, and dies once in the middle of it; who leads marks it by a file that must not exist."""
    led = await run_race(directory, processes=4, terms=12)
    assert len(led) == len(set(led)) >= 4 * 12
    assert led == sorted(led)


async def test_a_pid_alone_proves_nothing(engine: LocalEngine) -> None:
    """P50: a reused pid is another process; a pid of another namespace is nobody we can ask about."""
    me = Holder.this_process()
    assert not me.is_dead(me.namespace)
    assert Holder(me.pid, me.start_ticks + 1, me.namespace).is_dead(me.namespace)
    assert not Holder(me.pid, me.start_ticks + 1, "pid:[1]").is_dead(me.namespace)
    assert not Holder(2**22 + 1, 1, "").is_dead("")
    assert Holder(2**22 + 1, 1, me.namespace).is_dead(me.namespace)


async def test_a_reboot_ends_every_session(directory: Path) -> None:
    """P50: times of another boot mean nothing, and its processes are all dead."""
    before = await LocalEngine.open(directory, boot=Boot("boot-1", "time:[1]"))
    session, member = await member_of(before)
    claimed = await before.claim(member)
    assert isinstance(claimed, Claimed)
    (cell,) = await before.write_cells("g", [CellWrite("c", b"kept", 0)], claimed)
    after = await LocalEngine.open(directory, boot=Boot("boot-2", "time:[1]"))
    with pytest.raises(SessionGone):
        await before.renew(session)
    with pytest.raises(Unsupported, match="another boot"):
        await member_of(before)
    _, heir = await member_of(after)
    new = await after.claim(heir)
    assert isinstance(new, Claimed)
    assert new.token > claimed.token
    assert await after.read_cell("g", "c") == cell
    await before.close()
    await after.close()


async def test_a_reboot_never_lowers_a_token(directory: Path) -> None:
    """P30: also when the disk lied, and commits that were acknowledged before the power cut are not there."""
    before = await LocalEngine.open(directory, boot=Boot("boot-1", "time:[1]"))
    with closing(sqlite3.connect(directory / "incumbent.db", isolation_level=None)) as database:
        ((lost,),) = database.execute("SELECT revision FROM meta").fetchall()
        revisions = [(await member_of(before))[1].revision for _ in range(20)]
        await before.close()
        database.execute("UPDATE meta SET revision = ?", (lost,))
    directory_module = "incumbent.engines.local.directory"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"{directory_module}._floors", {})  # nobody remembers
        after = await LocalEngine.open(directory, boot=Boot("boot-2", "time:[1]"))
    _, heir = await member_of(after)
    assert heir.revision > max(revisions)
    await after.close()


async def test_times_of_another_time_namespace_are_not_compared(directory: Path) -> None:
    one = await LocalEngine.open(directory, boot=Boot("boot-1", "time:[1]"))
    session, _ = await member_of(one)
    with pytest.raises(Unsupported, match="time namespace"):
        await LocalEngine.open(directory, boot=Boot("boot-1", "time:[2]"))
    await one.renew(session)
    await one.end_session(session.ref)
    two = await LocalEngine.open(directory, boot=Boot("boot-1", "time:[2]"))
    await member_of(two)
    with pytest.raises(Unsupported, match="time namespace"):
        await member_of(one)
    await one.close()
    await two.close()


def delete_directory(directory: Path) -> None:
    shutil.rmtree(directory)


def delete_database(directory: Path) -> None:
    for path in directory.glob("incumbent.db*"):
        path.unlink()


def delete_wal(directory: Path) -> None:
    (directory / "incumbent.db-wal").unlink()


@pytest.mark.parametrize("delete", [delete_directory, delete_database])
@pytest.mark.parametrize("clock_steps_back", [False, True])
async def test_a_deleted_directory_never_lowers_a_token(
    engine: LocalEngine,
    directory: Path,
    delete: object,
    clock_steps_back: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """P32: and it is said aloud, and the sessions that were in it are over."""
    session, member = await member_of(engine)
    old = await engine.claim(member)
    assert isinstance(old, Claimed)
    if clock_steps_back:
        monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    assert callable(delete)
    with caplog.at_level(logging.WARNING):
        delete(directory)
        with pytest.raises(SessionGone):
            await engine.renew(session)
    assert "deleted or replaced" in caplog.text
    _, member = await member_of(engine)
    new = await engine.claim(member)
    assert isinstance(new, Claimed)
    assert new.token > old.token


async def test_a_process_that_remembers_raises_a_younger_database(
    engine: LocalEngine, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P32: made by a process that remembers nothing, under a clock that stepped back: its members have to join again,
    and the database keeps a note of it."""
    session, member = await member_of(engine)
    old = await engine.claim(member)
    assert isinstance(old, Claimed)
    delete_directory(directory)
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000)
    monkeypatch.setattr("incumbent.engines.local.directory._floors", floors := {})
    stranger = await LocalEngine.open(directory)
    low, member = await member_of(stranger)
    assert (await stranger.roster("g")).token == member.revision < old.token
    floors[str(directory)] = old.token
    with pytest.raises(SessionGone):
        await engine.renew(session)
    with pytest.raises(SessionGone):
        await stranger.renew(low)
    _, member = await member_of(stranger)
    assert member.revision > old.token
    with closing(sqlite3.connect(directory / "incumbent.db")) as database:
        ((revision, note),) = database.execute("SELECT * FROM note").fetchall()
    assert revision == old.token
    assert "deleted or replaced" in note
    await stranger.close()


@pytest.mark.slow
async def test_a_deleted_wal_is_noticed(engine: LocalEngine, directory: Path) -> None:
    """Without it the file is an older database, and whoever still has it open would go on alone; newcomers are
    refused until that one has noticed."""
    _, member = await member_of(engine)
    old = await engine.claim(member)
    assert isinstance(old, Claimed)
    delete_wal(directory)
    await engine.roster("g")
    with Process(directory, "h", TTL_S) as holder:
        assert holder.token is not None
        assert holder.token > old.token
        _, member = await member_of(engine, "h")
        assert isinstance(await engine.claim(member), Waiting)


async def test_an_answer_out_of_a_deleted_file_does_not_count(engine: LocalEngine, directory: Path) -> None:
    """Somebody else may already lead in the new one."""
    _, member = await member_of(engine)
    claimed: list[object] = []

    def claim_while_it_is_deleted(store: Store) -> object:
        claimed.append(store.claim(member, None))
        delete_directory(directory)
        return claimed[0]

    with pytest.raises(MemberGone):
        await engine._call(claim_while_it_is_deleted)
    assert isinstance(claimed[0], Claimed)


@pytest.mark.slow
async def test_a_watch_is_lost_with_its_directory(
    engine: LocalEngine, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("incumbent.engines.local.engine.LOOK_EVERY_S", 0.05)
    watch = engine.watch("g", (await engine.roster("g")).cursor)
    waiting = asyncio.ensure_future(anext(watch))
    await asyncio.sleep(0.02)
    delete_directory(directory)
    with pytest.raises(WatchLost, match="deleted"):
        await waiting


async def test_dead_mailboxes_are_swept(engine: LocalEngine, directory: Path) -> None:
    wake = directory / "wake"
    with suppress(FileNotFoundError):
        (mine,) = wake.iterdir()
    other = await LocalEngine.open(directory)
    (theirs,) = set(wake.iterdir()) - {mine}
    assert other._mailbox is not None
    dead = wake / "1-dead"
    dead.hardlink_to(theirs)
    await other.close()
    assert dead.exists()
    await member_of(engine)
    assert set(wake.iterdir()) == {mine}


async def test_what_a_dead_maker_left_is_swept(directory: Path) -> None:
    me = Holder.this_process()
    namespace = "".join(c for c in me.namespace if c.isdigit())
    directory.mkdir(mode=0o700)
    left = directory / f"new-{namespace}-{me.pid}-{me.start_ticks + 1}-ab"
    busy = directory / f"new-{namespace}-{me.pid}-{me.start_ticks}-ab"
    other = directory / "new-year"
    for path in (left, busy, other):
        path.touch()
    await (await LocalEngine.open(directory)).close()
    assert (left.exists(), busy.exists(), other.exists()) == (False, True, True)


async def test_nothing_but_ours_is_left_behind(directory: Path) -> None:
    engine = await LocalEngine.open(directory)
    await member_of(engine)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o077 == 0 for path in directory.glob("*") if path.name != "wake")
    await engine.close()
    assert {path.name for path in directory.rglob("*")} == {"incumbent.db", "wake"}


@pytest.mark.slow
async def test_a_forked_child_is_refused_and_harms_nothing(engine: LocalEngine) -> None:
    """P75."""
    session, member = await member_of(engine)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            call = engine.renew(session)
            call.send(None)
        except Unsupported as error:
            code = 0 if "fork" in str(error) else 2
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    await engine.renew(session)
    assert isinstance(await engine.claim(member), Claimed)


@pytest.mark.slow
async def test_a_lock_that_is_held_too_long_is_unavailable_and_nothing_is_done(directory: Path) -> None:
    engine = await connect(f"local://{directory}?busy_timeout=0.05")
    session = await engine.open_session(TTL_S, secrets.token_hex(16))
    with closing(sqlite3.connect(directory / "incumbent.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(EngineUnavailable, match="locked"):
            await engine.join(session, "g", "r", b"")
        assert (await engine.roster("g")).members == ()
        other.execute("ROLLBACK")
    await engine.join(session, "g", "r", b"")
    await engine.close()


async def test_a_reference_of_another_directory_is_refused(engine: LocalEngine, tmp_path: Path) -> None:
    other = await LocalEngine.open(tmp_path / "other")
    session, _ = await member_of(other)
    with pytest.raises(InvalidInput, match="other"):
        await engine.end_session(session.ref)
    await other.renew(session)
    await other.close()


async def test_an_ender_makes_no_directory(tmp_path: Path) -> None:
    engine = await LocalEngine.open(tmp_path / "gone")
    session, _ = await member_of(engine)
    await engine.close()
    delete_directory(tmp_path / "gone")
    guardian = make_ender()
    await guardian.prepare(session.ref)
    assert await guardian.end(session.ref) is False
    with pytest.raises(InvalidInput, match="ref"):
        await guardian.end(b"garbage")
    await guardian.close()
    assert not (tmp_path / "gone").exists()
