"""What the two processes say to each other, over the helper's stdin and stdout: 4 bytes of length, then MessagePack.

References are secrets: they travel here and nowhere else, never in an argument list or an environment.
"""

from __future__ import annotations

from typing import Final

import msgspec

from incumbent.errors import ProtocolViolation

FRAME_BYTES_MAX: Final = 8192
"""A reference has at most 4 KiB; everything else is small."""
_LENGTH_BYTES: Final = 4


class Hello(msgspec.Struct, frozen=True, array_like=True, tag="hello"):
    """The first command: whom to guard."""

    pid: int
    start_ticks: int
    end_timeout_s: float


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    id: int
    scheme: str
    ref: bytes
    release_delay_s: float

    def __repr__(self) -> str:  # the ref is a secret
        return f"Watch({self.scheme!r}, release_delay_s={self.release_delay_s})"


class Forget(msgspec.Struct, frozen=True, array_like=True, tag="forget"):
    ref: bytes

    def __repr__(self) -> str:
        return "Forget()"


class Quit(msgspec.Struct, frozen=True, array_like=True, tag="quit"):
    """Exit and end nothing: a clean close ends sessions itself."""


Command = Hello | Watch | Forget | Quit


class Ready(msgspec.Struct, frozen=True, array_like=True, tag="ready"):
    """The kernel will tell of the guarded process's death."""


class Unable(msgspec.Struct, frozen=True, array_like=True, tag="unable"):
    why: str


class Watching(msgspec.Struct, frozen=True, array_like=True, tag="watching"):
    id: int


class Refused(msgspec.Struct, frozen=True, array_like=True, tag="refused"):
    id: int
    field: str
    problem: str
    fix: str


class Said(msgspec.Struct, frozen=True, array_like=True, tag="said"):
    """For the log of the guarded process."""

    level: int
    text: str


Reply = Ready | Unable | Watching | Refused | Said

_encoder: Final = msgspec.msgpack.Encoder()
_command_decoder: Final[msgspec.msgpack.Decoder[Command]] = msgspec.msgpack.Decoder(Command)
_reply_decoder: Final[msgspec.msgpack.Decoder[Reply]] = msgspec.msgpack.Decoder(Reply)


def encode(message: Command | Reply) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


def take_body(buffer: bytearray) -> bytes | None:
    """Cut the next whole frame off the front of `buffer`. Raises ProtocolViolation on one that is too long."""
    if len(buffer) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(buffer[:_LENGTH_BYTES], "big")
    if length > FRAME_BYTES_MAX:
        raise ProtocolViolation(f"a frame of {length} bytes; at most {FRAME_BYTES_MAX} are said here")
    end = _LENGTH_BYTES + length
    if len(buffer) < end:
        return None
    body = bytes(buffer[_LENGTH_BYTES:end])
    del buffer[:end]
    return body


def decode_command(body: bytes) -> Command:
    """Raises ProtocolViolation."""
    try:
        return _command_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"a command to the guardian is malformed: {error}") from error


def decode_reply(body: bytes) -> Reply:
    """Raises ProtocolViolation."""
    try:
        return _reply_decoder.decode(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"a guardian's reply is malformed: {error}") from error
