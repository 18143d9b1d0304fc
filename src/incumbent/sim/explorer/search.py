"""Breadth first through all worlds, until every one was seen, enough were, or a predicate breaks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from incumbent.errors import InvalidInput, InvariantViolated
from incumbent.sim.explorer.world import Budget, World, Worlds


@dataclass(slots=True)
class Found:
    states: int = 1
    transitions: int = 0
    depth: int = 0
    frontier: int = 1  # the most worlds at one depth
    voters: int = 0  # different voters, whatever world they are in
    ended: bool = False  # every world was seen
    violation: str | None = None
    way: list[int] = field(default_factory=list)  # to the violation, the shortest there is; see `follow`
    seconds: float = 0.0


def explore(budget: Budget, states_max: int, tell: Callable[[Found], None] = lambda _: None) -> Found:
    """`tell` is called after every depth."""
    search = _Search(budget, states_max)
    search.run(tell)
    return search.found


class _Search:
    def __init__(self, budget: Budget, states_max: int) -> None:
        self.found = Found()
        self._worlds = Worlds(budget)
        self._states_max = states_max
        self._before: dict[bytes, bytes | None] = {}  # from a world's key to that of the world before it

    def run(self, tell: Callable[[Found], None]) -> None:
        began = time.monotonic()
        found, first = self.found, self._worlds.first
        key = self._worlds.key(first)
        self._before[key] = None
        layer = [(key, first)]
        while layer and found.violation is None and found.states < self._states_max:
            layer = self._next_layer(layer)
            found.depth += bool(layer)
            found.states = len(self._before)
            found.frontier = max(found.frontier, len(layer))
            found.voters = len(self._worlds.voters.frozen)
            found.seconds = time.monotonic() - began
            tell(found)
        found.ended = not layer and found.violation is None

    def _next_layer(self, layer: list[tuple[bytes, World]]) -> list[tuple[bytes, World]]:
        found, before, worlds = self.found, self._before, self._worlds
        following: list[tuple[bytes, World]] = []
        for key, world in layer:
            try:
                for _, after in worlds.successors(world):
                    found.transitions += 1
                    key_after = worlds.key(after)
                    if key_after in before:
                        continue
                    before[key_after] = key
                    following.append((key_after, after))
                    worlds.check(after)
                    if len(before) >= self._states_max:
                        return following
            except Exception as error:  # whatever the core raises is a finding
                found.way, found.violation = self._way(key), _told(error)
                return []
        return following

    def _way(self, key: bytes) -> list[int]:
        """Worlds with other names were merged on the way; so it is walked once more with the names as they are."""
        worlds, world = self._worlds, self._worlds.first
        keys: list[bytes] = []
        at: bytes | None = key
        while at is not None:
            keys.append(at)
            at = self._before[at]
        way: list[int] = []
        for wanted in reversed(keys[:-1]):
            steps = enumerate(worlds.successors(world))
            choice, world = next((n, after) for n, (_, after) in steps if worlds.key(after) == wanted)
            way.append(choice)
        return [*way, _first_that_breaks(worlds, world)]


def _first_that_breaks(worlds: Worlds, world: World) -> int:
    count = 0
    try:
        for _, after in worlds.successors(world):
            worlds.check(after)
            count += 1
    except Exception:  # the same as was found before
        return count
    raise AssertionError("names make a difference")


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, InvariantViolated) else f"{type(error).__name__}: {error}"


def follow(budget: Budget, way: Sequence[int]) -> Iterator[str]:
    """Take one way, a step at a time, and tell what is done and what the voter is then. Ends with what breaks, if
    something does. Each step is given by its number among those that are possible."""
    worlds = Worlds(budget)
    world = worlds.first
    for number, choice in enumerate(way, start=1):
        try:
            step = next(islice(worlds.successors(world), choice, None), None)
        except Exception as error:
            yield f"{number:3} {worlds.told(worlds.tried)}"
            yield _told(error)
            return
        if step is None:
            raise InvalidInput("way", f"step {number} is not possible", "explore anew")
        action, world = step
        yield f"{number:3} {worlds.told(action)}: {worlds.told_voter(world[action.place])}"
        try:
            worlds.check(world)
        except InvariantViolated as violation:
            yield _told(violation)
            return
