"""The PostgreSQL engine among real processes: holders and servers are killed, stopped, cut off, promoted; histories are judged."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest

from tests.engines import holders
from tests.engines.candidates import Candidates, candidates
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import STANDBY, Postgres, postgres
from tests.servers.wallclock import WallClock

pytestmark = pytest.mark.slow

TTL_S = 1.2
SCHEMAS = (f"s{number}" for number in count())  # of its own for each test on the shared server


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres(fsync="off", listen_addresses="*") as server:
        yield server


@pytest.fixture
def url(server: Postgres) -> str:
    return f"{server.url()}?schema={next(SCHEMAS)}&timeout=1"


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Candidates]:
    with candidates(tmp_path, TTL_S) as standing:
        yield standing


def test_a_killed_holder_that_is_guarded_is_succeeded_at_once(tmp_path: Path, url: str) -> None:
    holders.killed_and_guarded(tmp_path, url, lambda members: waiting(url, members))


def test_a_killed_holder_is_succeeded_by_a_lone_waiter(standing: Candidates, url: str) -> None:
    """P45: nobody but the waiter's own clock says that it is dead."""
    holders.killed(standing, url, lambda members: waiting(url, members))


def test_a_newcomer_waits_a_whole_ttl_for_a_holder_that_is_long_dead(standing: Candidates, url: str) -> None:
    """P17."""
    standing.start("a", url)
    standing.until_elected(1)
    standing.kill("a")
    time.sleep(TTL_S * 1.5)
    begun = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    standing.start("b", url)
    assert standing.until_elected(2).time_ns - begun >= TTL_S * 1e9
    standing.check()


def test_a_stopped_holder_is_succeeded_and_acts_no_more(standing: Candidates, url: str) -> None:
    holders.stopped(standing, url)


@pytest.mark.parametrize("story", [holders.server_killed, holders.server_stopped])
def test_a_server_that_is_gone_for_longer_than_the_ttl(
    story: Callable[[Candidates, Postgres, str], None], standing: Candidates, server: Postgres, url: str
) -> None:
    story(standing, server, url)


def test_a_server_that_restarts_within_the_ttl_costs_no_leadership(
    tmp_path: Path, server: Postgres, url: str
) -> None:
    """P45: backends die and connections are lost; rows stay."""
    with candidates(tmp_path, holders.LONG_S) as standing:
        for name in "ab":
            standing.start(name, url)
        standing.until_elected(1)
        standing.until(lambda: waiting(url, 2), "the other does not stand")
        server.kill()
        server.start()
        server.ask(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'incumbent'"
        )
        time.sleep(2.0)
        assert len(standing.elected()) == 1
        standing.check()


def test_a_pool_that_restarts_costs_no_leadership(tmp_path: Path, server: Postgres) -> None:
    """P45: pool recycling."""
    with pgbouncer(server) as pool, candidates(tmp_path, 6.0) as standing:
        url = f"{pool.url}?schema={next(SCHEMAS)}&timeout=1&poll=0.05"
        for name in "ab":
            standing.start(name, url)
        standing.until_elected(1)
        for _ in range(2):
            pool.kill()
            pool.start()
            standing.until_renewed()
        assert len(standing.elected()) == 1
        standing.kill(standing.elected()[0].candidate)
        standing.until_elected(2)
        standing.check()


def test_a_holder_that_is_cut_off_stops_in_time(standing: Candidates, url: str) -> None:
    holders.cut_off(standing, url, lambda members: waiting(url, members))


def test_steps_of_the_servers_wall_clock_change_nothing(standing: Candidates) -> None:
    """P13, P45: an hour forwards, and two back."""
    with postgres(fsync="off") as server:
        clock = WallClock(server.home.path)
        server.kill()
        server.environment = clock.environment
        server.start()
        for name in "ab":
            standing.start(name, server.url())
        standing.until_elected(1)
        for step in (3600, -3600, 0):
            clock.step(step)
            told = server.ask("SELECT extract(epoch FROM clock_timestamp())")[0][0]
            assert abs(float(told) - time.time() - step) < 60
            standing.until_renewed()
            time.sleep(TTL_S)
            standing.until_renewed()
        assert len(standing.elected()) == 1
        standing.kill(standing.elected()[0].candidate)
        standing.until_elected(2)
        standing.check()


@pytest.mark.parametrize("standby", ["synchronous", "asynchronous"])
def test_a_failover_raises_tokens(standby: str, standing: Candidates) -> None:
    """P30, P45: the leader notices, and who leads then has a token of a higher timeline."""
    with postgres(standby=standby, fsync="off") as server:
        (first_host, first_port), (_, second_port) = server.addresses.values()
        url = f"postgresql://postgres@{first_host}:{first_port},{first_host}:{second_port}/postgres"
        url += f"?timeout=1&standby={standby}"
        for name in "ab":
            standing.start(name, url)
        first = standing.until_elected(1)
        standing.until_renewed()
        server.kill()
        server.promote()
        server.ask("ALTER SYSTEM SET synchronous_standby_names = ''", name=STANDBY)
        standing.until_ended(first.token)
        second = standing.until_elected(2)
        assert second.token >> 40 > first.token >> 40
        standing.until_renewed()
        standing.check()


def waiting(url: str, members: int) -> bool:
    """Whether so many stand."""
    plain, _, options = url.partition("?")
    schema = dict(option.split("=") for option in options.split("&"))["schema"]
    with psycopg.connect(plain, autocommit=True) as connection:
        return connection.execute(f"SELECT count(*) FROM {schema}.member".encode()).fetchone() == (members,)
