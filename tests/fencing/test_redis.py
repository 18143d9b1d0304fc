"""The fence over Redis, on a real server: the check and the write are one script."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis as client_library
from redis import asyncio as client_on_a_loop
from redis.backoff import NoBackoff
from redis.retry import Retry

from incumbent.errors import EngineUnavailable, InvalidInput, OutcomeUnknown, StaleToken, Unsupported
from incumbent.fencing import redisscript
from incumbent.fencing.redis import Check, Fence
from incumbent.fencing.redisscript import COMMANDS, Batch
from incumbent.fencing.refusals import OnRefused
from tests.fencing.suite import ELECTION, LastingSuite, Sink
from tests.servers.redis import PRIMARY, Redis, redis

pytestmark = pytest.mark.slow
NOTES = "{orders}:notes"
Connect = Callable[..., "client_library.Redis"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    with redis(tmp_path_factory.mktemp("redis"), persistent=False) as running:
        yield running


@pytest.fixture
def connect(server: Redis) -> Iterator[Connect]:
    server.ask("FLUSHALL")
    opened: list[client_library.Redis] = []

    def connect(timeout: float = 10.0, **options: Any) -> client_library.Redis:
        retry = Retry(NoBackoff(), 0)
        opened.append(
            client_library.Redis.from_url(server.url(), socket_timeout=timeout, retry=retry, **options)
        )
        return opened[-1]

    yield connect
    for client in opened:
        client.close()


class Server(Sink):
    def __init__(self, server: Redis, connect: Connect) -> None:
        self._url = server.url()
        self._connect = connect

    def fence(
        self, name: str = ELECTION, *, on_refused: OnRefused | None = None, wait_s: float = 10.0
    ) -> Fence:
        return Fence(self._connect(wait_s), name, tag="orders", on_refused=on_refused)

    def put(self, block: Batch, note: str) -> None:
        block.call("RPUSH", NOTES, note)

    def notes(self) -> list[str]:
        return [str(note) for note in self._connect(decode_responses=True).lrange(NOTES, 0, -1)]

    def elsewhere(self) -> str:
        return (
            "import redis\nfrom incumbent.fencing.redis import Fence\n"
            f"fence = Fence(redis.Redis.from_url({self._url!r}, socket_timeout=5), {ELECTION!r}, tag='orders')"
        )


class TestRedis(LastingSuite):
    @pytest.fixture
    def sink(self, server: Redis, connect: Connect) -> Sink:
        return Server(server, connect)


@pytest.fixture
def fence(connect: Connect) -> Fence:
    return Fence(connect(), "scheduler")


def test_a_block_is_one_step_and_has_its_replies(connect: Connect, fence: Fence) -> None:
    with fence.write(2**53 + 1, "node-a") as batch:
        batch.call("set", "a", b"\x00\xff")
        batch.call("HSET", "h", "f", 1.5, "g", 2)
        batch.call("INCRBY", b"n", 5)
        assert connect().get("a") is None
    assert batch.results == [b"OK", 2, 5]
    assert connect().get("a") == b"\x00\xff"
    kept = {b"token": str(2**53 + 1).zfill(19).encode(), b"holder": b"node-a"}
    assert connect().hgetall("incumbent:fence:scheduler") == kept


def test_every_command_of_a_batch_writes_to_its_first_word(connect: Connect) -> None:
    """What is allowed is what the server itself says takes its key there."""
    client = connect()
    for name in sorted(COMMANDS):
        info: Any = client.execute_command("COMMAND", "INFO", name)  # type: ignore[no-untyped-call]
        told = info[name.lower()] if isinstance(info, dict) else info[0]
        flags, first = (
            (told["flags"], told["first_key_pos"]) if isinstance(told, dict) else (told[2], told[3])
        )
        assert "write" in {f if isinstance(f, str) else f.decode() for f in flags}, name
        assert first == 1, name


def test_a_first_command_that_fails_wrote_nothing(connect: Connect, fence: Fence) -> None:
    connect().set("text", "x")
    with pytest.raises(InvalidInput, match="nothing was written"), fence.write(5) as batch:
        batch.call("RPUSH", "text", "y")
        batch.call("SET", "a", "b")
    assert connect().get("a") is None


def test_a_later_command_that_fails_leaves_what_was_done(connect: Connect, fence: Fence) -> None:
    """Redis takes nothing back, and so nobody says that nothing was done."""
    connect().set("text", "x")
    with pytest.raises(OutcomeUnknown, match="what was done before stands"), fence.write(5) as batch:
        batch.call("SET", "a", "b")
        batch.call("RPUSH", "text", "y")
    assert connect().get("a") == b"b"
    with pytest.raises(StaleToken):
        fence.prime(4)


def test_a_script_reads_and_writes_in_one_step(connect: Connect, fence: Fence) -> None:
    """P33: the check runs before the body, in the same script."""
    body = "local n = redis.call('GET', KEYS[1]) or 0\nredis.call('SET', KEYS[1], n * 2 + ARGV[1])\nreturn n"
    assert fence.run(5, body, ["n"], [7]) == 0
    assert int(fence.run(5, body, ["n"], [1])) == 7
    fence.prime(8)
    with pytest.raises(StaleToken):
        fence.run(5, body, ["n"], [1])
    assert connect().get("n") == b"15"
    assert fence.run(8, "return nil") is None
    with pytest.raises(OutcomeUnknown, match="not an integer"):
        fence.run(8, "redis.call('SET', KEYS[1], 'x') redis.call('INCR', KEYS[1])", ["n"])
    with pytest.raises(InvalidInput, match="^body: is no Lua"):
        fence.run(9, "this is no Lua")
    with pytest.raises(InvalidInput, match="^body: is too long"):
        fence.run(9, " " * (redisscript.BODY_BYTES_MAX + 1))
    assert fence.highest() == 8


def test_a_server_that_forgot_its_scripts_is_told_them_again(connect: Connect, fence: Fence) -> None:
    fence.prime(5)
    connect().script_flush()
    fence.prime(6)
    assert fence.highest() == 6


def test_a_client_that_decodes(connect: Connect) -> None:
    fence = Fence(connect(decode_responses=True), "scheduler")
    fence.prime(8, "ä")
    with pytest.raises(StaleToken) as refusal:
        fence.prime(8, "b")
    assert refusal.value.highest_holder == "ä"
    assert (fence.highest(), fence.refused()) == (8, 1)


def test_what_is_not_for_a_batch_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = Batch("orders")
    for command, key, *words in (("GET", NOTES), ("DEL", NOTES, NOTES), ("FLUSHALL", NOTES), ("EVAL", NOTES)):
        with pytest.raises(InvalidInput, match="is not for a batch"):
            batch.call(command, key, *words)
    keys: tuple[str | bytes, ...] = (
        "notes",
        "{order}:x",
        "{{orders}}",
        "}{orders",
        b"{a}{orders}",
        "{orders",
    )
    for bad in keys:
        with pytest.raises(InvalidInput, match="^key: "):
            batch.call("SET", bad, "x")
    with pytest.raises(InvalidInput, match="^key: "):
        Check("scheduler", tag="orders").script(1, "", ["notes"])
    monkeypatch.setattr(redisscript, "CALLS_MAX", 1)
    batch.call("SET", "x{orders}{a}", "x")
    with pytest.raises(InvalidInput, match="is one too many"):
        batch.call("SET", NOTES, "x")


@pytest.mark.parametrize("tag", ["", "{orders}", "a}"])
def test_a_bad_tag_is_refused(tag: str) -> None:
    with pytest.raises(InvalidInput, match="^tag: "):
        Check("scheduler", tag=tag)


def test_a_client_that_would_wait_for_ever_is_refused(server: Redis) -> None:
    with (
        client_library.Redis.from_url(server.url(), socket_timeout=None) as client,
        pytest.raises(InvalidInput, match="^client: "),
    ):
        Fence(client, "scheduler")
    with pytest.raises(Unsupported, match="has no connection pool"):
        Fence(object(), "scheduler")


def test_the_check_works_on_an_event_loop(server: Redis, fence: Fence) -> None:
    check = Check("scheduler")

    async def write(token: int) -> Any:
        batch = Batch(None)
        batch.call("SET", "a", token)
        async with redis_client(server) as client:
            words = check.command(token, "", batch)
            return check.read(await client.execute_command(*words), token)  # type: ignore[no-untyped-call]

    assert asyncio.run(write(5)) == [b"OK"]
    fence.prime(8)
    with pytest.raises(StaleToken):
        asyncio.run(write(7))
    assert asyncio.run(write(8)) == [b"OK"]


def redis_client(server: Redis) -> client_on_a_loop.Redis:
    return client_on_a_loop.Redis.from_url(server.url(), socket_timeout=5)


def test_what_was_sent_and_not_answered_is_unknown_and_not_sent_again(
    server: Redis, connect: Connect
) -> None:
    """A stopped server takes the write when it goes on, once; a dead one was never reached."""
    client = connect(0.2, socket_connect_timeout=0.2)
    fence = Fence(client, "scheduler")
    fence.prime(5)
    server.signal(signal.SIGSTOP)
    try:
        with pytest.raises(OutcomeUnknown, match="sent, and no answer came"), fence.write(5) as batch:
            batch.call("INCR", "n")
    finally:
        server.signal(signal.SIGCONT)
    server.wait()
    assert connect().get("n") == b"1"
    with fence.write(5) as batch:
        batch.call("INCR", "n")
    assert batch.results == [2]


def test_a_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    with (
        redis(tmp_path, persistent=False) as gone,
        client_library.Redis.from_url(gone.url(), socket_timeout=1, retry=Retry(NoBackoff(), 0)) as client,
    ):
        fence = Fence(client, "scheduler")
        gone.kill(PRIMARY)
        for act in (lambda: fence.prime(5), fence.highest):
            with pytest.raises(EngineUnavailable):
                act()


def test_a_server_that_declines_wrote_nothing(connect: Connect, fence: Fence) -> None:
    connect().set("incumbent:fence:scheduler", "not a hash")
    with pytest.raises(EngineUnavailable, match="Redis declined"), fence.write(5) as batch:
        batch.call("SET", "a", "b")
    assert connect().get("a") is None


def test_the_fence_is_as_durable_as_the_data(tmp_path: Path) -> None:
    """P33: with appendfsync always both survive a kill."""
    with redis(tmp_path) as server:
        for before, after in ((5, 8), (8, 9)):
            with (
                client_library.Redis.from_url(server.url(), socket_timeout=5) as client,
                Fence(client, "scheduler").write(after) as batch,
            ):
                batch.call("SET", "data", after)
            server.kill(PRIMARY)
            server.start(PRIMARY)
            with client_library.Redis.from_url(server.url(), socket_timeout=5) as client:
                assert client.get("data") == str(after).encode()
                with pytest.raises(StaleToken):
                    Fence(client, "scheduler").prime(before)
