"""One seed, one clock, one queue: everything that happens in a simulated world happens here, one event after another."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from random import Random
from typing import Any, Final

START_NS: Final = 1_000_000_000_000
"""Not 0, so that code which takes 0 for "never" is found out."""


class Kernel:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now_ns = START_NS
        self.steps = 0
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._scheduled = 0

    def after(self, delay_ns: int, call: Callable[..., None], *args: Any) -> None:
        """Call later. What falls on the same moment happens in the order in which it was scheduled."""
        self._scheduled += 1
        heapq.heappush(self._queue, (self.now_ns + max(0, delay_ns), self._scheduled, call, args))

    def run_one(self) -> None:
        """Move the clock to the next event and let it happen."""
        self.now_ns, _, call, args = heapq.heappop(self._queue)
        self.steps += 1
        call(*args)
