"""Faults of what a leader believes of itself."""

from __future__ import annotations

from typing import Final

from tests.mutants.mutant import Mutant, suite

TENURE: Final = "leadership/tenure.py"
OVERLAP: Final = "tests/leadership/test_overlap.py"

LEADERS: Final[tuple[Mutant, ...]] = (
    Mutant(
        "the holder keeps no margin for the rates of clocks",
        TENURE,
        "RATE_SLOW // RATE_FAST",
        "RATE_FAST // RATE_FAST",
        (suite(OVERLAP, "tests/leadership/test_tenure.py"),),
        promises=("P14",),
    ),
    Mutant(
        "the lease is counted from the reply",
        "leadership/keeper.py",
        "await self._engine.renew(self.session)",
        "await self._engine.renew(self.session); self.lease._started_ns = clock.now_ns()",
        (suite(OVERLAP, "tests/leadership/test_losing.py"),),
        promises=("P10",),
    ),
)
