"""One voter of a simulated world: a replica, its disk, and the driver's duties in their order, with time between them.

A crash may fall anywhere: before the write, in its middle, after it and before the messages leave, between two of them,
or before advance. A pause stops the process; its disk goes on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple, Protocol

from incumbent.consensus.api import (
    Committed,
    DeadlinePassed,
    Envelope,
    Event,
    Membership,
    ReadReady,
    Ready,
    Record,
    Replica,
    Role,
    Saved,
    Timing,
)
from incumbent.errors import invariant
from incumbent.ids import Index, NodeId, RequestId, Term
from incumbent.sim.disk import SimDisk
from incumbent.sim.kernel import Kernel
from incumbent.sim.observe import (
    Acknowledged,
    Advanced,
    Applied,
    Crashed,
    Durable,
    Observer,
    Readied,
    ReadServed,
    RequestRefused,
    Started,
    Stepped,
)

ADVANCE_NS: Final = (0, 0, 0, 2_000_000)
"""Between the last message and advance: mostly nothing, sometimes longer than a round trip."""


class CheckedReplica(Replica, Protocol):
    def invariants(self) -> None: ...


class ReplicaFactory(Protocol):
    """A protocol's constructor; see consensus.api.Replica."""

    def __call__(
        self, me: NodeId, membership: Membership, saved: Saved, *, random: Random, now_ns: int, timing: Timing
    ) -> CheckedReplica: ...


@dataclass(frozen=True, slots=True)
class Host:
    """What a voter stands on."""

    kernel: Kernel
    factory: ReplicaFactory
    membership: Membership
    timing: Timing
    fsync_ns: Callable[[], int]
    send: Callable[[NodeId, Envelope], None]
    observer: Observer


class _Place(NamedTuple):
    request: RequestId
    term: Term


class Voter:
    def __init__(self, me: NodeId, host: Host) -> None:
        self.me = me
        self.disk = SimDisk()
        self.replica: CheckedReplica | None = None  # None = the process does not run
        self.paused = False
        self.writing: Record | None = None  # on its way to the disk
        self.applied = Index(0)
        self.ambushed: Callable[[], None] | None = (
            None  # called in the middle of the next write of a vote with entries
        )
        self._host = host
        self._busy = False  # a Ready is outstanding
        self._life = (
            0  # rises with every start and crash: what was scheduled in an earlier life does not happen
        )
        self._backlog: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._alarm_ns: int | None = None  # the earliest alarm that is set
        self._places: dict[Index, _Place] = {}
        self._reads: list[ReadReady] = []

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        invariant(self.replica is None, "a voter starts once at a time", me=self.me)
        host = self._host
        self._life += 1
        self.paused, self.writing, self.applied, self._alarm_ns = False, None, Index(0), None
        self._busy, self._backlog, self._places, self._reads = False, [], {}, []
        self.replica = host.factory(
            self.me,
            host.membership,
            self.disk.saved(),
            random=Random(host.kernel.random.getrandbits(64)),
            now_ns=host.kernel.now_ns,
            timing=host.timing,
        )
        host.observer.started(Started(self.me, self.replica.status()))
        self._pump()

    def crash(self) -> None:
        """Everything that is not durable is gone. A record on its way is on the disk whole, or not at all."""
        if self.replica is None:
            return
        if self.writing is not None and self._host.kernel.random.random() < 0.5:
            self._make_durable(self.writing)
        self._life += 1
        self.replica, self.writing, self.ambushed = None, None, None
        self._host.observer.crashed(Crashed(self.me))

    def pause(self) -> None:
        """As SIGSTOP does it: what arrives meanwhile waits."""
        self.paused = True

    def resume(self) -> None:
        if not self.paused:
            return
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for call, args in backlog:
            self._soon(0, call, *args)

    # --- events --------------------------------------------------------------------------------------------------

    def take(self, event: Event) -> None:
        """Let the process see an event: now, when it runs again, or never when it does not run at all."""
        self._live(self._life, self._take, (event,))

    def _take(self, event: Event) -> None:
        self._step(event)
        self._pump()

    def _soon(self, delay_ns: int, call: Callable[..., None], *args: object) -> None:
        self._host.kernel.after(delay_ns, self._live, self._life, call, args)

    def _live(self, life: int, call: Callable[..., None], args: tuple[object, ...]) -> None:
        if life != self._life or self.replica is None:
            return
        if self.paused:
            self._backlog.append((call, args))
        else:
            call(*args)

    def _step(self, event: Event) -> None:
        replica = self._running()
        before = replica.status()
        replica.step(event, self._host.kernel.now_ns)
        replica.invariants()
        self._host.observer.stepped(Stepped(self.me, event, before, replica.status()))

    def _ring(self) -> None:
        self._alarm_ns = None
        if self._host.kernel.now_ns >= self._running().deadline_ns:
            self._step(DeadlinePassed())
        self._pump()

    def _set_alarm(self) -> None:
        deadline_ns = self._running().deadline_ns
        if self._alarm_ns is None or deadline_ns < self._alarm_ns:
            self._alarm_ns = deadline_ns
            self._soon(deadline_ns - self._host.kernel.now_ns, self._ring)

    def _running(self) -> CheckedReplica:
        assert self.replica is not None
        return self.replica

    # --- the driver's duties ---------------------------------------------------------------------------------------

    def _pump(self) -> None:
        replica = self._running()
        if not self._busy and (ready := replica.ready()) is not None:
            self._busy = True
            self._host.observer.readied(Readied(self.me, replica.status(), ready))
            for envelope in ready.now:
                self._host.send(self.me, envelope)
            if ready.record is None:
                self._send(ready)
            else:
                self._write(ready, ready.record)
        self._set_alarm()

    def _write(self, ready: Ready, record: Record) -> None:
        self.writing = record
        duration_ns = self._host.fsync_ns()
        self._host.kernel.after(duration_ns, self._written, self._life, ready)
        if self.ambushed and record.hard_state is not None and record.entries:
            self._host.kernel.after(duration_ns // 2, self.ambushed)
            self.ambushed = None

    def _written(self, life: int, ready: Ready) -> None:
        """The disk is done, whether the process runs or is paused; after a crash there is nothing left to do."""
        if life == self._life and self.writing is not None:
            self._make_durable(self.writing)
            self.writing = None
            self._live(life, self._send, (ready,))

    def _make_durable(self, record: Record) -> None:
        self.disk.apply(record)
        self._host.observer.durable(Durable(self.me, record))

    def _send(self, ready: Ready) -> None:
        for envelope in ready.messages:
            self._host.send(self.me, envelope)
        # Anything up to a network round trip or two: answers may come before advance, and so may a crash.
        self._soon(self._host.kernel.random.choice(ADVANCE_NS), self._finish, ready)

    def _finish(self, ready: Ready) -> None:
        replica = self._running()
        for placed in ready.placed:
            self._places[placed.index] = _Place(placed.request, placed.term)
        for entry in ready.committed:
            self._apply(entry)
        for refusal in ready.refused:
            self._host.observer.request_refused(RequestRefused(refusal.request))
        self._reads += ready.reads
        self._serve_reads()
        if ready.leadership is not None and ready.leadership.role is not Role.LEADER:
            self._places.clear()  # outcome unknown
        replica.advance()
        replica.invariants()
        self._busy = False
        self._host.observer.advanced(Advanced(self.me, replica.status(), ready.notes))
        self._pump()

    def _apply(self, entry: Committed) -> None:
        self.applied = entry.index
        self._host.observer.applied(Applied(self.me, entry))
        place = self._places.pop(entry.index, None)
        if place is not None and place.term == entry.term:
            self._host.observer.acknowledged(Acknowledged(place.request, entry))

    def _serve_reads(self) -> None:
        waiting, self._reads = self._reads, []
        for read in waiting:
            if read.index <= self.applied:
                self._host.observer.read_served(ReadServed(read.request, read.index, self.applied))
            else:
                self._reads.append(read)
