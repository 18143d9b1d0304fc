"""Real candidates on a real ensemble, while processes on either side are killed and stopped. The judge looks at what they did."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kazoo.client import KazooClient

from tests.engines.candidates import candidates
from tests.engines.zookeeper_service import ZooKeeperService, service
from tests.servers.wallclock import WallClock
from tests.servers.zookeeper import ZooKeeper

pytestmark = pytest.mark.slow

TTL_S = 3.0


@pytest.fixture(scope="module")
def zookeepers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperService]:
    with service(tmp_path_factory.mktemp("zookeeper"), 3, "syncLimit=20") as running:
        yield running


def test_a_killed_holder_is_succeeded_without_its_ttl(zookeepers: ZooKeeperService, tmp_path: Path) -> None:
    """DESIGN 4.4: the guardian ends the session by two frames, long before a TTL of ten minutes has passed."""
    url = zookeepers.url("killed")
    with candidates(tmp_path, 600.0) as running:
        running.start("a", url, guardian=True)
        first = running.until_acting()
        running.start("b", url)
        running.kill("a")
        second = running.until_acting(other_than=first.token)
        assert (first.candidate, second.candidate) == ("a", "b")
        running.check()


def test_a_stopped_holder_is_succeeded_and_wakes_up_deposed(
    zookeepers: ZooKeeperService, tmp_path: Path
) -> None:
    """P11, P47: what ended stays ended, also when the session's process goes on."""
    url = zookeepers.url("stopped")
    with candidates(tmp_path, TTL_S) as running:
        running.start("a", url)
        first = running.until_acting()
        running.start("b", url)
        running.stop("a")
        second = running.until_acting(other_than=first.token)
        assert second.candidate == "b"
        running.go_on("a")
        running.until_ended(first.token)
        assert running.until_acting().token == second.token
        running.kill("b")
        third = running.until_acting(other_than=second.token)
        assert third.candidate == "a"
        assert third.token > second.token > first.token
        running.check()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("whom", ["leader", "follower"])
def test_an_ensemble_that_loses_a_member_keeps_one_leader(
    zookeepers: ZooKeeperService, tmp_path: Path, whom: str, number: signal.Signals
) -> None:
    """P30: a term may end by it, and the next one has a higher token."""
    server = zookeepers.server
    with candidates(tmp_path, TTL_S) as running:
        for name in ("a", "b", "c"):
            running.start(name, zookeepers.url(f"{whom}-{number.name}"))
        running.until_acting()
        victim = server.wait()
        if whom == "follower":
            victim = next(name for name in server.processes if name != victim)
        if number is signal.SIGKILL:
            server.kill(victim)
        else:
            server.signal(victim, number)
        try:
            time.sleep(TTL_S * 1.5)
            running.until_acting()
        finally:
            if number is signal.SIGKILL:
                server.start(victim)
            else:
                server.signal(victim, signal.SIGCONT)
        server.wait()
        running.until_acting()
        running.check()


def test_steps_of_the_servers_wall_clock_change_nothing(tmp_path: Path) -> None:
    """P9: neither ends a session, nor keeps one alive."""
    clock = WallClock(tmp_path)
    with service(tmp_path, 1) as running:
        server = running.server
        server.kill("m0")
        server.environment = clock.environment
        server.start("m0")
        server.wait()
        with candidates(tmp_path, TTL_S) as standing:
            standing.start("a", running.url("clock"))
            first = standing.until_acting()
            standing.start("b", running.url("clock"))
            for step in (3600, -3600):
                clock.step(step)
                assert abs(_wall_clock_of(server) - (time.time() + step)) < 60  # it did see it
                time.sleep(1.5 * TTL_S)
                assert standing.until_acting().token == first.token
            standing.stop("a")
            second = standing.until_acting(other_than=first.token)
            assert second.candidate == "b"
            standing.check()


def _wall_clock_of(server: ZooKeeper) -> float:
    client = KazooClient(server.hosts)
    client.start()
    try:
        path = client.create("/clock-", sequence=True)
        return float(client.get(path)[1].created)
    finally:
        client.stop()
        client.close()
