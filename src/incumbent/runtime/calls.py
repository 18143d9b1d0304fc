"""The answering side of calls: what a client's connection asks of this voter. `client` is the asking side.

Calls are pipelined and answered in any order. Bounded per connection and overall; what does not fit is answered OVERLOADED at
once. An answer that cannot be given truthfully is Unknown, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final, assert_never

from incumbent.errors import ProtocolViolation
from incumbent.ids import name_of
from incumbent.kv.api import ReportDigest
from incumbent.node.api import Done, Outcome, Refused, RefusedReason, Unknown
from incumbent.runtime.access import Access
from incumbent.runtime.connection import LIMITS, Connection, NetworkLimits
from incumbent.runtime.driver import Driver
from incumbent.runtime.frames import (
    Address,
    Answer,
    AnswerDone,
    AnswerRefused,
    AnswerUnknown,
    Call,
    Follow,
    Frame,
    Led,
    Ping,
    Pong,
    Read,
    Renew,
    Request,
    Submit,
    Unwatch,
    Watch,
    WatchOver,
    encoded_bytes,
)
from incumbent.runtime.remote_watches import RemoteWatches
from incumbent.runtime.tls import voter_name

ANSWER_ROOM_BYTES: Final = 32
"""What an answer's own frame adds to its outcome."""


class CallServer:
    """Hands the calls of all client connections to one driver, which exists once the cluster is formed."""

    def __init__(
        self, addresses: Mapping[str, Address], limits: NetworkLimits = LIMITS, access: Access | None = None
    ) -> None:
        self.driver: Driver | None = None
        self._addresses = addresses
        self._limits = limits
        self._access = access or Access("", ())
        self._in_flight = 0
        self._watches = RemoteWatches(limits.watches_max)
        self._followers: set[Connection] = set()

    def on_frame(self, connection: Connection, frame: Frame) -> None:
        """Take one frame of a client's connection. Raises ProtocolViolation on what no client says."""
        match frame:
            case Call():
                self._on_call(connection, frame)
            case Watch() if not self._access.may_look(connection.who, frame.key, frame.end):
                why = "no rule admits this client to that election"
                _send(connection, WatchOver(frame.id, why, not_allowed=True))
            case Watch():
                self._watches.begin(connection, frame, self.driver)
            case Unwatch():
                self._watches.stop(connection, frame.id)
            case Follow():
                self._followers.add(connection)
                if (led := self._led()) is not None:
                    _send(connection, led)
            case Ping():
                _send(connection, Pong())
            case _:
                raise ProtocolViolation("a client calls and watches, and does nothing else")

    def close(self) -> None:
        """End every watch. The connections are the network's."""
        self._watches.close()

    async def tell_followers(self, driver: Driver) -> None:
        """Whoever waits for a leader that is gone without a word learns here that there is another."""
        while not driver.ended:
            await driver.leadership_changed()
            self._followers = {connection for connection in self._followers if connection.is_open}
            if (led := self._led()) is not None:
                for connection in self._followers:
                    _send(connection, led)

    def _led(self) -> Led | None:
        if self.driver is None or self.driver.leadership.leader is None:
            return None
        leadership = self.driver.leadership
        assert leadership.leader is not None
        return Led(leadership.term, leadership.leader, self._addresses.get(name_of(leadership.leader)))

    def _on_call(self, connection: Connection, frame: Call) -> None:
        if self.driver is None or self.driver.ended:
            _answer(connection, frame.id, AnswerRefused(RefusedReason.NOT_LEADER))
            return
        if (
            connection.calls_in_flight >= self._limits.calls_in_flight_max
            or self._in_flight >= self._limits.calls_total_max
        ):
            _answer(connection, frame.id, AnswerRefused(RefusedReason.OVERLOADED))
            return
        if not self._may(connection, frame.request):
            _answer(connection, frame.id, AnswerRefused(RefusedReason.NOT_ALLOWED))
            return
        connection.calls_in_flight += 1
        self._in_flight += 1
        self.driver.call(frame.request, partial(self._on_outcome, connection, frame))

    def _may(self, connection: Connection, request: Request) -> bool:
        match request:
            case Submit(ReportDigest(voter)):
                # It can stop nodes, so nobody reports for another.
                names, hello = connection.names, connection.hello
                return names is None or (
                    hello is not None and voter_name(name_of(voter), hello.cluster).lower() in names
                )
            case Submit(command):
                return self._access.may_ask(connection.who, command)
            case Read(query):
                return self._access.may_ask(connection.who, query)
            case Renew():
                return True
            case _:
                assert_never(request)

    def _on_outcome(self, connection: Connection, call: Call, outcome: Outcome) -> None:
        connection.calls_in_flight -= 1
        self._in_flight -= 1
        match outcome:
            case Done(result):
                answer: AnswerDone | AnswerRefused | AnswerUnknown = AnswerDone(result)
                most = self._limits.frame_bytes_max - ANSWER_ROOM_BYTES
                if result.results and encoded_bytes(answer) > most:
                    # A read has done nothing, so it can be refused; a command that was applied cannot.
                    was_read = isinstance(call.request, Read)
                    answer = AnswerRefused(RefusedReason.TOO_LARGE) if was_read else AnswerUnknown()
            case Refused(reason, leader):
                address = None if leader is None else self._addresses.get(name_of(leader))
                answer = AnswerRefused(reason, leader, address)
            case Unknown():
                answer = AnswerUnknown()
            case _:
                assert_never(outcome)
        _answer(connection, call.id, answer)


def _answer(connection: Connection, id: int, outcome: AnswerDone | AnswerRefused | AnswerUnknown) -> None:  # noqa: A002  - the call's id
    _send(connection, Answer(id, outcome))


def _send(connection: Connection, frame: Frame) -> None:
    if connection.is_open and not connection.send(frame):
        # It does not read its answers. Closing tells it that their outcome is unknown to it; dropping one would not.
        connection.abort()
