"""The suite that defines an engine: the executable form of `incumbent.engines.api`.

Write an `EngineHarness` for your engine and run every check against it. With pytest, one test per check:

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check: Check) -> None:
        skipped = await run_check(check, MyHarness())
        if skipped:
            pytest.skip(skipped)

or all at once, without any test runner: ``await check_engine(MyHarness())``. Nothing here needs pytest.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from incumbent.engines.conformance import cells, claims, members, sessions, watches
from incumbent.engines.conformance.harness import (
    EngineHarness,
    Inconclusive,
    Lab,
    NotApplicable,
    NotConforming,
    Service,
)

__all__ = [
    "CHECKS",
    "Check",
    "EngineHarness",
    "Lab",
    "NotConforming",
    "Service",
    "check_engine",
    "run_check",
]

Check: TypeAlias = Callable[[Lab], Awaitable[None]]

CHECKS: Final[tuple[Check, ...]] = (
    *sessions.CHECKS,
    *members.CHECKS,
    *claims.CHECKS,
    *watches.CHECKS,
    *cells.CHECKS,
)
ATTEMPTS_MAX: Final = 5
"""How often a timed check is run when the machine stalls in the middle of it."""


async def run_check(check: Check, harness: EngineHarness) -> str | None:
    """Run one check on a service of its own. Returns None when it passed, or why it does not apply.

    Raises NotConforming with the sentence that the engine breaks, or whatever the engine raised.
    """
    for _ in range(ATTEMPTS_MAX):
        async with harness.service() as service:
            lab = Lab(service)
            try:
                await check(lab)
            except NotApplicable as reason:
                return str(reason)
            except Inconclusive:
                continue
            finally:
                await lab.close()
        return None
    raise NotConforming(f"{_name(check)}: this machine is too slow for ttl_s; let the harness give more")


async def check_engine(harness: EngineHarness) -> dict[str, str | None]:
    """Run every check. Returns, by name, None for passed or why it does not apply.

    Raises ExceptionGroup when checks failed; each exception carries its check's name as a note.
    """
    results: dict[str, str | None] = {}
    failures: list[Exception] = []
    for check in CHECKS:
        try:
            results[_name(check)] = await run_check(check, harness)
        except Exception as error:
            error.add_note(_name(check))
            failures.append(error)
    if failures:
        raise ExceptionGroup(f"{len(failures)} of {len(CHECKS)} checks failed", failures)
    return results


def _name(check: Check) -> str:
    return getattr(check, "__name__", repr(check))
