"""Faults of requests that are repeated, and of how requests end."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import WHOLE, WORLDS, Mutant, suite

MACHINE: Final = "kv/machine.py"
OF_SESSIONS: Final = (suite("tests/kv/test_sessions.py"),)
OF_NODE: Final = (suite("tests/node/test_requests.py"),)

REQUESTS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a retried command is applied twice",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if False:",
        (*WORLDS, *OF_SESSIONS),
        promises=("P3",),
    ),
    Mutant(
        "a retried command is applied twice once its answer was thrown away",
        MACHINE,
        "        if known is not None or once.sequence <= session.settled:",
        "        if known is not None:",
        OF_SESSIONS,
        promises=("P3",),
    ),
    Mutant(
        "answers that were given are not in the snapshot",
        MACHINE,
        "one.settled, dict(one.answers))",
        "one.settled, {})",
        (*WORLDS, *OF_SESSIONS),
        promises=("P3",),
    ),
    Mutant(
        "a proposal that was overwritten is said to be done",
        "node/node.py",
        "            elif committed.term == term:",
        "            elif True:",
        OF_NODE,
    ),
    Mutant(
        "proposals of a lost leadership are said to be refused",
        "node/node.py",
        "                    self._answer(request, Unknown())",
        "                    self._answer(request, self._not_leader())",
        (WHOLE, *OF_NODE),
    ),
)
