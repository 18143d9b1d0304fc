"""What clients saw, in the words of the judge of linearizability."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from incumbent.check.linear import Verdict, judge
from incumbent.check.models import (
    ABSENT,
    UNKNOWN,
    Cell,
    CompareAndSwap,
    Delete,
    Get,
    Operation,
    Put,
    Registers,
)
from incumbent.errors import invariant
from incumbent.kv import api as kv
from incumbent.node.api import Done
from incumbent.sim.clients import Call


def operation(call: Call) -> Operation:
    """One call as the judge reads it."""
    asked, told = _asked(call), _told(call)
    return_ns = None if told is UNKNOWN else call.return_ns
    return Operation(f"client {call.client}", call.call_ns, return_ns, asked, told)


def _asked(call: Call) -> Hashable:
    match call.request:
        case kv.Range(key):
            return Get(key)
        case kv.Put(key, value):
            return Put(key, value)
        case kv.DeleteRange(key):
            return Delete(key)
        case kv.Txn((condition,), (kv.Put(key, value),)):
            version = condition.operand
            assert isinstance(version, int)
            return CompareAndSwap(key, version, value)
        case _:
            raise AssertionError(f"no client of ours asks {call.request}")


def _told(call: Call) -> Any:
    if not isinstance(call.outcome, Done):
        return UNKNOWN
    result = call.outcome.result
    match call.request:
        case kv.Range():
            found = result.results[0].kvs
            return Cell(found[0].value, found[0].version) if found else ABSENT
        case kv.DeleteRange():
            return bool(result.results[0].kvs)
        case kv.Txn():
            return result.succeeded
        case _:
            return None


def check_linearizable(calls: Sequence[Call]) -> None:
    """Raises InvariantViolated when no single copy could have answered so, and also when that could not be decided."""
    found = judge(Registers(), [operation(call) for call in calls])
    why = found.violation.explain() if found.violation is not None else f"undecided: {found.undecided}"
    invariant(found.verdict is Verdict.LINEARIZABLE, f"linearizable: {found.verdict}: {why}")
