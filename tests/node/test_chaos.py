"""Nodes under crashes, partitions, stalled disks and lost messages, with small snapshots, while memberships change and leaders
hand over: what was promised about requests and leases is kept.

A failing seed is in the test's id: ``pytest "tests/node/test_chaos.py::test_promises_are_kept[7]"`` replays it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

import pytest

from incumbent.consensus.api import ReplicaLimits
from incumbent.ids import Index, LeaseId, NodeId, RequestId, Revision
from incumbent.kv.api import Code, LeaseGrant, Once, Put, Range
from incumbent.node.api import Done, NodeReady, Refused
from incumbent.node.node import Limits, Node
from tests.node.network import DELAY_NS, MS, S, Table

TTL = 400 * MS
COURSE_NS = 4 * S
SESSION = LeaseId(1)
SESSION_TTL = 3600 * S
SMALL = Limits(snapshot_entries=15, replica=ReplicaLimits(compaction_tail=3, snapshot_chunk_bytes=100))


@dataclass(frozen=True)
class Promise:
    """If `request` is acknowledged, `lease` lives until `until_ns` at least."""

    request: RequestId
    lease: LeaseId
    until_ns: int


class Chaos(Table):
    def __init__(self, seed: int, *, spare: str = "", limits: Limits = Limits()) -> None:
        super().__init__(spare=spare, limits=limits, seed=seed)
        self.random = Random(seed)
        self.puts: dict[RequestId, bytes] = {}
        self.promises: list[Promise] = []
        self.ended_ns: dict[LeaseId, int] = {}  # when the first node of all applied its end
        self.terms: dict[int, NodeId] = {}  # who served
        self.crashed_requests: set[RequestId] = set()  # asked of a process that is gone: nobody will answer
        self._asked: dict[NodeId, list[RequestId]] = {node: [] for node in self.ids}
        self._live: dict[NodeId, tuple[Node, set[LeaseId]]] = {}
        self._leases = SESSION + 1

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
                assert self.terms.setdefault(status.term, name) == name, "one server per term"

    # --- what may happen -------------------------------------------------------------------------------------------

    def somebody(self) -> NodeId:
        """Mostly whoever thinks that it leads, which may be several."""
        leaders = [name for name, node in self.nodes.items() if node.status().replica.serving]
        return self.random.choice(leaders if leaders and self.random.random() < 0.9 else list(self.nodes))

    def ask(self) -> None:
        node = self.somebody()
        lease = LeaseId(self.random.randint(max(SESSION + 1, self._leases - 2), self._leases))
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
        self.heal()
        self.answer(self.submit(self.leader(), Put(b"end", b"")))
        self.run_for(2 * TTL)

    def heal(self) -> None:
        self.loses = lambda _: False
        self.mend()

    # --- what must hold --------------------------------------------------------------------------------------------

    def data_members(self) -> list[Node]:
        """Who has to have everything in the end."""
        membership = self.nodes[self.leader()].standing().membership
        return [self.nodes[name] for name in sorted(membership.everyone - membership.witnesses)]

    def judge(self) -> None:
        for promise in self.promises:
            outcome = self.outcomes.get(promise.request)
            if isinstance(outcome, Done) and outcome.result.code is Code.OK:
                ended_ns = self.ended_ns.get(promise.lease)
                assert ended_ns is None or ended_ns >= promise.until_ns, promise
        machines = [node.machine for node in self.data_members()]
        assert len({machine.snapshot() for machine in machines}) == 1
        assert {lease for lease, _ in machines[0].leases()} <= {SESSION}, "nobody renews any more"
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


class Changing(Chaos):
    """The same while voters, learners and witnesses come and go, leaders hand over, snapshots are small and late, messages
    overtake each other, and a client asks for one thing until it is done."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed, spare="defgh", limits=SMALL)
        self.delay_ns = lambda: self.random.choice((1, 1, 1, 2, 5)) * DELAY_NS
        self.happened: Counter[str] = Counter()
        self.witnesses = frozenset(NodeId(name) for name in "gh")  # if they are anything
        self.applied: dict[Index, Revision] = {}  # how far each entry brought the first who applied it
        self.asked_once: dict[RequestId, Once] = {}  # every try
        self.done_once: set[int] = set()
        self._sequence = 0

    def _finish(self, name: NodeId, ready: NodeReady) -> None:
        super()._finish(name, ready)
        if name not in self.witnesses:
            machine = self.nodes[name].machine
            first = self.applied.setdefault(machine.applied, machine.revision)
            assert first == machine.revision, "the same entries give the same state everywhere"

    def ask(self) -> None:
        kind = self.random.random()
        if kind < 0.06:
            self.ask_for_members()
        elif kind < 0.1:
            node = self.somebody()
            to = self.random.choice(sorted(self.nodes[node].standing().membership.everyone))
            self._note("transfer", node, self.transfer(node, to))
        elif kind < 0.25:
            self.ask_once()
        else:
            super().ask()

    def _note(self, what: str, node: NodeId, request: RequestId) -> None:
        self._asked[node].append(request)
        outcome = self.outcomes.get(request)
        self.happened[f"{what} {outcome.reason if isinstance(outcome, Refused) else 'begun'}"] += 1

    def ask_for_members(self) -> None:
        """Of whatever the one who is asked takes for the present: somebody comes, moves up, moves down or leaves."""
        node = self.somebody()
        present = self.nodes[node].standing().membership
        voters, learners = set(present.voters), set(present.learners)
        for _ in range(self.random.choice((1, 1, 2))):
            who = self.random.choice(self.ids)
            if who in learners:
                learners.remove(who)
                if self.random.random() < 0.8:
                    voters.add(who)
            elif who in voters:
                voters.remove(who)
                if self.random.random() < 0.3:
                    learners.add(who)
            else:
                learners.add(who)
        names = ["".join(sorted(group)) for group in (voters, learners, self.witnesses & (voters | learners))]
        self._note("change", node, self.change(node, *names))

    def ask_once(self) -> None:
        """The same again while it is not known to be done, wherever; then the next."""
        if not self.asked_once:
            self._sequence = 1
        elif any(
            isinstance(self.outcomes.get(request), Done) and once.sequence == self._sequence
            for request, once in self.asked_once.items()
        ):
            self.done_once.add(self._sequence)
            self._sequence += 1
        node = self.somebody()
        once = Once(
            SESSION, self._sequence, max(0, self._sequence - 3), Put(b"once/%d" % self._sequence, b"")
        )
        request = self.submit(node, once)
        self.asked_once[request] = once
        self._asked[node].append(request)

    def course(self) -> None:
        granted = self.answer(self.submit(self.leader(), LeaseGrant(SESSION, SESSION_TTL)))
        assert isinstance(granted, Done)
        super().course()
        self.run_for(S)  # a member that was far behind is sent a snapshot

    def judge(self) -> None:
        super().judge()
        machine = self.data_members()[0].machine
        found = machine.query(Range(b"once/", b"once0")).results[0].kvs
        assert {kv.version for kv in found} <= {1}, "done twice"
        assert {b"once/%d" % sequence for sequence in self.done_once} <= {kv.key for kv in found}


def run(chaos: Chaos) -> Chaos:
    chaos.leader()
    chaos.course()
    chaos.judge()
    return chaos


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_promises_are_kept(seed: int) -> None:
    """P58, P59 and the three lease rules: an acknowledged grant or renewal is good for a full ttl from its receipt, whoever
    leads meanwhile. Done is never lost, Refused never applied, and every request that can be answered is."""
    chaos = run(Chaos(seed))
    assert len(chaos.terms) > 1, "leaders changed"
    assert chaos.acknowledged() > 20, "promises were made"
    assert chaos.ended_ns, "leases ended"


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_promises_are_kept_while_everything_changes(seed: int) -> None:
    """P51, P54, P57, P58, P59: over snapshots, changes of members and transfers too; and what is asked until it is answered is
    done once (P3)."""
    chaos = Changing(seed)
    run(chaos)
    assert len(chaos.terms) > 1, "leaders changed"
    assert chaos.acknowledged() > 20, "promises were made"
