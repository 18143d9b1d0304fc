"""What a mutant is, and what may kill it.

A mutant is one deliberate fault: a text that stands exactly once in one file, and what it is replaced with. A killer is a
command of the laboratory that has to go red on the mutated source: seeds first, then stories, then the explorer, and where
nothing of that reaches (a disk's bytes, a process of its own) tests by their names.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

PYTHON: Final = ("{python}",)  # replaced by the interpreter that runs this


@dataclass(frozen=True, slots=True)
class Seeds:
    """Random worlds of the fast gear, from seed 0 on: at most `budget` of them."""

    budget: int = 40
    nodes: int = 3

    def command(self) -> tuple[str, ...]:
        count = ("--seed", "0", "--seeds", str(self.budget), "--nodes", str(self.nodes))
        return (*PYTHON, "-m", "incumbent.sim", *count)

    def what(self, output: str) -> str:
        failed = re.search(r"seed (\d+)\D*FAILED", output)
        return f"seed {failed[1] if failed else '?'} of {self.nodes} nodes"

    def spent(self, output: str) -> int:
        """How many seeds were looked at, the last one included."""
        failed = re.search(r"seed (\d+)\D*FAILED", output)
        return int(failed[1]) + 1 if failed else self.budget


@dataclass(frozen=True, slots=True)
class Suite:
    """Suite by node id; one that fails is enough."""

    ids: tuple[str, ...]

    def command(self) -> tuple[str, ...]:
        return (*PYTHON, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *self.ids)

    def what(self, output: str) -> str:
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, flags=re.MULTILINE)
        return failed[1].rsplit("/", 1)[-1] if failed else "a test"

    def spent(self, output: str) -> int:
        return 0


Killer: TypeAlias = Seeds | Suite


def suite(*ids: str) -> Suite:
    return Suite(ids)


THREE: Final = Seeds(budget=40, nodes=3)
FIVE: Final = Seeds(budget=40, nodes=5)
WORLDS: Final = (THREE, FIVE)
"""What is tried where nothing else is said."""


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str  # what is wrong, in words
    file: str  # below src/incumbent
    text: str  # stands there exactly once
    instead: str
    killers: tuple[Killer, ...] = WORLDS  # tried in this order
    promises: tuple[str, ...] = ()  # which promises (docs/reference/promises.md) this fault breaks
