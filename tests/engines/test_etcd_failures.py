"""Everything that can go wrong between real candidates and a real etcd of three members, and what the judge says of it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import incumbent
from incumbent import Reason
from incumbent.engines import registry
from incumbent.fencing.sqlite import Fence
from tests.engines.etcd_process import PATIENCE_S, Candidates
from tests.engines.etcd_service import EtcdService, serving
from tests.engines.test_etcd_engine import replace
from tests.servers.spaces import Spaces, apart, can_make
from tests.torture.hosts import FAULTS

pytestmark = pytest.mark.slow

TTL_S = 2.0
TTL_LONG_S = 60.0


@contextmanager
def standing(
    service: EtcdService, directory: Path, ttl_s: float = TTL_S, *, guardian: bool = False
) -> Iterator[Candidates]:
    """Three candidates, each with another member first."""
    candidates = Candidates(directory, ttl_s, guardian=guardian)
    try:
        for turn, name in enumerate("abc"):
            candidates.start(name, service.url(turn))
        candidates.until(lambda *_: True)
        yield candidates
    finally:
        candidates.close()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdService]:
    with serving(tmp_path_factory.mktemp("etcd"), 3) as running:
        yield running


def other_than(holder: str) -> str:
    return next(name for name in "abc" if name != holder)


def test_holders_that_die_and_stop_are_succeeded(service: EtcdService, tmp_path: Path) -> None:
    """P11, P30: after the TTL where nothing proves the death; a stopped one acts no more when it goes on."""
    with standing(service, tmp_path) as candidates:
        holder, token = candidates.until(lambda *_: True)
        candidates.signal(holder, signal.SIGSTOP)
        second, _ = candidates.until_above(token)
        candidates.signal(holder, signal.SIGCONT)
        candidates.until_acting_anew()
        candidates.signal(second, signal.SIGKILL)
        candidates.until(lambda name, _: name != second)
        candidates.until_acting_anew()
        assert len(candidates.judged().leaderships) >= 3


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_members_that_die_and_stop_are_outlived(
    service: EtcdService, tmp_path: Path, how: signal.Signals
) -> None:
    """P12, P30: etcd's leader, and then one of the others; the election goes on with rising tokens."""
    server = service.server
    with standing(service, tmp_path) as candidates:
        for pick in (lambda leader: leader, lambda leader: next(n for n in server.clients if n != leader)):
            member = pick(server.wait())
            if how is signal.SIGKILL:
                server.kill(member)
            else:
                server.signal(member, how)
            candidates.until_acting_anew()
            holder, token = candidates.until(lambda *_: True)
            candidates.signal(holder, signal.SIGSTOP)
            candidates.until_above(token)
            candidates.signal(holder, signal.SIGCONT)
            if how is signal.SIGKILL:
                server.start(member)
            else:
                server.signal(member, signal.SIGCONT)
            server.wait()
        candidates.judged()


def test_a_killed_holder_under_a_guardian_is_succeeded_at_once(service: EtcdService, tmp_path: Path) -> None:
    """Long before its TTL: the kernel's word ends the session. The next holder as well."""
    with standing(service, tmp_path, TTL_LONG_S, guardian=True) as candidates:
        for _ in range(2):
            holder, token = candidates.until(lambda *_: True)
            candidates.signal(holder, signal.SIGKILL)
            candidates.until_above(token)
        assert len(candidates.judged().leaderships) == 3


def test_clock_steps_of_a_client_change_nothing(service: EtcdService, tmp_path: Path) -> None:
    """P9: hours ahead and back, in the holder and in who waits."""
    compiler = shutil.which("cc")
    if compiler is None:
        assert "CI" not in os.environ, "no C compiler"
        pytest.skip("stepping a process's clock needs a C compiler")
    library, clock = tmp_path / "faults.so", tmp_path / "clock"
    subprocess.run((compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(FAULTS), "-ldl"), check=True)
    clock.write_bytes(bytes(8))
    environment = {"LD_PRELOAD": str(library), "FAULTS_CLOCK_STEP": str(clock)}
    candidates = Candidates(tmp_path, TTL_S)
    try:
        for turn, name in enumerate("ab"):
            candidates.start(name, service.url(turn), environment=environment)
        holder = candidates.until(lambda *_: True)
        for step_s in (3600, -3600, 86_400):
            with clock.open("r+b") as file:
                file.write(step_s.to_bytes(8, "little", signed=True))
            time.sleep(TTL_S * 0.6)
            assert candidates.until_acting_anew() == holder
        assert len(candidates.judged().leaderships) == 1
    finally:
        candidates.close()


@contextmanager
def on_hosts(directory: Path) -> Iterator[tuple[Spaces, EtcdService, Candidates]]:
    """Each member and each candidate on a host of its own. Candidates are yet to be started."""
    if (why := can_make()) is not None:
        assert "CI" not in os.environ, why
        pytest.skip(why)
    (directory / "etcd").mkdir()
    candidates = Candidates(directory, TTL_S)
    with apart("m0", "m1", "m2", *"abc") as spaces, serving(directory / "etcd", 3, spaces=spaces) as service:
        try:
            yield spaces, service, candidates
        finally:
            candidates.close()


def test_a_holder_that_is_cut_off_is_succeeded_and_ended_before(tmp_path: Path) -> None:
    """P10: it hears nothing, and ends by its own clock before the etcd lets go."""
    with on_hosts(tmp_path) as (spaces, service, candidates):
        for turn, name in enumerate("abc"):
            candidates.start(name, service.url(turn), inside=spaces.inside(name))
        holder, token = candidates.until(lambda *_: True)
        spaces.isolate(holder, cut=True)
        heir, token = candidates.until_above(token)
        spaces.isolate(holder, cut=False)
        candidates.until_acting_anew()
        spaces.isolate(heir, cut=True)
        candidates.until_above(token)
        spaces.isolate(heir, cut=False)
        candidates.judged()


def test_a_member_that_is_cut_off_from_the_others_keeps_no_holder(tmp_path: Path) -> None:
    """P12, P38: it was etcd's leader, and the holder knows only that one and still reaches it. Its word counts for nothing; another
    leads with the other members, and never while the first does."""
    with on_hosts(tmp_path) as (spaces, service, candidates):
        leader = service.server.wait()
        others = [name for name in service.server.clients if name != leader]
        alone, rest = (
            "etcd://" + ",".join(":".join(map(str, service.server.clients[name])) for name in names)
            for names in ([leader], others)
        )
        candidates.start("a", alone, inside=spaces.inside("a"))
        _, token = candidates.until(lambda *_: True)
        candidates.start("b", rest, inside=spaces.inside("b"))
        time.sleep(TTL_S / 2)
        spaces.one_way(leader, *others, cut=True)
        for other in others:
            spaces.one_way(other, leader, cut=True)
        _, token = candidates.until(lambda name, now: name == "b" and now > token)
        spaces.one_way(leader, *others, cut=False)
        for other in others:
            spaces.one_way(other, leader, cut=False)
        candidates.signal("b", signal.SIGKILL)
        candidates.until(lambda name, now: name == "a" and now > token)
        candidates.judged()


def test_an_outage_of_all_members_ends_the_term_and_is_recovered_from(
    service: EtcdService, tmp_path: Path
) -> None:
    """P8: nobody leads past its deadline; once they are back somebody does."""
    with standing(service, tmp_path) as candidates:
        _, token = candidates.until(lambda *_: True)
        for member in list(service.server.processes):
            service.server.signal(member, signal.SIGSTOP)
        time.sleep(TTL_S * 1.5)
        for member in service.server.processes:
            service.server.signal(member, signal.SIGCONT)
        candidates.until_above(token)
        candidates.judged()


async def test_a_restored_etcd_ends_the_term_and_a_newcomer_is_stopped_by_the_sink(tmp_path: Path) -> None:
    """P31, P33: who was connected ends its term and waits for the bump; who was not gets a token that the resource has seen above.
    After the bump the first leads again, above all."""
    resource = sqlite3.connect(tmp_path / "resource.db", isolation_level=None)
    fence = Fence(resource, "resource")

    def write(token: int) -> None:
        with fence.write(token):
            pass

    with serving(tmp_path) as service:
        url = service.url()
        async with incumbent.connect(url, ttl=2.0, guardian=False) as one:
            for _ in range(5):  # so that the revision has something to go back from
                async with one.election("other", fenced=True).campaign():
                    pass
            election = one.election("e", fenced=True)
            with pytest.raises(incumbent.LeadershipLost) as lost:
                async with election.campaign() as term:
                    before = term.token
                    write(before)
                    await asyncio.to_thread(replace, service, tmp_path, None)
                    await asyncio.sleep(10)
            assert lost.value.reason in (Reason.ENGINE_RESET, Reason.EVICTED)
            again = asyncio.create_task(_lead_once(election))
            async with incumbent.connect(url, ttl=2.0, guardian=False) as newcomer:
                low = await _lead_once(newcomer.election("e", fenced=True))
                assert low < before
                with pytest.raises(incumbent.StaleToken):
                    write(low)
            await asyncio.sleep(1.0)
            assert not again.done()
            assert await registry.bump(url) == 1
            async with asyncio.timeout(PATIENCE_S):
                high = await again
            assert high > before
            write(high)
    resource.close()


async def _lead_once(election: incumbent.Election) -> int:
    async with election.campaign() as term:
        return term.token
