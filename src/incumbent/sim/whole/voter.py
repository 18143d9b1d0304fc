"""A voter of the whole gear: the real driver in a process of its own, on a simulated disk and network.

It stands in the place of the fast gear's voter, so the same chaos strikes it and the same predicates look at it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from random import Random
from typing import Any

from incumbent.consensus.api import Envelope, MembershipChange, Message, Record, Saved, Snapshot
from incumbent.consensus.raft.messages import decode, encode
from incumbent.errors import EngineUnavailable, invariant
from incumbent.ids import Index, LeaseId, NodeId, RequestId
from incumbent.kv.api import NO_LEASE, Command, Query
from incumbent.kv.state import Loaded
from incumbent.node.api import Applied, Outcome
from incumbent.node.node import Node
from incumbent.runtime.driver import Driver
from incumbent.sim.voter import MILLION, Host, Voter
from incumbent.sim.whole.process import Process


class WatchedNode(Node):
    """The real node, with everyone who watches told after each step."""

    voter: WholeVoter

    def receive(self, sender: NodeId, message: Message, now_ns: int) -> None:
        super().receive(sender, message, now_ns)
        self.voter.stepped(message)

    def deadline_passed(self, now_ns: int) -> None:
        super().deadline_passed(now_ns)
        self.voter.stepped(None)

    def advance(self, now_ns: int, stored: Snapshot | None = None, loaded: Loaded | None = None) -> Applied:
        applied = super().advance(now_ns, stored, loaded)
        self.voter.advanced(applied)
        return applied


class SimDisk(Executor):
    """Where the driver has its storage called: one call after another, each taking its time."""

    def __init__(self, voter: WholeVoter, process: Process) -> None:
        self._voter = voter
        self._process = process

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        record = args[0] if args else None  # the driver's write, or the storage's close
        self._voter.write(record, partial(self._finish, done, partial(fn, *args, **kwargs)))
        return done

    def _finish(self, done: Future[Any], call: Callable[[], Any]) -> None:
        if not self._process.alive:
            return
        try:
            result = call()
        except Exception as error:
            done.set_exception(error)
        else:
            self._process.call(lambda: done.set_result(result))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Nothing runs here that could be waited for."""


class SimArchive(Executor):
    """Where the driver has snapshots written and read. Beside the disk, and before anything else can happen."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        result = fn(*args, **kwargs)
        self._process.call(lambda: done.set_result(result))
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Nothing runs here that could be waited for."""


class SimStorage:
    """ports.Storage on the voter's disk."""

    def __init__(self, voter: WholeVoter) -> None:
        self._voter = voter

    def load(self) -> Saved:
        return self._voter.disk.saved()

    @property
    def snapshot(self) -> Snapshot | None:
        return self._voter.disk.snapshot

    def persist(self, records: Sequence[Record]) -> None:
        for record in records:
            self._voter.make_durable(record)

    def write_snapshot(self, _: Index, chunks: Iterable[bytes]) -> bytes:
        """As long as nothing names it, it is as good as not there."""
        return b"".join(chunks)

    def close(self) -> None: ...


class SimTransport:
    """ports.Transport on the world's network. What travels is bytes."""

    def __init__(self, voter: WholeVoter, process: Process) -> None:
        self._voter = voter
        self._process = process
        self.on_message: Callable[[NodeId, Message], None] = lambda *_: None
        self.on_peer_lost: Callable[[NodeId], None] = lambda _: None

    def start(
        self, on_message: Callable[[NodeId, Message], None], on_peer_lost: Callable[[NodeId], None]
    ) -> None:
        self.on_message, self.on_peer_lost = on_message, on_peer_lost

    def send(self, envelopes: Sequence[Envelope]) -> None:
        if self._process.alive:
            for to, message in envelopes:
                self._voter.send(Envelope(to, decode(encode(message))))


class WholeVoter(Voter):
    def __init__(
        self,
        number: int,
        me: NodeId,
        host: Host,
        *,
        priority: int,
        answer: Callable[[RequestId, Outcome], None],
    ) -> None:
        super().__init__(number, me, host, priority=priority)
        self.driver: Driver | None = None
        self.process: Process | None = None
        self.on_start: Callable[[WholeVoter], None] = lambda _: None  # what else runs in the process
        self._answer = answer
        self._transport: SimTransport | None = None

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        invariant(self.process is None and not self.gone, "a voter starts once at a time", me=self.me)
        host, kernel = self._host, self._kernel
        self._life += 1
        self.paused = False
        process = self.process = Process(kernel, self.now_ns, self.real_delay_ns)
        node = WatchedNode(
            self.me,
            host.membership,
            self.disk.saved(),
            random=Random(f"{kernel.seed}/{self.me}/{self._life}"),
            now_ns=self.now_ns(),
            timing=host.timing,
            limits=host.limits,
            priority=self.priority,
        )
        node.voter = self
        self.node, self.standing = node, node.standing()
        host.watcher.started(self)
        self._transport = SimTransport(self, process)
        self.driver = Driver(
            node,
            SimStorage(self),
            self._transport,
            _Clock(self.now_ns),
            disk=SimDisk(self, process),
            archive=SimArchive(process),
        )
        process.spawn(self.driver.run())
        self.on_start(self)
        process.run()

    def crash(self) -> None:
        process = self.process
        if process is None:
            return
        if self.writing is not None and self._host.chance() < 0.5:
            self.make_durable(self.writing)
        self._life += 1
        self.node, self.process, self.driver, self.writing, self.ambushed = None, None, None, None, None
        process.kill()
        self._host.watcher.crashed(self)

    def pause(self) -> None:
        self.paused = True
        if self.process is not None:
            self.process.pause()

    def resume(self) -> None:
        self.paused = False
        if self.process is not None and self.process.paused:
            self.process.resume()

    def real_delay_ns(self, delay_ns: int) -> int:
        """How long, in the kernel's time, this host's clock takes for so much: rounded up, so that it is never too early."""
        return -(-delay_ns * MILLION // (MILLION + self.drift_ppm))

    # --- what arrives --------------------------------------------------------------------------------------------

    def receive(self, sender: NodeId, message: Message) -> None:
        process, transport = self.process, self._transport
        if process is not None and transport is not None:
            process.call(lambda: transport.on_message(sender, message))

    def ask(self, request: Callable[[Any, int], None]) -> None:
        process, driver = self.process, self.driver
        if process is not None and driver is not None and self._transport is not None:
            desk = Desk(driver, self._transport, self._answer)
            process.call(lambda: request(desk, 0))

    def stepped(self, cause: Message | None) -> None:
        if self.node is not None:
            self._host.watcher.stepped(self, cause)

    def advanced(self, applied: Applied) -> None:
        if self.node is not None:
            self._host.watcher.advanced(self, applied)

    # --- what it stands on ---------------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        self.stepped(None)
        self._host.send(self, envelope)

    def write(self, record: Record | None, then: Callable[[], None]) -> None:
        """The driver hands a call to the disk."""
        self.writing = record
        duration_ns = self._host.fsync_ns(self)
        self._kernel.after(duration_ns, then)
        if (
            self.ambushed is not None
            and record is not None
            and record.hard_state is not None
            and record.entries
        ):
            self._kernel.after(duration_ns // 2, self.ambushed)
            self.ambushed = None

    def make_durable(self, record: Record) -> None:
        self.writing = None
        self._make_durable(record)


class Desk:
    """Stands in the place of a node for whoever asks it: clients, operators, hints. The real driver does the rest."""

    def __init__(
        self, driver: Driver, transport: SimTransport, answer: Callable[[RequestId, Outcome], None]
    ) -> None:
        self._driver = driver
        self._transport = transport
        self._answer = answer

    def _then(self, request: RequestId, ask: Callable[[], Any]) -> None:
        try:
            future = ask()
        except EngineUnavailable:
            return  # it is stopping: nobody answers
        future.add_done_callback(
            lambda done: self._answer(request, done.result()) if not done.cancelled() else None
        )

    def submit(self, request: RequestId, command: Command, _: int) -> None:
        self._then(request, lambda: self._driver.submit(command))

    def read(self, request: RequestId, query: Query, _: int, *, lease: LeaseId = NO_LEASE) -> None:
        self._then(request, lambda: self._driver.read(query, lease=lease))

    def renew(self, request: RequestId, lease: LeaseId, _: int) -> None:
        self._then(request, lambda: self._driver.renew(lease))

    def change_membership(self, request: RequestId, change: MembershipChange, _: int) -> None:
        self._then(request, lambda: self._driver.change_membership(change))

    def transfer(self, request: RequestId, to: NodeId, _: int) -> None:
        self._then(request, lambda: self._driver.transfer(to))

    def peer_lost(self, peer: NodeId, _: int) -> None:
        self._transport.on_peer_lost(peer)


class _Clock:
    def __init__(self, now_ns: Callable[[], int]) -> None:
        self.now_ns = now_ns
