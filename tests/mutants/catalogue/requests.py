"""Faults of requests that are repeated, and of how requests end."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

MACHINE: Final = "kv/machine.py"
NODES: Final = (suite("tests/kv", "tests/node"),)

REQUESTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a retried command is applied twice",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if False:",
        NODES,
        promises=("P3",),
    ),
    Mutant(
        "a retried command is applied twice once its answer was thrown away",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if known is not None:",
        NODES,
        promises=("P3",),
    ),
    Mutant(
        "answers that were given are not in the snapshot",
        MACHINE,
        "                    dict(one.answers),",
        "                    {},",
        NODES,
        promises=("P3",),
    ),
    Mutant(
        "a proposal that was overwritten is said to be done",
        "node/node.py",
        "            elif committed.term == term:",
        "            elif True:",
        NODES,
    ),
    Mutant(
        "proposals of a lost leadership are said to be refused",
        "node/node.py",
        "                    self._answer(request, Unknown())",
        "                    self._answer(request, self._not_leader())",
        NODES,
    ),
)
