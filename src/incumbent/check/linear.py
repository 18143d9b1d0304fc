"""The judge of linearizability: could one copy, asked one thing at a time, have given these answers? PURE.

Each operation must be given one instant between its call and its return, such that the model (models.py) accepts the
answers in the order of these instants. The search is Wing & Gong's ("Testing and Verifying Concurrent Objects", 1993) with
Lowe's memory of configurations ("Testing for Linearizability", 2017), one key at a time (locality: Herlihy & Wing, 1990).

An operation without an outcome may be placed at any time after its call, or never. Four things keep the search short, and
none changes the verdict:

- What only observes is placed as soon as it fits: it cannot be in the way of anything.
- Unknown operations come last, only where they change the state, and of equal ones the earliest call comes first.
- A configuration is dropped when an earlier one had done the same with fewer unknown operations spent.
- A mark that a read still has to see is not overwritten when nothing is left that could write it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple

from incumbent.check.models import REFUSED, UNKNOWN, Model, Operation
from incumbent.errors import InvalidInput

STATES_MAX: Final = 200_000  # configurations tried per key and search; about a second
POSSIBLE_MAX: Final = 8  # states that an explanation names
SHOWN_MAX: Final = 30  # operations that an explanation lists


class Verdict(StrEnum):
    LINEARIZABLE = "linearizable"
    VIOLATED = "violated"
    OUT_OF_BUDGET = "out_of_budget"  # nothing was found and not all was tried; never a pass


@dataclass(frozen=True, slots=True)
class Violation:
    """`prefix` holds the operations of `key` called before `culprit` returned; they alone are a violation. What had to be
    placed before `culprit` can be: it leads to one of the states in `possible`, in none of which `culprit` fits."""

    key: Hashable
    culprit: Operation
    prefix: tuple[Operation, ...]  # in order of their calls
    possible: tuple[Hashable, ...]  # POSSIBLE_MAX at most
    more_possible: bool  # there are more states than `possible` names, or not all were looked for

    def explain(self) -> str:
        """A text for people, of several lines."""
        states = [f"  {state!r}" for state in self.possible] + ["  …"] * self.more_possible
        left_out = len(self.prefix) - SHOWN_MAX
        return "\n".join(
            [
                f"{self.key!r}: no order of the operations explains",
                f"  {self.culprit}",
                "The state before it could only be one of"
                if len(states) > 1
                else "The state before it could only be",
                *states,
                f"The operations of {self.key!r} called before it returned (time in ns, process, input -> output):",
                *([f"  … {left_out} earlier ones"] if left_out > 0 else []),
                *(f"{'>' if op is self.culprit else ' '} {op}" for op in self.prefix[-SHOWN_MAX:]),
            ]
        )


@dataclass(frozen=True, slots=True)
class Judgement:
    verdict: Verdict
    operations: int  # judged; the refused ones and the unanswered reads are not counted
    states: int  # tried
    violation: Violation | None = None  # when VIOLATED: of several keys, the one that shows first
    undecided: tuple[Hashable, ...] = ()  # keys whose budget ran out


def judge(model: Model, operations: Iterable[Operation], states_max: int = STATES_MAX) -> Judgement:
    """Judge a history, its operations in any order. `states_max` bounds the search of each key.

    Equal times count as concurrent. Raises InvalidInput for an operation that returned before it was called, or that has
    an output and no time at which it came.
    """
    by_key: dict[Hashable, list[Operation]] = defaultdict(list)
    for operation in operations:
        _require_times(operation)
        if _matters(model, operation):
            by_key[model.key(operation.input)].append(operation)
    states = 0
    violations: list[Violation] = []
    undecided: list[Hashable] = []
    for key, its_operations in by_key.items():
        part = _prepare(model, its_operations)
        answer = _search(part, len(part.answered) - 1, states_max)
        states += answer.states
        if answer.placed is None:
            undecided.append(key)
        elif not answer.placed:
            violation, spent = _explain(key, part, states_max)
            violations.append(violation)
            states += spent
    judged = sum(len(its_operations) for its_operations in by_key.values())
    if violations:
        first = min(violations, key=lambda violation: violation.culprit.return_ns or 0)
        return Judgement(Verdict.VIOLATED, judged, states, first, tuple(undecided))
    verdict = Verdict.OUT_OF_BUDGET if undecided else Verdict.LINEARIZABLE
    return Judgement(verdict, judged, states, undecided=tuple(undecided))


def _require_times(operation: Operation) -> None:
    if operation.output is UNKNOWN:
        return
    if operation.return_ns is None:
        raise InvalidInput("return_ns", f"is missing: {operation}", "give it, or UNKNOWN as the output")
    if operation.return_ns < operation.call_ns:
        raise InvalidInput("return_ns", f"is before the call: {operation}", "use one clock for both")


def _matters(model: Model, operation: Operation) -> bool:
    """Not when it was certainly not done, and not when nobody knows the answer of what only asks."""
    if operation.output is REFUSED:
        return False
    return operation.output is not UNKNOWN or not model.observes(operation.input, UNKNOWN)


@dataclass(frozen=True, slots=True)
class _Part:
    """The operations of one key, prepared for the search. Sets of operations are bits of an int: the *answered* ones are
    numbered in the order of their returns, the *open* ones (without an outcome) in the order of their calls."""

    model: Model
    answered: Sequence[Operation]
    opened: Sequence[Operation]
    asked: Sequence[Any]  # the inputs of the answered ones, veiled
    asked_opened: Sequence[Any]
    callable: Sequence[int]  # per answered operation: the answered ones called before it returned
    callable_opened: Sequence[int]  # ... and the open ones
    observing: int  # answered ones that never change the state
    predecessor: Sequence[int]  # per open operation: the last equal one called before it, if any
    readers: Mapping[Hashable, int]  # per mark: the answered ones that must see it
    writers: Mapping[Hashable, int]  # per mark: the answered ones that may leave it
    writers_opened: Mapping[Hashable, int]

    def settle(self, placed: int, spent: int, state: Any) -> _Config:
        """The configuration, with everything placed that fits and only observes."""
        step, asked, answered = self.model.step, self.asked, self.answered
        tried = 0
        while (first := _lowest_not_in(placed)) < len(answered):
            ready = self.callable[first] & self.observing & ~placed & ~tried
            if not ready:
                break
            tried |= ready
            for number in _numbers(ready):
                if step(state, asked[number], answered[number].output) == state:
                    placed |= 1 << number
        return _Config(placed, spent, state)

    def moves(self, config: _Config, first: int, wanted: int) -> Iterator[_Config]:
        """Every configuration that is one operation further, when `first` is the first answered operation that is not
        placed. None that leaves one of the `wanted` reads without its mark."""
        placed, spent, state = config
        step = self.model.step
        for number in _numbers(self.callable[first] & ~placed):
            after = step(state, self.asked[number], self.answered[number].output)
            further = placed | 1 << number
            if after is not None and not self._loses(state, after, further, spent, wanted):
                yield self.settle(further, spent, after)
        for number in _numbers(self.callable_opened[first] & ~spent):
            if self.predecessor[number] & ~spent:
                continue
            after = step(state, self.asked_opened[number], UNKNOWN)
            more = spent | 1 << number
            if after not in (None, state) and not self._loses(state, after, placed, more, wanted):
                yield self.settle(placed, more, after)

    def _loses(self, before: Any, after: Any, placed: int, spent: int, wanted: int) -> bool:
        """Whether a mark that a wanted read still has to see goes away for good."""
        mark = self.model.shows(before)
        return (
            self.readers.get(mark, 0) & wanted & ~placed != 0
            and mark != self.model.shows(after)
            and not self.writers.get(mark, 0) & ~placed
            and not self.writers_opened.get(mark, 0) & ~spent
        )


def _prepare(model: Model, operations: Sequence[Operation]) -> _Part:
    answered = sorted((op for op in operations if op.output is not UNKNOWN), key=_return_ns)
    opened = sorted((op for op in operations if op.output is UNKNOWN), key=_call_ns)
    readers = _by_mark(model.reads, answered)
    asked, asked_opened = _veiled(model, answered, readers), _veiled(model, opened, readers)
    return _Part(
        model,
        answered,
        opened,
        asked,
        asked_opened,
        _called_by_returns(answered, answered),
        _called_by_returns(answered, opened),
        sum(1 << n for n, op in enumerate(answered) if model.observes(op.input, op.output)),
        _predecessors(asked_opened),
        readers,
        _by_mark(model.writes, answered),
        _by_mark(model.writes, opened),
    )


def _call_ns(operation: Operation) -> int:
    return operation.call_ns


def _return_ns(operation: Operation) -> int:
    return operation.return_ns or 0  # an answered operation has one


def _by_mark(
    mark_of: Callable[[Any, Any], Hashable | None], operations: Sequence[Operation]
) -> dict[Hashable, int]:
    found: dict[Hashable, int] = defaultdict(int)
    for number, operation in enumerate(operations):
        mark = mark_of(operation.input, operation.output)
        if mark is not None:
            found[mark] |= 1 << number
    return dict(found)


def _veiled(model: Model, operations: Sequence[Operation], readers: Mapping[Hashable, int]) -> list[Any]:
    """Their inputs, those with a mark that nobody saw made equal."""
    veiled = []
    for op in operations:
        mark = model.writes(op.input, op.output)
        veiled.append(op.input if mark is None or mark in readers else model.veil(op.input))
    return veiled


def _called_by_returns(answered: Sequence[Operation], operations: Sequence[Operation]) -> list[int]:
    """For each of the answered ones the set of those `operations` that were called when it returned."""
    calls = sorted((op.call_ns, number) for number, op in enumerate(operations))
    called, position, sets = 0, 0, []
    for operation in answered:
        while position < len(calls) and calls[position][0] <= _return_ns(operation):
            called |= 1 << calls[position][1]
            position += 1
        sets.append(called)
    return sets


def _predecessors(inputs: Sequence[Hashable]) -> list[int]:
    last: dict[Hashable, int] = {}
    before = []
    for number, asked in enumerate(inputs):
        before.append(last.get(asked, 0))
        last[asked] = 1 << number
    return before


def _lowest_not_in(bits: int) -> int:
    return (~bits & (bits + 1)).bit_length() - 1


def _numbers(bits: int) -> Iterator[int]:
    """The numbers in a set, in ascending order."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


class _Config(NamedTuple):
    """Where a search stands: the answered operations placed, the open ones spent, and the state after them."""

    placed: int
    spent: int
    state: Any


class _Answer(NamedTuple):
    placed: bool | None  # None: the budget ran out
    states: int  # tried
    stuck: Sequence[Any]  # the states in which nothing but the goal was left to place


def _search(part: _Part, goal: int, states_max: int, *, goal_wanted: bool = True) -> _Answer:
    """Whether all answered operations numbered up to `goal` can be placed, others before them as needed.

    With `goal_wanted` false the search does not avoid what makes the goal itself impossible, so that it comes to all
    states in which the goal is the next that must be placed.
    """
    wanted = (1 << (goal + goal_wanted)) - 1
    visited: dict[tuple[int, Any], list[int]] = defaultdict(list)
    stuck: dict[Any, None] = {}
    states = 0
    stack = [iter([part.settle(0, 0, part.model.initial)])]
    while stack:
        config = next(stack[-1], None)
        if config is None:
            stack.pop()
            continue
        if states == states_max:
            return _Answer(None, states, [*stuck])
        states += 1
        first = _lowest_not_in(config.placed)
        if first > goal:
            return _Answer(placed=True, states=states, stuck=[*stuck])
        frugal = visited[config.placed, config.state]
        if any(not spent & ~config.spent for spent in frugal):
            continue
        frugal.append(config.spent)
        if first == goal:
            stuck[config.state] = None
        stack.append(part.moves(config, first, wanted))
    return _Answer(placed=False, states=states, stuck=[*stuck])


def _explain(key: Hashable, whole: _Part, states_max: int) -> tuple[Violation, int]:
    """The shortest failing prefix of a key that is violated, and how many states it took to find."""
    low, failing, spent = 0, len(whole.answered) - 1, 0
    while low < failing:
        middle = (low + failing) // 2
        answer = _search(_prefix(whole, middle), middle, states_max)
        spent += answer.states
        if answer.placed is False:
            failing = middle
        else:
            low = middle + 1
    answer = _search(_prefix(whole, failing), failing, states_max, goal_wanted=False)
    culprit = whole.answered[failing]
    violation = Violation(
        key,
        culprit,
        tuple(sorted(_called_by(whole, culprit), key=_call_ns)),
        tuple(answer.stuck[:POSSIBLE_MAX]),
        len(answer.stuck) > POSSIBLE_MAX or answer.placed is None,
    )
    return violation, spent + answer.states


def _prefix(whole: _Part, last: int) -> _Part:
    """What was called by the return of the answered operation numbered `last`. Numbers up to that stay as they are.

    A read that returned later need not be placed, so it is left out: what only it saw can be veiled. That is what makes
    the prefixes of a history with many unknown writes as easy to search as the whole.
    """
    final = whole.answered[last]
    required = set(whole.answered[: last + 1])
    kept = [
        op
        for op in _called_by(whole, final)
        if op in required or op.output is UNKNOWN or not whole.model.observes(op.input, op.output)
    ]
    return _prepare(whole.model, kept)


def _called_by(part: _Part, operation: Operation) -> list[Operation]:
    return [op for op in (*part.answered, *part.opened) if op.call_ns <= _return_ns(operation)]
