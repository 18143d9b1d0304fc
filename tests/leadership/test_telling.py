"""Listeners are told in a thread of their own: in order, each term whole, and one that hangs stops nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import incumbent
from incumbent.leadership import telling
from incumbent.leadership.events import EventKind, TermEvent
from incumbent.leadership.telling import EVENTS_MAX, Teller

TTL_S = 0.3
CHANGES = (EventKind.ELECTED, EventKind.EXTENDED, EventKind.JEOPARDY, EventKind.EXTENDED, EventKind.LOST)


def event(kind: EventKind, token: int = 1, *, deadline_ns: int = 0) -> TermEvent:
    return TermEvent(
        kind=kind,
        election="e",
        candidate="a",
        token=token,
        time_ns=0,
        pid=1,
        deadline_ns=deadline_ns,
    )


class Slow:
    """A listener that hears nothing until it is let."""

    def __init__(self) -> None:
        self.heard: list[TermEvent] = []
        self.go = threading.Event()
        self.called = threading.Event()

    def __call__(self, event: TermEvent) -> None:
        self.called.set()
        assert self.go.wait(10)
        self.heard.append(event)


async def told(teller: Teller, slow: Slow) -> list[TermEvent]:
    slow.go.set()
    await teller.close()
    return slow.heard


async def test_a_listener_hears_everything_in_order() -> None:
    """P24, P29: also what is told last, when closing."""
    teller, slow = Teller(), Slow()
    for token in range(50):
        for kind in CHANGES:
            teller.tell(slow, event(kind, token))
    heard = await told(teller, slow)
    assert [(e.token, e.kind) for e in heard] == [(token, kind) for token in range(50) for kind in CHANGES]


async def test_renewals_that_were_not_told_yet_are_merged_into_the_last() -> None:
    """P26."""
    teller, slow = Teller(), Slow()
    teller.tell(slow, event(EventKind.ELECTED))
    for deadline_ns in range(10 * EVENTS_MAX):
        teller.tell(slow, event(EventKind.EXTENDED, deadline_ns=deadline_ns))
    teller.tell(slow, event(EventKind.LOST))
    heard = await told(teller, slow)
    assert len(heard) <= 4
    assert heard[-2].deadline_ns == 10 * EVENTS_MAX - 1


async def test_one_that_is_too_slow_is_told_whole_terms_and_the_latest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """P24, P26: what is forgotten are the oldest terms of which it heard nothing; the bound holds; the last token arrives."""
    teller, slow = Teller(), Slow()
    terms = EVENTS_MAX
    teller.tell(slow, event(EventKind.ELECTED, 0))
    assert slow.called.wait(10)
    teller.tell(slow, event(EventKind.LOST, 0))
    for token in range(1, terms):
        for kind in CHANGES:
            teller.tell(slow, event(kind, token))
    heard = await told(teller, slow)
    assert len(heard) <= EVENTS_MAX + 1
    assert heard[0].token == 0
    assert heard[-1] == event(EventKind.LOST, terms - 1)
    tokens = sorted({e.token for e in heard})
    assert len(tokens) > EVENTS_MAX / len(CHANGES) - 2
    for token in tokens:
        kinds = [e.kind for e in heard if e.token == token]
        assert (kinds.count(EventKind.ELECTED), kinds.count(EventKind.LOST)) == (1, 1)
        assert (kinds[0], kinds[-1]) == (EventKind.ELECTED, EventKind.LOST)
    assert "changes behind" in caplog.text


async def test_a_term_that_goes_on_for_ever_is_not_forgotten() -> None:
    """P24: it flaps between JEOPARDY and renewals; its beginning and its end are told."""
    teller, slow = Teller(), Slow()
    teller.tell(slow, event(EventKind.ELECTED))
    for _ in range(2 * EVENTS_MAX):
        teller.tell(slow, event(EventKind.JEOPARDY))
        teller.tell(slow, event(EventKind.EXTENDED))
    teller.tell(slow, event(EventKind.LOST))
    heard = await told(teller, slow)
    assert len(heard) <= EVENTS_MAX + 1
    assert (heard[0].kind, heard[-1].kind) == (EventKind.ELECTED, EventKind.LOST)


async def test_one_that_fails_is_told_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    heard: list[EventKind] = []

    def broken(event: TermEvent) -> None:
        heard.append(event.kind)
        raise ValueError(event.kind)

    teller = Teller()
    for kind in CHANGES:
        teller.tell(broken, event(kind))
    await teller.close()
    assert heard[0] is EventKind.ELECTED
    assert heard[-1] is EventKind.LOST
    assert "a listener of an election failed" in caplog.text


async def test_an_unhashable_listener_will_do() -> None:
    class Unhashable(list[TermEvent]):
        def __call__(self, event: TermEvent) -> None:
            self.append(event)

    listener, teller = Unhashable(), Teller()
    teller.tell(listener, event(EventKind.ELECTED))
    teller.tell(listener, event(EventKind.LOST))
    await teller.close()
    assert len(listener) == 2


async def test_listeners_that_come_and_go_leave_nothing_behind() -> None:
    """One for each term, as a lambda would be: neither threads nor memory grow with them."""
    teller = Teller()
    heard: list[TermEvent] = []
    for token in range(5 * telling.IDLE_MAX):

        def listen(event: TermEvent, token: int = token) -> None:
            assert event.token == token
            heard.append(event)

        teller.tell(listen, event(EventKind.ELECTED, token))
        while len(heard) <= token:
            await asyncio.sleep(0)
    assert len(teller._mailboxes) <= telling.IDLE_MAX + 1
    await teller.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "incumbent-teller"]


@pytest.mark.slow
async def test_a_listener_that_hangs_stops_neither_renewals_nor_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """P21, P29: the term is renewed and released as ever, others are told, and closing waits for it only so long."""
    monkeypatch.setattr(telling, "DRAIN_S_MAX", 0.1)
    hanging, heard = threading.Event(), list[EventKind]()

    def hang(_: TermEvent) -> None:
        hanging.set()
        threading.Event().wait(3)  # for ever, as far as this story goes

    def listen(event: TermEvent) -> None:
        heard.append(event.kind)

    async with asyncio.timeout(10), incumbent.connect(f"local://{tmp_path}/x", ttl=TTL_S) as cluster:
        for listener in (hang, listen):
            async with cluster.election("e", listener=listener).campaign() as term:
                await asyncio.sleep(3 * TTL_S)
                assert term.is_valid
        assert hanging.is_set()
    assert (heard[0], heard[-1]) == (EventKind.ELECTED, EventKind.RELEASED)
    assert heard.count(EventKind.EXTENDED) >= 3
    assert "a listener hangs" in caplog.text
