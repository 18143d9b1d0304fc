"""Nodes under crashes, partitions, stalled disks and lost messages: what was promised about requests and leases is kept.

A failing seed is in the test's id: ``pytest "tests/node/test_chaos.py::test_promises_are_kept[7]"`` replays it.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from incumbent.ids import LeaseId, NodeId, RequestId
from incumbent.kv.api import Code, LeaseGrant, Put, Range
from incumbent.node.api import Done, Refused
from incumbent.node.node import Node
from tests.node.network import MS, S, Table

TTL = 400 * MS
COURSE_NS = 4 * S


@dataclass(frozen=True)
class Promise:
    """If `request` is acknowledged, `lease` lives until `until_ns` at least."""

    request: RequestId
    lease: LeaseId
    until_ns: int


class Chaos(Table):
    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self.random = Random(seed)
        self.puts: dict[RequestId, bytes] = {}
        self.promises: list[Promise] = []
        self.ended_ns: dict[LeaseId, int] = {}  # when the first node of all applied its end
        self.terms: set[int] = set()
        self.crashed_requests: set[RequestId] = set()  # asked of a process that is gone: nobody will answer
        self._asked: dict[NodeId, list[RequestId]] = {node: [] for node in self.ids}
        self._live: dict[NodeId, tuple[Node, set[LeaseId]]] = {}
        self._leases = 1

    def tick(self) -> None:
        super().tick()
        for name, node in self.nodes.items():
            live = {lease for lease, _ in node.machine.leases()}
            of, before = self._live.get(name, (node, set()))
            if of is node:  # a restarted one begins anew
                for lease in before - live:
                    self.ended_ns.setdefault(lease, self.now_ns)
            self._live[name] = (node, live)
            status = node.status().replica
            if status.serving:
                self.terms.add(status.term)

    # --- what may happen -------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Mostly of whoever thinks that it leads, which may be several."""
        leaders = [name for name, node in self.nodes.items() if node.status().replica.serving]
        node = self.random.choice(leaders if leaders and self.random.random() < 0.9 else list(self.nodes))
        lease = LeaseId(self.random.randint(max(1, self._leases - 2), self._leases))
        kind = self.random.random()
        if kind < 0.5:
            request = self.renew(node, lease)
            self.promises.append(Promise(request, lease, self.now_ns + TTL))
        elif kind < 0.65:
            self._leases += 1
            request = self.submit(node, LeaseGrant(LeaseId(self._leases), TTL))
            self.promises.append(Promise(request, LeaseId(self._leases), self.now_ns + TTL))
        elif kind < 0.9:
            key = b"%d" % len(self.puts)
            request = self.submit(node, Put(key, b""))
            self.puts[request] = key
        else:
            request = self.read(node, Range(b"0", b"9"), lease=lease)
        self._asked[node].append(request)

    def harm(self) -> None:
        node = self.random.choice(self.ids)
        match self.random.randrange(5):
            case 0 if node in self.nodes and len(self.nodes) > 1:
                self.crash(node)
                self.crashed_requests.update(r for r in self._asked[node] if r not in self.outcomes)
                self._asked[node] = []
            case 1 if node in self.nodes and node not in self.stalled:
                self.stall(node)
            case 2 if not self.cut:
                self.cut.add(node)
            case 3:
                share = self.random.choice((0.0, 0.1, 0.3))
                self.loses = lambda _: self.random.random() < share
            case _:
                self.mend()

    def mend(self) -> None:
        self.cut.clear()
        for node in list(self.stalled):
            self.unstall(node)
        for node in self.ids:
            if node not in self.nodes:
                self.start(node)

    def course(self) -> None:
        end_ns = self.now_ns + COURSE_NS
        while self.now_ns < end_ns:
            for _ in range(self.random.randint(0, 3)):
                self.ask()
            if self.random.random() < 0.15:
                self.harm()
            self.run_for(self.random.randint(2, 40) * MS)
        self.loses = lambda _: False
        self.mend()
        self.answer(self.submit(self.leader(), Put(b"end", b"")))
        self.run_for(2 * TTL)

    # --- what must hold --------------------------------------------------------------------------------------------

    def judge(self) -> None:
        for promise in self.promises:
            outcome = self.outcomes.get(promise.request)
            if isinstance(outcome, Done) and outcome.result.code is Code.OK:
                ended_ns = self.ended_ns.get(promise.lease)
                assert ended_ns is None or ended_ns >= promise.until_ns, promise
        machines = [node.machine for node in self.nodes.values()]
        assert len({machine.snapshot() for machine in machines}) == 1
        assert machines[0].leases() == [], "nobody renews any more"
        there = {found.key for found in machines[0].query(Range(b"0", b"\xff")).results[0].kvs}
        for request, key in self.puts.items():
            outcome = self.outcomes.get(request)
            if isinstance(outcome, Done):
                assert key in there, f"acknowledged and lost: {request}"
            elif isinstance(outcome, Refused):
                assert key not in there, f"refused and applied: {request}"
        unanswered = {r for asked in self._asked.values() for r in asked if r not in self.outcomes}
        assert unanswered == set()

    def acknowledged(self) -> int:
        return sum(isinstance(self.outcomes.get(promise.request), Done) for promise in self.promises)


def run(seed: int) -> Chaos:
    chaos = Chaos(seed)
    chaos.leader()
    chaos.course()
    chaos.judge()
    return chaos


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_promises_are_kept(seed: int) -> None:
    """P58, P59 and the three lease rules: an acknowledged grant or renewal is good for a full ttl from its receipt, whoever
    leads meanwhile. Done is never lost, Refused never applied, and every request that can be answered is."""
    chaos = run(seed)
    assert len(chaos.terms) > 1, "leaders changed"
    assert chaos.acknowledged() > 20, "promises were made"
    assert chaos.ended_ns, "leases ended"
