"""Resuming after a restart: what the file proves, what it does not, and that nothing about it keeps anybody from leading."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

import incumbent
from incumbent.engines.api import Claimed
from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, SessionGone
from incumbent.leadership import resume
from incumbent.leadership.resume import FILE_BYTES_MAX, SESSIONS_MAX, Held, Ledger, Origin, Page
from incumbent.runtime.lifelock import LifeLock
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import REF_PREFIX
from tests.fencing.forking import in_a_child
from tests.leadership.lab import TTL_S, Lab, cut, mend, until

AT_ONCE_S = 0.2
LONG_S = 60.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leader"


async def died(lab: Lab, path: Path, *, ttl: float = LONG_S, release_delay: float = 0.0) -> Claimed:
    """A leader that wrote its session down and was killed: its lock is gone, and nothing else."""
    ledger = await Ledger.open(path, ttl=ttl, clock=lab.sim.clock)
    engine = lab.engine()
    session = await engine.open_session(ttl, secrets.token_hex(16), release_delay=release_delay)
    await ledger.watch(session.ref, release_delay)
    claimed = await engine.claim(await engine.join(session, "e", secrets.token_hex(16), b"former"))
    assert isinstance(claimed, Claimed)
    ledger._lock.release()
    return claimed


def alter(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    said = msgspec.json.decode(path.read_bytes())
    change(said)
    path.write_bytes(msgspec.json.encode(said))


def references(path: Path) -> list[bytes]:
    return [held.ref for held in msgspec.json.decode(path.read_bytes(), type=Page).sessions]


async def leads_after_s(lab: Lab, path: Path, *, fenced: bool = True, above: int = 0) -> float:
    """Stand with that file, and say how long it took to lead."""
    started_s = lab.now_s
    async with (
        lab.connect(ttl=TTL_S, resume=path) as cluster,
        cluster.election("e", fenced=fenced).campaign() as term,
    ):
        assert term.token > above
        return lab.now_s - started_s


# --- what is proven ---------------------------------------------------------------------------------------------------


def test_a_restarted_leader_leads_at_once_with_a_higher_token(path: Path) -> None:
    """P6: it is a new candidate under a new member; what the dead one sent late carries a lower token."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        former = await died(lab, path)
        assert await leads_after_s(lab, path, above=former.token) < AT_ONCE_S

    simulate(story)


def test_what_a_dead_leader_sent_is_waited_out(path: Path) -> None:
    """P44: from the proof on, since nobody knows for how long it has been dead; not when everything is fenced."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, release_delay=1.0)
        await asyncio.sleep(5)
        assert 1.0 <= await leads_after_s(lab, path) < 1.0 + AT_ONCE_S

    simulate(story)


def test_who_waited_leads_first(path: Path) -> None:
    """The restarted one stands last in the queue, as anybody who comes new."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path)
        led: list[str] = []

        async def stand(name: str, resume: Path | None) -> None:
            async with (
                lab.connect(resume=resume) as cluster,
                cluster.election("e", candidate=name, fenced=True).campaign(),
            ):
                led.append(name)
                await asyncio.sleep(1)

        other = asyncio.create_task(stand("other", None))
        await until(lambda: len(lab.members()) == 2)
        await asyncio.gather(other, stand("restarted", path))
        assert led == ["other", "restarted"]

    simulate(story)


def test_restarts_in_quick_succession_leave_nobody_behind(path: Path) -> None:
    """What was proven once need not be proven again: each goes on with what the one before did not get to end."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        tokens = [(await died(lab, path, release_delay=1.0)).token]
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        await ledger.watch(REF_PREFIX + b"0" * 32, 1.0)
        assert len(references(path)) == 2
        ledger._lock.release()
        assert await leads_after_s(lab, path, above=max(tokens)) < 1.0 + AT_ONCE_S
        assert not path.exists()

    simulate(story)


def test_a_session_that_is_over_already_is_fine(path: Path) -> None:
    """The guardian was faster."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path)
        (ref,) = references(path)
        assert lab.store.end_session(ref) is True
        assert await leads_after_s(lab, path) < AT_ONCE_S

    simulate(story)


def test_a_reboot_of_this_machine_is_proof(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resume, "machine_id", lambda: "this machine")

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        former = await died(lab, path)
        alter(path, lambda said: said["origin"].update(boot="the boot before", lock=[1, 2]))
        assert await leads_after_s(lab, path, above=former.token) < AT_ONCE_S

    simulate(story)


@pytest.mark.parametrize(
    "change",
    [
        lambda said: said["origin"].update(boot="another", machine="another"),
        lambda said: said["origin"].update(boot="another", machine=""),
        lambda said: said["origin"].update(lock=[said["origin"]["lock"][0], 1]),
        lambda said: said["origin"].update(lock=[0, said["origin"]["lock"][1]]),
    ],
    ids=["another host", "a container, elsewhere or before", "the lock's file was deleted", "a copy"],
)
def test_what_is_not_proven_is_left_to_its_ttl(
    path: Path,
    change: Callable[[dict[str, Any]], object],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """P50: locks and boots say nothing of another host, and the log says why nothing was ended."""
    monkeypatch.setattr(resume, "machine_id", lambda: "")

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, ttl=10.0)
        alter(path, change)
        assert 9.0 < await leads_after_s(lab, path) < 11.0
        assert "proves no death" in caplog.text

    simulate(story)


def test_a_network_file_system_proves_nothing(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P50: other hosts write there, and what a lock is worth is the server's to say."""
    monkeypatch.setattr(resume, "kind_of", lambda _: "nfs4")

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, ttl=10.0)
        assert 9.0 < await leads_after_s(lab, path) < 11.0
        assert "network file system (nfs4)" in caplog.text

    simulate(story)


# --- who holds it -----------------------------------------------------------------------------------------------------


def test_two_processes_cannot_have_one_file(path: Path) -> None:
    """The one that lives keeps its session, and the other is told what to do; a second cluster object is another, too."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with (
            lab.connect(resume=path) as cluster,
            cluster.election("e").campaign() as term,
        ):
            with pytest.raises(InvalidInput, match=rf"held .*{os.getpid()}.* a file of its own") as refused:
                async with lab.connect(resume=path):
                    pytest.fail("entered")
            assert refused.value.field == "resume"
            assert term.is_valid
            assert len(references(path)) == 1

    simulate(story)


def test_a_predecessor_that_is_just_ending_is_waited_for(path: Path) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        asyncio.get_running_loop().call_later(0.5, ledger.close)
        assert 0.5 <= await leads_after_s(lab, path) < 1.0

    simulate(story)


def test_a_forked_child_changes_nothing(path: Path) -> None:
    """P75: neither the file nor the lock is its own."""

    async def story(sim: Simulation) -> None:
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        await ledger.watch(b"one", 0.0)
        assert in_a_child(ledger.close) is None
        assert references(path) == [b"one"]
        assert LifeLock.take(path.with_name("leader.lock")) is None
        ledger.close()

    simulate(story)


# --- what is in the file ----------------------------------------------------------------------------------------------


def test_a_session_is_written_down_before_anybody_leads_by_it(path: Path) -> None:
    """And taken out when it has ended: nothing is left but the lock's file, which says nothing."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        unwritten: list[bytes] = []

        async def on_reply(_: str) -> None:
            """Whatever was done: it was not on a session that is not in the file."""
            members = {member.session for group in lab.store.groups.values() for member in group.members}
            unwritten.extend(members.difference(references(path) if members else ()))

        engine.on_reply = on_reply
        async with lab.connect(engine, resume=path) as cluster:
            assert not path.exists()
            async with cluster.election("e", fenced=True).campaign(), cluster.election("f").campaign():
                assert unwritten == []
                assert path.stat().st_mode & 0o777 == 0o600
                assert set(references(path)) == set(lab.store.sessions)
        assert [one.name for one in path.parent.iterdir()] == ["leader.lock"]

    simulate(story)


def test_a_session_that_was_lost_makes_room_for_the_next(path: Path) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect(resume=path) as cluster:
            election = cluster.election("e", fenced=True)
            with pytest.raises(incumbent.LeadershipLost):
                async with election.campaign():
                    (first,) = references(path)
                    lab.store.end_session(first)
                    await asyncio.sleep(LONG_S)
            async with election.campaign():
                (second,) = references(path)
                assert second != first

    simulate(story)


def test_a_session_that_carries_a_running_body_is_left_to_its_ttl(path: Path) -> None:
    """P25: closing gives the lock free, so whoever gets it must not find that session."""

    async def story(sim: Simulation) -> None:
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        await ledger.watch(b"its body runs", 0.0)
        ledger.close()
        assert not path.exists()

    simulate(story)


def test_what_cannot_be_taken_out_keeps_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """P25: for as long as this process, in which a body still runs, lives."""

    async def story(sim: Simulation) -> None:
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        await ledger.watch(b"its body runs", 0.0)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", full)
            ledger.close()
        assert LifeLock.take(path.with_name("leader.lock")) is None
        ledger._lock.release()

    simulate(story)


def full(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def test_a_full_disk_keeps_nobody_from_leading(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", full)
            assert await leads_after_s(lab, path) < AT_ONCE_S
        assert "No space left" in caplog.text

    simulate(story)


def test_the_file_is_bounded(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(sim: Simulation) -> None:
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        for number in range(SESSIONS_MAX + 1):
            await ledger.watch(bytes([number]) * 4096, 3600.0)
        assert len(references(path)) == SESSIONS_MAX
        assert path.stat().st_size <= FILE_BYTES_MAX
        assert "is full" in caplog.text
        ledger.close()

    simulate(story)


# --- files that are none of ours --------------------------------------------------------------------------------------


def garbage(path: Path) -> None:
    path.write_bytes(b"\xff\x00" * 150)


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def too_long(path: Path) -> None:
    path.write_bytes(b" " * (FILE_BYTES_MAX + 1))


def too_deep(path: Path) -> None:
    path.write_bytes(b'{"a":' * 100_000)


def of_another_release(path: Path) -> None:
    alter(path, lambda said: said.update(version=2))


def of_another_shape(path: Path) -> None:
    alter(path, lambda said: said["sessions"][0].update(release_delay=-1))


def readable_by_others(path: Path) -> None:
    path.chmod(0o644)


def of_another_user(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(path, 12345, -1)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (garbage, "malformed"),
        (truncated, "truncated"),
        (empty, "truncated"),
        (too_long, "longer"),
        (too_deep, "recursion"),
        (of_another_release, "version 2"),
        (of_another_shape, "release_delay"),
        (readable_by_others, "0600"),
        (of_another_user, "0600"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_not_used(
    path: Path, spoil: Callable[[Path], None], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody's session is ended by it; it is replaced by one that is as it should be, and the TTL protects."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, ttl=10.0)
        spoil(path)
        assert 9.0 < await leads_after_s(lab, path) < 11.0
        assert why in caplog.text

    simulate(story)


def test_a_reference_of_another_engine_ends_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The engine itself says that it is none of its own."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        ledger = await Ledger.open(path, ttl=LONG_S, clock=sim.clock)
        await ledger.watch(b"of another engine", 0.0)
        ledger._lock.release()
        async with lab.connect(resume=path):
            await asyncio.sleep(1)
            assert not path.exists()
        assert "no session reference of this engine" in caplog.text
        assert "of another engine" not in caplog.text

    simulate(story)


@pytest.mark.parametrize("bad", ["", "/", "a\0b"])
def test_a_path_that_names_no_file_is_refused_at_the_door(bad: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        incumbent.connect("local:///nowhere", resume=bad)
    assert refused.value.field == "resume"


@pytest.mark.parametrize("bad", ["no such directory/leader", ".", "link"])
async def test_a_path_that_cannot_be_used_is_refused_before_anything_is_done(
    tmp_path: Path, bad: str
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for connect in (incumbent.connect, incumbent.blocking.connect):
        with pytest.raises(InvalidInput) as refused:
            manager = connect(f"local://{tmp_path}/engine", resume=tmp_path / "x" / ".." / bad)
            if hasattr(manager, "__aenter__"):
                await manager.__aenter__()
            else:
                await asyncio.to_thread(manager.__enter__)
        assert refused.value.field == "resume"
    assert not (tmp_path / "engine").exists()


# --- engines that do not answer ---------------------------------------------------------------------------------------


def test_a_lost_answer_is_asked_for_again(path: Path) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path)
        engine = lab.engine()
        engine.fail_next("end_session", OutcomeUnknown("no answer"), after_effect=True)
        engine.fail_next("end_session", EngineUnavailable("no route"))
        async with (
            lab.connect(engine, resume=path) as cluster,
            cluster.election("e", fenced=True).campaign(),
        ):
            await until(lambda: len(references(path)) == 1)
            assert engine.calls.count("end_session") == 3

    simulate(story)


def test_an_engine_that_is_away_is_not_asked_for_ever(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After the session's own TTL there is nothing left to end, and nobody was kept from standing meanwhile."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, ttl=10.0)
        engine = lab.engine()
        cut(engine, "end_session")
        async with lab.connect(engine, resume=path) as cluster:
            started_s = lab.now_s
            async with cluster.election("e", fenced=True).campaign():
                assert 9.0 < lab.now_s - started_s < 11.0
                await until(lambda: "did not answer" in caplog.text)
                assert len(references(path)) == 1
                mend(engine)

    simulate(story)


def test_a_bug_of_the_engine_is_shown_and_stops_nothing(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, ttl=10.0)
        engine = lab.engine()
        engine.fail_next("end_session", ZeroDivisionError("a bug"))
        async with (
            lab.connect(engine, resume=path) as cluster,
            cluster.election("e", fenced=True).campaign(),
        ):
            assert "ZeroDivisionError" in caplog.text

    simulate(story)


def test_closing_at_once_leaves_the_rest_to_the_next(path: Path) -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        await died(lab, path, release_delay=1.0)
        before = references(path)
        async with lab.connect(resume=path):
            await asyncio.sleep(0.5)
        assert references(path) == before
        async with lab.connect(resume=path):
            await asyncio.sleep(1.5)
        with pytest.raises(SessionGone):
            lab.store.renew(before[0])

    simulate(story)


def test_no_secret_is_shown() -> None:
    held = Held(b"secret", 0.0, 1.0)
    assert "secret" not in repr(Page(Origin("b", "m", (1, 2)), (held,)))
