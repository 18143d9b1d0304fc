"""What the two processes say to each other: whole, bounded, secret."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from incumbent.engines.api import REF_BYTES_MAX
from incumbent.errors import ProtocolViolation
from incumbent.guardian.wire import (
    FRAME_BYTES_MAX,
    Command,
    Forget,
    Hello,
    Quit,
    Ready,
    Refused,
    Reply,
    Said,
    Unable,
    Watch,
    Watching,
    decode_command,
    decode_reply,
    encode,
    take_body,
)

COMMANDS: list[Command] = [
    Hello(1, 2, 3.0),
    Watch(1, "cluster", b"r" * REF_BYTES_MAX, 0.5),
    Forget(b"r" * REF_BYTES_MAX),
    Quit(),
]
REPLIES: list[Reply] = [Ready(), Unable("why"), Watching(7), Refused(7, "f", "p", "x"), Said(30, "text")]


@given(st.lists(st.sampled_from(COMMANDS), max_size=5), st.integers(1, 2000))
def test_commands_come_whole_however_they_are_cut(commands: list[Command], size: int) -> None:
    stream = b"".join(map(encode, commands))
    buffer, heard = bytearray(), []
    for start in range(0, len(stream), size):
        buffer += stream[start : start + size]
        while (body := take_body(buffer)) is not None:
            heard.append(decode_command(body))
    assert heard == commands
    assert not buffer


@pytest.mark.parametrize("reply", REPLIES)
def test_replies_come_back(reply: Reply) -> None:
    body = take_body(bytearray(encode(reply)))
    assert body is not None
    assert decode_reply(body) == reply


@given(st.binary(max_size=200))
def test_rubbish_is_refused(body: bytes) -> None:
    """P77: it decodes to one of ours or is refused, and nothing else happens."""
    for decode in (decode_command, decode_reply):
        with contextlib.suppress(ProtocolViolation):
            decode(body)


def test_a_frame_that_is_too_long_is_refused_by_its_length() -> None:
    """P77."""
    with pytest.raises(ProtocolViolation):
        take_body(bytearray((FRAME_BYTES_MAX + 1).to_bytes(4, "big")))


def test_a_reference_is_not_shown() -> None:
    for command in (Watch(1, "cluster", b"secret", 0.0), Forget(b"secret")):
        assert "secret" not in repr(command)
