"""The network of a voter on real sockets: hellos, messages, deaths, strangers. No Raft here."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

import pytest
from tests.runtime.ports import free_addresses

from incumbent.consensus.api import Envelope, Membership, Message, Note
from incumbent.ids import DiskId, NodeId, make_node_id
from incumbent.runtime.connection import NetworkLimits
from incumbent.runtime.formation import client_hello, peer_hello
from incumbent.runtime.frames import (
    LENGTH_BYTES,
    Address,
    Frame,
    FrameReader,
    Hello,
    PeerMessage,
    Refuse,
    RefuseCode,
    decode_frame,
    encode_frame,
)
from incumbent.runtime.transport import Network

DISKS = {"a": "aaaaaaaaaaaa", "b": "bbbbbbbbbbbb", "c": "cccccccccccc"}
LIMITS = NetworkLimits(handshake_timeout_s=0.1, backoff_max_s=0.05, linger_max_s=0.2)


class BytesCodec:
    """Messages that are bytes already."""

    def encode(self, message: Message, /) -> bytes:
        return bytes(message)

    def decode(self, data: bytes, /) -> Message:
        if data == b"malformed":
            raise ValueError("no message")
        return data


class Peer:
    """One network and everything it reports."""

    def __init__(
        self,
        name: str,
        addresses: dict[str, Address],
        *,
        disk: str | None = None,
        formed: Membership | None = None,
        limits: NetworkLimits = LIMITS,
    ) -> None:
        self.name = name
        self.id = make_node_id(name, DiskId(disk or DISKS[name]))
        self.messages: list[tuple[NodeId, bytes]] = []
        self.lost: list[NodeId] = []
        self.refused: list[tuple[str, Refuse]] = []
        self.notes: list[Note] = []
        self.hello = peer_hello("app", name, disk or DISKS[name], frozenset(addresses), formed)
        self.network = Network(
            self.hello,
            addresses,
            BytesCodec(),
            Random(7),
            on_hello=lambda _: None,
            on_refused=lambda name, refuse: self.refused.append((name, refuse)),
            on_call=lambda connection, frame: None,
            on_note=self.notes.append,
            limits=limits,
        )
        self.address = addresses[name]

    def start(self) -> None:
        self.network.start(lambda sender, message: self.messages.append((sender, message)), self.lost.append)

    async def open(self) -> None:
        listener = socket.create_server(self.address)
        await self.network.open(listener)


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


@asynccontextmanager
async def peers(
    *names: str, formed: bool = True, limits: NetworkLimits = LIMITS
) -> AsyncIterator[list[Peer]]:
    addresses = free_addresses(*names)
    membership = Membership(frozenset(make_node_id(n, DiskId(DISKS[n])) for n in names)) if formed else None
    made = [Peer(name, addresses, formed=membership, limits=limits) for name in names]
    for peer in made:
        await peer.open()
        peer.start()
    await until(lambda: all(all(peer.network.connected().values()) for peer in made))
    try:
        yield made
    finally:
        await asyncio.gather(*(peer.network.close() for peer in made))


async def talk(address: Address, data: bytes, *, half_close: bool = False) -> list[Frame]:
    """As a stranger: write `data`, then read frames until the other side closes."""
    reader, writer = await asyncio.open_connection(*address)
    writer.write(data)
    if half_close:
        writer.write_eof()
    async with asyncio.timeout(5):
        answered = await reader.read()
    writer.close()
    await writer.wait_closed()
    frames = FrameReader(1 << 20)
    frames.feed(answered)
    got = []
    while (body := frames.take()) is not None:
        got.append(decode_frame(body))
    return got


async def test_messages_arrive_with_their_senders() -> None:
    async with peers("a", "b", "c") as (a, b, c):
        a.network.send([Envelope(b.id, b"1"), Envelope(c.id, b"2"), Envelope(b.id, b"3")])
        c.network.send([Envelope(b.id, b"4")])
        await until(lambda: len(b.messages) == 3 and len(c.messages) == 1)
        assert [m for m in b.messages if m[0] == a.id] == [(a.id, b"1"), (a.id, b"3")]
        assert (c.id, b"4") in b.messages
        assert c.messages == [(a.id, b"2")]


async def test_a_message_for_another_disk_is_dropped_and_counted() -> None:
    """P55: a message goes to a voter, not to whoever has its name."""
    async with peers("a", "b") as (a, b):
        a.network.send([Envelope(NodeId("b.dddddddddddd"), b"1"), Envelope(b.id, b"2")])
        await until(lambda: b.messages)
        assert b.messages == [(a.id, b"2")]
        assert a.network.counts["dropped_unconnected"] == 1


async def test_a_full_write_buffer_drops_and_counts() -> None:
    limits = NetworkLimits(write_buffer_bytes_max=10_000, frame_bytes_max=20_000)
    async with peers("a", "b", limits=limits) as (a, b):
        a.network.send([Envelope(b.id, b"x" * 4000)] * 5)
        assert a.network.counts["dropped_full"] == 3
        await until(lambda: len(b.messages) == 2)


async def test_a_death_is_reported_at_once_and_a_goodbye_is_not() -> None:
    """Only an unexpected close is a hint of a death."""
    async with peers("a", "b", "c") as (a, b, c):
        c.network.abort()
        await until(lambda: a.lost and b.lost)
        assert a.lost == b.lost == [c.id]
        await b.network.close()
        await until(lambda: not any(a.network.connected().values()))
        assert a.lost == [c.id]


async def test_a_restarted_peer_is_reached_again() -> None:
    async with peers("a", "b") as (a, b):
        b.network.abort()
        again = Peer("b", {"a": a.address, "b": b.address}, formed=Membership(frozenset({a.id, b.id})))
        await again.open()
        again.start()
        await until(lambda: again.network.connected()["a"] and a.network.connected()["b"])
        a.network.send([Envelope(again.id, b"back")])
        await until(lambda: again.messages)
        await again.network.close()


async def test_hellos_are_known_while_connections_live() -> None:
    async with peers("a", "b", formed=False) as (a, b):
        assert a.network.heard() == {"b": b.hello}
        formed = peer_hello(
            "app", "b", DISKS["b"], frozenset({"a", "b"}), Membership(frozenset({a.id, b.id}))
        )
        b.network.announce(formed)
        await until(lambda: a.network.heard() == {"b": formed})
        await b.network.close()
        await until(lambda: a.network.heard() == {})


async def test_a_wiped_disk_is_refused_and_told_why() -> None:
    """P55: the refusal reaches the one who is wrong, and says which disk the cluster knows."""
    async with peers("a", "b") as (a, b):
        addresses = {"a": a.address, "b": b.address}
        await b.network.close()
        wiped = Peer("b", addresses, disk="dddddddddddd")
        await wiped.open()
        await until(lambda: wiped.refused)
        name, refuse = wiped.refused[0]
        assert (name, refuse.code) == ("a", RefuseCode.IDENTITY)
        assert "the cluster knows node b with disk bbbbbbbbbbbb" in refuse.problem
        assert a.network.connected() == {"b": False}
        await wiped.network.close()


async def test_a_wrong_address_is_named() -> None:
    async with peers("a", "b", "c") as (a, b, c):
        swapped = {"a": a.address, "b": c.address, "c": c.address}
        await a.network.close()
        lost = Peer("a", swapped, formed=Membership(frozenset({a.id, b.id, c.id})))
        await lost.open()
        await until(lambda: any(note.code == "network_refused_here" for note in lost.notes))
        (why,) = {note.facts["why"] for note in lost.notes if note.code == "network_refused_here"}
        assert "is configured as node b, and node 'c' answers there" in str(why)
        await lost.network.close()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "a frame says it has"),
        ((1 << 20).to_bytes(LENGTH_BYTES, "big"), "the limit is 16384"),
        (b"\0\0\0\3\x91\xa1x", "no hello"),
        (encode_frame(PeerMessage(b"x")), "no hello"),
        (encode_frame(client_hello("other")), "belongs to cluster 'app'"),
        (encode_frame(client_hello("app")) + encode_frame(PeerMessage(b"x")), "a client sends no consensus"),
        (b"", "none came within"),
        (b"\0\0", "none came within"),
    ],
    ids=["http", "oversized", "malformed", "no hello", "cluster", "client", "silent", "half a length"],
)
async def test_a_stranger_is_told_and_the_cluster_is_not_disturbed(data: bytes, says: str) -> None:
    """P77: one Refuse that says what is wrong, then the end; the voters go on talking and nobody is lost."""
    async with peers("a", "b") as (a, b):
        answer = await talk(a.address, data)
        assert isinstance(answer[-1], Refuse)
        assert says in answer[-1].problem
        assert answer[-1].fix
        b.network.send([Envelope(a.id, b"still here")])
        await until(lambda: a.messages)
        assert a.lost == b.lost == []


async def test_a_peers_malformed_message_ends_its_connection_only() -> None:
    """P77: it is refused and dials again; the receiver goes on."""
    async with peers("a", "b") as (a, b):
        a.network.send([Envelope(b.id, b"malformed")])
        await until(lambda: a.refused)
        assert a.refused[0][1].code is RefuseCode.PROTOCOL
        await until(lambda: a.network.connected()["b"])
        a.network.send([Envelope(b.id, b"fine")])
        await until(lambda: b.messages)
        assert b.lost == []


async def test_fuzzed_conversations_disturb_nothing() -> None:
    """P77."""
    rng = random.Random(1)
    async with peers("a", "b") as (a, b):
        for _ in range(60):
            data = bytearray(encode_frame(client_hello("app")) + encode_frame(PeerMessage(rng.randbytes(9))))
            data[rng.randrange(len(data))] = rng.randrange(256)
            await talk(a.address, bytes(data), half_close=True)
        b.network.send([Envelope(a.id, b"still here")])
        await until(lambda: a.messages)
        assert a.lost == b.lost == []


async def test_strangers_are_bounded_and_peers_come_back_in() -> None:
    """More silent connections than `handshakes_max` are refused; when they are timed out there is room again."""
    limits = NetworkLimits(handshakes_max=4, handshake_timeout_s=0.1, linger_max_s=0.1)
    async with peers("a", "b", limits=limits) as (a, b):
        silent = [await asyncio.open_connection(*a.address) for _ in range(4)]
        (refuse,) = await talk(a.address, encode_frame(client_hello("app")))
        assert isinstance(refuse, Refuse)
        assert refuse.code is RefuseCode.OVERLOADED
        for reader, writer in silent:
            await reader.read()
            writer.close()
            await writer.wait_closed()
        await until(lambda: a.network._greeting == 0)
        reader, writer = await asyncio.open_connection(*a.address)
        writer.write(encode_frame(client_hello("app")))
        body = await reader.readexactly(int.from_bytes(await reader.readexactly(LENGTH_BYTES), "big"))
        assert isinstance(decode_frame(body), Hello)
        writer.close()
        await writer.wait_closed()
        assert a.lost == b.lost == []


async def test_a_connection_does_not_change_its_owner() -> None:
    async with peers("a", "b", "c") as (a, b, c):
        pretend = encode_frame(b.hello) + encode_frame(c.hello)
        answer = await talk(a.address, pretend)
        assert isinstance(answer[-1], Refuse)
        assert "does not change its owner" in answer[-1].problem


async def test_a_conversation_ends_within_its_linger_though_the_other_never_reads() -> None:
    async with peers("a", "b") as (a, _b):
        _reader, writer = await asyncio.open_connection(*a.address)
        writer.write(b"\xff" * 100)
        await until(lambda: a.network._greeting == 0)
        writer.close()
        await writer.wait_closed()
