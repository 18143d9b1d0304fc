"""A cluster of replicas in one process, written from docs/reference/consensus.md alone.

It is a check of that page: a driver that knows nothing else must be able to keep every duty. Time is virtual, messages
travel as encoded bytes, a disk keeps a record whole or not at all, and every run is the same. The state machine is the
plainest one that can be compared: the list of what was applied. The cluster itself watches what the page promises.
"""

import heapq
import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from itertools import count

import msgspec

from incumbent.consensus.api import (
    Committed,
    DeadlinePassed,
    Entry,
    Envelope,
    Event,
    Leadership,
    Membership,
    PeerLost,
    Pieced,
    Placed,
    ReadReady,
    Ready,
    Received,
    Record,
    ReplicaLimits,
    Saved,
    Snapshot,
    SnapshotTaken,
    Why,
)
from incumbent.consensus.raft.messages import decode, encode
from incumbent.consensus.raft.replica import Raft
from incumbent.ids import Index, NodeId, Term

MS = 1_000_000
NETWORK_NS = MS

Applied = tuple[Index, bytes]


class Done(msgspec.Struct, frozen=True):
    """The request ended well; this is what the machine held then."""

    machine: list[Applied]


class Lost(msgspec.Struct, frozen=True):
    """Another entry was applied where the request's own was placed."""


Outcome = Done | Lost | Why


class Disk:
    """What is durable of one replica: the effect of all its records, in the order in which they came."""

    def __init__(self) -> None:
        self.hard_state: bytes | None = None
        self.entries: dict[Index, Entry] = {}
        self.snapshot: Snapshot | None = None
        self.incoming = b""
        self.write_ns = MS

    def write(self, record: Record) -> None:
        for piece in record.pieces:
            self.incoming = self.incoming[: piece.offset] + piece.data
        if (snapshot := record.snapshot) is not None:
            if isinstance(snapshot.state, Pieced):
                snapshot = replace(snapshot, state=self.incoming)
            self.snapshot = snapshot
            self.entries = {at: entry for at, entry in self.entries.items() if at > snapshot.index}
        if (start := record.truncate_from) is not None:
            self.entries = {at: entry for at, entry in self.entries.items() if at < start}
        self.entries.update((entry.index, entry) for entry in record.entries)
        if record.hard_state is not None:
            self.hard_state = record.hard_state

    def saved(self) -> Saved:
        return Saved(hard_state=self.hard_state, entries=dict(self.entries), snapshot=self.snapshot)


class Host:
    """One process: a replica, its machine, and the requests that wait here. A crash forgets it; the disk stays."""

    def __init__(self, name: NodeId, replica: Raft, disk: Disk) -> None:
        self.name = name
        self.replica = replica
        self.disk = disk
        self.writing = False
        self.armed_ns = -1
        self.serving = Term(0)  # the term that it serves, 0 for none
        self.machine: list[Applied] = []
        self.applied = Index(0)
        self.placed: dict[Index, list[Placed]] = {}
        self.reads: list[ReadReady] = []


class Cluster:
    def __init__(
        self,
        names: Iterable[NodeId],
        *,
        witnesses: Iterable[NodeId] = (),
        limits: ReplicaLimits = ReplicaLimits(),
        urgent: bool = False,
    ) -> None:
        """`urgent`: its drivers hand out what need not wait for a write."""
        self.first = Membership(voters=frozenset(names), witnesses=frozenset(witnesses))
        self.limits = limits
        self.urgent = urgent
        self.now_ns = 0
        self.hosts: dict[NodeId, Host] = {}
        self.disks: dict[NodeId, Disk] = {}
        self.cut: set[frozenset[NodeId]] = set()
        self.outcomes: dict[int, Outcome] = {}
        # What the page promises of the whole cluster: one server a term, one entry an index.
        self.served: dict[Term, NodeId] = {}
        self.history: dict[Index, Committed] = {}
        self._calls: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._starts = count()
        self._requests = count(1)
        for name in sorted(self.first.voters):
            self.start(name)

    # The world: processes, links, time.

    def start(self, name: NodeId) -> None:
        disk = self.disks.setdefault(name, Disk())
        replica = Raft(
            name,
            self.first,
            disk.saved(),
            random=random.Random(f"{name}/{next(self._starts)}"),
            now_ns=self.now_ns,
            limits=self.limits,
        )
        self.hosts[name] = Host(name, replica, disk)
        self._drive(self.hosts[name])

    def crash(self, name: NodeId, *, seen: bool = False) -> None:
        """The process ends; if it is seen, every other one hears that its connection closed."""
        del self.hosts[name]
        if seen:
            for other in self.hosts:
                self._after(NETWORK_NS, partial(self.lose, other, name))

    def lose(self, name: NodeId, peer: NodeId) -> None:
        """The process is told, rightly or not, that its peer's is gone."""
        self._step(self.hosts[name], PeerLost(peer))

    def isolate(self, name: NodeId) -> None:
        self.cut |= {frozenset({name, other}) for other in self.disks if other != name}

    def heal(self) -> None:
        self.cut.clear()

    def run(self, until: Callable[[], bool], within_ns: int = 5_000 * MS) -> None:
        end_ns = self.now_ns + within_ns
        while not until():
            self.now_ns, _, call = heapq.heappop(self._calls)
            assert self.now_ns <= end_ns, "it did not happen in time"
            call()

    def rest(self, for_ns: int) -> None:
        end_ns = self.now_ns + for_ns
        self._after(for_ns, lambda: None)
        self.run(lambda: self.now_ns >= end_ns, for_ns)
        for host in self.hosts.values():
            host.replica.invariants_at_rest()

    # What a client does.

    def ask(self, name: NodeId, kind: Callable[..., Event], *about: object) -> int:
        request = next(self._requests)
        self._step(self.hosts[name], kind(request, *about))
        return request

    def outcome(self, name: NodeId, kind: Callable[..., Event], *about: object) -> Outcome:
        request = self.ask(name, kind, *about)
        self.run(lambda: request in self.outcomes)
        return self.outcomes[request]

    def take_snapshot(self, name: NodeId) -> None:
        host = self.hosts[name]
        self._step(host, SnapshotTaken(host.applied, msgspec.msgpack.encode(host.machine)))

    def leader(self) -> NodeId:
        """Wait until somebody serves; of several, the one of the newest term."""
        self.run(lambda: any(host.serving for host in self.hosts.values()))
        return max(self.hosts.values(), key=lambda host: host.serving).name

    def machines(self) -> dict[NodeId, list[bytes]]:
        return {name: [data for _, data in host.machine] for name, host in self.hosts.items()}

    # The driver's duties.

    def _after(self, delay_ns: int, call: Callable[[], None]) -> None:
        heapq.heappush(self._calls, (self.now_ns + delay_ns, next(self._order), call))

    def _step(self, host: Host, event: Event) -> None:
        if self.hosts.get(host.name) is not host:
            return  # this process has crashed meanwhile
        host.replica.step(event, self.now_ns)
        self._drive(host)

    def _drive(self, host: Host) -> None:
        while not host.writing and (ready := host.replica.ready()) is not None:
            self._send(host.name, ready.now)
            if ready.record is None:
                self._finish(host, ready)
            else:
                host.writing = True
                self._after(host.disk.write_ns, partial(self._written, host, ready, ready.record))
        if host.writing and self.urgent:
            urgent = host.replica.urgent()
            self._send(host.name, urgent.now)
            host.reads += urgent.reads
            self._serve_reads(host)
        host.replica.invariants()
        self._arm(host)

    def _written(self, host: Host, ready: Ready, record: Record) -> None:
        if self.hosts.get(host.name) is not host:
            return  # a crash during the write: nothing of the record is there
        host.disk.write(record)
        host.writing = False
        self._finish(host, ready)
        self._drive(host)

    def _finish(self, host: Host, ready: Ready) -> None:
        self._send(host.name, ready.messages)
        # Before anything is applied: one Ready may say where an entry was placed and what is committed there.
        for placed in ready.placed:
            host.placed.setdefault(placed.index, []).append(placed)
        if ready.install is not None:
            assert host.disk.snapshot is not None
            self._install(host, host.disk.snapshot)
        for committed in ready.committed:
            self._apply(host, committed)
        for refusal in ready.refused:
            self._end(refusal.request, refusal.why)
        for request in ready.transferred:
            self._end(request, Done(list(host.machine)))
        host.reads += ready.reads
        self._serve_reads(host)
        if ready.leadership is not None:
            self._lead(host, ready.leadership)
        host.replica.advance(host.disk.snapshot if ready.record and ready.record.snapshot else None)

    def _install(self, host: Host, snapshot: Snapshot) -> None:
        if host.name not in self.first.witnesses:  # a witness is sent no state
            host.machine = msgspec.msgpack.decode(snapshot.state[:], type=list[Applied])
        host.applied = snapshot.index
        # What was placed under a snapshot is never applied here: its outcome stays unknown.
        host.placed = {at: placed for at, placed in host.placed.items() if at > snapshot.index}

    def _apply(self, host: Host, committed: Committed) -> None:
        assert committed.index == host.applied + 1, "applied entries are contiguous"
        host.applied = committed.index
        if committed.data is not None:
            host.machine.append((committed.index, committed.data))
        if host.name not in self.first.witnesses:  # a witness is not sent the data
            assert self.history.setdefault(committed.index, committed) == committed, "one entry an index"
        for placed in host.placed.pop(committed.index, []):
            same = placed.term == committed.term
            self._end(placed.request, Done(list(host.machine)) if same else Lost())

    def _serve_reads(self, host: Host) -> None:
        for read in [read for read in host.reads if read.index <= host.applied]:
            host.reads.remove(read)
            self._end(read.request, Done(list(host.machine)))

    def _lead(self, host: Host, leadership: Leadership) -> None:
        host.serving = leadership.term if leadership.serving else Term(0)
        if leadership.serving:
            assert self.served.setdefault(leadership.term, host.name) == host.name, "one server a term"

    def _end(self, request: int, outcome: Outcome) -> None:
        assert request not in self.outcomes, "a request ends at most once"
        self.outcomes[request] = outcome

    def _send(self, sender: NodeId, envelopes: Iterable[Envelope]) -> None:
        for envelope in envelopes:
            self._after(NETWORK_NS, partial(self._deliver, sender, envelope.to, encode(envelope.message)))

    def _deliver(self, sender: NodeId, to: NodeId, data: bytes) -> None:
        if to in self.hosts and frozenset({sender, to}) not in self.cut:
            self._step(self.hosts[to], Received(sender, decode(data)))

    def _arm(self, host: Host) -> None:
        if host.replica.deadline_ns != host.armed_ns:
            host.armed_ns = host.replica.deadline_ns
            self._after(max(0, host.armed_ns - self.now_ns), partial(self._ring, host))

    def _ring(self, host: Host) -> None:
        if host.replica.deadline_ns <= self.now_ns:
            host.armed_ns = -1
            self._step(host, DeadlinePassed())
