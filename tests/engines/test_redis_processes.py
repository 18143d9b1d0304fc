"""The Redis engine among real processes: holders and servers are killed, stopped, cut off, replaced; histories are judged.

The engine is advisory: where a server forgets, leaderships may overlap, and the judge is asked about the tokens alone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.engines import holders
from tests.engines.candidates import Candidates, candidates
from tests.servers.redis import REPLICA, Redis, redis

pytestmark = pytest.mark.slow

TTL_S = 1.0
NAMESPACES = (f"n{number}" for number in count())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis"), "--bind", "0.0.0.0", "--protected-mode", "no") as server:
        yield server


@pytest.fixture
def url(server: Redis) -> str:
    return f"{server.url()}?namespace={next(NAMESPACES)}&timeout=1&accept=advisory"


@pytest.fixture
def standing(tmp_path: Path) -> Iterator[Candidates]:
    with candidates(tmp_path, TTL_S) as standing:
        yield standing


def stand(server: Redis, url: str, members: int) -> bool:
    """Whether so many stand."""
    namespace = dict(option.split("=") for option in url.partition("?")[2].split("&"))["namespace"]
    return server.ask("ZCARD", "{" + namespace + "}m:e") == b"%d" % members


def test_a_killed_holder_that_is_guarded_is_succeeded_at_once(
    tmp_path: Path, server: Redis, url: str
) -> None:
    holders.killed_and_guarded(tmp_path, url, lambda members: stand(server, url, members))


def test_a_killed_holder_is_succeeded_by_the_servers_expiry(
    standing: Candidates, server: Redis, url: str
) -> None:
    holders.killed(standing, url, lambda members: stand(server, url, members))


def test_a_stopped_holder_is_succeeded_and_acts_no_more(standing: Candidates, url: str) -> None:
    holders.stopped(standing, url)


@pytest.mark.parametrize("story", [holders.server_killed, holders.server_stopped])
def test_a_server_that_is_gone_for_longer_than_the_ttl(
    story: Callable[[Candidates, Redis, str], None], standing: Candidates, server: Redis, url: str
) -> None:
    story(standing, server, url)


def test_a_holder_that_is_cut_off_stops_in_time(standing: Candidates, server: Redis, url: str) -> None:
    holders.cut_off(standing, url, lambda members: stand(server, url, members))


def test_a_server_that_forgot_everything_is_not_led_on(tmp_path: Path) -> None:
    """P46: whoever was connected stops and stays out; who comes new has a higher token."""
    with redis(tmp_path, persistent=False) as server, candidates(tmp_path, TTL_S) as standing:
        url = f"{server.url()}?namespace=n&timeout=1&accept=advisory"
        standing.start("a", url)
        first = standing.until_elected(1)
        server.kill()
        server.start()
        assert standing.until_ended(first.token).reason in ("engine_reset", "renew_timeout", "expired")
        time.sleep(TTL_S)
        assert len(standing.elected()) == 1
        standing.start("b", url)
        second = standing.until_elected(2)
        assert second.candidate == "b"
        assert second.token > first.token


def test_a_promoted_replica_never_gives_a_smaller_token(tmp_path: Path) -> None:
    """P46: by the same name, so the promoted one listens where the old one did."""
    with redis(tmp_path, replica=True) as server, candidates(tmp_path, TTL_S) as standing:
        url = f"{server.url()}?namespace=n&timeout=1&accept=advisory"
        standing.start("a", url)
        first = standing.until_elected(1)
        standing.until_renewed()
        server.kill()
        server.promote()
        server.kill(REPLICA)
        server.addresses[REPLICA] = server.addresses["primary"]
        server.start(REPLICA)
        standing.start("b", url)
        standing.kill("a")
        standing.until(lambda: standing.elected()[-1].candidate == "b", "nobody leads on the promoted one")
        tokens = [event.token for event in standing.elected()]
        assert tokens == sorted(set(tokens))
        assert tokens[-1] > first.token
