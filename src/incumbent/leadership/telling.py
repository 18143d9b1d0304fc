"""Listeners are told by a thread of their own, so that one which hangs stops nothing but itself (P21).

Per listener: in order, one event at a time. What it is too slow for is merged or forgotten, never so that it hears of an end
without the beginning, or of a beginning and then of another term.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Hashable
from contextlib import suppress
from typing import Final

from incumbent.leadership.events import EventKind, Listener, TermEvent
from incumbent.leadership.world import log

EVENTS_MAX: Final = 1024
"""Events that may wait for one listener."""
IDLE_MAX: Final = 64
"""Listeners that are remembered although there is nothing to tell them."""
DRAIN_S_MAX: Final = 2.0
"""How long closing waits for listeners to have heard everything."""
ENDS: Final = (EventKind.LOST, EventKind.RELEASED)


class Teller:
    """Tells the listeners of one cluster object. You owe a `close`, on the loop."""

    def __init__(self) -> None:
        self._mailboxes: dict[Hashable, Mailbox] = {}

    def tell(self, listener: Listener, event: TermEvent) -> None:
        """Have `listener` called with `event`, soon. Never waits. From one thread."""
        try:
            hash(listener)
            key: Hashable = listener
        except TypeError:
            key = id(listener)
        mailbox = self._mailboxes.get(key)
        if mailbox is None:
            if len(self._mailboxes) >= IDLE_MAX:
                self._mailboxes = {k: m for k, m in self._mailboxes.items() if not m.idle}
            mailbox = self._mailboxes[key] = Mailbox(listener)
        mailbox.put(event)

    async def close(self) -> None:
        """Wait until everything is told, DRAIN_S_MAX at most."""
        loop = asyncio.get_running_loop()
        told: list[asyncio.Future[None]] = []
        for mailbox in self._mailboxes.values():
            told.append(loop.create_future())
            mailbox.close(loop, told[-1])
        if told and (await asyncio.wait(told, timeout=DRAIN_S_MAX))[1]:
            log.error("a listener hangs; it is not told the rest")


class Mailbox:
    """What waits for one listener, and the daemon thread that calls it, which lives while there is something to tell."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._waiting: deque[TermEvent] = deque()
        self._lock = threading.Lock()
        self._telling = False
        self._closing: tuple[asyncio.AbstractEventLoop, asyncio.Future[None]] | None = None

    @property
    def idle(self) -> bool:
        """Everything is told."""
        with self._lock:
            return not self._telling

    def put(self, event: TermEvent) -> None:
        with self._lock:
            last = self._waiting[-1] if self._waiting else None
            if (
                event.kind is EventKind.EXTENDED
                and last is not None
                and (last.kind, _term(last)) == (event.kind, _term(event))
            ):
                self._waiting[-1] = event  # the later deadline is all that counts
            else:
                self._waiting.append(event)
                if len(self._waiting) > EVENTS_MAX:
                    self._forget()
            if not self._telling:
                self._telling = True
                threading.Thread(target=self._tell, name="incumbent-teller", daemon=True).start()

    def close(self, loop: asyncio.AbstractEventLoop, told: asyncio.Future[None]) -> None:
        """Settle `told`, on the loop, when everything is told."""
        with self._lock:
            if self._telling:
                self._closing = loop, told
            else:
                told.set_result(None)

    def _forget(self) -> None:
        """The oldest term that is over and of which nothing was told yet; where there is none, the oldest change of the term
        that goes on."""
        ended = {_term(event) for event in self._waiting if event.kind in ENDS}
        term = next(
            (_term(e) for e in self._waiting if e.kind is EventKind.ELECTED and _term(e) in ended), None
        )
        log.error("a listener is %d changes behind; some are not told it", EVENTS_MAX)
        if term is not None:
            self._waiting = deque(event for event in self._waiting if _term(event) != term)
            return
        changes = (EventKind.EXTENDED, EventKind.JEOPARDY)
        self._waiting.remove(next(event for event in self._waiting if event.kind in changes))

    def _tell(self) -> None:
        while (event := self._next()) is not None:
            try:
                self._listener(event)
            except BaseException:  # SystemExit too: the rest is to be told
                log.exception("a listener of an election failed; that ends nothing")

    def _next(self) -> TermEvent | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            self._telling = False
            if self._closing is not None:
                loop, told = self._closing
                with suppress(RuntimeError):  # nobody waits any more, and the loop is closed
                    loop.call_soon_threadsafe(_set, told)
            return None


def _term(event: TermEvent) -> tuple[str, str, int]:
    return event.election, event.candidate, event.token


def _set(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)
