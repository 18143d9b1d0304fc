"""Faults of requests that are repeated, and of how requests end."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import WHOLE, WORLDS, Mutant, suite

MACHINE: Final = "kv/machine.py"
NODE: Final = "node/node.py"
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
    Mutant(
        "who reads waits for the write of somebody else",
        NODE,
        "        if self._outstanding is None or self._outstanding.leadership is None:\n            self._serve(now_ns)\n",
        "",
        (suite("tests/runtime/test_driver.py"),),
    ),
    Mutant(
        "a renewal with time to spare waits for no heartbeat",
        NODE,
        "            self._begin_round(NEVER_NS)",
        "            pass",
        OF_NODE,
    ),
    Mutant(
        "a renewal waits for the next heartbeat, however little time it has",
        NODE,
        "        deadline_ns = min(self._replica.deadline_ns, self._flight.round_due_ns)\n",
        "        deadline_ns = self._replica.deadline_ns\n",
        OF_NODE,
        promises=("P20",),
    ),
)
