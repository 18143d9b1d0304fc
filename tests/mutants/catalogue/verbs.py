"""Faults of preferring, pausing, handing over, and of what is told about it."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

PREFERENCE: Final = "leadership/preference.py"
HANDOVER: Final = "leadership/handover.py"
STANCE: Final = "leadership/stance.py"
ROLL: Final = "leadership/roll.py"
OF_PREFERENCE: Final = "tests/leadership/test_preference.py"
OF_HANDOVER: Final = "tests/leadership/test_handover.py"
OF_OPERATIONS: Final = "tests/leadership/test_operations.py"

VERBS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "a successor that has gone is handed over to all the same",
        HANDOVER,
        "                return Done.GONE\n",
        "                return Done.DONE\n",
        (suite(OF_HANDOVER),),
        promises=("P40",),
    ),
    Mutant(
        "a successor whose warm-up failed is handed over to all the same",
        HANDOVER,
        "            if now.standing is not None and now.standing.failed == self._name:",
        "            if False:",
        (suite(f"{OF_HANDOVER}::test_a_warm_up_that_failed_is_known_at_once"),),
        promises=("P40",),
    ),
    Mutant(
        "the leader stops before its successor is warm",
        HANDOVER,
        "            warm = now.standing is None or now.standing.ready == self._name",
        "            warm = True",
        (suite(OF_HANDOVER),),
        promises=("P40", "P41"),
    ),
    Mutant(
        "the leader lets go while others stand between it and its successor",
        HANDOVER,
        "warm and scene.queue[1:2] == (now,)",
        "warm",
        (suite(OF_HANDOVER),),
        promises=("P41",),
    ),
    Mutant(
        "a hand-over that came to nothing leaves its successor named",
        HANDOVER,
        '                self._office.tasks.spawn(self._withdraw(successor), f"incumbent-keep-{self._election}")\n',
        "",
        (suite(OF_HANDOVER),),
        promises=("P40",),
    ),
    Mutant(
        "a pause keeps nobody from beginning",
        PREFERENCE,
        "    if control.paused is not None:\n        return Wait(Code.PAUSED)\n",
        "",
        (suite(OF_PREFERENCE, OF_OPERATIONS),),
        promises=("P42",),
    ),
    Mutant(
        "a pause ends the leader's term when it is drained",
        PREFERENCE,
        "    if control.paused is not None:\n        return Lead()\n",
        "",
        (suite(OF_PREFERENCE),),
        promises=("P42",),
    ),
    Mutant(
        "what operators said is taken from the last look, and not from the claim",
        STANCE,
        "        control = read(cell)\n        successor =",
        "        control = read(type(cell)(None, 0))\n        successor =",
        (suite(OF_OPERATIONS),),
        promises=("P42",),
    ),
    Mutant(
        "whoever is first is shown as the leader, also while it is paused",
        ROLL,
        "    if in_doubt(queue, control) and not is_open(records, token):",
        "    if False:",
        (suite(OF_OPERATIONS),),
        promises=("P36", "P42"),
    ),
    Mutant(
        "who is not eligible leads when nobody else stands",
        PREFERENCE,
        "if able else Wait(mine)",
        "if able else Lead()",
        (suite(OF_PREFERENCE, OF_OPERATIONS),),
        promises=("P43",),
    ),
    Mutant(
        "whether a candidate is eligible is asked once",
        STANCE,
        "        self._standing = replace(self._standing, eligible=self._is_eligible())\n        self._warm_up_for",
        "        self._warm_up_for",
        (suite(OF_OPERATIONS),),
        promises=("P43",),
    ),
    Mutant(
        "equals change places",
        PREFERENCE,
        "        if best.priority > me.priority:\n            return Yield(Code.LESS_PREFERRED, best.candidate)\n    return Wait",
        "        if best.priority >= me.priority:\n            return Yield(Code.LESS_PREFERRED, best.candidate)\n    return Wait",
        (suite(OF_PREFERENCE),),
        promises=("P43",),
    ),
    Mutant(
        "a leader is pre-empted as soon as a better one waits",
        PREFERENCE,
        "if now_ns >= due_ns",
        "if True",
        (suite(OF_PREFERENCE, OF_OPERATIONS),),
        promises=("P43",),
    ),
)
