"""A failing course made smaller: fewer faults, fewer events, the same failure. Greedy, so the shortest that was found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from incumbent.sim.course import Course, without
from incumbent.sim.run import build, failure_of

RUNS_MAX: Final = 300
"""Courses that are tried before the smallest so far is good enough."""


def shrink(
    course: Course, fails: Callable[[Course], object] = failure_of, runs_max: int = RUNS_MAX
) -> Course:
    """The smallest course found that still fails, perhaps in another way. `course` fails."""
    runs = 0

    def still(smaller: Course) -> bool:
        nonlocal runs
        runs += 1
        return runs <= runs_max and fails(smaller) is not None

    course = _shorter(course, still)
    strikes = _strikes(course)
    # First halves, then quarters, and so on: most faults have nothing to do with it.
    size = max(1, strikes // 2)
    while size:
        for first in range(1, strikes + 1, size):
            part = set(range(first, min(first + size, strikes + 1)))
            smaller = without(course, part | set(course.skipped), course.events)
            if not part <= set(course.skipped) and still(smaller):
                course = smaller
        size //= 2
    return _shorter(course, still)


def _shorter(course: Course, still: Callable[[Course], bool]) -> Course:
    low, high = 0, course.events
    while high - low > max(1, high // 100):
        middle = (low + high) // 2
        if still(without(course, course.skipped, middle)):
            high = middle
        else:
            low = middle
    return without(course, course.skipped, high)


def _strikes(course: Course) -> int:
    """How many faults strike in its events of chaos."""
    world, chaos = build(course)
    with suppress(Exception):  # it fails: that is why it is here
        world.kernel.run_events(course.events)
    return chaos.strikes
