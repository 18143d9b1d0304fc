"""Frames: what is written is read back, and nothing else gets in."""

from __future__ import annotations

import contextlib
import random

import msgspec
import pytest

from incumbent.errors import (
    IdentityMismatch,
    InvalidInput,
    Overloaded,
    ProtocolViolation,
)
from incumbent.ids import LeaseId, NodeId, Revision
from incumbent.kv.api import Code, KeyValue, LeaseGrant, OperationResult, Put, Range, Result, Txn
from incumbent.node.api import RefusedReason
from incumbent.runtime.frames import (
    LENGTH_BYTES,
    Answer,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Bye,
    Call,
    Frame,
    FrameReader,
    Hello,
    Kind,
    PeerMessage,
    Read,
    Refuse,
    RefuseCode,
    Renew,
    Submit,
    decode_frame,
    decode_greeting,
    encode_frame,
    encode_frames,
    refusal_error,
)

HELLO = Hello((1, 1), Kind.PEER, "app", "a", "0123456789ab", ("a", "b"), (NodeId("a.0123456789ab"),))
FRAMES: list[Frame] = [
    HELLO,
    Hello((1, 1), Kind.CLIENT, "app"),
    Refuse(RefuseCode.INPUT, "peers", "wrong", "right"),
    Bye(),
    PeerMessage(b"\x00\xff"),
    Call(1, Submit(Txn(then=(Put(b"k", b"v", LeaseId(7)),), orelse=(Range(b"k"),)))),
    Call(2, Submit(LeaseGrant(LeaseId(9), 5))),
    Call(3, Read(Range(b"a", b"b"), LeaseId(9))),
    Call(4, Read(Txn(then=(Range(b"a"),)))),
    Call(5, Renew(LeaseId(9))),
    Answer(
        1,
        AnswerDone(
            Result(
                Code.OK,
                Revision(3),
                True,
                (OperationResult((KeyValue(b"k", b"v", Revision(1), Revision(2), 2, LeaseId(0)),)),),
            )
        ),
    ),
    Answer(2, AnswerRefused(RefusedReason.NOT_LEADER, NodeId("b.ba9876543210"), ("127.0.0.1", 7))),
    Answer(3, AnswerUnknown()),
]


def bodies(reader: FrameReader) -> list[bytes]:
    taken = []
    while (body := reader.take()) is not None:
        taken.append(body)
    return taken


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_a_frame_is_read_back_as_it_was_written(frame: Frame) -> None:
    (body,) = bodies_of(encode_frame(frame))
    assert decode_frame(body) == frame


def bodies_of(data: bytes) -> list[bytes]:
    reader = FrameReader(1 << 20)
    reader.feed(data)
    return bodies(reader)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_are_cut_out_of_any_chunks(step: int) -> None:
    data = encode_frames(FRAMES)
    reader = FrameReader(1 << 20)
    got = []
    for at in range(0, len(data), step):
        reader.feed(data[at : at + step])
        got += [decode_frame(body) for body in bodies(reader)]
    assert got == FRAMES


def test_an_oversized_frame_is_refused_by_its_length_alone() -> None:
    """P77: the four bytes of the length are enough; nothing is buffered for it."""
    reader = FrameReader(100)
    reader.feed((101).to_bytes(LENGTH_BYTES, "big"))
    with pytest.raises(ProtocolViolation, match="101 bytes, the limit is 100"):
        reader.take()


def test_another_protocol_is_refused_by_its_first_bytes() -> None:
    reader = FrameReader(16 << 10)
    reader.feed(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(ProtocolViolation, match="the limit is"):
        reader.take()


def test_other_versions_are_named_even_when_the_rest_cannot_be_read() -> None:
    """The versions come first for ever, so a hello of another shape is still refused for the right reason."""
    future = msgspec.msgpack.encode(["hello", [7, 9], {"shape": "unknown"}])
    with pytest.raises(ProtocolViolation, match="versions 7 to 9 are spoken there, 1 to 1 here"):
        decode_greeting(future)


def test_a_newer_hello_with_more_fields_is_understood() -> None:
    body = encode_frame(HELLO)[LENGTH_BYTES:]
    fields = msgspec.msgpack.decode(body)
    assert decode_greeting(msgspec.msgpack.encode([*fields, "a field of tomorrow"])) == HELLO


@pytest.mark.parametrize("frame", [PeerMessage(b"x"), Call(1, Renew(LeaseId(1))), Answer(1, AnswerUnknown())])
def test_only_a_greeting_can_come_first(frame: Frame) -> None:
    with pytest.raises(ProtocolViolation, match="no hello"):
        decode_greeting(encode_frame(frame)[LENGTH_BYTES:])


@pytest.mark.parametrize("seed", range(20))
def test_fuzzed_frames_are_read_or_refused_and_nothing_else(seed: int) -> None:
    """P77: flipped, cut, repeated and random bytes end in a frame or a ProtocolViolation."""
    rng = random.Random(seed)  # replay: pytest tests/runtime/test_frames.py -k "fuzzed and [<seed>]"
    for _ in range(200):
        body = bytearray(encode_frame(rng.choice(FRAMES))[LENGTH_BYTES:])
        match rng.randrange(4):
            case 0:
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
            case 1:
                del body[rng.randrange(len(body)) :]
            case 2:
                at = rng.randrange(len(body))
                body[at:at] = rng.randbytes(rng.randrange(1, 9))
            case _:
                body = bytearray(rng.randbytes(rng.randrange(64)))
        for decode in (decode_frame, decode_greeting):
            with contextlib.suppress(ProtocolViolation):
                decode(bytes(body))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x91" * 100_000,
        b"\xdd\xff\xff\xff\xff",
        b"\x93\xa5hello\xdd\xff\xff\xff\xff",
        b"\x92\xa1\xff\x01",
    ],
    ids=["empty", "deep", "vast", "vast field", "not utf-8"],
)
def test_bytes_meant_to_hurt_are_refused(body: bytes) -> None:
    """P77."""
    with pytest.raises(ProtocolViolation):
        decode_frame(body)
    with pytest.raises(ProtocolViolation):
        decode_greeting(body)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (RefuseCode.PROTOCOL, ProtocolViolation),
        (RefuseCode.INPUT, InvalidInput),
        (RefuseCode.IDENTITY, IdentityMismatch),
        (RefuseCode.OVERLOADED, Overloaded),
    ],
)
def test_each_refusal_stands_for_one_error_that_says_who_said_it(
    code: RefuseCode, error: type[Exception]
) -> None:
    raised = refusal_error(Refuse(code, "peers", "differ", "make them equal"), "node b")
    assert type(raised) is error
    assert "peers" in str(raised)
    assert "node b says: differ; make them equal" in str(raised)
