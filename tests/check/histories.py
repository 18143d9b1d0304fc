"""Histories for the tests of the judge of linearizability, and a second judge that simply tries every order."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace

from incumbent.check.models import (
    ABSENT,
    REFUSED,
    UNKNOWN,
    Acquire,
    Cell,
    Claim,
    CompareAndSwap,
    Delete,
    Elections,
    Expired,
    Get,
    Leader,
    Locks,
    Model,
    Observe,
    Operation,
    Put,
    Registers,
    Release,
    Resign,
)

CLIENTS = ("ann", "bob", "cid")
GAP_NS = 100  # between the instants at which a served history's operations take effect
TOKEN_STEP_MAX = 2


# ── Servers: one copy, asked one thing at a time. They share nothing with the models. ──────────────────────────────


@dataclass
class RegisterServer:
    """One key. `values` 0 = every written value is another."""

    values: int = 2
    cell: Cell = ABSENT
    written: int = 0

    def ask(self, rng: random.Random) -> Hashable:
        self.written += 1
        value = rng.randrange(self.values) if self.values else self.written
        near = max(0, self.cell.version - rng.randrange(2))
        return rng.choice(
            [Get("x"), Get("x"), Put("x", value), Delete("x"), CompareAndSwap("x", near, value)]
        )

    def serve(self, asked: Hashable, rng: random.Random) -> Hashable:
        before = self.cell
        match asked:
            case Put(_, value):
                self.cell = Cell(value, before.version + 1)
                return None
            case Delete():
                self.cell = ABSENT
                return before.version > 0
            case CompareAndSwap(_, version, value):
                if before.version == version:
                    self.cell = Cell(value, version + 1)
                return before.version == version
            case _:
                return before

    def lie(self, asked: Hashable, rng: random.Random) -> Hashable:
        if isinstance(asked, Get):
            return Cell(rng.randrange(self.values or 4), rng.randint(1, 3)) if rng.random() < 0.8 else ABSENT
        return None if isinstance(asked, Put) else rng.random() < 0.5


@dataclass
class LockServer:
    holder: str = ""

    def ask(self, rng: random.Random) -> Hashable:
        kind = rng.choice([Acquire, Acquire, Release, Expired])
        return kind("l", rng.choice(CLIENTS))

    def serve(self, asked: Hashable, rng: random.Random) -> Hashable:
        match asked:
            case Acquire(_, client):
                free = not self.holder
                self.holder = self.holder or client
                return free
            case Release(_, client) | Expired(_, client):
                held = self.holder == client
                self.holder = "" if held else self.holder
                return held
            case _:
                raise AssertionError(asked)

    def lie(self, asked: Hashable, rng: random.Random) -> Hashable:
        return rng.random() < 0.5


@dataclass
class ElectionServer:
    leader: Leader | None = None
    token: int = 0

    def ask(self, rng: random.Random) -> Hashable:
        client = rng.choice(CLIENTS)
        return rng.choice(
            [Claim("e", client), Claim("e", client), Observe("e"), Observe("e"), Resign("e", client), Expired("e", client)]
        )  # fmt: skip

    def serve(self, asked: Hashable, rng: random.Random) -> Hashable:
        match asked:
            case Claim(_, client):
                if self.leader:
                    return None
                self.token += rng.randint(1, TOKEN_STEP_MAX)
                self.leader = Leader(client, self.token)
                return self.token
            case Resign(_, client) | Expired(_, client):
                led = self.leader is not None and self.leader.holder == client
                self.leader = None if led else self.leader
                return led
            case _:
                return self.leader

    def lie(self, asked: Hashable, rng: random.Random) -> Hashable:
        token = rng.randint(1, 4)
        match asked:
            case Claim():
                return token if rng.random() < 0.7 else None
            case Observe():
                return Leader(rng.choice(CLIENTS), token) if rng.random() < 0.8 else None
            case _:
                return rng.random() < 0.5


Server = RegisterServer | LockServer | ElectionServer
SERVED: dict[str, tuple[Model, Callable[[], Server]]] = {
    "registers": (Registers(), RegisterServer),
    "registers, all values differ": (Registers(), lambda: RegisterServer(values=0)),
    "locks": (Locks(), LockServer),
    "elections": (Elections(), ElectionServer),
}


def served(
    server: Server, rng: random.Random, count: int, unknown: float = 0.3, overlap: int = 3
) -> list[Operation]:
    """What clients see of a server that does one thing at a time: always linearizable. Each operation's interval lies
    around its instant, up to `overlap` instants to each side."""
    history = []
    for number in range(count):
        instant = number * GAP_NS
        call = instant - rng.randint(0, overlap * GAP_NS)
        back = instant + rng.randint(0, overlap * GAP_NS)
        asked, fate = server.ask(rng), rng.random()
        if fate < unknown / 2:  # never done
            output: Hashable = rng.choice([UNKNOWN, UNKNOWN, REFUSED])
        else:
            output = server.serve(asked, rng)
            output = UNKNOWN if fate < unknown else output
        history.append(Operation(f"client {number % 10}", call, back, asked, output))
    rng.shuffle(history)
    return history


def spoiled(server: Server, history: Sequence[Operation], rng: random.Random) -> list[Operation]:
    """The same history with one or two answers that are made up."""
    spoiled = list(history)
    answered = [n for n, op in enumerate(history) if op.output not in (UNKNOWN, REFUSED)]
    for number in rng.sample(answered, min(len(answered), rng.randint(1, 2))):
        op = spoiled[number]
        spoiled[number] = replace(op, output=server.lie(op.input, rng))
    return spoiled


# ── The other judge ────────────────────────────────────────────────────────────────────────────────────────────────


def some_order_explains(model: Model, history: Sequence[Operation], required: Sequence[Operation]) -> bool:
    """Whether the operations of one key can be put in an order that the model accepts, those that are not `required` (or
    have no outcome) being free to stay away. Tries every order."""
    left = tuple(op for op in history if op.output is not REFUSED)
    must = frozenset(id(op) for op in required if op.output not in (UNKNOWN, REFUSED))
    return _explains(model, model.initial, left, must)


def _explains(model: Model, state: object, left: tuple[Operation, ...], must: frozenset[int]) -> bool:
    if not any(id(op) in must for op in left):
        return True
    for number, op in enumerate(left):
        others = (*left[:number], *left[number + 1 :])
        if any(other.output is not UNKNOWN and (other.return_ns or 0) < op.call_ns for other in others):
            continue
        for told in _answers(op, left):
            after = model.step(state, op.input, told)
            if after is not None and _explains(model, after, others, must):
                return True
    return False


def _answers(op: Operation, left: Sequence[Operation]) -> Iterator[Hashable]:
    """What it was told; of a claim without an outcome every token that it may have got, one by one."""
    if isinstance(op.input, Claim) and op.output is UNKNOWN:
        yield from range(1, 4 + TOKEN_STEP_MAX * (len(left) + 1))
    else:
        yield op.output
