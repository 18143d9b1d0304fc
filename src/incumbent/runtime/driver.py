"""THE loop: drain the inbox, step, take one ready, persist once, send, apply, answer.

Everything that the pure `Node` wants done is done here, in its order and nowhere else. The fsync runs on one dedicated thread,
so the loop keeps stepping meanwhile, and everything stepped meanwhile shares the next fsync: group commit.

The first error of any kind ends the driver: a disk that failed once is not asked again (DESIGN §4.6), and a node that met a
bug is better absent than wrong. Nothing is sent or answered after it; what was in flight ends as Unknown.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar, assert_never

from incumbent.consensus.api import (
    Blob,
    Leadership,
    Membership,
    MembershipChange,
    Message,
    Note,
    Record,
    Snapshot,
    Standing,
)
from incumbent.errors import EngineUnavailable, WatchLost, invariant
from incumbent.ids import Index, LeaseId, NodeId, RequestId, Revision
from incumbent.kv.api import NO_LEASE, Command, Query, Range, ReportDigest
from incumbent.kv.state import Loaded
from incumbent.node.api import Applied, NodeStatus, Outcome, Refused, RefusedReason, Unknown
from incumbent.node.digests import Digested
from incumbent.node.node import Node, load_state
from incumbent.ports import Clock, Storage, Transport
from incumbent.runtime.figures import Figures
from incumbent.runtime.frames import Read, Renew, Request, Submit
from incumbent.runtime.notes import Notes
from incumbent.runtime.pace import Pace
from incumbent.runtime.watches import Watches

INBOX_MAX: Final = 8192
"""Events waiting to be stepped. Messages beyond it are dropped (Raft repairs), requests refused."""
LEADERLESS_NS_MAX: Final = 2_000_000_000
"""A voter that has heard no leader for so long ends its watches: it does not learn what changes (P38)."""
ROUND_EVENTS: Final = 32
"""After so many events a read round begins, if somebody waits for one, also while there are more."""
WAKING_TURNS: Final = 2
"""Of the loop, until a watch that was woken has told its client: the watch's own, and the connection's."""
STALL_NS: Final = 20_000_000
"""A write in the loop that took as long is looked at before anything else happens."""
DISK_CLOSE_TIMEOUT_S: Final = 5.0
"""How long a driver that ends waits for a disk that does not answer."""


Work = TypeVar("Work")
Asked = TypeVar("Asked")
Tell = Callable[[Outcome], None]
"""Told once how a request ended."""


@dataclass(frozen=True, slots=True)
class DriverStatus:
    node: NodeStatus
    watches: int
    figures: Figures
    counts: Mapping[str, int]  # of notes, by code
    notes: Sequence[Note]  # the newest, oldest first


class Driver:
    """Owns `node` and `storage`, and `transport`'s callbacks. Single-threaded but for the disk."""

    def __init__(
        self,
        node: Node,
        storage: Storage,
        transport: Transport,
        clock: Clock,
        notes: Notes | None = None,
        disk: Executor | None = None,
        archive: Executor | None = None,
        on_membership: Callable[[Membership], None] = lambda _: None,
        on_digest: Callable[[ReportDigest], None] = lambda _: None,
    ) -> None:
        """`disk` is where the storage's calls are made, one after another; by default a thread of its own. `archive`: where
        snapshots are written meanwhile. `on_membership` is
        told of every membership that comes into force here, the first one too; `on_digest` of this node's state, now and
        then: the leader should put it into the log."""
        status = node.status().replica
        self.leadership = Leadership(status.role, status.term, status.leader, status.serving)
        """The newest that this voter knows; advice for routing, never a proof."""
        self.me = status.me
        self.ended = False
        """Stopped or about to be: no request is taken any more."""
        self._node = node
        self._on_membership = on_membership
        self._on_digest = on_digest
        self._membership: Membership | None = None  # the last that was told
        self._storage = storage
        self._transport = transport
        self._clock = clock
        self._notes = notes if notes is not None else Notes(status.me, clock)
        self._inbox: deque[Callable[[int], None]] = deque()
        self._waiting: dict[RequestId, Tell] = {}
        self._last_request = 0
        self._watches = Watches(node.machine)
        self._leadership_changed = asyncio.Event()  # replaced at each change
        self._figures = Figures()
        self._figures.led(known=self.leadership.leader is not None, now_ns=clock.now_ns())
        self._wake = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._led_ns = clock.now_ns()  # when a leader was last known
        self._timer_ns = 0  # the deadline that the timer was armed for
        self._pace = Pace()
        self._may_write_in_loop = disk is None
        self._woken_early = False  # somebody was, who has to hear of it before a write stops the loop
        self._disk = disk if disk is not None else ThreadPoolExecutor(1, thread_name_prefix="incumbent-disk")
        self._archive = (
            archive if archive is not None else ThreadPoolExecutor(1, thread_name_prefix="incumbent-archive")
        )
        self._archiving = False  # a snapshot is being written
        self._archived = asyncio.Event()  # replaced at each snapshot that the log names

    async def run(self) -> None:
        """Drive until `stop()`, cancellation, or the first error, which is raised: StorageFailed,
        InvariantViolated, or whatever it was. The storage is closed when this ends."""
        self._transport.start(self._on_message, self._on_peer_lost)
        try:
            await self._drive()
        finally:
            self._end()
            # Behind a write that may still be running, on the same thread: the file is never closed under it.
            closing = asyncio.get_running_loop().run_in_executor(self._disk, self._storage.close)
            self._disk.shutdown(wait=False)
            self._archive.shutdown(wait=False)
            await asyncio.wait({closing}, timeout=DISK_CLOSE_TIMEOUT_S)
            if closing.done():
                closing.result()

    def stop(self) -> None:
        """Let `run` return once the write in flight, if any, is done."""
        self.ended = True
        self._wake.set()

    # requests: each ends exactly once, and may end before the call returns. All raise EngineUnavailable once the driver has ended

    def call(self, asked: Request, tell: Tell) -> None:
        """What a client may ask of any voter. `tell` is called with how it ended; it must not raise."""
        figures, node = self._figures, self._node
        match asked:
            case Submit(command):
                figures.commands += 1
                self._ask(node.submit, command, tell)
                if self.leadership.serving and self._watches.count:
                    self._woken_early |= self._watches.wake_early(node.machine.about_to_delete(command))
            case Read(query, lease):
                figures.reads += 1
                self._ask(partial(node.read, lease=lease), query, tell)
            case Renew(lease, patience_ns):
                figures.renewals += 1
                self._ask(partial(node.renew, patience_ns=patience_ns), lease, tell)
            case _:
                assert_never(asked)

    def submit(self, command: Command) -> asyncio.Future[Outcome]:
        """Have `command` applied."""
        return self._future(Submit(command))

    def read(self, query: Query, *, lease: LeaseId = NO_LEASE) -> asyncio.Future[Outcome]:
        """A linearizable read; with `lease`, refused while that lease's expiry is undecided."""
        return self._future(Read(query, lease))

    def renew(self, lease: LeaseId, patience_ns: int = 0) -> asyncio.Future[Outcome]:
        """Extend a lease by its full ttl, counted from when the leader takes this request. With `patience_ns`, it may wait so
        long for the next heartbeat and cost none of its own."""
        return self._future(Renew(lease, patience_ns))

    def change_membership(self, change: MembershipChange) -> asyncio.Future[Outcome]:
        """Change who votes. Done once it is agreed on; it completes by itself."""
        future = _unanswered()
        self._ask(self._node.change_membership, change, partial(_end, future))
        return future

    def transfer(self, to: NodeId) -> asyncio.Future[Outcome]:
        """Hand leadership over. Done once `to` leads."""
        future = _unanswered()
        self._ask(self._node.transfer, to, partial(_end, future))
        return future

    def raise_level(self, level: int) -> None:
        """Every member says that it reads commands up to this level. Nothing happens where this voter does not lead."""
        self._put(lambda now_ns: self._node.raise_level(level, now_ns))

    async def take_snapshot(self) -> Snapshot:
        """A snapshot of everything that is acknowledged, where this voter leads; else of what is applied here. The log up to
        there is forgotten. Raises EngineUnavailable when there is nothing yet, or the driver has ended."""
        await self.read(
            Range(b"", b"\0")
        )  # whoever leads has applied what is acknowledged when this is answered
        wanted = self._node.machine.applied
        while wanted and not self.ended:
            newest = self._storage.snapshot
            if newest is not None and newest.index >= wanted:
                return newest
            self._begin_snapshot()
            await self._archived.wait()
        raise EngineUnavailable("there is nothing to take a snapshot of, or this voter has stopped")

    def standing(self) -> Standing:
        """This voter at this moment, in short."""
        return self._node.standing()

    def digest(self) -> Digested:
        """Of this voter's state at this moment."""
        return self._node.digest()

    # notifications

    def watch(self, key: bytes, end: bytes | None, after: Revision) -> AsyncIterator[None]:
        """Wake-ups for changes in a key range after a revision, on THIS voter's machine; merged, never missed.

        Raises WatchLost when that history is compacted, no leader was heard for `LEADERLESS_NS_MAX`, this voter is a witness
        or the driver ends; Overloaded beyond `WATCHES_MAX`.
        """
        if self.me in self._node.standing().membership.witnesses:
            raise WatchLost("a witness has no data that could change")
        return self._watches.watch(key, end, after)

    async def leadership_changed(self) -> None:
        """Return at the next change of `leadership`, or when the driver ends. Look first, then wait."""
        if not self.ended:
            await self._leadership_changed.wait()

    def status(self) -> DriverStatus:
        return DriverStatus(
            self._node.status(), self._watches.count, self._figures, self._notes.counts, self._notes.recent()
        )

    # the loop

    async def _drive(self) -> None:
        while not self.ended:
            self._step_all()
            self._tell_membership()
            ready = self._node.ready(self._clock.now_ns())
            if ready is None:
                await self._sleep()
                continue
            self._transport.send(ready.now)
            if ready.record is not None:
                await self._persist(ready.record)
            self._transport.send(ready.messages)
            stored = self._storage.snapshot
            loaded = await self._load(stored) if ready.install and stored is not None else None
            self._deliver(self._node.advance(self._clock.now_ns(), stored, loaded))
            if self._node.snapshot_due:
                self._begin_snapshot()
            if ready.record is None:
                await asyncio.sleep(0)  # the sockets get their turn, however much there is to do here
            elif ready.record.snapshot is not None:
                self._announce_snapshot()

    def _step_all(self) -> None:
        """Step what has arrived, then the deadline: after a stall, messages that were there in time come first."""
        self._wake.clear()
        inbox, clock = self._inbox, self._clock
        stepped = 0
        while inbox:
            inbox.popleft()(clock.now_ns())
            stepped += 1
            if stepped % ROUND_EVENTS == 0 and self._node.round_wanted:
                self._send_urgent()  # the others confirm these while the rest is stepped
        now_ns = self._clock.now_ns()
        if now_ns >= self._node.deadline_ns:
            self._node.deadline_passed(now_ns)
            self._lose_blind_watches(now_ns)

    def _tell_membership(self) -> None:
        membership = self._node.standing().membership
        if membership is not self._membership:
            self._membership = membership
            self._on_membership(membership)

    def _lose_blind_watches(self, now_ns: int) -> None:
        """Whoever watches a voter that is cut off, or was removed, would wait for ever."""
        standing = self._node.standing()
        if standing.leader is not None:
            self._led_ns = now_ns
        if now_ns - self._led_ns > LEADERLESS_NS_MAX:
            self._watches.lose()

    async def _sleep(self) -> None:
        """Until something arrives, the deadline is reached, or the disk has answered."""
        self._arm_timer()
        await self._wake.wait()

    def _arm_timer(self) -> None:
        """A timer that fires too early does no harm, so a deadline that moved away leaves the old one armed."""
        deadline_ns = self._node.deadline_ns
        if self._timer is not None:
            if self._timer_ns <= deadline_ns:
                return
            self._timer.cancel()
        delay = max(0, deadline_ns - self._clock.now_ns()) / 1e9
        self._timer_ns = deadline_ns
        self._timer = asyncio.get_running_loop().call_later(delay, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._wake.set()

    async def _persist(self, record: Record) -> None:
        if self._pace.in_loop(record):
            if self._woken_early:
                self._woken_early = False
                for _ in range(WAKING_TURNS):
                    await asyncio.sleep(0)
            took_ns = self._write(record)
            if took_ns >= STALL_NS:
                self._step_all()  # before this record counts: a leader whose disk stalls has to know (P56)
        else:
            write = asyncio.get_running_loop().run_in_executor(self._disk, self._write, record)
            took_ns = await self._meanwhile(write)
        self._figures.written(took_ns)
        if self._may_write_in_loop:
            self._pace.took(took_ns)

    def _write(self, record: Record) -> int:
        """Returns how long it took."""
        began_ns = self._clock.now_ns()
        self._storage.persist([record])
        return self._clock.now_ns() - began_ns

    async def _load(self, stored: Snapshot) -> Loaded | None:
        """The state of a large snapshot takes a thread seconds, in which this voter goes on answering."""
        return await self._meanwhile(
            asyncio.get_running_loop().run_in_executor(self._archive, load_state, stored)
        )

    async def _meanwhile(self, work: asyncio.Future[Work]) -> Work:
        """Go on stepping until a thread is done, and send what need not wait for it."""
        work.add_done_callback(self._on_worked)
        while not work.done():
            await self._sleep()
            self._step_all()
            self._send_urgent()
        return work.result()

    def _send_urgent(self) -> None:
        urgent = self._node.urgent(self._clock.now_ns())
        self._transport.send(urgent.now)
        self._answer(urgent.outcomes)

    def _on_worked(self, work: asyncio.Future[Any]) -> None:
        if not work.cancelled():
            work.exception()  # seen, also when nobody waits for it any more
        self._wake.set()

    def _begin_snapshot(self) -> None:
        """Have the machine's state of this moment stored, while everything goes on."""
        if self._archiving or (taken := self._node.begin_snapshot()) is None:
            return
        self._archiving = True
        writing = asyncio.get_running_loop().run_in_executor(
            self._archive, self._storage.write_snapshot, taken.index, taken.chunks
        )
        writing.add_done_callback(partial(self._on_archived, taken.index))

    def _on_archived(self, index: Index, writing: asyncio.Future[Blob]) -> None:
        self._on_worked(writing)
        self._archiving = False
        if not writing.cancelled():
            # A disk that failed here is as bad as one that failed below the log: result() raises, and the driver ends.
            self._put(lambda now_ns: self._node.snapshot_taken(index, writing.result(), now_ns))

    def _answer(self, outcomes: Sequence[tuple[RequestId, Outcome]]) -> None:
        for request, outcome in outcomes:
            tell = self._waiting.pop(request, None)
            if tell is None:
                invariant(False, "a request ends once", request=request, outcome=outcome)
                continue
            if isinstance(outcome, Refused):
                self._figures.refused[outcome.reason.value] += 1
            tell(outcome)

    def _deliver(self, applied: Applied) -> None:
        self._answer(applied.outcomes)
        self._watches.wake(applied.changes)
        if applied.restored:
            self._watches.wake_all()
        if applied.leadership is not None:
            self.leadership = applied.leadership
            self._figures.led(known=self.leadership.leader is not None, now_ns=self._clock.now_ns())
            self._announce_leadership()
        if applied.digest is not None:
            self._on_digest(applied.digest)
        self._notes.add(applied.notes)

    def _announce_leadership(self) -> None:
        changed, self._leadership_changed = self._leadership_changed, asyncio.Event()
        changed.set()

    def _announce_snapshot(self) -> None:
        archived, self._archived = self._archived, asyncio.Event()
        archived.set()

    def _end(self) -> None:
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
        self._inbox.clear()
        waiting, self._waiting = self._waiting, {}
        for tell in waiting.values():
            tell(Unknown())
        self._watches.end()
        self._announce_leadership()
        self._announce_snapshot()

    # arrivals

    def _ask(self, step: Callable[[RequestId, Asked, int], None], asked: Asked, tell: Tell) -> None:
        if self.ended:
            raise EngineUnavailable("this voter has stopped")
        if len(self._inbox) >= INBOX_MAX:
            self._figures.dropped["requests"] += 1
            tell(Refused(RefusedReason.OVERLOADED))
            return
        self._last_request += 1
        request = RequestId(self._last_request)
        self._waiting[request] = tell
        self._put(partial(step, request, asked))

    def _future(self, asked: Request) -> asyncio.Future[Outcome]:
        future = _unanswered()
        self.call(asked, partial(_end, future))
        return future

    def _on_message(self, sender: NodeId, message: Message) -> None:
        if len(self._inbox) >= INBOX_MAX:
            self._figures.dropped["messages"] += 1
            return
        if sender == self.leadership.leader:
            self._figures.heard(self._clock.now_ns())
        self._put(partial(self._node.receive, sender, message))

    def _on_peer_lost(self, peer: NodeId) -> None:
        self._put(partial(self._node.peer_lost, peer))

    def _put(self, event: Callable[[int], None]) -> None:
        if not self.ended:
            self._inbox.append(event)
            self._wake.set()


def _unanswered() -> asyncio.Future[Outcome]:
    return asyncio.get_running_loop().create_future()


def _end(future: asyncio.Future[Outcome], outcome: Outcome) -> None:
    if not future.done():  # done: whoever asked has given up
        future.set_result(outcome)
