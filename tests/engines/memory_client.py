"""A cluster of one in memory, in injected time, whose answers can be lost: what the engine's tests link to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from enum import Enum, auto

from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.errors import EngineUnavailable, OutcomeUnknown
from incumbent.ids import Index, LeaseId, Revision, Term
from incumbent.kv.api import (
    NO_LEASE,
    Code,
    Command,
    LeaseExpire,
    LeaseGrant,
    Query,
    Result,
    decode,
    encode,
)
from incumbent.kv.machine import Machine
from incumbent.runtime.watches import Watches

TERM = Term(1)
VOTERS = {"a": ("127.0.0.1", 7001)}


class Fault(Enum):
    """What happens to one submit or read."""

    NONE = auto()
    UNAVAILABLE = auto()  # certainly not applied
    LOST = auto()  # never arrives, and nobody knows
    ANSWER_LOST = auto()  # applied, and nobody knows
    DELAYED = auto()  # arrives when `deliver_delayed` is called, and nobody knows


class MemoryCluster:
    def __init__(self) -> None:
        self.machine = Machine()
        self.now_ns = 1
        self.links: list[MemoryLink] = []
        self._ends_ns: dict[LeaseId, int] = {}
        self._delayed: list[Command] = []

    def engine(self) -> ClusterEngine:
        return ClusterEngine(MemoryLink(self), cluster="test", voters=lambda: VOTERS)

    def apply(self, command: Command) -> Result:
        index = Index(self.machine.applied + 1)
        outcome = self.machine.apply(index, TERM, decode(encode(command)))
        if isinstance(command, LeaseGrant) and outcome.result.code is Code.OK:
            self._ends_ns.setdefault(command.id, self.now_ns + command.ttl_ns)
        for lease in set(self._ends_ns) - {lease for lease, _ in self.machine.leases()}:
            del self._ends_ns[lease]
        self.machine.invariants()
        for link in self.links:
            link.watches.wake(outcome.changes)
        return outcome.result

    def renew(self, lease: LeaseId) -> Result:
        ttl_ns = self.machine.lease_ttl_ns(lease)
        if ttl_ns is None:
            return Result(Code.LEASE_NOT_FOUND, self.machine.revision)
        self._ends_ns[lease] = self.now_ns + ttl_ns
        return Result(Code.OK, self.machine.revision)

    def pass_time(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
        for lease, end_ns in sorted(self._ends_ns.items(), key=lambda item: item[1]):
            if end_ns <= self.now_ns:
                self.apply(LeaseExpire(lease, TERM))

    def delay(self, command: Command) -> None:
        self._delayed.append(command)

    def deliver_delayed(self) -> None:
        while self._delayed:
            self.apply(self._delayed.pop(0))


class MemoryLink:
    """One client. `faults` are used up, one per submit, `read_faults` one per read; where there are none, all goes well."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.watches = Watches(cluster.machine)
        self.faults: deque[Fault] = deque()
        self.read_faults: deque[Fault] = deque()
        self.submitted: list[Command] = []
        self._closed = False
        cluster.links.append(self)

    async def submit(self, command: Command, *, timeout: float) -> Result:
        self._check()
        await asyncio.sleep(0)
        self.submitted.append(command)
        fault = self.faults.popleft() if self.faults else Fault.NONE
        match fault:
            case Fault.UNAVAILABLE:
                raise EngineUnavailable("fault")
            case Fault.DELAYED:
                self.cluster.delay(command)
            case Fault.NONE | Fault.ANSWER_LOST:
                result = self.cluster.apply(command)
                await asyncio.sleep(0)
                if fault is Fault.NONE:
                    return result
        raise OutcomeUnknown("fault")

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        self._check()
        await asyncio.sleep(0)
        if self.read_faults and self.read_faults.popleft() is not Fault.NONE:
            raise EngineUnavailable("fault")
        return self.cluster.machine.query(query)

    async def renew(self, lease: LeaseId, *, patience: float = 0.0, timeout: float) -> Result:
        self._check()
        await asyncio.sleep(0)
        if self.read_faults and self.read_faults.popleft() is not Fault.NONE:
            raise EngineUnavailable("fault")
        return self.cluster.renew(lease)

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        return self.watches.watch(key, end, after)

    async def close(self) -> None:
        self._closed = True
        self.watches.end()

    def _check(self) -> None:
        if self._closed:
            raise EngineUnavailable("this link is closed")
