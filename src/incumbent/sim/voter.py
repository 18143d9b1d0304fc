"""One voter of a simulated world: the pure node, its disk and its clock, and the driver's duties in their order, with time
between them.

A crash may fall anywhere: before the write, in its middle, after it and before the messages leave, after them and before
advance. A pause stops the process; its disk goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Protocol

from incumbent.consensus.api import Envelope, Membership, Message, Record, Standing, Timing
from incumbent.errors import invariant
from incumbent.ids import NodeId, RequestId
from incumbent.node.api import Applied, NodeReady, Outcome
from incumbent.node.node import Limits, Node
from incumbent.sim.disk import SimDisk
from incumbent.sim.kernel import START_NS, Kernel

LATE_ADVANCE: Final = 0.06
"""The share of Readies that are followed by something else before advance."""
LATE_ADVANCE_MAX_NS: Final = 2_000_000
MILLION: Final = 1_000_000


class Watcher(Protocol):
    """Everyone who looks on. Nothing may depend on what they do."""

    def started(self, voter: Voter) -> None: ...
    def crashed(self, voter: Voter) -> None: ...
    def stepped(self, voter: Voter, cause: Message | None) -> None: ...
    def sending(self, voter: Voter, envelope: Envelope) -> None: ...
    def durable(self, voter: Voter, record: Record) -> None: ...
    def advanced(self, voter: Voter, applied: Applied) -> None: ...
    def answered(self, voter: Voter, outcomes: Sequence[tuple[RequestId, Outcome]]) -> None: ...


@dataclass(slots=True)
class Host:
    """What a voter stands on."""

    kernel: Kernel
    membership: Membership  # the first
    timing: Timing
    limits: Limits
    fsync_ns: Callable[[Voter], int]
    send: Callable[[Voter, Envelope], None]
    watcher: Watcher
    chance: Callable[[], float]


class Voter:
    def __init__(self, number: int, me: NodeId, host: Host, *, priority: int = 0) -> None:
        self.number = number
        self.me = me
        self.disk = SimDisk()
        self.node: Node | None = None  # None = the process does not run
        self.standing: Standing | None = None  # as last seen
        self.paused = False
        self.gone = False  # for ever: its disk is damaged
        self.writing: Record | None = None  # on its way to the disk
        self.ambushed: Callable[[], None] | None = (
            None  # called in the middle of a write of a vote with entries
        )
        self.fsync_max_ns: int | None = None  # of this disk; None = as the world's
        self.drift_ppm = 0
        self.offset_ns = (
            number * 7_777_777_777
        )  # clocks of different hosts have nothing to do with each other
        self.priority = priority
        self._host = host
        self._kernel = host.kernel
        self._busy = False  # a Ready is outstanding
        self._life = 0  # what was scheduled in an earlier life does not happen
        self._backlog: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self._alarm_ns: int | None = None  # the earliest alarm that is set, in the kernel's time

    @property
    def lives(self) -> int:
        """Rises with every start and crash."""
        return self._life

    # --- time ----------------------------------------------------------------------------------------------------

    def now_ns(self) -> int:
        """What this host's clock reads."""
        now_ns = self._kernel.now_ns
        if self.drift_ppm:
            now_ns += (now_ns - START_NS) * self.drift_ppm // MILLION
        return now_ns + self.offset_ns

    def drift(self, ppm: int) -> None:
        """From now on this clock runs so much faster. It does not jump."""
        self.offset_ns += (self._kernel.now_ns - START_NS) * (self.drift_ppm - ppm) // MILLION
        self.drift_ppm = ppm

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        invariant(self.node is None and not self.gone, "a voter starts once at a time", me=self.me)
        host = self._host
        self._life += 1
        self.paused, self.writing, self._alarm_ns = False, None, None
        self._busy, self._backlog = False, []
        seed = f"{self._kernel.seed}/{self.me}/{self._life}"
        self.node = Node(
            self.me,
            host.membership,
            self.disk.saved(),
            random=Random(seed),
            now_ns=self.now_ns(),
            timing=host.timing,
            limits=host.limits,
            priority=self.priority,
        )
        self.standing = self.node.standing()
        host.watcher.started(self)
        self._pump(self.now_ns())

    def crash(self) -> None:
        """Everything that is not durable is gone. A record on its way is on the disk whole, or not at all."""
        if self.node is None:
            return
        if self.writing is not None and self._host.chance() < 0.5:
            self._make_durable(self.writing)
        self._life += 1
        self.node, self.writing, self.ambushed = None, None, None
        self._host.watcher.crashed(self)

    def pause(self) -> None:
        """As SIGSTOP does it: what arrives meanwhile waits."""
        self.paused = True

    def resume(self) -> None:
        if not self.paused:
            return
        self.paused = False
        backlog, self._backlog = self._backlog, []
        for call, args in backlog:
            self._kernel.after(0, self._live, self._life, call, args)

    # --- events --------------------------------------------------------------------------------------------------

    def receive(self, sender: NodeId, message: Message) -> None:
        """A message arrives: now, when the process runs again, or never when it does not run at all."""
        node = self.node
        if node is None:
            return
        if self.paused:
            self._backlog.append((self.receive, (sender, message)))
            return
        now_ns = self.now_ns()
        node.receive(sender, message, now_ns)
        self._host.watcher.stepped(self, message)
        self._pump(now_ns)

    def ask(self, request: Callable[[Node, int], None]) -> None:
        """A client's or an operator's request, or a hint, arrives."""
        self._live(self._life, self._ask, (request,))

    def _ask(self, request: Callable[[Node, int], None]) -> None:
        now_ns = self.now_ns()
        request(self._running(), now_ns)
        self._host.watcher.stepped(self, None)
        self._pump(now_ns)

    def _live(self, life: int, call: Callable[..., None], args: tuple[object, ...]) -> None:
        if life != self._life or self.node is None:
            return
        if self.paused:
            self._backlog.append((call, args))
        else:
            call(*args)

    def _running(self) -> Node:
        assert self.node is not None
        return self.node

    def _ring(self, life: int, at_ns: int) -> None:
        if life != self._life or self.node is None or at_ns != self._alarm_ns:
            return  # of an earlier life, or an earlier alarm took its place
        self._alarm_ns = None
        if self.paused:
            self._backlog.append((self._wake, ()))
        else:
            self._wake()

    def _wake(self) -> None:
        now_ns = self.now_ns()
        node = self._running()
        if now_ns >= node.deadline_ns:
            node.deadline_passed(now_ns)
            self._host.watcher.stepped(self, None)
            self._pump(now_ns)
        else:
            self._set_alarm(node, now_ns)

    def _set_alarm(self, node: Node, now_ns: int) -> None:
        kernel = self._kernel
        delay_ns = node.deadline_ns - now_ns
        if self.drift_ppm and delay_ns > 0:
            delay_ns -= delay_ns * self.drift_ppm // (MILLION + self.drift_ppm) - 1
        at_ns = kernel.now_ns + max(0, delay_ns)
        if self._alarm_ns is None or at_ns < self._alarm_ns:
            self._alarm_ns = at_ns
            kernel.after(delay_ns, self._ring, self._life, at_ns)

    # --- the driver's duties -------------------------------------------------------------------------------------

    def _pump(self, now_ns: int) -> None:
        node = self._running()
        while not self._busy:
            ready = node.ready(now_ns)
            if ready is None:
                break
            for envelope in ready.now:
                self._host.send(self, envelope)
            self._busy = True
            if ready.record is None:
                self._send(ready, now_ns)
            else:
                self._write(ready, ready.record)
        if self._busy:
            urgent = node.urgent(now_ns)
            for envelope in urgent.now:
                self._host.send(self, envelope)
            self._host.watcher.answered(self, urgent.outcomes)
        if self.node is node:
            self._set_alarm(node, now_ns)

    def _write(self, ready: NodeReady, record: Record) -> None:
        self.writing = record
        duration_ns = self._host.fsync_ns(self)
        self._kernel.after(duration_ns, self._written, self._life, ready)
        if self.ambushed is not None and record.hard_state is not None and record.entries:
            self._kernel.after(duration_ns // 2, self.ambushed)
            self.ambushed = None

    def _written(self, life: int, ready: NodeReady) -> None:
        """The disk is done, whether the process runs or is paused; after a crash there is nothing left to do."""
        if life != self._life or self.writing is None:
            return
        self._make_durable(self.writing)
        self.writing = None
        if self._host.chance() < LATE_ADVANCE:  # time for a crash between the write and the messages
            self._later(self._send_and_pump, ready)
        else:
            self._live(life, self._send_and_pump, (ready,))

    def _make_durable(self, record: Record) -> None:
        self.disk.apply(record)
        self._host.watcher.durable(self, record)

    def _send_and_pump(self, ready: NodeReady) -> None:
        now_ns = self.now_ns()
        self._send(ready, now_ns)
        if not self._busy:
            self._pump(now_ns)

    def _send(self, ready: NodeReady, now_ns: int) -> None:
        for envelope in ready.messages:
            self._host.send(self, envelope)
        if self._host.chance() < LATE_ADVANCE:  # time for answers, other events and a crash before advance
            self._later(self._advance_and_pump)
        else:
            self._advance(now_ns)

    def _later(self, call: Callable[..., None], *args: object) -> None:
        delay_ns = int(self._host.chance() * LATE_ADVANCE_MAX_NS)
        self._kernel.after(delay_ns, self._live, self._life, call, args)

    def _advance_and_pump(self) -> None:
        now_ns = self.now_ns()
        self._advance(now_ns)
        self._pump(now_ns)

    def _advance(self, now_ns: int) -> None:
        node = self._running()
        applied = node.advance(now_ns, self.disk.snapshot)
        if node.snapshot_due and (frozen := node.begin_snapshot()) is not None:
            node.snapshot_taken(frozen.index, b"".join(frozen.chunks), now_ns)
        self._busy = False
        self._host.watcher.advanced(self, applied)
