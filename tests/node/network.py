"""Pure nodes on a table: messages move by hand, time by hand, disks succeed at once unless stalled. Deterministic."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from random import Random

from incumbent.consensus.api import (
    Entry,
    Envelope,
    Membership,
    MembershipChange,
    Message,
    Pieced,
    Role,
    Saved,
    Snapshot,
    Timing,
)
from incumbent.ids import Index, LeaseId, NodeId, RequestId
from incumbent.kv.api import NO_LEASE, Change, Code, Command, LeaseGrant, Put, Query, Range, ReportDigest
from incumbent.node.api import Done, NodeReady, Outcome
from incumbent.node.node import Limits, Node

MS = 1_000_000
S = 1000 * MS
TIMING = Timing(heartbeat_ns=20 * MS, election_timeout_min_ns=100 * MS, election_timeout_max_ns=200 * MS)
DELAY_NS = MS
SEVEN = LeaseId(7)
TTL = S


@dataclass
class Disk:
    hard_state: bytes | None = None
    entries: dict[Index, Entry] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    incoming: bytes = b""

    def persist(self, ready: NodeReady) -> None:
        record = ready.record
        if record is None:
            return
        if record.hard_state is not None:
            self.hard_state = record.hard_state
        for piece in record.pieces:
            self.incoming = self.incoming[: piece.offset] + piece.data
        if record.snapshot is not None:
            self.snapshot = record.snapshot
            if isinstance(record.snapshot.state, Pieced):
                self.snapshot = replace(record.snapshot, state=self.incoming)
            self.entries = {index: e for index, e in self.entries.items() if index > record.snapshot.index}
        if record.truncate_from is not None:
            for index in [index for index in self.entries if index >= record.truncate_from]:
                del self.entries[index]
        for entry in record.entries:
            self.entries[entry.index] = entry


class Table:
    def __init__(
        self, names: str = "abc", *, spare: str = "", limits: Limits = Limits(), seed: int = 1
    ) -> None:
        """`names` are the first members; who is `spare` runs, and may become one."""
        self.now_ns = 1000 * S
        self.ids = [NodeId(name) for name in names + spare]
        self.membership = Membership(frozenset(NodeId(name) for name in names))
        self.disks = {node: Disk() for node in self.ids}
        self.nodes: dict[NodeId, Node] = {}
        self.outcomes: dict[RequestId, Outcome] = {}
        self.changes: dict[NodeId, list[Change]] = {}
        self.stalled: dict[NodeId, NodeReady | None] = {}  # disks that do not answer
        self.cut: set[NodeId] = set()
        self.reports: list[ReportDigest] = []  # not with the leader yet
        self.loses: Callable[[Envelope], bool] = lambda _: False
        self._limits = limits
        self._random = Random(seed)
        self._requests = count()
        self._flying: deque[tuple[int, NodeId, Envelope]] = deque()
        self.delay_ns: Callable[[], int] = lambda: DELAY_NS
        for node in self.ids:
            self.start(node)

    def start(self, node: NodeId) -> None:
        disk = self.disks[node]
        self.changes[node] = []
        self.nodes[node] = Node(
            node, self.membership, Saved(disk.hard_state, dict(disk.entries), disk.snapshot), random=Random(self._random.random()),
            now_ns=self.now_ns, timing=TIMING, limits=self._limits,
        )  # fmt: skip

    def crash(self, node: NodeId) -> None:
        del self.nodes[node]
        self.stalled.pop(node, None)

    def stall(self, node: NodeId) -> None:
        """From now on its disk does not answer, and nothing that rests on it leaves."""
        self.stalled[node] = None

    def unstall(self, node: NodeId) -> None:
        ready = self.stalled.pop(node)
        if ready is not None:
            self._finish(node, ready)
        self._pump(node)

    # --- requests --------------------------------------------------------------------------------------------------

    def submit(self, node: NodeId, command: Command) -> RequestId:
        request = RequestId(next(self._requests))
        self.nodes[node].submit(request, command, self.now_ns)
        self._pump(node)
        return request

    def read(self, node: NodeId, query: Query, lease: LeaseId = NO_LEASE) -> RequestId:
        request = RequestId(next(self._requests))
        self.nodes[node].read(request, query, self.now_ns, lease=lease)
        self._pump(node)
        return request

    def renew(self, node: NodeId, lease: LeaseId, *, patience_ns: int = 0) -> RequestId:
        request = RequestId(next(self._requests))
        self.nodes[node].renew(request, lease, self.now_ns, patience_ns=patience_ns)
        self._pump(node)
        return request

    def change(self, node: NodeId, voters: str, learners: str = "", witnesses: str = "") -> RequestId:
        """Ask for another membership."""
        wanted = [frozenset(NodeId(name) for name in names) for names in (voters, learners, witnesses)]
        request = RequestId(next(self._requests))
        self.nodes[node].change_membership(request, MembershipChange(*wanted), self.now_ns)
        self._pump(node)
        return request

    def transfer(self, node: NodeId, to: NodeId) -> RequestId:
        request = RequestId(next(self._requests))
        self.nodes[node].transfer(request, to, self.now_ns)
        self._pump(node)
        return request

    def answer(self, request: RequestId) -> Outcome:
        """Run until the request is answered."""
        self.run_until(lambda: request in self.outcomes)
        return self.outcomes[request]

    def receive(self, node: NodeId, sender: NodeId, message: Message) -> None:
        """Hand over a message by hand."""
        self.nodes[node].receive(sender, message, self.now_ns)
        self._pump(node)

    # --- time ------------------------------------------------------------------------------------------------------

    def leader(self) -> NodeId:
        """Run until a node serves, and no other believes that it does in a later term."""
        self.run_until(lambda: bool(self._serving()))
        return self._serving()[0]

    def _serving(self) -> list[NodeId]:
        statuses = [node.status().replica for name, node in self.nodes.items() if name not in self.cut]
        latest = max((status.term for status in statuses), default=0)
        return [s.me for s in statuses if s.role is Role.LEADER and s.serving and s.term == latest]

    def run_until(self, holds: Callable[[], bool], within_ns: int = 20 * S) -> None:
        deadline = self.now_ns + within_ns
        while not holds():
            assert self.now_ns < deadline, "nothing came of it"
            self.tick()

    def run_for(self, duration_ns: int) -> None:
        deadline = self.now_ns + duration_ns
        while self.now_ns < deadline:
            self.tick()

    def tick(self) -> None:
        """One millisecond: timers, then what arrives."""
        self.now_ns += MS
        if self.reports and self._serving():
            self.submit(self._serving()[0], self.reports.pop(0))
        for name, node in list(self.nodes.items()):
            if node.deadline_ns <= self.now_ns:
                node.deadline_passed(self.now_ns)
                self._pump(name)
        arriving = [item for item in self._flying if item[0] <= self.now_ns]
        self._flying = deque(item for item in self._flying if item[0] > self.now_ns)
        for _, sender, envelope in arriving:
            if (
                envelope.to in self.nodes
                and not {sender, envelope.to} & self.cut
                and not self.loses(envelope)
            ):
                self.receive(envelope.to, sender, envelope.message)

    def _pump(self, name: NodeId) -> None:
        """The driver's loop."""
        node = self.nodes[name]
        node.invariants()
        node.invariants_at_rest()
        while name not in self.stalled or self.stalled[name] is None:
            ready = node.ready(self.now_ns)
            if ready is None:
                return
            self._send(name, ready.now)
            if name in self.stalled and ready.record is not None:
                self.stalled[name] = ready
                return
            self._finish(name, ready)

    def _finish(self, name: NodeId, ready: NodeReady) -> None:
        self.disks[name].persist(ready)
        self._send(name, ready.messages)
        node = self.nodes[name]
        applied = node.advance(self.now_ns, self.disks[name].snapshot)
        if node.snapshot_due and (frozen := node.begin_snapshot()) is not None:
            node.snapshot_taken(frozen.index, b"".join(frozen.chunks), self.now_ns)
        for request, outcome in applied.outcomes:
            assert request not in self.outcomes, "a request is answered once"
            self.outcomes[request] = outcome
        self.changes[name] += applied.changes
        if applied.digest is not None:
            self.reports.append(applied.digest)
        self.nodes[name].invariants()
        self.nodes[name].invariants_at_rest()

    def _send(self, sender: NodeId, envelopes: object) -> None:
        for envelope in envelopes:  # type: ignore[attr-defined]
            self._flying.append((self.now_ns + self.delay_ns(), sender, envelope))


def code(outcome: Outcome) -> Code:
    assert isinstance(outcome, Done), outcome
    return outcome.result.code


def value(table: Table, node: NodeId, key: bytes) -> bytes | None:
    outcome = table.answer(table.read(node, Range(key)))
    assert isinstance(outcome, Done)
    kvs = outcome.result.results[0].kvs
    return kvs[0].value if kvs else None


def granted(table: Table, ttl_ns: int = TTL) -> NodeId:
    """A leader that has granted lease 7 with one key."""
    leader = table.leader()
    assert code(table.answer(table.submit(leader, LeaseGrant(SEVEN, ttl_ns)))) is Code.OK
    assert code(table.answer(table.submit(leader, Put(b"m", b"", SEVEN)))) is Code.OK
    return leader


def others(table: Table, node: NodeId) -> list[NodeId]:
    return [each for each in table.ids if each != node]
