"""What one run is, in a few words: the seed, the size, what goes wrong."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from incumbent.sim.network import Topology

NODES_DEFAULT: Final = 5
EVENTS_DEFAULT: Final = 5_000


class Gear(StrEnum):
    FAST = "fast"  # pure nodes
    WHOLE = "whole"  # real drivers, engines and leadership code


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What one run is: the same course always takes the same way."""

    seed: int
    nodes: int = NODES_DEFAULT
    events: int = EVENTS_DEFAULT
    plan: str = "all"
    topology: Topology = Topology.LAN
    skipped: tuple[int, ...] = ()  # faults that are left out
    gear: Gear = Gear.FAST

    def command(self) -> str:
        """What replays it."""
        parts = [f"python -m incumbent.sim --seed {self.seed} --nodes {self.nodes} --events {self.events}"]
        if self.gear is not Gear.FAST:
            parts.append(f"--gear {self.gear}")
        if self.plan != "all":
            parts.append(f"--faults {self.plan}")
        if self.topology is not Topology.LAN:
            parts.append(f"--topology {self.topology}")
        if self.skipped:
            parts.append(f"--skip {','.join(map(str, self.skipped))}")
        return " ".join(parts)


def without(course: Course, skipped: Collection[int], events: int) -> Course:
    """The same course with more left out, or shorter."""
    return replace(course, events=events, skipped=tuple(sorted(skipped)))
