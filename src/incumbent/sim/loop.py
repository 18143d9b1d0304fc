"""Virtual time for asyncio: the real event loop, whose clock jumps to the next timer when nothing is runnable.

So a test of leases that last seconds runs in milliseconds, and runs the same every time. What the code under test
calls a clock and an alarm comes from the same `Simulation`:

    def test_something() -> None:
        async def story(sim: Simulation) -> None:
            await asyncio.sleep(3600)                 # at once
            sim.stop_process(10)                      # time passes, and nothing in this process runs: SIGSTOP, suspend
            sim.block_loop(10)                        # time passes, the loop does not run, other threads do
        simulate(story, seed=7)

Threads and sockets have no place here: only time is simulated.
"""

from __future__ import annotations

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine, Generator, Hashable, Mapping
from random import Random
from typing import Any, Final, TypeVar
from weakref import WeakSet

T = TypeVar("T")
NS_PER_S: Final = 1_000_000_000
START_NS: Final = 1_000 * NS_PER_S
"""Not 0, so that code which takes 0 for "never" is found out."""
VIRTUAL_S_MAX: Final = 24 * 3600.0
"""A story that is not over after this much virtual time never will be."""


class Stuck(RuntimeError):
    """Nothing can run, and no timer will change that; or the story goes on for ever."""


class SimClock:
    """A clock that moves only when told to."""

    def __init__(self, now_ns: int = START_NS) -> None:
        self._now_ns = now_ns

    def now_ns(self) -> int:
        return self._now_ns

    def move_to(self, now_ns: int) -> None:
        self._now_ns = max(self._now_ns, now_ns)

    def advance(self, seconds: float) -> None:
        self._now_ns += math.ceil(seconds * NS_PER_S)


class DriftingClock:
    """Another host's clock: off by a constant, and `ppm` parts per million fast (slow when negative)."""

    def __init__(self, base: SimClock, *, ppm: int, offset_ns: int = 0) -> None:
        self._base = base
        self._ppm = ppm
        self._offset_ns = offset_ns

    def now_ns(self) -> int:
        return self._base.now_ns() * (1_000_000 + self._ppm) // 1_000_000 + self._offset_ns

    def base_ns(self, now_ns: int) -> int:
        """What the base clock reads when this one reads `now_ns`, rounded up."""
        return -(-(now_ns - self._offset_ns) * 1_000_000 // (1_000_000 + self._ppm))


class SimDeadlines:
    """The alarm on simulated time. `clock` may drift from the loop's.

    Where the real one has a thread of its own, this one rings from the loop, and from `Simulation.block_loop`.
    """

    def __init__(self, loop: VirtualLoop, base: SimClock, clock: DriftingClock | None = None) -> None:
        self._loop = loop
        self._base = base
        self._clock = clock
        self._timers: dict[Hashable, tuple[int, Callable[[], None], asyncio.TimerHandle]] = {}

    def set(self, key: Hashable, deadline_ns: int, callback: Callable[[], None]) -> None:
        self.clear(key)
        due_ns = deadline_ns if self._clock is None else self._clock.base_ns(deadline_ns)
        timer = self._loop.call_at(due_ns / NS_PER_S, self._ring, key)
        self._timers[key] = (due_ns, callback, timer)

    def clear(self, key: Hashable) -> None:
        if key in self._timers:
            self._timers.pop(key)[2].cancel()

    def close(self) -> None:
        for key in list(self._timers):
            self.clear(key)

    def ring_due(self) -> None:
        """What the alarm's thread does while the loop is blocked."""
        for key, (due_ns, _, _) in sorted(self._timers.items(), key=lambda item: item[1][0]):
            if key in self._timers and due_ns <= self._base.now_ns():  # an earlier one may have cleared it
                self._ring(key)

    def _ring(self, key: Hashable) -> None:
        due_ns, callback, timer = self._timers.pop(key)
        timer.cancel()
        self._base.move_to(due_ns)  # the loop's floating-point time may be a nanosecond early
        callback()


class PolledSelector(selectors.BaseSelector):
    """Looks and never waits. What to do where the loop would wait is for the subclass to say."""

    def __init__(self) -> None:
        self._real = selectors.DefaultSelector()

    def poll(self) -> list[tuple[selectors.SelectorKey, int]]:
        return self._real.select(0)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class _JumpingSelector(PolledSelector):
    """Never sleeps: where the loop would wait for a timer, the clock jumps to it."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__()
        self._clock = clock
        self._end_ns = clock.now_ns() + round(VIRTUAL_S_MAX * NS_PER_S)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = self.poll()
        if ready or (timeout is not None and timeout <= 0):
            return ready
        if timeout is None:
            raise Stuck("nothing can run, and no timer is set")
        if self._clock.now_ns() > self._end_ns:
            raise Stuck(f"the story is not over after {VIRTUAL_S_MAX} s of virtual time")
        self._clock.advance(timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on a `SimClock`."""

    def __init__(self, clock: SimClock) -> None:
        super().__init__(_JumpingSelector(clock))
        self._sim_clock = clock
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self.set_task_factory(self._make_task)

    def _make_task(
        self,
        _: asyncio.AbstractEventLoop,
        work: Coroutine[Any, Any, T] | Generator[Any, None, T],
        **options: Any,
    ) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=self, **options)
        self._tasks.add(task)
        return task

    def hush(self) -> None:
        """The story has failed: what else failed with it is not worth a report from the garbage collector."""
        for task in self._tasks:
            if task.done() and not task.cancelled():
                task.exception()

    def time(self) -> float:
        return self._sim_clock.now_ns() / NS_PER_S


class Simulation:
    """One story's clock, alarm and chance."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self.clock = SimClock()
        self.loop = VirtualLoop(self.clock)
        self.deadlines = SimDeadlines(self.loop, self.clock)
        self._alarms = [self.deadlines]

    def host(self, *, ppm: int, offset_ns: int = 0) -> tuple[DriftingClock, SimDeadlines]:
        """Another host: a clock that drifts, and its alarm."""
        clock = DriftingClock(self.clock, ppm=ppm, offset_ns=offset_ns)
        deadlines = SimDeadlines(self.loop, self.clock, clock)
        self._alarms.append(deadlines)
        return clock, deadlines

    def stop_process(self, seconds: float) -> None:
        """Time passes and nothing of this process runs. Call it from a task: on return it is the first thing to run."""
        self.clock.advance(seconds)

    def block_loop(self, seconds: float) -> None:
        """Time passes while the loop is blocked; the alarm's thread runs, each alarm at its time."""
        end_ns = self.clock.now_ns() + math.ceil(seconds * NS_PER_S)
        while True:
            due = [t[0] for alarm in self._alarms for t in alarm._timers.values() if t[0] <= end_ns]  # noqa: SLF001
            if not due:
                break
            self.clock.move_to(min(due))
            for alarm in self._alarms:
                alarm.ring_due()
        self.clock.move_to(end_ns)


def simulate(story: Callable[[Simulation], Coroutine[Any, Any, T]], *, seed: int = 0) -> T:
    """Run `story` to its end in virtual time and return its result. Errors carry the seed as a note."""
    sim = Simulation(seed)
    try:
        with asyncio.Runner(loop_factory=lambda: sim.loop) as runner:
            return runner.run(story(sim))
    except BaseException as error:
        error.add_note(f"simulated with seed={seed}")
        sim.loop.hush()
        raise
