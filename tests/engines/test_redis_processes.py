"""The Redis engine among real processes: holders and servers are killed, stopped, cut off, replaced; histories are judged.

The engine is advisory: where a server forgets, leaderships may overlap, and the judge is asked about the tokens alone.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.engines.candidates import Candidates, candidates
from tests.servers.cable import cable
from tests.servers.redis import REPLICA, Redis, redis

pytestmark = pytest.mark.slow

TTL_S = 1.0
LONG_S = 30.0  # so long that nothing below can be the TTL's doing
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
    """The guardian ends its session by the reference, over a plain socket."""
    with candidates(tmp_path, LONG_S) as standing:
        standing.start("a", url, guardian=True)
        standing.until_elected(1)
        standing.start("b", url)
        standing.until(lambda: stand(server, url, 2), "the other does not stand")
        killed = time.monotonic()
        standing.kill("a")
        assert standing.until_elected(2).candidate == "b"
        assert time.monotonic() - killed < LONG_S / 3
        standing.check()


def test_a_killed_holder_is_succeeded_by_the_servers_expiry(standing: Candidates, url: str) -> None:
    standing.start("a", url)
    standing.until_elected(1)
    standing.start("b", url)
    standing.kill("a")
    assert standing.until_elected(2).candidate == "b"
    standing.check()


def test_a_stopped_holder_is_succeeded_and_acts_no_more(standing: Candidates, url: str) -> None:
    standing.start("a", url)
    first = standing.until_elected(1)
    standing.start("b", url)
    standing.stop("a")
    standing.until_elected(2)
    standing.go_on("a")
    assert standing.until_ended(first.token).candidate == "a"
    standing.until_renewed()
    standing.check()


@pytest.mark.parametrize("fault", ["killed", "stopped"])
def test_a_server_that_is_gone_for_longer_than_the_ttl(
    fault: str, standing: Candidates, server: Redis, url: str
) -> None:
    """Terms end by their deadline, and begin again with higher tokens."""
    for name in "ab":
        standing.start(name, url)
    first = standing.until_elected(1)
    if fault == "killed":
        server.kill()
        standing.until_ended(first.token)
        server.start()
    else:
        server.stop()
        standing.until_ended(first.token)
        server.go_on()
    standing.until_elected(2)
    standing.until_renewed()
    standing.check()


def test_a_holder_that_is_cut_off_stops_in_time(standing: Candidates, server: Redis, url: str) -> None:
    """Its packets vanish; it gives up before the other is elected, and takes part again when it is back."""
    with cable() as wire:
        standing.start("a", url.replace("127.0.0.1", wire.outside), within=wire.command)
        first = standing.until_elected(1)
        standing.start("b", url)
        standing.until(lambda: stand(server, url, 2), "the other does not stand")
        wire.pull()
        ended = standing.until_ended(first.token)
        assert ended.time_ns <= standing.until_elected(2).time_ns
        wire.plug_in()
        standing.until(lambda: stand(server, url, 2), "it does not come back")
        standing.kill("b")
        assert standing.until_elected(3).candidate == "a"
        standing.check()


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
