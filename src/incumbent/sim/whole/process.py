"""A simulated process: an asyncio event loop of its own, on the clock of its host.

The loop runs only when the kernel lets it, until nothing in it can run; then it says when it wants to run again. So a pause is
a loop that is not let run, a crash one that never is again, and two processes never run at one time: the order of everything
is the kernel's.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Hashable, Mapping
from typing import Any, Final

from incumbent.sim.kernel import Kernel
from incumbent.sim.loop import PolledSelector

NS: Final = 1_000_000_000
DRAIN_ROUNDS_MAX: Final = 200
"""How often a crashed process is told to end its tasks."""


class _Idle(PolledSelector):
    """Where the loop would wait, it is stopped."""

    def __init__(self) -> None:
        super().__init__()
        self.on_idle: Callable[[float | None], None] = lambda _: None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self.poll()
        if not ready and (timeout is None or timeout > 0):
            self.on_idle(timeout)
        return ready


class ProcessLoop(asyncio.SelectorEventLoop):
    def __init__(self, now_ns: Callable[[], int]) -> None:
        self._idle = _Idle()
        super().__init__(self._idle)
        self._now_ns = now_ns
        self._idle.on_idle = self._on_idle
        self.wake_in_s: float | None = None  # after a run: when it wants to run again
        self.set_exception_handler(self._on_error)
        self.errors: list[Mapping[str, Any]] = []  # that nobody caught

    def time(self) -> float:
        return self._now_ns() / NS

    def run_until_idle(self) -> None:
        self.run_forever()

    def _on_idle(self, timeout: float | None) -> None:
        self.wake_in_s = timeout
        self.stop()

    def _on_error(self, _: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        self.errors.append(context)


class Process:
    """One life of a process. `now_ns` is its host's clock; the kernel's time advances `rate` times as fast."""

    def __init__(
        self, kernel: Kernel, now_ns: Callable[[], int], real_delay_ns: Callable[[int], int]
    ) -> None:
        self.loop = ProcessLoop(now_ns)
        self.alive = True
        self.paused = False
        self._kernel = kernel
        self._now_ns = now_ns
        self._real_delay_ns = real_delay_ns
        self._wake_ns: int | None = None  # in the kernel's time: the earliest run that is scheduled
        self._backlog: list[Callable[[], None]] = []
        self._tasks: list[asyncio.Task[Any]] = []

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = self.loop.create_task(work)
        self._tasks.append(task)
        return task

    def call(self, what: Callable[[], None]) -> None:
        """Something happens to the process: now, when it runs again, or never when it is gone."""
        if not self.alive:
            return
        if self.paused:
            self._backlog.append(what)
            return
        self.loop.call_soon(what)
        if not self.loop.is_running():
            self.run()

    def run(self) -> None:
        """Let it run until nothing in it can."""
        if not self.alive or self.paused:
            return
        self.loop.run_until_idle()
        self._raise_what_broke()
        if self.loop.wake_in_s is not None:
            self._wake_at(self.loop.wake_in_s)

    def _raise_what_broke(self) -> None:
        """What ended a task of the process, or escaped from a callback, is a finding."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                error = task.exception()
                if error is not None:
                    raise error
        if self.loop.errors:
            context = self.loop.errors[0]
            error = context.get("exception")
            raise error if error is not None else RuntimeError(str(context))

    def _wake_at(self, after_s: float) -> None:
        delay_ns = max(1, self._real_delay_ns(math.ceil(after_s * NS) + 1))
        at_ns = self._kernel.now_ns + delay_ns
        if self._wake_ns is None or at_ns < self._wake_ns:
            self._wake_ns = at_ns
            self._kernel.after(delay_ns, self._on_wake, at_ns)

    def _on_wake(self, at_ns: int) -> None:
        if at_ns != self._wake_ns:
            return  # an earlier one took its place
        self._wake_ns = None
        if self.paused:
            self._backlog.append(lambda: None)
        else:
            self.run()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for what in backlog:
            self.loop.call_soon(what)
        self._kernel.after(0, self.run)

    def kill(self) -> None:
        """It is gone at once: nothing that it does from here on has an effect outside. Its tasks are ended only so that
        they leave nothing behind in this interpreter."""
        if not self.alive:
            return
        self.alive = False
        for _ in range(DRAIN_ROUNDS_MAX):
            tasks = asyncio.all_tasks(self.loop)
            if not tasks:
                break
            for task in tasks:
                task.cancel()
            self.loop.run_until_idle()
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()
        self.loop.close()


class ProcessDeadlines:
    """leadership.world.Deadlines of one process: an alarm on the host's clock, whatever the loop is doing."""

    def __init__(
        self, process: Process, kernel: Kernel, now_ns: Callable[[], int], real_delay_ns: Callable[[int], int]
    ) -> None:
        self._process = process
        self._kernel = kernel
        self._now_ns = now_ns
        self._real_delay_ns = real_delay_ns
        self._set: dict[Hashable, int] = {}  # key to the number of its newest alarm
        self._count = 0

    def set(self, key: Hashable, deadline_ns: int, callback: Callable[[], None]) -> None:
        self._count += 1
        self._set[key] = self._count
        self._arm(key, self._count, deadline_ns, callback)

    def _arm(self, key: Hashable, number: int, deadline_ns: int, callback: Callable[[], None]) -> None:
        delay_ns = self._real_delay_ns(max(0, deadline_ns - self._now_ns()))
        self._kernel.after(delay_ns, self._ring, key, number, deadline_ns, callback)

    def _ring(self, key: Hashable, number: int, deadline_ns: int, callback: Callable[[], None]) -> None:
        if self._set.get(key) != number or not self._process.alive:
            return
        if self._process.paused:  # its threads stand still as well
            self._process.call(lambda: self._ring(key, number, deadline_ns, callback))
        elif self._now_ns() < deadline_ns:
            self._arm(key, number, deadline_ns, callback)
        else:
            del self._set[key]
            self._process.call(callback)

    def clear(self, key: Hashable) -> None:
        self._set.pop(key, None)

    def close(self) -> None:
        self._set.clear()
