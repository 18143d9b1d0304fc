"""What leadership needs from the world around it: a clock, an alarm, chance, and tasks that somebody owns."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Coroutine, Hashable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Protocol, TypeVar

from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded
from incumbent.leadership.events import Listener, TermEvent
from incumbent.ports import Clock

T = TypeVar("T")
log = logging.getLogger("incumbent.leadership")

TRANSIENT: Final = (EngineUnavailable, Overloaded, OutcomeUnknown, TimeoutError)
"""Errors after which the same call with the same arguments is made again."""
BACKOFF_MIN_S: Final = 0.05
BACKOFF_MAX_S: Final = 2.0
CALL_S_MAX: Final = 10.0
"""How long one engine call may take before it is given up, its outcome unknown, and made again."""


LOG_S_MAX: Final = 0.05
"""How long the alarm's thread waits for a line to be logged."""


class Deadlines(Protocol):
    """An alarm that rings when this host's suspend-aware clock says so, whatever the event loop is doing."""

    def set(self, key: Hashable, deadline_ns: int, callback: Callable[[], None]) -> None:
        """Call `callback` once at the deadline, on a thread of the alarm's own. Replaces the one set under `key`."""
        ...

    def clear(self, key: Hashable) -> None: ...

    def close(self) -> None: ...


def log_aside(level: int, text: str, *values: object) -> None:
    """Log from the alarm's thread, which must not wait: whoever holds the log's lock may be the very body that is stuck, in
    a write to a pipe that nobody reads. Waits for LOG_S_MAX at most."""
    telling = threading.Thread(target=log.log, args=(level, text, *values), name="incumbent-log", daemon=True)
    telling.start()
    telling.join(LOG_S_MAX)


def tell_here(listener: Listener, event: TermEvent) -> None:
    """Call the listener on the loop, here and now: in simulations, where there are no threads."""
    try:
        listener(event)
    except Exception as error:
        # A listener's bug must not end a leadership; asyncio's own place for such errors shows it.
        asyncio.get_running_loop().call_exception_handler(
            {"message": "a listener of an election failed", "exception": error}
        )


@dataclass(frozen=True, slots=True)
class World:
    clock: Clock
    deadlines: Deadlines
    rng: Random
    tell: Callable[[Listener, TermEvent], None] = tell_here
    wall_ms: Callable[[], int] = lambda: 0
    """Milliseconds since 1970, for what people read; 0 = not known. Nothing is decided by it."""


class Backoff:
    """Pauses that double up to a bound, each drawn at random from its upper half."""

    def __init__(self, rng: Random, *, min_s: float = BACKOFF_MIN_S, max_s: float = BACKOFF_MAX_S) -> None:
        self._rng = rng
        self._min_s = min_s
        self._max_s = max_s
        self._pause_s = min_s

    async def pause(self) -> None:
        pause_s = self._pause_s
        self._pause_s = min(2 * pause_s, self._max_s)
        await asyncio.sleep(self._rng.uniform(pause_s / 2, pause_s))

    def reset(self) -> None:
        self._pause_s = self._min_s


async def until_answered(act: Callable[[], Awaitable[T]], rng: Random) -> T:
    """Make an engine call until it is done, or refused for good. Requests carry ids, so asking again is harmless.

    Raises whatever is not TRANSIENT.
    """
    backoff = Backoff(rng)
    while True:
        try:
            async with asyncio.timeout(CALL_S_MAX):
                return await act()
        except TRANSIENT as error:
            log.info("asking the engine again: %r", error)
        await backoff.pause()


class Tasks:
    """The background tasks of one cluster object: strong references, and an end.

    Not a TaskGroup: the failure of one must not cancel the others, and least of all the caller's own task.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    def _on_done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        # Whoever awaits the task gets its error. Where nobody does any more, asyncio would report it as never retrieved.
        if not task.cancelled() and task.exception() is not None:
            log.debug("%s ended with %r", task.get_name(), task.exception())

    async def close(self) -> None:
        """Cancel what still runs, and wait for it."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(tuple(self._tasks))
