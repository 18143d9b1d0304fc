"""One leader, provably.

    async with incumbent.connect("local:///var/lib/app", ttl=5.0) as cluster:
        async with cluster.election("scheduler").campaign() as term:   # waits until elected
            await work(fencing_token=term.token)                       # cancelled before the lease can expire

These are all the public names; others are in the `api` modules, `incumbent.fencing` and `incumbent.testing`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from incumbent.errors import (
    EngineError,
    EngineUnavailable,
    IncumbentError,
    InvalidInput,
    LeadershipLost,
    OutcomeUnknown,
    Overloaded,
    SessionGone,
    StaleToken,
    Unsupported,
)

if TYPE_CHECKING:
    from incumbent import blocking
    from incumbent.leadership.connect import Cluster, connect
    from incumbent.leadership.election import Election
    from incumbent.leadership.events import EventKind, TermEvent
    from incumbent.leadership.preference import Preference
    from incumbent.leadership.roll import UNKNOWN, Leader
    from incumbent.leadership.tenure import Reason, State
    from incumbent.leadership.term import Term

__all__ = [
    "UNKNOWN",
    "Cluster",
    "Election",
    "EngineError",
    "EngineUnavailable",
    "EventKind",
    "IncumbentError",
    "InvalidInput",
    "Leader",
    "LeadershipLost",
    "OutcomeUnknown",
    "Overloaded",
    "Preference",
    "Reason",
    "SessionGone",
    "StaleToken",
    "State",
    "Term",
    "TermEvent",
    "Unsupported",
    "blocking",
    "connect",
]

# These bring asyncio, which costs 45 ms: most of what an import may cost, and nothing to who only wants the errors (a
# resource that checks tokens). So they are looked up when first used.
_HOMES = {
    "UNKNOWN": "roll",
    "Cluster": "connect",
    "Election": "election",
    "EventKind": "events",
    "Leader": "roll",
    "Preference": "preference",
    "Reason": "tenure",
    "State": "tenure",
    "Term": "term",
    "TermEvent": "events",
    "connect": "connect",
}


if not TYPE_CHECKING:  # or type checkers would take every misspelt name for a known one

    def __getattr__(name: str) -> Any:
        if name not in _HOMES and name != "blocking":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        if name == "blocking":
            return import_module("incumbent.blocking")
        # Stored under its name: this happens once, and `connect` stays the function that it is.
        value = globals()[name] = getattr(import_module(f"incumbent.leadership.{_HOMES[name]}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
