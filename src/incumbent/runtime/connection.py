"""One connection: bytes in, frames out, and the other way round. Knows no meaning of any frame but the end of a conversation.

Everything is bounded: what a stranger can make us buffer, how long he may say nothing, what waits to be written, how long a
close may take. A conversation ends with Bye (deliberate) or Refuse (and why); an end without either is unexpected.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, cast

from incumbent.errors import ProtocolViolation
from incumbent.runtime.access import Who
from incumbent.runtime.frames import (
    FRAME_BYTES_MAX,
    HELLO_BYTES_MAX,
    Bye,
    Frame,
    FrameReader,
    Hello,
    Refuse,
    RefuseCode,
    decode_frame,
    decode_greeting,
    encode_frame,
)
from incumbent.runtime.tls import explain, names_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLimits:
    """Every bound of the network side."""

    frame_bytes_max: int = FRAME_BYTES_MAX
    hello_bytes_max: int = HELLO_BYTES_MAX
    write_buffer_bytes_max: int = 2 * FRAME_BYTES_MAX
    handshakes_max: int = 64  # accepted connections that have not introduced themselves
    clients_max: int = 1024
    calls_in_flight_max: int = 1024  # of one client connection
    calls_total_max: int = 4096
    watches_max: int = 1024  # of one client connection
    handshake_timeout_s: float = 5.0
    connect_timeout_s: float = 2.0
    unacknowledged_timeout_s: float = 5.0  # what we wrote and the other kernel has not acknowledged
    keepalive_idle_s: int = (
        10  # a silent connection is probed after this, so that a vanished host frees its place
    )
    backoff_min_s: float = 0.02
    backoff_max_s: float = 1.0
    linger_max_s: float = 0.5  # from our last frame to the end of the connection


LIMITS: Final = NetworkLimits()


class State(Enum):
    GREETING = auto()  # no hello accepted yet
    OPEN = auto()
    CLOSING = auto()  # our last frame is written; what still comes in is thrown away
    CLOSED = auto()


class Connection(asyncio.Protocol):
    """Owned by whoever made it, through three callbacks. `on_frame` gets Hello first and anything once `opened()`;
    Bye and Refuse end the conversation here and are passed on too. `on_closed` comes exactly once, last."""

    def __init__(
        self,
        limits: NetworkLimits,
        *,
        on_connected: Callable[[Connection], None],
        on_frame: Callable[[Connection, Frame], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self.hello: Hello | None = None  # the other side's newest, once it was accepted
        self.ended = False  # Bye or Refuse was said by either side: the close is no hint of a death
        self.closed = asyncio.Event()
        self.calls_in_flight = 0
        self.heard = False  # anything at all, since somebody last reset this
        self.names: frozenset[str] | None = None  # in the other side's certificate; None without TLS
        self.who = Who.of(None, ())  # what a client is known by
        self.failure = ""  # what broke it, when something did
        self._limits = limits
        self._on_connected = on_connected
        self._on_frame = on_frame
        self._on_closed = on_closed
        self._state = State.GREETING
        self._reader = FrameReader(limits.hello_bytes_max)
        self._out: list[bytes] = []
        self._room = 0  # bytes that may still be queued in this turn
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._state is State.OPEN

    def opened(self, hello: Hello) -> None:
        """The other side's hello was accepted: frames of full size may come."""
        self.hello = hello
        self.who = Who.of(self.names, hello.secrets)
        if self._state is State.GREETING:
            self._state = State.OPEN
            self._reader.bytes_max = self._limits.frame_bytes_max
            self._cancel_timer()

    def send(self, frame: Frame) -> bool:
        """Queue `frame`; what is queued in one turn of the loop leaves in one write. False: not sent, because the
        write buffer is full or the conversation is over."""
        if self._state is not State.OPEN and not isinstance(frame, Hello):
            return False
        transport = self._transport
        if transport is None or self._state in (State.CLOSING, State.CLOSED):
            return False
        data = encode_frame(frame)
        if not self._out:
            self._room = self._limits.write_buffer_bytes_max - transport.get_write_buffer_size()
        if len(data) > self._room:
            return False
        if not self._out:
            asyncio.get_running_loop().call_soon(self.flush)
        self._out.append(data)
        self._room -= len(data)
        return True

    def refuse(self, refuse: Refuse) -> None:
        """Say what is wrong, then close."""
        self._end_with(refuse)

    def bye(self) -> None:
        """Close deliberately."""
        self._end_with(Bye())

    def abort(self) -> None:
        """Close at once; what is queued is lost."""
        self._out.clear()
        if self._transport is not None:
            self._transport.abort()

    def _end_with(self, last: Bye | Refuse) -> None:
        """Write `last` and our half's end, then read and discard until the other side ends too: a close with unread
        bytes would reset the connection and could destroy the very frame that explains it."""
        transport = self._transport
        if transport is None or self._state in (State.CLOSING, State.CLOSED):
            return
        self.flush()
        self._state = State.CLOSING
        self.ended = True
        transport.write(encode_frame(last))
        if transport.can_write_eof():
            transport.write_eof()
        else:
            transport.close()  # TLS says its own goodbye, and reads on until it is answered
        self._cancel_timer()
        self._timer = asyncio.get_running_loop().call_later(self._limits.linger_max_s, transport.abort)

    def flush(self) -> None:
        """Write what is queued, without waiting for the end of this turn of the loop."""
        if self._out and self._transport is not None and self._state is not State.CLOSED:
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _handshake_overdue(self) -> None:
        self.refuse(
            Refuse(
                RefuseCode.PROTOCOL,
                "hello",
                f"none came within {self._limits.handshake_timeout_s} s",
                "introduce yourself first",
            )
        )

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.names = names_of(transport)
        configure_socket(transport, self._limits)
        self._timer = asyncio.get_running_loop().call_later(
            self._limits.handshake_timeout_s, self._handshake_overdue
        )
        self._on_connected(self)

    def data_received(self, data: bytes) -> None:
        self.heard = True
        if self._state is State.CLOSING:
            return
        self._reader.feed(data)
        try:
            while self._state in (State.GREETING, State.OPEN):
                body = self._reader.take()
                if body is None:
                    return
                self._take(decode_greeting(body) if self._state is State.GREETING else decode_frame(body))
        except ProtocolViolation as error:
            self.refuse(
                Refuse(
                    RefuseCode.PROTOCOL,
                    "frame",
                    str(error),
                    "only voters and clients of an incumbent cluster of the same version may connect here",
                )
            )

    def _take(self, frame: Frame) -> None:
        if isinstance(frame, Bye | Refuse):
            self.ended = True
            self._on_frame(self, frame)
            if self._transport is not None:
                self._state = State.CLOSING
                self._transport.close()
        else:
            self._on_frame(self, frame)

    def connection_lost(self, exc: Exception | None) -> None:
        self.failure = "" if exc is None else explain(exc)
        self._state = State.CLOSED
        self._out.clear()
        self._cancel_timer()
        self.closed.set()
        self._on_closed(self)


def configure_socket(transport: asyncio.BaseTransport, limits: NetworkLimits) -> None:
    """Small frames leave at once, and a connection into nowhere ends within `unacknowledged_timeout_s`."""
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, limits.keepalive_idle_s)
        milliseconds = int(limits.unacknowledged_timeout_s * 1000)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def ended_early(connection: Connection) -> str:
    """What to say of a voter that closed before it introduced itself."""
    if connection.failure:
        return connection.failure
    wants = (
        "may refuse this side's certificate (tls_certificate)"
        if connection.names is not None
        else "may want TLS"
    )
    return f"closed the connection before it said who it is: it {wants}; its log says why"
