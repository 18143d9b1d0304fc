"""A cluster for stories: nothing happens by itself. Every message waits until the test delivers or drops it, every write
is done when the test says so, and time is what the test sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from incumbent.consensus.api import (
    Committed,
    DeadlinePassed,
    Entry,
    Event,
    Leadership,
    Membership,
    MembershipChange,
    MembershipProposed,
    Message,
    Note,
    PeerLost,
    Placed,
    Proposed,
    ReadReady,
    ReadRequested,
    Ready,
    Received,
    Record,
    ReplicaLimits,
    Role,
    Snapshot,
    SnapshotTaken,
    Timing,
    TransferRequested,
)
from incumbent.consensus.raft.messages import HardState, decode, encode, encode_hard_state
from incumbent.consensus.raft.notes import Code
from incumbent.consensus.raft.replica import Raft
from incumbent.consensus.raft.state import State
from incumbent.ids import Index, NodeId, RequestId, Term
from incumbent.sim.disk import SimDisk

MS = 1_000_000
TIMING = Timing()
LIMITS = ReplicaLimits()


class Wire(NamedTuple):
    sender: NodeId
    to: NodeId
    message: Message


def entries(terms: Sequence[int], first: int = 1) -> list[Entry]:
    """A log whose entries have these terms; the data says which entry it is."""
    return [
        Entry(Index(index), Term(term), b"%d/%d" % (index, term))
        for index, term in enumerate(terms, start=first)
    ]


def ids(names: str) -> frozenset[NodeId]:
    return frozenset(NodeId(name) for name in names)


class One:
    """One voter of a story, and everything that came out of it."""

    def __init__(self, me: NodeId, disk: SimDisk) -> None:
        self.me = me
        self.disk = disk
        self.raft: Raft
        self.outstanding: Ready | None = None
        self.committed: list[Committed] = []
        self.placed: list[Placed] = []
        self.refused: list[RequestId] = []
        self.transferred: list[RequestId] = []
        self.installed: list[Snapshot] = []
        self.reads: list[ReadReady] = []
        self.leaderships: list[Leadership] = []
        self.notes: list[Note] = []

    @property
    def state(self) -> State:
        return self.raft.state

    @property
    def role(self) -> Role:
        return self.state.role

    @property
    def term(self) -> int:
        return self.state.term

    @property
    def log(self) -> list[int]:
        """The terms of the entries in the log."""
        return [entry.term for entry in self.state.log.between(1, self.state.log.last_index)]

    @property
    def membership(self) -> Membership:
        return self.state.membership

    def noted(self, code: Code) -> int:
        """How often a note was emitted."""
        return sum(note.code == code for note in self.notes)


class Script:
    def __init__(
        self,
        names: str = "abc",
        *,
        logs: Mapping[str, Sequence[int]] | None = None,
        terms: Mapping[str, int] | None = None,
        replica: type[Raft] = Raft,
        limits: ReplicaLimits = LIMITS,
        timing: Timing = TIMING,
        learners: str = "",
        witnesses: str = "",
        priorities: Mapping[str, int] | None = None,
    ) -> None:
        self.limits = limits
        self.timing = timing
        self.priorities = priorities or {}
        self.now_ns = 1_000_000_000_000
        self.wires: list[Wire] = []
        self.voters: dict[str, One] = {}
        self.replica = replica
        self.lives = 0
        self.requests = 0
        self.membership = Membership(ids(names), learners=ids(learners), witnesses=ids(witnesses))
        for name in names + learners:
            disk = SimDisk()
            log = entries((logs or {}).get(name, ()))
            disk.apply(Record(entries=log))
            term = (terms or {}).get(name, log[-1].term if log else 0)
            disk.hard_state = encode_hard_state(HardState(Term(term)))
            self.voters[name] = One(NodeId(name), disk)
            self.start(name)

    def __getitem__(self, name: str) -> One:
        return self.voters[name]

    def role(self, name: str) -> Role:
        return self.voters[name].role

    # --- processes -------------------------------------------------------------------------------------------------

    def start(self, name: str) -> None:
        """Begin a new life with what the disk holds."""
        self.lives += 1
        one = self.voters[name]
        one.outstanding, one.committed = None, []
        one.raft = self.replica(
            one.me,
            self.membership,
            one.disk.saved(),
            random=Random(self.lives),
            now_ns=self.now_ns,
            timing=self.timing,
            limits=self.limits,
            priority=self.priorities.get(name, 0),
        )

    def step(self, name: str, event: Event) -> None:
        """Take an event and nothing else."""
        self.voters[name].raft.step(event, self.now_ns)
        self.voters[name].raft.invariants()

    def ready(self, name: str) -> Ready | None:
        """Take a Ready and send its `now`. Its record is not written yet."""
        one = self.voters[name]
        ready = one.raft.ready()
        if ready is not None:
            one.outstanding = ready
            self._send(one, ready.now)
        return ready

    def persist(self, name: str) -> None:
        """The outstanding record is durable, and what rests on it leaves."""
        one = self.voters[name]
        assert one.outstanding is not None
        if one.outstanding.record is not None:
            one.disk.apply(one.outstanding.record)
        self._send(one, one.outstanding.messages)

    def advance(self, name: str) -> None:
        """Apply, and tell the replica that all is done."""
        one = self.voters[name]
        ready, one.outstanding = one.outstanding, None
        assert ready is not None
        if ready.install is not None:
            assert one.disk.snapshot is not None
            one.installed.append(one.disk.snapshot)
        one.committed += ready.committed
        one.transferred += ready.transferred
        one.placed += ready.placed
        one.refused += [refusal.request for refusal in ready.refused]
        one.reads += ready.reads
        one.notes += ready.notes
        if ready.leadership is not None:
            one.leaderships.append(ready.leadership)
        one.raft.advance(one.disk.snapshot if ready.record and ready.record.snapshot else None)
        one.raft.invariants()

    def flush(self, name: str) -> None:
        """All the driver's duties, until nothing is left to do."""
        for _ in range(100):
            if self.ready(name) is None:
                return
            self.persist(name)
            self.advance(name)
        raise AssertionError(f"{name} never comes to rest")

    def do(self, name: str, event: Event) -> None:
        self.step(name, event)
        self.flush(name)

    def _send(self, one: One, envelopes: Iterable[tuple[NodeId, Message]]) -> None:
        # Through the codec, so that what the stories say can also be said on the wire.
        self.wires += [Wire(one.me, to, decode(encode(message))) for to, message in envelopes]

    # --- the network -----------------------------------------------------------------------------------------------

    def take(self, *, sender: str = "", to: str = "", kind: type | None = None) -> list[Wire]:
        """Take matching messages off the wire: to deliver them later, or never. Names may hold several voters."""
        found = [
            wire
            for wire in self.wires
            if (not sender or wire.sender in sender)
            and (not to or wire.to in to)
            and (kind is None or isinstance(wire.message, kind))
        ]
        self.wires = [wire for wire in self.wires if wire not in found]
        return found

    def deliver(self, wires: Iterable[Wire]) -> None:
        for wire in wires:
            self.do(wire.to, Received(wire.sender, wire.message))

    def settle(self, alive: str = "") -> None:
        """Deliver everything, and what comes of it, among `alive` (all, unless told); the rest is lost."""
        among = alive or "".join(self.voters)
        for _ in range(10_000):
            self.wires = [wire for wire in self.wires if wire.sender in among and wire.to in among]
            if not self.wires:
                return
            wire = self.wires.pop(0)
            self.deliver([wire])
        raise AssertionError("the cluster never comes to rest")

    # --- time and requests -----------------------------------------------------------------------------------------

    def wait(self, duration_ns: int) -> None:
        """Time passes; nobody's alarm rings."""
        self.now_ns += duration_ns

    def ring(self, *names: str) -> None:
        """Wait for each voter's deadline and let it pass."""
        for name in names:
            self.now_ns = max(self.now_ns, self.voters[name].raft.deadline_ns)
            self.do(name, DeadlinePassed())

    def beat(self, leader: str, alive: str = "") -> None:
        """One heartbeat interval of a healthy leader."""
        self.wait(TIMING.heartbeat_ns)
        self.do(leader, DeadlinePassed())
        self.settle(alive)

    def live(self, intervals: int, alive: str = "") -> None:
        """Time passes as it does: everyone's alarm rings when it is due, and messages arrive among `alive`."""
        for _ in range(intervals):
            self.wait(TIMING.heartbeat_ns)
            for name, one in self.voters.items():
                if one.raft.deadline_ns <= self.now_ns:
                    self.do(name, DeadlinePassed())
            self.settle(alive)

    def campaign(self, name: str) -> None:
        """Let `name`'s election timeout pass after everybody's stickiness has worn off."""
        self.wait(TIMING.election_timeout_max_ns)
        self.ring(name)

    def elect(self, name: str, alive: str = "") -> None:
        self.campaign(name)
        self.settle(alive)
        assert self[name].role is Role.LEADER, f"{name} was not elected"

    def propose(self, name: str, data: bytes = b"x") -> RequestId:
        self.requests += 1
        self.do(name, Proposed(RequestId(self.requests), data))
        return RequestId(self.requests)

    def read(self, name: str) -> RequestId:
        self.requests += 1
        self.do(name, ReadRequested(RequestId(self.requests)))
        return RequestId(self.requests)

    def change(self, name: str, voters: str, learners: str = "", witnesses: str = "") -> RequestId:
        """Ask for another membership."""
        self.requests += 1
        wanted = MembershipChange(ids(voters), ids(learners), ids(witnesses))
        self.do(name, MembershipProposed(RequestId(self.requests), wanted))
        return RequestId(self.requests)

    def join(self, name: str) -> None:
        """A new node with an empty disk, which knows the first membership and is not of it."""
        self.voters[name] = One(NodeId(name), SimDisk())
        self.start(name)

    def transfer(self, name: str, to: str) -> RequestId:
        self.requests += 1
        self.do(name, TransferRequested(RequestId(self.requests), NodeId(to)))
        return RequestId(self.requests)

    def snapshot(self, name: str, state: bytes = b"state", at: int | None = None) -> None:
        """The machine's state, as of what is applied unless told."""
        index = self.voters[name].state.applied if at is None else Index(at)
        self.do(name, SnapshotTaken(index, state))

    def hint(self, name: str, lost: str) -> None:
        self.do(name, PeerLost(NodeId(lost)))

    def leaders(self) -> list[str]:
        return [name for name, one in self.voters.items() if one.role is Role.LEADER]
