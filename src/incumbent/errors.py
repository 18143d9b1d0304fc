"""Every error that incumbent raises, as one tree.

    IncumbentError
    ├── InvalidInput            you erred: nothing was done
    ├── Unsupported             this engine or platform cannot give what was required: nothing was done
    ├── EngineError             they erred
    │   ├── EngineUnavailable       not reached, or no quorum, in time: certainly not done
    │   ├── Overloaded              a named bound is full: certainly not done, try later
    │   ├── SessionGone             the session is over for good
    │   ├── MemberGone              the member left, was removed, or its session ended
    │   ├── NotFirst                a write under a term that is no longer (or never was) the first member's
    │   ├── VersionConflict         a cell has another version than the write expected
    │   ├── IncarnationChanged      the engine was restored or replaced: its old terms are over
    │   ├── NotAllowed              no rule of access admits who asks: not done, and asking again does not help
    │   ├── WatchLost               a watch ended: read again, then watch from there
    │   ├── Compacted               history before the asked revision is no longer kept
    │   ├── IdentityMismatch        the peer or the data directory belongs to someone else
    │   ├── ProtocolViolation       a frame that no peer of ours would send
    │   ├── StorageFailed           a write or fsync failed: the process must stop
    │   ├── StorageCorrupt          a bad record with good ones behind it: the node must not vote
    │   └── StateDiverged           a node's state is not that of the majority, or there is no majority
    ├── LeadershipLost          the term is over; `reason` says why
    ├── LeaseTooShort           still leading, but not for as long as the guarded section needs: nothing was done
    ├── StaleToken              a resource refused a write: it has seen a higher token, or the same of another
    ├── OutcomeUnknown          done or not done, nobody here can tell: never treat it as failed
    └── InvariantViolated       a bug in incumbent: absent is better than wrong

Foreign exceptions are translated once, where they enter, with ``raise … from``.
"""

from __future__ import annotations


class IncumbentError(Exception):
    """Anything that incumbent raises."""


class InvalidInput(IncumbentError):
    """A value was wrong. Nothing was done. `field` names it, `fix` says what would be right."""

    def __init__(self, field: str, problem: str, fix: str) -> None:
        super().__init__(f"{field}: {problem}; {fix}")
        self.field = field
        self.problem = problem
        self.fix = fix


class Unsupported(IncumbentError):
    """This engine or platform cannot give what was asked for. Nothing was done."""


class EngineError(IncumbentError):
    """The engine, or the way to it, failed."""


class EngineUnavailable(EngineError):
    """The engine was not reached, or had no quorum, in time. Nothing was done: safe to retry."""


class Overloaded(EngineError):
    """A named bound is full. Nothing was done: retry with back-off."""


class SessionGone(EngineError):
    """The session is over for good; everything it held is gone with it."""


class MemberGone(EngineError):
    """The member left, was removed, or its session ended."""


class NotFirst(EngineError):
    """The write was made under a term whose member is not, or no longer, the first of its group."""


class VersionConflict(EngineError):
    """A cell has another version than the write expected. Nothing was written. Read again and decide."""


class IncarnationChanged(EngineError):
    """The engine was restored or replaced. Terms of the former incarnation are over."""


class NotAllowed(EngineError):
    """This client may not take part in that election, or operate the cluster. Nothing was done, and nothing will be until the
    rules of access are changed."""


class WatchLost(EngineError):
    """A watch ended without an end of its own. Read again, then watch from what you read."""


class Compacted(EngineError):
    """History before the asked revision is no longer kept. Read the present, then watch from there."""


class IdentityMismatch(EngineError):
    """The peer or the data directory belongs to another cluster, node or disk."""


class ProtocolViolation(EngineError):
    """A frame that no peer of ours would send: unknown, malformed or over the size limit."""


class StorageFailed(EngineError):
    """A write or fsync failed. What the disk holds is unknown, so this process must stop."""


class StorageCorrupt(EngineError):
    """A bad record has good ones behind it: acknowledged data is damaged. The node must not vote."""


class StateDiverged(EngineError):
    """The nodes of a cluster have different states. Raised by a node that a majority disagrees with: it stops. And to clients
    when no majority agrees: nothing was done, and nothing is acknowledged any more until an operator restores a backup."""


class LeadershipLost(IncumbentError):
    """The term is over. `reason` is a code from `incumbent.leadership.tenure.Reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"leadership lost: {reason}" + (f" ({detail})" if detail else ""))
        self.reason = reason
        self.detail = detail


class LeaseTooShort(IncumbentError):
    """This process leads, but less of its lease is left than `term.guard(min_remaining=…)` asked for. The section was not
    entered; after the next confirmed renewal it can be. Both fields in seconds."""

    def __init__(self, remaining: float, min_remaining: float) -> None:
        super().__init__(f"{remaining:.3f} s of leadership are left, {min_remaining:.3f} s are needed")
        self.remaining = remaining
        self.min_remaining = min_remaining


class StaleToken(IncumbentError):
    """A resource refused a write: it has seen a higher token, or the same token from another holder. The writer is no longer
    the leader. `holder` and `highest_holder` are "" where they are not known."""

    def __init__(
        self, name: str, token: int, highest: int, holder: str = "", highest_holder: str = ""
    ) -> None:
        of_whom = f" from {highest_holder!r}" if token == highest else ""
        super().__init__(f"{name}: token {token} is stale, the resource has seen {highest}{of_whom}")
        self.name = name
        self.token = token
        self.highest = highest
        self.holder = holder
        self.highest_holder = highest_holder


class OutcomeUnknown(IncumbentError):
    """The request was sent and no answer came: done or not done. Re-read before deciding; never assume failure."""


class InvariantViolated(IncumbentError):
    """A bug in incumbent. The node stops: better absent than wrong."""


def invariant(condition: object, what: str, **facts: object) -> None:
    """Stop when `condition` is false. Unlike ``assert`` it survives ``python -O``.

    Raises InvariantViolated with `what` and the facts that show it.
    """
    if not condition:
        shown = ", ".join(f"{name}={value!r}" for name, value in facts.items())
        raise InvariantViolated(f"{what}" + (f" [{shown}]" if shown else ""))
