"""One seed, one clock, one queue: everything that happens in a simulated world happens here, one event after another.

Chance comes in streams, one for each concern, so that leaving out one fault does not change which others happen: a failing
seed can be made smaller.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, Final

from incumbent.errors import invariant

START_NS: Final = 1_000_000_000_000
"""Not 0, so that code which takes 0 for "never" is found out."""
_MASK: Final = (1 << 64) - 1
_PRIME: Final = 0x100000001B3


class Kernel:
    def __init__(self, seed: int, events_max: int) -> None:
        self.seed = seed
        self.now_ns = START_NS
        self.events = 0
        self.events_max = events_max  # a world that is not done by then never will be
        self.digest = 0xCBF29CE484222325
        """Of everything that was mixed in: the same seed gives the same one, in every process."""
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0

    def stream(self, concern: str) -> Random:
        """Chance for one concern."""
        return Random(f"{self.seed}/{concern}")

    def after(self, delay_ns: int, call: Callable[..., None], *args: Any) -> None:
        """Call later. What falls on the same moment happens in the order in which it was scheduled."""
        self._scheduled += 1
        heapq.heappush(
            self._queue,
            (self.now_ns + delay_ns if delay_ns > 0 else self.now_ns, self._scheduled, call, args),
        )

    def run_one(self) -> None:
        """Move the clock to the next event and let it happen. Where time stands still the budget ends it."""
        self.now_ns, _, call, args = heapq.heappop(self._queue)
        self.events += 1
        call(*args)
        if self.events > self.events_max:
            self._check_budget()

    def run_events(self, count: int) -> None:
        """Let so many events happen."""
        queue, pop = self._queue, heapq.heappop
        for _ in range(count):
            self.now_ns, _, call, args = pop(queue)
            call(*args)
        self.events += count
        self._check_budget()

    def run_until(self, time_ns: int) -> None:
        """Let everything happen that is due before `time_ns`."""
        while self._queue and self._queue[0][0] < time_ns:
            self.run_one()
        self.now_ns = max(self.now_ns, time_ns)

    def _check_budget(self) -> None:
        invariant(
            self.events <= self.events_max, "liveness: the budget of events is spent", events=self.events
        )

    def mix(self, *values: int) -> None:
        """Take what happened into the digest."""
        digest = self.digest
        for value in values:
            digest = (digest ^ value) * _PRIME & _MASK
        self.digest = digest
