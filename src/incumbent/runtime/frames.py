"""What can stand on the wire between our processes, and nothing else.

A frame is a 4-byte big-endian length and that many bytes of MessagePack, decoded into one of the typed structs below: never
pickle, nothing is executed, nothing is larger than a named bound. The first frame each way is a Hello. docs/reference/wire.md
tells the whole conversation; `connection` carries the bytes, `transport` and `calls` give them meaning.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final, assert_never

import msgspec

from incumbent.errors import (
    IdentityMismatch,
    IncumbentError,
    InvalidInput,
    Overloaded,
    ProtocolViolation,
)
from incumbent.ids import LeaseId, NodeId, Revision
from incumbent.kv.api import FIRST_LEVEL, NO_LEASE, Command, Query, Result
from incumbent.node.api import RefusedReason
from incumbent.runtime.admin_frames import Ask, Told

WIRE_VERSION_MIN: Final = 1
WIRE_VERSION_MAX: Final = 1
"""Both sides use the highest version that both know."""
FRAME_BYTES_MAX: Final = 8 << 20
HELLO_BYTES_MAX: Final = 16 << 10
"""Nobody who has not introduced himself makes us buffer more than this."""
LENGTH_BYTES: Final = 4

Address = tuple[str, int]
"""Host and port."""


class Kind(StrEnum):
    PEER = "peer"
    CLIENT = "client"


class RefuseCode(StrEnum):
    PROTOCOL = "protocol"  # ProtocolViolation
    INPUT = "input"  # InvalidInput: the configuration of one of the two is wrong
    IDENTITY = "identity"  # IdentityMismatch
    OVERLOADED = "overloaded"  # Overloaded: try later


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """Who speaks. `versions` stays the first field for ever, so that any version can refuse any other by name.
    A client leaves everything after `cluster` empty but its `secrets`."""

    versions: tuple[int, int]  # lowest and highest spoken
    kind: Kind
    cluster: str
    node: str = ""
    disk: str = ""
    names: tuple[str, ...] = ()  # every configured voter, sorted; empty when it waits to be told
    voters: tuple[NodeId, ...] | None = None  # with which the cluster was formed, sorted; None while forming
    witnesses: tuple[NodeId, ...] = ()  # among those
    members: tuple[NodeId, ...] = ()  # who the speaker knows to be a member now, in whichever role; sorted
    addresses: tuple[tuple[str, Address], ...] = ()  # where to reach whom, the speaker first
    secrets: tuple[str, ...] = ()  # a client's: what elections it may take part in (see `access`)
    level: int = FIRST_LEVEL  # up to which a voter reads commands (see `levels`)


class Refuse(msgspec.Struct, frozen=True, array_like=True, tag="refuse"):
    """The last frame before a close: what was wrong and how to mend it."""

    code: RefuseCode
    field: str
    problem: str
    fix: str


class Bye(msgspec.Struct, frozen=True, array_like=True, tag="bye"):
    """The close that follows is deliberate, so it is no hint of a death."""


class PeerMessage(msgspec.Struct, frozen=True, array_like=True, tag="message"):
    """One message of the consensus protocol, in the protocol's own codec."""

    payload: bytes


class Submit(msgspec.Struct, frozen=True, array_like=True, tag="submit"):
    command: Command


class Read(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    query: Query
    lease: LeaseId = NO_LEASE


class Renew(msgspec.Struct, frozen=True, array_like=True, tag="renew"):
    lease: LeaseId
    patience_ns: int = 0  # so long it may wait for a round that begins anyway


Request = Submit | Read | Renew


class Call(msgspec.Struct, frozen=True, array_like=True, tag="call"):
    id: int  # drawn by the caller, unique on its connection
    request: Request


class AnswerDone(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    result: Result


class AnswerRefused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    """Certainly not applied."""

    reason: RefusedReason
    leader: NodeId | None = None
    address: Address | None = None  # where the answering node reaches that leader


class AnswerUnknown(msgspec.Struct, frozen=True, array_like=True, tag="unknown"):
    """Applied, or yet to be applied, or lost."""


class Answer(msgspec.Struct, frozen=True, array_like=True, tag="answer"):
    id: int
    outcome: AnswerDone | AnswerRefused | AnswerUnknown


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    """Wake me for changes in a key range after a revision, as this voter applies them."""

    id: int  # drawn by the client, unique on its connection
    key: bytes
    end: bytes | None
    after: Revision


class Unwatch(msgspec.Struct, frozen=True, array_like=True, tag="unwatch"):
    id: int


class Woken(msgspec.Struct, frozen=True, array_like=True, tag="woken"):
    """Something changed there since the last one: one or many, nobody says what."""

    id: int


class WatchOver(msgspec.Struct, frozen=True, array_like=True, tag="watch_over"):
    """Nothing more will come for this watch."""

    id: int
    why: str
    overloaded: bool = False
    not_allowed: bool = False


class Follow(msgspec.Struct, frozen=True, array_like=True, tag="follow"):
    """From a client: tell me now, and from now on, who leads."""


class Led(msgspec.Struct, frozen=True, array_like=True, tag="led"):
    """Who leads `term`, as far as this voter knows. Advice for routing, never a proof."""

    term: int
    leader: NodeId
    address: Address | None


class Ping(msgspec.Struct, frozen=True, array_like=True, tag="ping"):
    """Are you there? From a client that waits for nothing else."""


class Pong(msgspec.Struct, frozen=True, array_like=True, tag="pong"):
    pass


Frame = (
    Hello | Refuse | Bye | PeerMessage | Call | Answer | Ask | Told
    | Watch | Unwatch | Woken | WatchOver | Follow | Led | Ping | Pong
)  # fmt: skip
Greeting = Hello | Refuse | Bye


class _Versions(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    versions: tuple[int, int]


_encoder = msgspec.msgpack.Encoder()
_frame_decoder: msgspec.msgpack.Decoder[Frame] = msgspec.msgpack.Decoder(Frame)
_greeting_decoder: msgspec.msgpack.Decoder[Greeting] = msgspec.msgpack.Decoder(Greeting)
_versions_decoder: msgspec.msgpack.Decoder[_Versions | Refuse | Bye] = msgspec.msgpack.Decoder(
    _Versions | Refuse | Bye
)
# What msgspec raises on bytes that are not what it was told to expect: DecodeError and UnicodeDecodeError are
# ValueErrors; nesting without end is a RecursionError.
_MALFORMED = (ValueError, RecursionError)


def encode_frame(frame: Frame) -> bytes:
    """The frame with its length in front. The caller bounds its size."""
    body = _encoder.encode(frame)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def encode_frames(frames: Iterable[Frame]) -> bytes:
    return b"".join(map(encode_frame, frames))


def encoded_bytes(part: msgspec.Struct) -> int:
    """How many bytes a part of a frame takes."""
    return len(_encoder.encode(part))


def decode_frame(body: bytes) -> Frame:
    """Any frame. Raises ProtocolViolation."""
    try:
        return _frame_decoder.decode(body)
    except _MALFORMED as error:
        raise ProtocolViolation(f"a frame of {len(body)} bytes is malformed: {error}") from error


def decode_greeting(body: bytes) -> Greeting:
    """The first frame of a connection. Raises ProtocolViolation, naming the versions where those are the trouble."""
    try:
        first = _versions_decoder.decode(body)
        if isinstance(first, _Versions):
            low, high = first.versions
            if low > WIRE_VERSION_MAX or high < WIRE_VERSION_MIN:
                raise ProtocolViolation(
                    f"versions {low} to {high} are spoken there, {WIRE_VERSION_MIN} to {WIRE_VERSION_MAX} here"
                )
        return _greeting_decoder.decode(body)
    except _MALFORMED as error:
        raise ProtocolViolation(f"the first frame is no hello: {error}") from error


class FrameReader:
    r"""Cuts a stream of bytes into frame bodies. Holds at most `bytes_max` and one read's worth of bytes.

    ``feed(b"\0\0\0\2ab\0")``, then ``take()`` gives ``b"ab"``, then None until the next frame is whole.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._buffer: bytes | bytearray = b""
        self._at = 0  # what comes before was taken

    def feed(self, data: bytes) -> None:
        if self._at == len(self._buffer):  # the usual case: nothing is copied
            self._buffer = data
        elif self._at == 0 and isinstance(self._buffer, bytearray):  # a long frame grows in place
            self._buffer += data
        else:
            self._buffer = bytearray(memoryview(self._buffer)[self._at :])
            self._buffer += data
        self._at = 0

    def take(self) -> bytes | None:
        """The next whole body. Raises ProtocolViolation as soon as a length over the limit is seen."""
        start = self._at + LENGTH_BYTES
        if len(self._buffer) < start:
            return None
        length = int.from_bytes(self._buffer[self._at : start], "big")
        if length > self.bytes_max:
            raise ProtocolViolation(f"a frame says it has {length} bytes, the limit is {self.bytes_max}")
        end = start + length
        if len(self._buffer) < end:
            return None
        self._at = end
        return bytes(self._buffer[start:end])


def refusal_error(refuse: Refuse, who: str) -> IncumbentError:
    """The error that `refuse`, said by `who`, stands for."""
    text = f"{refuse.field}: {who} says: {refuse.problem}; {refuse.fix}"
    match refuse.code:
        case RefuseCode.INPUT:
            return InvalidInput(refuse.field, f"{who} says: {refuse.problem}", refuse.fix)
        case RefuseCode.IDENTITY:
            return IdentityMismatch(text)
        case RefuseCode.OVERLOADED:
            return Overloaded(text)
        case RefuseCode.PROTOCOL:
            return ProtocolViolation(text)
        case _:
            assert_never(refuse.code)
