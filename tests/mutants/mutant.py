"""What a mutant is, and what may kill it.

A mutant is one deliberate fault: a text that stands exactly once in one file, and what it is replaced with. A killer is a
part of the laboratory that has to go red on the mutated source: seeds first, then stories, then the explorer, and where
nothing of that reaches (a disk's bytes, a process of its own, one rule of one page) tests by their names.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, TypeAlias

Command: TypeAlias = tuple[str, ...]
"""After ``python -m``. Exit code 0: all is well; 1: something was found; anything else: it could not run."""


class Finding(NamedTuple):
    """What a red command says."""

    what: str
    seeds: int = 0  # looked at, the red one included


@dataclass(frozen=True, slots=True)
class Seeds:
    """Random worlds, from seed 0 on: at most `budget` of them."""

    reads: ClassVar = "src"  # what it rests on, beside the source

    budget: int = 100
    nodes: int = 3
    gear: str = "fast"

    @property
    def command(self) -> Command:
        numbers = (
            "--seed",
            "0",
            "--seeds",
            str(self.budget),
            "--nodes",
            str(self.nodes),
            "--gear",
            self.gear,
        )
        return ("incumbent.sim", *numbers, "--fail-fast", "--no-shrink", "--json")

    def finding(self, output: str) -> Finding:
        """The first violation. Not every one is a predicate's: the mutant may simply have raised."""
        first = json.loads(output)["violation_list"][0]
        seed = int(re.findall(r"--seed (\d+)", first["replay"])[0])
        what = first["what"].splitlines()[0].partition(" [")[0]  # without the facts
        gear = "" if self.gear == "fast" else f", {self.gear}"
        return Finding(f"seed {seed} of {self.nodes} nodes{gear}: {what}", seed + 1)


@dataclass(frozen=True, slots=True)
class Explorer:
    """Every world of three voters, breadth first, up to so many."""

    reads: ClassVar = "src"

    states: int = 20_000

    @property
    def command(self) -> Command:
        return ("incumbent.sim.explore", "--states", str(self.states))

    def finding(self, output: str) -> Finding:
        *way, violation = output.strip().splitlines()
        return Finding(f"explorer, {len(way) - 1} steps: {violation.partition(' [')[0]}")


@dataclass(frozen=True, slots=True)
class Stories:
    """Every story of tests/stories; one that is told otherwise is enough."""

    reads: ClassVar = "tests/stories"

    @property
    def command(self) -> Command:
        return ("incumbent.sim.stories",)

    def finding(self, output: str) -> Finding:
        told = re.search(r"^(?:--- )?tests/stories/([\w-]+)\.story", output, flags=re.MULTILINE)
        return Finding(f"story {told[1]}" if told else "a story")


@dataclass(frozen=True, slots=True)
class Suite:
    """Tests by node id; one that fails is enough."""

    reads: ClassVar = "tests"

    ids: tuple[str, ...]

    @property
    def command(self) -> Command:
        return ("pytest", "-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", *self.ids)

    def finding(self, output: str) -> Finding:
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, flags=re.MULTILINE)
        return Finding(failed[1].rsplit("/", 1)[-1] if failed else "a test")


Killer: TypeAlias = Seeds | Stories | Explorer | Suite


def suite(*ids: str) -> Suite:
    return Suite(ids)


THREE: Final = Seeds(nodes=3)
FIVE: Final = Seeds(nodes=5)
WHOLE: Final = Seeds(budget=40, nodes=3, gear="whole")
STORIES: Final = Stories()
EXPLORER: Final = Explorer()
WORLDS: Final = (THREE, FIVE)
LABORATORY: Final = (*WORLDS, STORIES)
"""What is tried where nothing else is said."""
TOLD: Final = (STORIES,)
"""For what so many random worlds do not find."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str  # what is wrong, in words
    file: str  # below src/incumbent
    text: str  # stands there exactly once
    instead: str
    killers: tuple[Killer, ...] = LABORATORY  # tried in this order
    promises: tuple[str, ...] = ()  # which promises (docs/reference/promises.md) this fault breaks
