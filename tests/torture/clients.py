"""What clients do and see while everything goes wrong, in the words of the judges."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from incumbent.check.models import (
    ABSENT,
    REFUSED,
    UNKNOWN,
    Cell,
    CompareAndSwap,
    Delete,
    Get,
    Operation,
    Put,
)
from incumbent.errors import EngineUnavailable, IncumbentError, OutcomeUnknown, Overloaded
from incumbent.kv import api as kv
from incumbent.leadership.connect import connect
from incumbent.leadership.term import Term
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.frames import Address

CALL_TIMEOUT_S: Final = 3.0
KEYS: Final = 24
OPERATIONS_PER_ROUND: Final = 3000
"""Then other keys are used: what is unknown of a key makes its judgement harder with every one."""
TTL_S: Final = 2.0


@dataclass
class Recorded:
    operations: list[Operation] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"done": 0, "refused": 0, "unknown": 0})
    started: int = 0

    def key(self, random: Random) -> bytes:
        return b"%d/%d" % (self.started // OPERATIONS_PER_ROUND, random.randrange(KEYS))


def choose(random: Random, key: bytes, version: int, value: bytes) -> Any:
    kind = random.random()
    if kind < 0.4:
        return Get(key)
    if kind < 0.7:
        return Put(key, value)
    return CompareAndSwap(key, version, value) if kind < 0.95 else Delete(key)


async def perform(client: ClusterClient, asked: Any) -> Any:
    key, value = asked.key, getattr(asked, "value", b"")
    match asked:
        case Get():
            found = (await client.read(kv.Range(key), timeout=CALL_TIMEOUT_S)).results[0].kvs
            return Cell(found[0].value, found[0].version) if found else ABSENT
        case Put():
            await client.submit(kv.Put(key, value), timeout=CALL_TIMEOUT_S)
            return None
        case Delete():
            gone = await client.submit(kv.DeleteRange(key), timeout=CALL_TIMEOUT_S)
            return bool(gone.results[0].kvs)
        case CompareAndSwap(version=version):
            condition = kv.Condition(key, kv.Compare.VERSION, kv.Is.EQUAL, version)
            swap = kv.Txn((condition,), (kv.Put(key, value),))
            return (await client.submit(swap, timeout=CALL_TIMEOUT_S)).succeeded
        case _:
            raise AssertionError(asked)


async def one_operation(client: ClusterClient, process: str, asked: Any, recorded: Recorded) -> Any:
    """Do it once and write down what came of it; never guess."""
    call_ns = time.monotonic_ns()
    try:
        told = await perform(client, asked)
    except (EngineUnavailable, Overloaded):
        told = REFUSED
    except OutcomeUnknown:
        told = UNKNOWN
    except asyncio.CancelledError:  # the run is over, and what was sent may yet be done
        recorded.operations.append(Operation(process, call_ns, None, asked, UNKNOWN))
        raise
    kind = "unknown" if told is UNKNOWN else "refused" if told is REFUSED else "done"
    recorded.counts[kind] += 1
    return_ns = None if told is UNKNOWN else time.monotonic_ns()
    recorded.operations.append(Operation(process, call_ns, return_ns, asked, told))
    return told


async def work(
    number: int, addresses: dict[str, Address], recorded: Recorded, seed: int, pause_s: float
) -> None:
    """One client, for ever. After an unknown outcome it goes on under another name, as the judge wants it."""
    random = Random(f"{seed}/{number}")
    client = ClusterClient(addresses, "torture")
    versions: dict[bytes, int] = {}
    life = 0
    try:
        while True:
            recorded.started += 1
            key = recorded.key(random)
            asked = choose(random, key, versions.get(key, 0), b"%d-%d" % (number, recorded.started))
            told = await one_operation(client, f"{number}.{life}", asked, recorded)
            if isinstance(told, Cell):
                versions[key] = told.version
            if told is UNKNOWN:
                life += 1
            await asyncio.sleep(pause_s * random.random())
    finally:
        await client.close()


@dataclass
class Terms:
    """Who led when. All candidates are in one process, so that two at one moment can be seen."""

    now: dict[int, Term] = field(default_factory=dict)
    tokens: list[int] = field(default_factory=list)
    overlaps: list[str] = field(default_factory=list)

    def look(self) -> None:
        valid = {number: term.token for number, term in self.now.items() if term.is_valid}
        if len(valid) > 1:
            self.overlaps.append(f"two lead at one time: {valid}")

    def begun(self, number: int, term: Term) -> None:
        if self.tokens and term.token <= self.tokens[-1]:
            self.overlaps.append(f"token {term.token} after {self.tokens[-1]}")
        self.tokens.append(term.token)
        self.now[number] = term
        self.look()


async def stand(number: int, url: str, terms: Terms) -> None:
    """A candidate, for ever: leads for a while, resigns, stands again."""
    while True:
        try:
            async with connect(url, ttl=TTL_S, guardian=False) as cluster:

                async def reign(term: Term) -> None:
                    terms.begun(number, term)
                    for _ in range(300):
                        await asyncio.sleep(0.01)
                        terms.look()

                while True:
                    try:
                        await cluster.election("torture").run(reign)
                    finally:
                        terms.now.pop(number, None)
        except IncumbentError:
            await asyncio.sleep(0.1)
