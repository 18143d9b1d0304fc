"""Clients without a voter: they find the cluster, follow it, and none of them can disturb it."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.cluster import CLUSTER, MS, TIMING, Cluster, cluster, until

from incumbent.engines.api import CellWrite
from incumbent.engines.cluster import connect
from incumbent.engines.cluster.reference import Reference
from incumbent.engines.cluster.remote import open_remote
from incumbent.errors import EngineUnavailable, IdentityMismatch, OutcomeUnknown, Overloaded, WatchLost
from incumbent.ids import NodeId, Revision
from incumbent.kv.api import Put, Range
from incumbent.node.node import Limits
from incumbent.runtime import caller as caller_module
from incumbent.runtime.caller import Caller
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.connection import LIMITS, NetworkLimits
from incumbent.runtime.formation import client_hello
from incumbent.runtime.frames import (
    Address,
    Answer,
    AnswerRefused,
    Call,
    Frame,
    FrameReader,
    Hello,
    Led,
    Ping,
    Pong,
    Read,
    Submit,
    Watch,
    WatchOver,
    Woken,
    decode_frame,
    encode_frame,
)
from incumbent.runtime.voter import Voter

TIMEOUT_S = 5.0
CALM = replace(TIMING, election_timeout_min_ns=2000 * MS, election_timeout_max_ns=3000 * MS)
"""A busy machine changes no leader."""
SMALL = replace(LIMITS, clients_max=4, calls_in_flight_max=8, watches_max=3, write_buffer_bytes_max=64 << 10)


class Raw:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._frames = FrameReader(LIMITS.frame_bytes_max)

    def say(self, *frames: Frame) -> None:
        self.writer.write(b"".join(map(encode_frame, frames)))

    async def hear(self) -> Frame:
        """The next frame. Raises EOFError when the connection ended."""
        async with asyncio.timeout(TIMEOUT_S):
            while (body := self._frames.take()) is None:
                data = await self.reader.read(65536)
                if not data:
                    raise EOFError
                self._frames.feed(data)
            return decode_frame(body)


@asynccontextmanager
async def raw(address: Address, *, greet: bool = True) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_connection(*address)
    client = Raw(reader, writer)
    try:
        if greet:
            client.say(client_hello(""))
            assert isinstance(await client.hear(), Hello)
        yield client
    finally:
        writer.transport.abort()


@asynccontextmanager
async def one_voter(path: Path, limits: NetworkLimits = SMALL) -> AsyncIterator[tuple[Voter, Address]]:
    single = Cluster(path, "a")
    async with AsyncExitStack() as stack:
        voter = await stack.enter_async_context(Voter.open(single.config("a"), limits=limits))
        await until(lambda: voter.driver.leadership.serving)
        yield voter, single.addresses["a"]


async def still_works(address: Address) -> None:
    client = ClusterClient({"a": address}, CLUSTER)
    try:
        await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
    finally:
        await client.close()


def url(*addresses: Address, query: str = "") -> str:
    return "cluster://" + ",".join(f"{host}:{port}" for host, port in addresses) + query


# --- finding the cluster ---------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_one_address_of_three_is_enough(tmp_path: Path) -> None:
    """It tells where the others are; the reference that a guardian gets names them all."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.leader()
        engine = await connect(url(("127.0.0.1", 1), three.addresses["b"]))
        session = await engine.open_session(5.0, "request")
        assert Reference.from_bytes(session.ref).voters == three.addresses
        await engine.renew(session)
        leader = await three.leader()
        await three.kill(leader)
        await engine.renew(session)
        await engine.close()


async def test_another_cluster_is_refused(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (_, address):
        with pytest.raises(IdentityMismatch):
            await connect(url(address, query="?cluster=another"))
        engine = await connect(url(address, query=f"?cluster={CLUSTER}"))
        await engine.close()


async def test_nobody_there_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incumbent.engines.cluster.remote.CONNECT_TIMEOUT_S", 0.05)
    with pytest.raises(EngineUnavailable, match="no voter of a formed cluster was found"):
        await open_remote([("127.0.0.1", 1)], "")


@pytest.mark.slow
async def test_a_read_at_any_node_is_linearizable(tmp_path: Path) -> None:
    """Whoever is asked first, the answer is the leader's."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.leader()
        for number, address in enumerate(three.addresses.values()):
            client = ClusterClient({"first": address}, CLUSTER)
            await client.submit(Put(b"k", b"%d" % number), timeout=TIMEOUT_S)
            found = await client.read(Range(b"k"), timeout=TIMEOUT_S)
            assert found.results[0].kvs[0].value == b"%d" % number
            await client.close()


# --- watches over the wire -------------------------------------------------------------------------------------------


async def test_a_watch_wakes_for_what_was_and_what_comes(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (voter, address):
        caller = await Caller.dial("", address, LIMITS)
        done = await caller.ask(Submit(Put(b"k", b"1")))
        assert not isinstance(done, AnswerRefused)
        wakes = caller.watch(b"k", None, Revision(1))
        async with asyncio.timeout(TIMEOUT_S):
            await anext(wakes)  # for what was before
            next_one = asyncio.ensure_future(anext(wakes))
            await caller.ask(Submit(Put(b"other", b"2")))
            assert not next_one.done()
            await caller.ask(Submit(Put(b"k", b"2")))
            await next_one
            assert voter.driver.status().watches == 1
            await wakes.aclose()  # type: ignore[attr-defined]
            await caller.ask(Read(Range(b"k")))
            assert voter.driver.status().watches == 0
        await caller.close()


async def test_a_watch_ends_with_its_voter_and_with_its_connection(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (voter, address):
        callers = [await Caller.dial("", address, LIMITS) for _ in range(2)]
        waiting = [asyncio.ensure_future(anext(caller.watch(b"k", None, Revision(1)))) for caller in callers]
        await asyncio.gather(*(caller.ask(Read(Range(b"k"))) for caller in callers))
        assert voter.driver.status().watches == 2
        callers[0].abort()
        with pytest.raises(WatchLost):
            await waiting[0]
    with pytest.raises(WatchLost):
        async with asyncio.timeout(TIMEOUT_S):
            await waiting[1]


async def test_a_watcher_that_lags_behind_the_history_reads_anew_and_goes_on(tmp_path: Path) -> None:
    """P38, over the wire: what it would have to be told of is compacted, so its watch ends and says so."""
    async with cluster(tmp_path, "a", "b", "c", limits=Limits(history_changes=3)) as voters:
        engine = await connect("cluster://" + ",".join(f"{h}:{p}" for h, p in voters.addresses.values()))
        old = await engine.roster("g")
        for _ in range(5):
            await engine.write_cells("g", [CellWrite("c", b"v", None)], None)
        with pytest.raises(WatchLost, match="no longer kept"):
            await anext(engine.watch("g", old.cursor))
        wakes = engine.watch("g", (await engine.roster("g")).cursor)
        next_one = asyncio.ensure_future(anext(wakes))
        await engine.write_cells("g", [CellWrite("c", b"w", None)], None)
        async with asyncio.timeout(TIMEOUT_S):
            await next_one
        await engine.close()


async def test_watches_beyond_the_bound_are_overloaded(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (_, address):
        caller = await Caller.dial("", address, LIMITS)
        waiting = [asyncio.ensure_future(anext(caller.watch(b"k", None, Revision(1)))) for _ in range(3)]
        await caller.ask(Read(Range(b"k")))
        with pytest.raises(Overloaded, match="3 watches"):
            await anext(caller.watch(b"k", None, Revision(1)))
        caller.abort()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_a_voter_that_falls_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its host may be gone without a word. A candidate that waits for its turn must learn of that (P38)."""
    monkeypatch.setattr(caller_module, "PING_INTERVAL_S", 0.03)
    asked: list[Frame] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader(LIMITS.frame_bytes_max)
        hello = Hello((1, 1), client_hello("").kind, CLUSTER, "a", "0" * 12)
        writer.write(encode_frame(hello))
        while data := await reader.read(65536):
            frames.feed(data)
            while (body := frames.take()) is not None:
                asked.append(decode_frame(body))
                if isinstance(asked[-1], Ping) and len(asked) < 6:
                    writer.write(encode_frame(Pong()))  # alive for a while
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    caller = await Caller.dial("", server.sockets[0].getsockname(), LIMITS)
    with pytest.raises(WatchLost):
        async with asyncio.timeout(TIMEOUT_S):
            await anext(caller.watch(b"k", None, Revision(1)))
    assert sum(isinstance(frame, Ping) for frame in asked) >= 4
    server.close()


# --- what no client can do -------------------------------------------------------------------------------------------


async def test_a_client_that_floods_is_refused_call_by_call(tmp_path: Path) -> None:
    """And what it was refused was never taken up."""
    async with one_voter(tmp_path) as (_, address), raw(address) as client:
        client.say(*(Call(n, Submit(Put(b"flood", b"%d" % n))) for n in range(100)))
        answers = [await client.hear() for _ in range(100)]
        refused = [a for a in answers if isinstance(a, Answer) and isinstance(a.outcome, AnswerRefused)]
        assert len(refused) >= 100 - 2 * SMALL.calls_in_flight_max
        await still_works(address)


async def test_a_client_that_never_reads_loses_its_connection_and_nobody_elses(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (voter, address):
        await still_works(address)
        async with raw(address) as client:
            client.say(Call(1, Submit(Put(b"big", b"x" * 60_000))))
            await client.hear()
            try:
                for n in range(2, 3000):
                    client.say(Call(n, Read(Range(b"big"))))
                    await client.writer.drain()
                    if n % 100 == 0:
                        await still_works(address)
            except ConnectionError:
                pass  # as it should be
            assert client.writer.transport.is_closing() or len(voter._network._connections) <= 2
        await still_works(address)


@pytest.mark.parametrize(
    "said",
    [
        b"\xff" * 64,
        b"\0\0\0\1\xc1",
        (1 << 30).to_bytes(4, "big"),
        encode_frame(Woken(1)),
        encode_frame(Pong()),
    ],
)
async def test_what_no_client_says_ends_its_connection_only(tmp_path: Path, said: bytes) -> None:
    """P77."""
    async with one_voter(tmp_path) as (_, address), raw(address) as client:
        client.writer.write(said)
        with pytest.raises(EOFError):
            while True:
                await client.hear()
        await still_works(address)


async def test_a_watch_id_used_twice_is_a_violation(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (_, address), raw(address) as client:
        client.say(*(Watch(1, b"k", None, Revision(1)) for _ in range(2)))
        with pytest.raises(EOFError):
            while True:
                assert not isinstance(await client.hear(), WatchOver)


async def test_half_a_hello_holds_a_place_for_a_while_only(tmp_path: Path) -> None:
    limits = replace(SMALL, handshake_timeout_s=0.05)
    async with one_voter(tmp_path, limits) as (voter, address), raw(address, greet=False) as client:
        client.writer.write(encode_frame(client_hello(""))[:7])
        with pytest.raises(EOFError):
            while True:
                await client.hear()
        await still_works(address)
        client.writer.transport.abort()
        await until(lambda: voter._network._greeting == 0)


async def test_clients_beyond_the_bound_are_told_and_a_place_comes_free(tmp_path: Path) -> None:
    async with one_voter(tmp_path) as (_, address):
        async with AsyncExitStack() as stack:
            for _ in range(SMALL.clients_max):
                await stack.enter_async_context(raw(address))
            with pytest.raises(Overloaded, match="clients_max"):
                await Caller.dial("", address, LIMITS)
        await still_works(address)


@pytest.mark.slow
async def test_ten_thousand_connections_disturb_nobody(tmp_path: Path) -> None:
    """Most of them are refused; whoever works goes on, and afterwards there is room again."""
    async with one_voter(tmp_path, LIMITS) as (voter, address):
        busy = ClusterClient({"a": address}, CLUSTER)
        await busy.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
        open_now: deque[socket.socket] = deque()
        for n in range(10_000):
            stranger = socket.socket()
            stranger.setblocking(False)
            open_now.append(stranger)
            with suppress(BlockingIOError):
                stranger.connect(address)
            if len(open_now) > 300:  # both ends are in this process, and it may open only so many files
                open_now.popleft().close()
            if n % 50 == 0:
                await busy.submit(Put(b"k", b"%d" % n), timeout=TIMEOUT_S)
        assert voter._network.counts["refused_handshakes"] > 0
        while open_now:
            open_now.popleft().close()
        await busy.submit(Put(b"k", b"last"), timeout=TIMEOUT_S)
        await busy.close()


# --- following the leader --------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_a_leader_that_is_gone_without_a_word_is_not_waited_for(tmp_path: Path) -> None:
    """A second connection tells of the next leader; the command that was on its way has an unknown outcome, at once."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        client = ClusterClient(three.addresses, CLUSTER)
        await client.submit(Put(b"k", b"1"), timeout=TIMEOUT_S)
        await until(lambda: sum(client._open_caller(name) is not None for name in three.names) >= 2)
        voter = three.voters[leader]
        for connection in list(voter._network._connections):  # as after SIGSTOP: nothing is read any more
            connection._transport.pause_reading()  # type: ignore[union-attr]
        voter._task.cancel()
        with pytest.raises(OutcomeUnknown):
            async with asyncio.timeout(2.0):
                await client.submit(Put(b"k", b"2"), timeout=60.0)
        async with asyncio.timeout(2.0):
            await client.submit(Put(b"k", b"3"), timeout=60.0)
        await client.close()
        for connection in list(voter._network._connections):
            connection.abort()


async def test_whom_it_asks_first_need_not_lead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Being told who leads does not turn a refusal into an unknown outcome."""
    monkeypatch.setattr(
        "incumbent.runtime.client.SILENCE_GRACE_S", 1.0
    )  # a busy machine may stall for the real one
    async with cluster(tmp_path, "a", "b", "c", timing=CALM) as three:
        leader = await three.leader()
        follower = next(name for name in three.names if name != leader)
        for _ in range(20):
            client = ClusterClient({follower: three.addresses[follower]}, CLUSTER)
            await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
            await client.close()


async def test_news_of_a_former_term_is_no_news() -> None:
    client = ClusterClient({"a": ("127.0.0.1", 1), "b": ("127.0.0.1", 2)}, CLUSTER)
    client._on_led(Led(5, NodeId("b.0"), ("127.0.0.1", 2)))
    client._on_led(Led(4, NodeId("a.0"), ("127.0.0.1", 1)))
    assert client._choose(None) == "b"


async def test_closing_right_after_an_answer_leaves_nothing_behind(tmp_path: Path) -> None:
    """The second connection may just have been asked for."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.leader()
        for _ in range(5):
            client = ClusterClient(three.addresses, CLUSTER)
            await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
            await client.close()
            assert [task for task in asyncio.all_tasks() if "calls" in task.get_name()] == []
