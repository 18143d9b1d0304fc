"""What the judge of linearizability is told: operations, and how one copy would answer them one at a time. PURE.

A model is the specification: a state to start from, and `step`, the state that an operation with this answer leads to, or
None when no single copy could have answered so. Every state, input and output is immutable and hashable.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final, NamedTuple


class Outcome(Enum):
    """Stands in the place of an output that did not come."""

    UNKNOWN = "?"  # a timeout, a crash, a lost leader: done at any time after the call, or never
    REFUSED = "refused"  # certainly not done

    def __repr__(self) -> str:
        return self.value


UNKNOWN: Final = Outcome.UNKNOWN
REFUSED: Final = Outcome.REFUSED


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing that one client did. `return_ns` is when its answer came; with an UNKNOWN output it counts for nothing,
    because what was sent may still take effect long after the client gave up."""

    process: str
    call_ns: int
    return_ns: int | None
    input: Hashable
    output: Hashable

    def __str__(self) -> str:
        end = "?" if self.return_ns is None or self.output is UNKNOWN else str(self.return_ns)
        return f"{self.call_ns} .. {end}  {self.process}: {self.input} -> {self.output!r}"


class Model(ABC):
    """A specification. `asked` is an operation's input, `told` its output or UNKNOWN (then any answer will do).

    Only `initial`, `key` and `step` are the specification. The others say what it implies; they make the judge quick, and
    their defaults, which say nothing, are always right. A *mark* is something that a write leaves and a read can see.
    """

    initial: ClassVar[Any]

    @abstractmethod
    def key(self, asked: Any) -> Hashable:
        """What the operation is about. Operations of different keys must not touch each other's state."""

    @abstractmethod
    def step(self, state: Any, asked: Any, told: Any) -> Any | None:
        """The state after the operation, or None when it cannot be answered so in `state`."""

    def observes(self, asked: Any, told: Any) -> bool:
        """Whether the operation, answered so, leaves the state as it was, whatever it was."""
        del asked, told
        return False

    def writes(self, asked: Any, told: Any) -> Hashable | None:
        """The mark that the operation may leave. None when it leaves none."""
        del asked, told
        return None

    def reads(self, asked: Any, told: Any) -> Hashable | None:
        """The mark that must be in the state for this answer. None when any will do."""
        del asked, told
        return None

    def shows(self, state: Any) -> Hashable | None:
        """The mark that is in the state. Once another took its place, only an operation that `writes` it restores it."""
        del state
        return None

    def veil(self, asked: Any) -> Any:
        """The same operation with its mark hidden. Asked only when nobody ever saw the mark: then it makes no difference
        which of several such operations was done, only how many."""
        return asked


# ── A register per key, with versions ──────────────────────────────────────────────────────────────────────────────


class Veil(Enum):
    """The value of a write that no read returned."""

    UNSEEN = "a value that no read returned"

    def __repr__(self) -> str:
        return f"<{self.value}>"


class Cell(NamedTuple):
    """What a key holds. `version` is 1 after the write that created it, one more with each write; a delete ends it."""

    value: Hashable
    version: int


ABSENT: Final = Cell(None, 0)


@dataclass(frozen=True, slots=True)
class Get:
    """Told: the Cell, ABSENT when the key does not exist."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class Put:
    """Told: None."""

    key: Hashable
    value: Hashable


@dataclass(frozen=True, slots=True)
class Delete:
    """Told: whether the key existed."""

    key: Hashable


@dataclass(frozen=True, slots=True)
class CompareAndSwap:
    """Write `value` if the key is at `version` (0 = does not exist). Told: whether it was."""

    key: Hashable
    version: int
    value: Hashable


@dataclass(frozen=True, slots=True)
class Registers(Model):
    """Keys and their cells, each key on its own. The state is the key's Cell."""

    initial: ClassVar[Cell] = ABSENT

    def key(self, asked: Get | Put | Delete | CompareAndSwap) -> Hashable:
        return asked.key

    def step(self, state: Cell, asked: Get | Put | Delete | CompareAndSwap, told: Any) -> Cell | None:
        match asked:
            case Put():
                return Cell(asked.value, state.version + 1)
            case Get():
                return state if _may_be_told(told, state) else None
            case CompareAndSwap():
                fits = state.version == asked.version
                after = Cell(asked.value, state.version + 1) if fits else state
                return after if _may_be_told(told, fits) else None
            case Delete():
                return ABSENT if _may_be_told(told, state != ABSENT) else None

    def observes(self, asked: Get | Put | Delete | CompareAndSwap, told: Any) -> bool:
        return isinstance(asked, Get) or told is False

    def writes(self, asked: Get | Put | Delete | CompareAndSwap, told: Any) -> Hashable | None:
        return asked.value if isinstance(asked, Put | CompareAndSwap) and told is not False else None

    def reads(self, asked: Get | Put | Delete | CompareAndSwap, told: Any) -> Hashable | None:
        return told.value if isinstance(asked, Get) and isinstance(told, Cell) else None

    def shows(self, state: Cell) -> Hashable | None:
        return state.value

    def veil(self, asked: Get | Put | Delete | CompareAndSwap) -> Get | Put | Delete | CompareAndSwap:
        match asked:
            case Put():
                return Put(asked.key, Veil.UNSEEN)
            case CompareAndSwap():
                return CompareAndSwap(asked.key, asked.version, Veil.UNSEEN)
            case _:
                return asked


def _may_be_told(told: object, truth: object) -> bool:
    return told is UNKNOWN or told == truth


# ── A lock ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Acquire:
    """Told: whether `client` holds the lock by this. False when it is held, by whomever."""

    name: Hashable
    client: str


@dataclass(frozen=True, slots=True)
class Release:
    """Told: whether `client` held the lock."""

    name: Hashable
    client: str


@dataclass(frozen=True, slots=True)
class Expired:
    """The lease of `client` ran out: an operation of the system, on a lock or an election. Called when the lease could
    first run out; its output is UNKNOWN when nobody saw it happen. Told: whether `client` held (or led) until then."""

    name: Hashable
    client: str


@dataclass(frozen=True, slots=True)
class Locks(Model):
    """Locks, each on its own, not reentrant. The state is the client that holds the lock; FREE when none does."""

    FREE: ClassVar[str] = ""
    initial: ClassVar[str] = FREE

    def key(self, asked: Acquire | Release | Expired) -> Hashable:
        return asked.name

    def step(self, state: str, asked: Acquire | Release | Expired, told: Any) -> str | None:
        if isinstance(asked, Acquire):
            done, after = state == self.FREE, asked.client
        else:
            done, after = state == asked.client, self.FREE
        if not _may_be_told(told, done):
            return None
        return after if done else state

    def observes(self, asked: Acquire | Release | Expired, told: Any) -> bool:
        del asked
        return told is False


# ── An election ────────────────────────────────────────────────────────────────────────────────────────────────────


class Leader(NamedTuple):
    holder: str
    token: int


@dataclass(frozen=True, slots=True)
class Claim:
    """Told: the token of the term that begins; None when somebody leads."""

    name: Hashable
    client: str


@dataclass(frozen=True, slots=True)
class Resign:
    """Told: whether `client` led."""

    name: Hashable
    client: str


@dataclass(frozen=True, slots=True)
class Observe:
    """Told: the Leader; None when nobody leads."""

    name: Hashable


class Reign(NamedTuple):
    """Who leads ("" = nobody) and by which token. A claim whose answer is unknown has a token that is unknown, until
    somebody observes it: then `token` is the lowest that it can be, and not `exact`."""

    holder: str
    token: int
    exact: bool


@dataclass(frozen=True, slots=True)
class Elections(Model):
    """Elections, each on its own: one holder at most, and every token higher than all before it (not just the next)."""

    initial: ClassVar[Reign] = Reign("", 0, exact=True)

    def key(self, asked: Claim | Resign | Expired | Observe) -> Hashable:
        return asked.name

    def step(self, state: Reign, asked: Claim | Resign | Expired | Observe, told: Any) -> Reign | None:
        match asked:
            case Claim():
                return self._claim(state, asked, told)
            case Resign() | Expired():
                led = state.holder == asked.client
                if not _may_be_told(told, led):
                    return None
                return Reign("", state.token, exact=True) if led else state
            case Observe():
                return self._observe(state, told)

    def _claim(self, state: Reign, asked: Claim, told: Any) -> Reign | None:
        if state.holder:
            return state if _may_be_told(told, None) else None
        if told is UNKNOWN:
            return Reign(asked.client, state.token + 1, exact=False)
        if told is None or told <= state.token:
            return None
        return Reign(asked.client, told, exact=True)

    def _observe(self, state: Reign, told: Any) -> Reign | None:
        if told is UNKNOWN:
            return state
        if told is None:
            return None if state.holder else state
        fits = told.token == state.token if state.exact else told.token >= state.token
        return Reign(told.holder, told.token, exact=True) if fits and told.holder == state.holder else None

    def observes(self, asked: Claim | Resign | Expired | Observe, told: Any) -> bool:
        return isinstance(asked, Observe) or told is False or (isinstance(asked, Claim) and told is None)

    def writes(self, asked: Claim | Resign | Expired | Observe, told: Any) -> Hashable | None:
        return told if isinstance(asked, Claim) and told is not UNKNOWN else None

    def reads(self, asked: Claim | Resign | Expired | Observe, told: Any) -> Hashable | None:
        return told.token if isinstance(asked, Observe) and isinstance(told, Leader) else None

    def shows(self, state: Reign) -> Hashable | None:
        return state.token if state.holder and state.exact else None
