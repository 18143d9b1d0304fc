"""Faults of requests that are repeated, and of what guards the resource."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

MACHINE: Final = "kv/machine.py"
STORIES: Final = (suite("tests/kv", "tests/node"),)

REQUESTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a retried command is applied twice",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if False:",
        STORIES,
        promises=("P3",),
    ),
    Mutant(
        "a retried command is applied twice once its answer was thrown away",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if known is not None:",
        STORIES,
        promises=("P3",),
    ),
    Mutant(
        "the fence lets everybody through",
        "fencing/sqlite.py",
        "if token >= highest:",
        "if token >= 0:",
        (suite("tests/fencing/test_sqlite.py"),),
        promises=("P33", "P34"),
    ),
    Mutant(
        "a claim does not look at who came before",
        "engines/cluster/members.py",
        "Condition(key, Compare.CREATE, Is.GREATER, member.revision - 1, end),",
        "",
        (suite("tests/engines/test_cluster_conformance_memory.py"),),
    ),
)
