"""One connection to one server, attached to one session: what is done in a session's name is done by visits.

Attaching is what renews. A follower tells the leader of its clients' signs of life once in half a tick, so a write through it
may be committed while the leader still counts from long before. But it asks the leader at once whether a session may attach,
and the leader then counts anew. So each renewal attaches, and a write behind it proves that a quorum still followed that
leader (docs/explanation/zookeeper.md).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Iterator
from itertools import count
from typing import Final

from incumbent.engines.zookeeper import wire
from incumbent.engines.zookeeper.place import Address, Place
from incumbent.errors import EngineUnavailable, NotAllowed, OutcomeUnknown, ProtocolViolation, SessionGone

STREAM_BYTES_MAX: Final = 1 << 20


def fresh_xids() -> Iterator[int]:
    """For one session: two processes that hold it are not likely to use the same ones."""
    return count(1 + secrets.randbelow(wire.XID_FIRST_MAX))


class Visit:
    """Made by `pay`. Not for two tasks at once.

    Its requests take their numbers from `xids`, which belongs to the session: a server that waits for the commit of a request takes
    it for done when one of the same session and the same number is committed. So a number that an earlier connection used, by
    another server, may have a later request answered too soon, and by what was asked for earlier (ZOOKEEPER-2684).
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        attached: wire.Attached,
        xids: Iterator[int],
    ) -> None:
        self.attached = attached
        self.xids = xids
        self._reader = reader
        self._writer = writer

    async def ask(self, *requests: wire.Request) -> list[wire.Answer | OutcomeUnknown]:
        """The answers in the order of the requests, which are sent at once and done in order. Where the connection ends
        before, OutcomeUnknown stands for the rest."""
        sent, frames = list[tuple[int, int]](), bytearray()
        for request in requests:
            xid = next(self.xids)
            sent.append((xid, request.kind))
            frames += wire.framed(wire.request(xid, request))
        self._writer.write(frames)
        answers = list[wire.Answer | OutcomeUnknown]()
        try:
            await self._writer.drain()
            for xid, kind in sent:
                answers.append(await self._answer(xid, kind))
        except (OSError, EOFError, ProtocolViolation) as error:
            lost = OutcomeUnknown(f"the connection ended before the answer: {error}")
            answers += [lost] * (len(sent) - len(answers))
        return answers

    async def _answer(self, xid: int, kind: int) -> wire.Answer:
        frame = await _frame(self._reader)
        while wire.is_of_login(frame):
            if wire.answer(frame, wire.AUTH)[1].error != wire.OK:
                raise ProtocolViolation("the login was refused")
            frame = await _frame(self._reader)
        found, answer = wire.answer(frame, kind)
        if found != xid:
            raise ProtocolViolation(f"an answer to {found}, and {xid} was asked")
        return answer

    @property
    def over(self) -> bool:
        """The server has closed the connection, as far as it is known."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        """The session stays as it is."""
        self._writer.close()


async def pay(
    place: Place,
    address: Address,
    timeout_ms: int,
    session: int,
    password: bytes,
    xids: Iterator[int] | None = None,
) -> Visit:
    """Connect to that server and attach to the session; open one where `session` is 0. `xids`: the session's, if it has some.

    Raises EngineUnavailable: nothing was asked for yet. SessionGone: there is no such session.
    """
    reader, writer = await dial(place, address)
    try:
        writer.write(wire.framed(wire.connect(timeout_ms, session, password)))
        attached = wire.attached(await _frame(reader))
    except (OSError, EOFError, ProtocolViolation) as error:
        writer.close()
        raise EngineUnavailable(f"{address[0]}:{address[1]} does not serve: {error}") from error
    except BaseException:
        writer.close()
        raise
    if attached.timeout_ms <= 0:
        writer.close()
        raise SessionGone("the session has ended")
    if place.login is not None:  # not sooner: on Netty its answer could overtake the other
        writer.write(wire.framed(wire.login(place.login)))
    return Visit(reader, writer, attached, fresh_xids() if xids is None else xids)


async def dial(place: Place, address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Raises EngineUnavailable."""
    host, port = address
    context = None if place.tls is None else place.tls.context()
    try:
        return await asyncio.open_connection(host, port, ssl=context, limit=STREAM_BYTES_MAX)
    except OSError as error:  # ssl.SSLError is one
        raise EngineUnavailable(f"{host}:{port} is not reached: {error}") from error


async def end_by(place: Place, address: Address, timeout_ms: int, session: int, password: bytes) -> bool:
    """End the session through that server: attach and close, in one send. False: it was over.

    Raises EngineUnavailable when nothing was sent, OutcomeUnknown when the answer was lost.
    """
    reader, writer = await dial(place, address)
    return await end_over(reader, writer, timeout_ms, session, password)


async def end_over(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    timeout_ms: int,
    session: int,
    password: bytes,
) -> bool:
    """As `end_by`, over a connection on which nothing was sent."""
    attached: wire.Attached | None = None
    answer: wire.Answer | None = None
    try:
        writer.write(
            wire.framed(wire.connect(timeout_ms, session, password))
            + wire.framed(wire.request(wire.XID_OF_CLOSE, wire.Request(wire.CLOSE)))
        )
        await writer.drain()
        while attached is None or answer is None:  # in either order, on Netty
            frame = await _frame(reader)
            if wire.is_plain_answer(frame):
                _, answer = wire.answer(frame, wire.CLOSE)
                continue
            attached = wire.attached(frame)
            if attached.timeout_ms <= 0:
                return False
    except (OSError, EOFError, ProtocolViolation) as error:
        if answer is None:
            raise OutcomeUnknown(f"the connection ended before the answer: {error}") from error
    finally:
        writer.close()
    if answer.error == wire.SESSION_EXPIRED:
        return False
    if answer.error != wire.OK:
        raise OutcomeUnknown(f"ZooKeeper's error {answer.error}")
    return True


def refusal(answer: wire.Answer) -> SessionGone | NotAllowed | OutcomeUnknown | None:
    """What an answer's error means, where it means the same for all requests."""
    if answer.error == wire.SESSION_EXPIRED:
        return SessionGone("the session has ended")
    if answer.error in (wire.NO_AUTH, wire.AUTH_FAILED):
        return NotAllowed("ZooKeeper's access rules do not admit this user")
    if answer.error in (wire.OK, wire.NO_NODE, wire.NODE_EXISTS):
        return None
    return OutcomeUnknown(f"ZooKeeper's error {answer.error}")


async def _frame(reader: asyncio.StreamReader) -> bytes:
    with contextlib.suppress(asyncio.IncompleteReadError):
        length = wire.frame_length(await reader.readexactly(4))
        return await reader.readexactly(length)
    raise EOFError("closed by the server")
