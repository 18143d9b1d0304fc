"""Connections of one session: what they must not mix up."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from incumbent.engines.zookeeper import visit, wire
from incumbent.engines.zookeeper.attendant import Attendant
from incumbent.engines.zookeeper.reference import Reference
from incumbent.errors import ProtocolViolation

REFERENCE = Reference(
    "/incumbent", "/incumbent/s", 7, b"secret", 5.0, 0.0, 5000, (("127.0.0.1", 1), ("127.0.0.1", 2))
)


class Line:
    """Stands for a Visit, and answers everything."""

    over = False

    def __init__(self, xids: Iterator[int], used: list[int]) -> None:
        self.xids = xids
        self._used = used

    async def ask(self, *requests: wire.Request) -> list[wire.Answer]:
        self._used += [next(self.xids) for _ in requests]
        return [wire.Answer(1, wire.OK) for _ in requests]

    def close(self) -> None:
        pass


async def test_no_two_requests_of_a_session_have_the_same_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """P3: a server takes a request for done when one of its session and its number is committed, also one that was asked for over
    an earlier connection to another server."""
    used: list[int] = []

    async def pay(*arguments: Any) -> Line:
        return Line(arguments[5], used)

    monkeypatch.setattr(visit, "pay", pay)
    attendant = Attendant(REFERENCE.place, REFERENCE)
    attendant.keep(Line(iter(range(40, 50)), used))  # type: ignore[arg-type]
    await attendant.do(wire.exists("/a"), wire.exists("/b"))
    for _ in range(3):
        await attendant.do(wire.exists("/a"), anew=True)
    assert used == [40, 41, 42, 43, 44]
    await attendant.close()


def test_two_who_hold_a_session_begin_at_different_numbers() -> None:
    first, second = visit.fresh_xids(), visit.fresh_xids()
    numbers = {next(first), next(second)}
    assert len(numbers) == 2  # of half a billion
    assert all(0 < number <= wire.XID_FIRST_MAX < wire.XID_OF_CLOSE for number in numbers)


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (struct.pack(">i?i", wire.CHECK, False, 0), wire.OK),
        (struct.pack(">i?ii", -1, False, wire.NO_NODE, wire.NO_NODE), wire.NO_NODE),
        (struct.pack(">i?ii", -1, False, wire.SESSION_MOVED, wire.SESSION_MOVED), wire.SESSION_MOVED),
    ],
)
def test_what_a_transaction_says_is_read(said: bytes, error: int) -> None:
    """P1: the leader's word on whether a member is there counts, and not only what this server shows."""
    frame = struct.pack(">iqi", 5, 9, wire.OK) + said + struct.pack(">i?i", -1, True, -1)
    assert wire.answer(frame, wire.MULTI) == (5, wire.Answer(9, error))


def test_a_transaction_that_says_nothing_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        wire.answer(struct.pack(">iqi", 5, 9, wire.OK), wire.MULTI)
