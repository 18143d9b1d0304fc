"""The network of one voter: one listener, one outgoing connection to every other voter, hellos checked both ways.

Each side sends on the connection that it dialled. So the connection that a peer dialled is owned by the peer's process, and
its unexpected close is the hint that the process died. Messages are best-effort datagrams (ports.Transport): what does not
fit, or has no connection, is dropped and counted; Raft repairs it.

The network is up before the cluster is formed: hellos are how it forms (`formation`). `announce` sends the new hello.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Final, Protocol

from incumbent.consensus.api import Envelope, Message, Note
from incumbent.errors import ProtocolViolation, invariant
from incumbent.ids import NodeId, name_of
from incumbent.runtime.connection import LIMITS, Connection, NetworkLimits
from incumbent.runtime.formation import examine, id_of
from incumbent.runtime.frames import (
    Address,
    Bye,
    Frame,
    Hello,
    Kind,
    PeerMessage,
    Refuse,
    RefuseCode,
)
from incumbent.runtime.tls import Tls, accept, dial, examine_certificate

ACCEPTED_AT_ONCE_MAX: Final = 100
ACCEPT_PAUSE_S: Final = 0.1
"""After the system could not give us a connection, for want of descriptors as a rule."""


class Codec(Protocol):
    """The consensus protocol's own."""

    def encode(self, message: Message, /) -> bytes: ...

    def decode(self, data: bytes, /) -> Message: ...


@dataclass(slots=True)
class Link:
    """What leads to one peer."""

    name: str
    address: Address
    outgoing: Connection | None = None  # dialled here; accepted there
    incoming: Connection | None = None  # dialled there
    wake: asyncio.Event = field(default_factory=asyncio.Event)  # a sign of life: dial now
    last_note: tuple[str, str] = ("", "")

    @property
    def hello(self) -> Hello | None:
        """The newest hello over a live connection."""
        for connection in (self.incoming, self.outgoing):
            if connection is not None and connection.is_open:
                return connection.hello
        return None


class Network:
    """Implements ports.Transport. Callbacks run in the loop, never inside `send`."""

    def __init__(
        self,
        hello: Hello,
        peers: Mapping[str, Address],
        codec: Codec,
        random: Random,
        *,
        on_hello: Callable[[Hello], None],
        on_refused: Callable[[str, Refuse], None],
        on_call: Callable[[Connection, Frame], None],
        on_note: Callable[[Note], None],
        limits: NetworkLimits = LIMITS,
        tls: Tls | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._hello = hello
        self._links = {name: Link(name, peers[name]) for name in sorted(peers) if name != hello.node}
        self._codec = codec
        self._random = random
        self._on_hello = on_hello
        self._on_refused = on_refused
        self._on_call = on_call
        self._on_note = on_note
        self._limits = limits
        self._tls = tls
        self._on_message: Callable[[NodeId, Message], None] | None = None
        self._on_peer_lost: Callable[[NodeId], None] | None = None
        self._listener: socket.socket | None = None
        self._introducing: set[asyncio.Task[None]] = (
            set()
        )  # accepted, and not connected yet: TLS takes its time
        self._dialers: dict[str, asyncio.Task[None]] = {}
        self._connections: set[Connection] = set()
        self._greeting = 0  # accepted connections that have not introduced themselves
        self._clients = 0
        self._closing = False

    async def open(self, listener: socket.socket) -> None:
        """Accept on `listener` and dial every peer."""
        listener.setblocking(False)
        self._listener = listener
        self._listen()
        for link in self._links.values():
            self._start_dialling(link)

    def set_peers(self, peers: Mapping[str, Address]) -> None:
        """From now on these are dialled, at these addresses; whoever is not among them is no longer."""
        if self._closing:
            return
        for name in self._links.keys() - peers.keys():
            link = self._links.pop(name)
            self._dialers.pop(name).cancel()
            for connection in (link.outgoing, link.incoming):
                if connection is not None:
                    connection.bye()
        for name, address in peers.items():
            known = self._links.get(name)
            if known is None:
                link = self._links[name] = Link(name, address)
                self._start_dialling(link)
            elif known.address != address:
                known.address = address
                known.wake.set()
                if known.outgoing is not None:
                    known.outgoing.bye()  # it is dialled anew, where it is now

    def _start_dialling(self, link: Link) -> None:
        self._dialers[link.name] = asyncio.create_task(self._dial(link), name=f"incumbent dials {link.name}")

    async def close(self) -> None:
        """Say goodbye on every connection, then end it. Takes at most `linger_max_s`."""
        self._closing = True
        tasks = self._stop_tasks()
        await asyncio.gather(*tasks, return_exceptions=True)
        ending = list(self._connections)
        for connection in ending:
            connection.bye()
        await asyncio.gather(*(connection.closed.wait() for connection in ending))

    def abort(self) -> None:
        """End everything at once and without goodbye: to its peers this process is dead."""
        self._closing = True
        self._stop_tasks()
        for connection in list(self._connections):
            connection.abort()

    def _stop_tasks(self) -> list[asyncio.Task[None]]:
        self._stop_listening()
        tasks = [*self._dialers.values(), *self._introducing]
        for task in tasks:
            task.cancel()
        return tasks

    def announce(self, hello: Hello) -> None:
        """Introduce ourselves anew, to everyone who is connected."""
        self._hello = hello
        for link in self._links.values():
            for connection in (link.incoming, link.outgoing):
                if connection is not None:
                    connection.send(hello)

    def peers(self) -> dict[str, Address]:
        """Who is dialled, and where."""
        return {name: link.address for name, link in self._links.items()}

    def heard(self) -> dict[str, Hello]:
        """The newest hello of every peer to which there is a live connection."""
        return {name: link.hello for name, link in self._links.items() if link.hello is not None}

    def connected(self) -> dict[str, bool]:
        """For people: which peers can be sent to right now."""
        return {name: link.outgoing is not None for name, link in self._links.items()}

    # ports.Transport

    def start(
        self, on_message: Callable[[NodeId, Message], None], on_peer_lost: Callable[[NodeId], None]
    ) -> None:
        self._on_message = on_message
        self._on_peer_lost = on_peer_lost

    def send(self, envelopes: Sequence[Envelope]) -> None:
        used: set[Connection] = set()
        for to, message in envelopes:
            link = self._links.get(name_of(to))
            connection = None if link is None else link.outgoing
            if connection is None or connection.hello is None or id_of(connection.hello) != to:
                self.counts["dropped_unconnected"] += 1
                continue
            payload = self._codec.encode(message)
            invariant(
                len(payload) < self._limits.frame_bytes_max - 16, "a message fits a frame", size=len(payload)
            )
            if not connection.send(PeerMessage(payload)):
                self.counts["dropped_full"] += 1
            used.add(connection)
        for connection in used:
            connection.flush()  # now: the others write while this voter writes

    # dialling

    async def _dial(self, link: Link) -> None:
        """Keep one outgoing connection to the peer. Between attempts: doubling, jittered, cut short by a sign of life."""
        failures = 0
        while True:
            link.wake.clear()
            connection = await self._connect(link)
            if connection is not None:
                await connection.closed.wait()
                failures = 0 if connection.hello is not None else failures + 1
            else:
                failures += 1
            ceiling = min(self._limits.backoff_max_s, self._limits.backoff_min_s * 2 ** min(failures, 16))
            pause = self._random.uniform(ceiling / 2, ceiling)
            try:
                async with asyncio.timeout(pause):
                    await link.wake.wait()
                    # A sign of life must not turn into a tight loop against one who keeps refusing.
                    await asyncio.sleep(self._limits.backoff_min_s)
            except TimeoutError:
                pass

    async def _connect(self, link: Link) -> Connection | None:
        connection = Connection(
            self._limits,
            on_connected=self._on_dialled,
            on_frame=lambda connection, frame: self._on_dialled_frame(link, connection, frame),
            on_closed=lambda connection: self._on_dialled_closed(link, connection),
        )
        try:
            async with asyncio.timeout(self._limits.connect_timeout_s):
                transport = await dial(lambda: connection, link.address, self._tls)
        except (OSError, TimeoutError) as error:
            self._note(link, "unreachable", str(error) or type(error).__name__)
            return None
        if transport.get_extra_info("sockname") == transport.get_extra_info("peername"):
            # On one host a dialler can be given the very port it dials, and then it meets itself.
            connection.abort()
        return connection

    def _on_dialled(self, connection: Connection) -> None:
        self._connections.add(connection)
        connection.send(self._hello)

    def _on_dialled_frame(self, link: Link, connection: Connection, frame: Frame) -> None:
        match frame:
            case Hello():
                refuse = examine(self._hello, frame)
                if refuse is None and (refuse := _wrong_name(link, frame)) is not None:
                    self._on_refused(link.name, refuse)  # the mistake is in our own configuration
                if refuse is None:
                    refuse = examine_certificate(connection.names, frame)
                if refuse is not None:
                    self._refuse_peer(link, connection, refuse)
                    return
                _check_same_owner(connection, frame)
                connection.opened(frame)
                link.outgoing = connection
                self._note(link, "connected", frame.disk)
                self._on_hello(frame)
            case Refuse():
                self._note(link, "refused_there", f"{frame.field}: {frame.problem}; {frame.fix}")
                self._on_refused(link.name, frame)
            case Bye():
                pass
            case _:
                raise ProtocolViolation("a voter answers on its own connection only")

    def _on_dialled_closed(self, link: Link, connection: Connection) -> None:
        self._connections.discard(connection)
        if link.outgoing is connection:
            link.outgoing = None
        if connection.hello is None and connection.failure:
            self._note(link, "unreachable", connection.failure)

    # accepting

    def _listen(self) -> None:
        if self._listener is not None:
            asyncio.get_running_loop().add_reader(self._listener.fileno(), self._on_strangers)

    def _stop_listening(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            asyncio.get_running_loop().remove_reader(listener.fileno())
            listener.close()

    def _on_strangers(self) -> None:
        """Take who waits. A bounded number at a time: the members who are connected have their turn in between."""
        assert self._listener is not None
        for _ in range(ACCEPTED_AT_ONCE_MAX):
            try:
                sock, _ = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # no descriptors as a rule; they wait in the kernel meanwhile
                self._on_note(Note("network_cannot_accept", {"why": str(error)}))
                loop = asyncio.get_running_loop()
                loop.remove_reader(self._listener.fileno())
                loop.call_later(ACCEPT_PAUSE_S, self._listen)
                return
            if self._tls is not None and len(self._introducing) >= self._limits.handshakes_max:
                self.counts["refused_handshakes"] += 1
                sock.close()
                continue
            sock.setblocking(False)
            task = asyncio.create_task(self._introduce(sock), name="incumbent shakes hands")
            self._introducing.add(task)
            task.add_done_callback(self._introducing.discard)

    async def _introduce(self, sock: socket.socket) -> None:
        connection = Connection(
            self._limits,
            on_connected=self._on_accepted,
            on_frame=self._on_accepted_frame,
            on_closed=self._on_accepted_closed,
        )
        try:
            await accept(lambda: connection, sock, self._tls, self._limits.handshake_timeout_s)
        except OSError as error:
            self.counts["refused_tls"] += 1
            self._on_note(Note("network_refused_stranger", {"why": str(error) or type(error).__name__}))

    def _on_accepted(self, connection: Connection) -> None:
        self._connections.add(connection)
        self._greeting += 1
        if self._closing:
            connection.abort()
        elif self._greeting > self._limits.handshakes_max:
            self.counts["refused_handshakes"] += 1
            connection.refuse(
                Refuse(RefuseCode.OVERLOADED, "handshakes_max", "too many strangers here", "try later")
            )

    def _on_accepted_frame(self, connection: Connection, frame: Frame) -> None:
        match frame:
            case Hello():
                self._on_accepted_hello(connection, frame)
            case PeerMessage():
                self._on_peer_message(connection, frame)
            case Bye() | Refuse():
                pass
            case _ if connection.hello is not None and connection.hello.kind is Kind.CLIENT:
                self._on_call(connection, frame)
            case _:
                raise ProtocolViolation("a voter calls as a client, on a connection of its own")

    def _on_accepted_hello(self, connection: Connection, hello: Hello) -> None:
        _check_same_owner(connection, hello)
        refuse = examine(self._hello, hello) or examine_certificate(connection.names, hello)
        if refuse is not None:
            known = self._links.get(hello.node) if hello.kind is Kind.PEER else None
            self._refuse_peer(known, connection, refuse)
            return
        if hello.kind is Kind.PEER:
            self._on_hello(hello)  # it may be a member that nobody told us of
        link = self._links.get(hello.node) if hello.kind is Kind.PEER else None
        if connection.hello is None:
            client = hello.kind is Kind.CLIENT
            if client and self._clients >= self._limits.clients_max:
                self.counts["refused_clients"] += 1
                connection.refuse(
                    Refuse(RefuseCode.OVERLOADED, "clients_max", "too many clients here", "try another voter")
                )
                return
            self._greeting -= 1
            self._clients += client
            connection.send(self._hello)
        connection.opened(hello)
        if link is not None:
            former, link.incoming = link.incoming, connection
            if former is not None and former is not connection:
                former.bye()  # the peer has dialled anew: whatever happens to the old one says nothing
            link.wake.set()

    def _on_peer_message(self, connection: Connection, frame: PeerMessage) -> None:
        hello = connection.hello
        if hello is None or hello.kind is not Kind.PEER:
            raise ProtocolViolation("a client sends no consensus messages")
        try:
            message = self._codec.decode(frame.payload)
        except (ValueError, RecursionError) as error:
            raise ProtocolViolation(f"a consensus message is malformed: {error}") from error
        if self._on_message is None:
            self.counts["dropped_not_started"] += 1
        else:
            self._on_message(id_of(hello), message)

    def _on_accepted_closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        hello = connection.hello
        if hello is None:
            self._greeting -= 1
        elif hello.kind is Kind.CLIENT:
            self._clients -= 1
        else:
            link = self._links.get(hello.node)
            if link is not None and link.incoming is connection:
                link.incoming = None
                if not connection.ended and not self._closing and self._on_peer_lost is not None:
                    self._note(link, "lost", "closed without goodbye")
                    self._on_peer_lost(id_of(hello))

    # both

    def _refuse_peer(self, link: Link | None, connection: Connection, refuse: Refuse) -> None:
        self.counts["refused"] += 1
        if link is not None:
            self._note(link, "refused_here", f"{refuse.field}: {refuse.problem}")
        connection.refuse(refuse)

    def _note(self, link: Link, code: str, why: str) -> None:
        """Only what is new: a peer that stays away is told of once, not with every attempt."""
        if link.last_note != (code, why):
            link.last_note = (code, why)
            self._on_note(Note(f"network_{code}", {"peer": link.name, "why": why}))


def _check_same_owner(connection: Connection, hello: Hello) -> None:
    known = connection.hello
    if known is not None and (known.kind, id_of(known)) != (hello.kind, id_of(hello)):
        raise ProtocolViolation("a connection does not change its owner")


def _wrong_name(link: Link, hello: Hello) -> Refuse | None:
    if hello.kind is Kind.PEER and hello.node == link.name:
        return None
    host, port = link.address
    return Refuse(
        RefuseCode.INPUT,
        "peers",
        f"{host}:{port} is configured as node {link.name}, and node {hello.node[:64]!r} answers there",
        "correct the address",
    )
