"""ZooKeeper's wire format, as much of it as a session needs: attach, write, end. PURE.

Every frame is a length of four bytes and that many bytes; numbers are big-endian; a text or a buffer is its length and its
bytes (the project's `zookeeper.jute`). kazoo speaks it too, but keeps a session alive from a thread of its own and opens
another where the old one ended, so what is done in a session's name is done here (docs/adr/0008).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from incumbent.errors import ProtocolViolation

FRAME_BYTES_MAX: Final = 1 << 24
"""A list of all who queue, a hundred thousand of them."""
PASSWORD_BYTES: Final = 16
NOBODY: Final = bytes(PASSWORD_BYTES)
AUTH_XID: Final = -4
XID_FIRST_MAX: Final = 1 << 29
XID_OF_CLOSE: Final = (1 << 31) - 1
"""A request's number, within its session and not only on its connection: see `Visit`."""

DELETE, EXISTS, GET_DATA, SET_DATA, GET_CHILDREN2, CHECK, MULTI, CREATE2 = 2, 3, 4, 5, 12, 13, 14, 15
AUTH, CLOSE = 100, -11
EPHEMERAL, SEQUENTIAL = 1, 2
ALL_PERMISSIONS: Final = 31

OK, NO_NODE, NO_AUTH, NODE_EXISTS = 0, -101, -102, -110
SESSION_EXPIRED, AUTH_FAILED, SESSION_MOVED = -112, -115, -118

_LENGTH: Final = struct.Struct(">i")
_HEADER: Final = struct.Struct(">ii")
_REPLY: Final = struct.Struct(">iqi")
_CONNECT: Final = struct.Struct(">iqiq")
_CONNECTED: Final = struct.Struct(">iiq")
_STAT: Final = struct.Struct(">qqqqiiiqiiq")
_STEP: Final = struct.Struct(">i?i")
_UNWATCHED: Final = b"\0"


@dataclass(frozen=True, slots=True)
class Request:
    kind: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Attached:
    timeout_ms: int  # 0 or less: there is no such session
    session: int
    password: bytes

    def __repr__(self) -> str:  # the password is a secret
        return f"Attached(timeout_ms={self.timeout_ms}, session={self.session:#x})"


class Stat(NamedTuple):
    """A node's facts, by ZooKeeper's own names."""

    czxid: int  # created it
    mzxid: int  # wrote it last
    ctime: int
    mtime: int
    version: int
    cversion: int
    aversion: int
    owner: int  # signed
    size: int
    children: int
    pzxid: int  # last created or deleted a child


@dataclass(frozen=True, slots=True)
class Answer:
    zxid: int  # what the server had come to
    error: int
    held: Any = None  # the path that was created, the node's data, or the names of its children
    stat: Stat | None = None


def framed(payload: bytes) -> bytes:
    return _LENGTH.pack(len(payload)) + payload


def frame_length(head: bytes) -> int:
    """Raises ProtocolViolation."""
    (length,) = _LENGTH.unpack(head)
    if not 0 <= length <= FRAME_BYTES_MAX:
        raise ProtocolViolation(f"a frame of {length} bytes")
    return int(length)


def connect(timeout_ms: int, session: int = 0, password: bytes = NOBODY) -> bytes:
    """Open a session, or attach to one. Claims to have seen nothing, so that any server answers."""
    return _CONNECT.pack(0, 0, timeout_ms, _signed(session)) + _buffer(password) + b"\0"


def attached(frame: bytes) -> Attached:
    """Raises ProtocolViolation."""
    try:
        _, timeout_ms, session = _CONNECTED.unpack_from(frame)
        password = _Reader(frame, _CONNECTED.size).buffer()
    except (struct.error, IndexError) as error:
        raise ProtocolViolation("what answers is no ZooKeeper") from error
    return Attached(timeout_ms, session & ((1 << 64) - 1), password)


def login(user_and_password: str) -> bytes:
    scheme = _buffer(b"digest")
    return _HEADER.pack(AUTH_XID, AUTH) + bytes(4) + scheme + _buffer(user_and_password.encode())


def request(xid: int, asked: Request) -> bytes:
    return _HEADER.pack(xid, asked.kind) + asked.body


def create(path: str, data: bytes, *, sequential: bool, owned: bool) -> Request:
    """An ephemeral node. `owned`: only who is logged in as its maker may touch it."""
    scheme, who = (b"auth", b"") if owned else (b"world", b"anyone")
    acl = struct.pack(">ii", 1, ALL_PERMISSIONS) + _buffer(scheme) + _buffer(who)
    flags = EPHEMERAL | (SEQUENTIAL if sequential else 0)
    return Request(CREATE2, _buffer(path.encode()) + _buffer(data) + acl + struct.pack(">i", flags))


def set_data(path: str, data: bytes) -> Request:
    return Request(SET_DATA, _buffer(path.encode()) + _buffer(data) + struct.pack(">i", -1))


def delete(path: str) -> Request:
    return Request(DELETE, _buffer(path.encode()) + struct.pack(">i", -1))


def exists(path: str) -> Request:
    return Request(EXISTS, _buffer(path.encode()) + _UNWATCHED)


def get(path: str) -> Request:
    return Request(GET_DATA, _buffer(path.encode()) + _UNWATCHED)


def children(path: str) -> Request:
    return Request(GET_CHILDREN2, _buffer(path.encode()) + _UNWATCHED)


def check(path: str) -> Request:
    """A transaction, which a quorum has to commit, of nothing but the question whether the node is there."""
    step = _STEP.pack(CHECK, False, -1) + _buffer(path.encode()) + struct.pack(">i", -1)
    return Request(MULTI, step + _STEP.pack(-1, True, -1))


def is_of_login(frame: bytes) -> bool:
    return frame[:4] == _LENGTH.pack(AUTH_XID)


def is_plain_answer(frame: bytes) -> bool:
    """An answer that holds nothing; what answers an attachment is longer."""
    return len(frame) == _REPLY.size


def answer(frame: bytes, kind: int) -> tuple[int, Answer]:
    """The xid and the answer to a request of that kind. Raises ProtocolViolation."""
    try:
        xid, zxid, error = _REPLY.unpack_from(frame)
        reader = _Reader(frame, _REPLY.size)
        if error != OK:
            return xid, Answer(zxid, error)
        if kind == MULTI:
            return xid, Answer(zxid, reader.failure())
        if kind not in _HELD:
            return xid, Answer(zxid, OK)
        return xid, Answer(zxid, OK, _HELD[kind](reader), reader.stat())
    except (struct.error, IndexError, UnicodeDecodeError) as problem:
        raise ProtocolViolation(f"an answer of {len(frame)} bytes cannot be read") from problem


class _Reader:
    __slots__ = ("_at", "_frame")

    def __init__(self, frame: bytes, at: int) -> None:
        self._frame = frame
        self._at = at

    def unpack(self, form: struct.Struct) -> tuple[int, ...]:
        values = form.unpack_from(self._frame, self._at)
        self._at += form.size
        return values

    def buffer(self) -> bytes:
        (length,) = self.unpack(_LENGTH)
        if length < 0:
            return b""
        if self._at + length > len(self._frame):
            raise IndexError(length)
        self._at += length
        return self._frame[self._at - length : self._at]

    def text(self) -> str:
        return self.buffer().decode()

    def texts(self) -> tuple[str, ...]:
        (count,) = self.unpack(_LENGTH)
        return tuple(self.text() for _ in range(count))

    def failure(self) -> int:
        """Of a transaction of one step that answers nothing else."""
        kind, over, _ = self.unpack(_STEP)
        if kind >= 0 and not over:
            return OK
        (error,) = self.unpack(_LENGTH)
        return error

    def nothing(self) -> None:
        pass

    def stat(self) -> Stat:
        return Stat(*self.unpack(_STAT))


_HELD: Final[dict[int, Callable[[_Reader], Any]]] = {
    CREATE2: _Reader.text,
    EXISTS: _Reader.nothing,
    GET_DATA: _Reader.buffer,
    GET_CHILDREN2: _Reader.texts,
}
"""By the kind of request, what its answer holds in front of the node's facts; the others hold nothing that is read."""


def _buffer(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _signed(session: int) -> int:
    return session - (1 << 64) if session >= 1 << 63 else session
