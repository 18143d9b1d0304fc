"""What is done about answers that were lost: ask again where that is harmless, and read what became of it where it is not.

Serves every engine whose store is asked with transactions of the machine's data model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeVar

from incumbent.engines.api import Cell
from incumbent.engines.cluster.cells import CellStep, Trace
from incumbent.errors import EngineUnavailable, NotFirst, OutcomeUnknown, Overloaded, VersionConflict
from incumbent.kv.api import Result, Txn

ATTEMPTS_MAX: Final = 8
T = TypeVar("T")


class Store(Protocol):
    """Both raise EngineUnavailable or Overloaded (certainly not done) and OutcomeUnknown. `timeout` is in seconds."""

    async def submit(self, command: Txn, *, timeout: float) -> Result: ...

    async def read(self, query: Txn, *, timeout: float) -> Result: ...


async def until_known(ask: Callable[[float], Awaitable[T]], timeout_s: float) -> tuple[T, bool]:
    """Have something idempotent done. `ask` gets the seconds that are left. Also says whether an earlier attempt may have
    done it. Raises OutcomeUnknown once an answer was lost and no other came."""
    deadline = _now_s() + timeout_s
    unknown: OutcomeUnknown | None = None
    for _ in range(ATTEMPTS_MAX):
        try:
            return await ask(deadline - _now_s()), unknown is not None
        except OutcomeUnknown as error:
            unknown = error
        except (EngineUnavailable, Overloaded) as error:
            if unknown is None:
                raise
            raise unknown from error
    raise unknown or OutcomeUnknown(f"no answer in {ATTEMPTS_MAX} attempts")


async def settle(step: CellStep, store: Store, timeout_s: float) -> tuple[Cell, ...]:
    """Do `step` at most once, and find out whether it was done."""
    deadline = _now_s() + timeout_s
    unknown: OutcomeUnknown | None = None
    for _ in range(ATTEMPTS_MAX):
        refusal: NotFirst | VersionConflict | None = None
        try:
            result = await store.submit(step.transaction(), timeout=deadline - _now_s())
            return step.written(result)
        except OutcomeUnknown as error:
            unknown = error
        except (EngineUnavailable, Overloaded) as error:
            if unknown is None:
                raise
            raise unknown from error
        except (NotFirst, VersionConflict) as error:
            if unknown is None:
                raise
            refusal = error  # perhaps because the attempt before it was done
        try:
            found = await store.read(step.cells(), timeout=deadline - _now_s())
        except (EngineUnavailable, OutcomeUnknown, Overloaded) as error:
            raise unknown from error
        trace, written = step.trace(found)
        match trace:
            case Trace.DONE:
                return written
            case Trace.REFUSED:
                raise refusal or step.conflict() from unknown
            case Trace.LOST:
                raise unknown
            case Trace.NOT_DONE if refusal is not None:
                raise refusal
            case Trace.NOT_DONE:
                continue
    raise unknown or OutcomeUnknown(f"no answer in {ATTEMPTS_MAX} attempts")


def _now_s() -> float:
    """Only for giving up: no lease is measured by it."""
    return asyncio.get_running_loop().time()
