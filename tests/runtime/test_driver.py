"""The driver: the order of things, group commit, and what happens at the first error. A real node and a real log."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import pytest

from incumbent.consensus.api import Blob, Envelope, Membership, Message, Record, Role, Saved, Snapshot, Timing
from incumbent.consensus.raft.messages import Vote, VoteReply
from incumbent.errors import EngineUnavailable, InvariantViolated, StorageFailed, WatchLost
from incumbent.ids import DiskId, Index, LeaseId, NodeId, Revision, Term, make_node_id
from incumbent.kv.api import DeleteRange, LeaseGrant, Put, Range
from incumbent.node.api import Done, Outcome, Refused, RefusedReason, Unknown
from incumbent.node.node import Node
from incumbent.ports import Storage
from incumbent.runtime import driver as driver_module
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.driver import Driver
from incumbent.runtime.pace import FAST_WRITES_MIN
from incumbent.runtime.storage.log import RaftLog

MS = 1_000_000
TIMING = Timing(heartbeat_ns=10 * MS, election_timeout_min_ns=30 * MS, election_timeout_max_ns=60 * MS)
ME = make_node_id("a", DiskId("aaaaaaaaaaaa"))
B = make_node_id("b", DiskId("bbbbbbbbbbbb"))
C = make_node_id("c", DiskId("cccccccccccc"))
SEVEN = LeaseId(7)


class Gate:
    """A storage that can be held up, or told to fail, in front of a real log."""

    def __init__(self, log: Storage) -> None:
        self._log = log
        self._open = threading.Event()
        self._open.set()
        self.failure: Exception | None = None
        self.writes: list[Sequence[Record]] = []
        self.closed = False
        self.threads = set[int]()

    def load(self) -> Saved:
        return self._log.load()

    def persist(self, records: Sequence[Record]) -> None:
        assert not self.closed
        self.threads.add(threading.get_ident())
        assert self._open.wait(5)
        if self.failure is not None:
            raise self.failure
        self.writes.append(records)
        self._log.persist(records)

    @property
    def snapshot(self) -> Snapshot | None:
        return self._log.snapshot

    def write_snapshot(self, index: Index, chunks: Iterable[bytes]) -> Blob:
        return self._log.write_snapshot(index, chunks)

    def close(self) -> None:
        self.closed = True
        self._log.close()

    def hold(self) -> None:
        self._open.clear()

    def release(self) -> None:
        self._open.set()


class Wire:
    """A transport that keeps what is sent, and what was durable when it was sent."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.sent: list[tuple[int, Envelope]] = []

    def start(
        self, on_message: Callable[[NodeId, Message], None], on_peer_lost: Callable[[NodeId], None]
    ) -> None:
        self.receive = on_message
        self.lose = on_peer_lost

    def send(self, envelopes: Sequence[Envelope]) -> None:
        self.sent += [(len(self._gate.writes), envelope) for envelope in envelopes]


class Rig:
    def __init__(self, path: Path, voters: frozenset[NodeId]) -> None:
        self.gate = Gate(RaftLog(path, DiskId("aaaaaaaaaaaa")))
        self.wire = Wire(self.gate)
        clock = BoottimeClock()
        node = Node(
            ME, Membership(voters), self.gate.load(), random=Random(1), now_ns=clock.now_ns(), timing=TIMING
        )
        self.driver = Driver(node, self.gate, self.wire, clock)
        self.task = asyncio.create_task(self.driver.run())

    async def led(self) -> None:
        async with asyncio.timeout(5):
            while not self.driver.leadership.serving:
                await self.driver.leadership_changed()

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.001)

    async def fails_with(self, error: type[BaseException]) -> None:
        with pytest.raises(error):
            async with asyncio.timeout(5):
                await self.task


@asynccontextmanager
async def rig(path: Path, *others: NodeId) -> AsyncIterator[Rig]:
    made = Rig(path, frozenset({ME, *others}))
    try:
        yield made
    finally:
        made.gate.release()
        made.driver.stop()
        await asyncio.wait({made.task})
        if not made.task.cancelled():
            made.task.exception()


def put(key: bytes, value: bytes = b"v") -> Put:
    return Put(key, value)


async def test_a_lone_voter_leads_and_answers(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        done = await r.driver.submit(put(b"k"))
        assert isinstance(done, Done)
        read = await r.driver.read(Range(b"k"))
        assert isinstance(read, Done)
        assert read.result.results[0].kvs[0].value == b"v"
        assert r.driver.status().node.revision == done.result.revision
        assert [note.code for note in r.driver.status().notes]


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        assert isinstance(await r.driver.submit(put(b"k", b"kept")), Done)
    async with rig(tmp_path) as r:
        await r.led()
        read = await r.driver.read(Range(b"k"))
        assert isinstance(read, Done)
        assert read.result.results[0].kvs[0].value == b"kept"


async def test_what_arrives_during_a_write_shares_the_next(tmp_path: Path) -> None:
    """Group commit: the loop goes on stepping while the disk works, on one thread that is not the loop's."""
    async with rig(tmp_path) as r:
        await r.led()
        before = len(r.gate.writes)
        r.gate.hold()
        first = r.driver.submit(put(b"0"))
        await asyncio.sleep(0.02)  # the first write is at the disk now
        rest = [r.driver.submit(put(b"%d" % n)) for n in range(1, 100)]
        await asyncio.sleep(0)
        assert not first.done()
        r.gate.release()
        assert {type(outcome) for outcome in await asyncio.gather(first, *rest)} == {Done}
        assert len(r.gate.writes) - before <= 3
        assert len(r.gate.threads) == 1
        assert threading.get_ident() not in r.gate.threads


async def test_a_vote_leaves_only_after_it_is_durable(tmp_path: Path) -> None:
    """P51: the write is held up, and so is the reply; nothing else decides when it may go."""
    async with rig(tmp_path, B, C) as r:
        await asyncio.sleep(0)
        r.gate.hold()
        r.wire.receive(B, Vote(Term(9), Index(0), Term(0)))
        await r.until(lambda: r.gate.threads)
        await asyncio.sleep(0.02)
        assert not [e for _, e in r.wire.sent if isinstance(e.message, VoteReply)]
        writes = len(r.gate.writes)
        r.gate.release()
        await r.until(lambda: [e for _, e in r.wire.sent if isinstance(e.message, VoteReply)])
        durable, reply = next((n, e) for n, e in r.wire.sent if isinstance(e.message, VoteReply))
        assert durable > writes
        assert reply == Envelope(B, VoteReply(Term(9), True))


@pytest.mark.parametrize(
    "failure", [StorageFailed("the disk is gone"), InvariantViolated("a bug"), RuntimeError("a bug")]
)
async def test_the_first_error_stops_everything(tmp_path: Path, failure: Exception) -> None:
    """DESIGN 4.6: nothing is sent or answered any more; what was in flight is unknown, what comes later is refused."""
    async with rig(tmp_path) as r:
        await r.led()
        watching = asyncio.ensure_future(anext(r.driver.watch(b"k", None, Revision(10**6))))
        changed = asyncio.ensure_future(r.driver.leadership_changed())
        await asyncio.sleep(0)
        r.gate.failure = failure
        in_flight: list[asyncio.Future[Outcome]] = [r.driver.submit(put(b"%d" % n)) for n in range(3)]
        in_flight.append(r.driver.read(Range(b"k")))
        await r.fails_with(type(failure))
        sent = len(r.wire.sent)
        outcomes = [await future for future in in_flight[:3]]
        assert outcomes == [Unknown()] * 3
        assert in_flight[3].done()
        with pytest.raises(EngineUnavailable, match="stopped"):
            r.driver.submit(put(b"k"))
        with pytest.raises(WatchLost, match="stopped"):
            await watching
        await changed
        r.wire.receive(B, Vote(Term(99), Index(0), Term(0)))
        await asyncio.sleep(0.01)
        assert len(r.wire.sent) == sent
        assert r.gate.closed


async def test_a_bug_in_the_core_stops_everything(tmp_path: Path) -> None:
    async with rig(tmp_path, B, C) as r:
        await asyncio.sleep(0)
        r.wire.receive(B, "no message of Raft's")
        with pytest.raises(Exception) as raised:
            await r.task
        assert not isinstance(raised.value, asyncio.CancelledError)
        assert r.gate.closed


async def test_a_read_waits_for_no_write(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        assert isinstance(await r.driver.submit(put(b"k", b"old")), Done)
        r.gate.hold()
        write = r.driver.submit(put(b"k", b"new"))
        await asyncio.sleep(0.01)
        read = await asyncio.wait_for(r.driver.read(Range(b"k")), 5)
        assert isinstance(read, Done)
        assert read.result.results[0].kvs[0].value == b"old"  # what is not acknowledged is not seen
        assert not write.done()
        r.gate.release()
        assert isinstance(await write, Done)


async def test_small_writes_to_a_disk_that_is_known_to_be_fast_are_made_in_the_loop(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        r.driver._pace._fast = FAST_WRITES_MIN
        r.gate.threads.clear()
        assert isinstance(await r.driver.submit(put(b"k")), Done)
        assert r.gate.threads == {threading.get_ident()}


async def test_a_leader_whose_disk_stalls_under_its_loop_knows_it_first(tmp_path: Path) -> None:
    """P56."""
    async with rig(tmp_path) as r:
        await r.led()
        r.driver._pace._fast = FAST_WRITES_MIN
        r.gate.hold()
        threading.Timer(0.1, r.gate.release).start()  # more than an election timeout
        outcome = await r.driver.submit(put(b"k"))
        assert r.driver.status().counts["disk_stalled"] == 1
        assert isinstance(outcome, Unknown)
        assert r.driver._pace._fast == 0  # it is not trusted any more


async def test_a_stop_waits_for_the_write_in_flight_and_ends_the_rest_as_unknown(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        r.gate.hold()
        first = r.driver.submit(put(b"k"))
        await r.until(lambda: r.driver._inbox == type(r.driver._inbox)())
        await asyncio.sleep(0.02)
        second = r.driver.submit(put(b"l"))
        r.driver.stop()
        await asyncio.sleep(0.01)
        assert not r.task.done()
        r.gate.release()
        await r.task
        assert first.done()
        assert await second == Unknown()


async def test_the_log_is_not_closed_under_a_write_when_the_driver_is_cancelled(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        r.gate.hold()
        future = r.driver.submit(put(b"k"))
        await asyncio.sleep(0.02)
        r.task.cancel()
        await asyncio.sleep(0.01)
        assert not r.gate.closed
        assert await future == Unknown()
        r.gate.release()
        with pytest.raises(asyncio.CancelledError):
            await r.task
        assert r.gate.closed


async def test_a_full_inbox_refuses_requests_and_drops_messages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        monkeypatch.setattr(driver_module, "INBOX_MAX", 2)
        futures = [r.driver.submit(put(b"%d" % n)) for n in range(3)]
        r.wire.receive(B, Vote(Term(9), Index(0), Term(0)))
        assert await futures[2] == Refused(RefusedReason.OVERLOADED)
        assert {type(outcome) for outcome in await asyncio.gather(*futures[:2])} == {Done}
        assert r.driver.status().figures.dropped == {"requests": 1, "messages": 1}


async def test_whoever_gives_up_waiting_disturbs_nothing(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        r.driver.submit(put(b"k")).cancel()
        assert isinstance(await r.driver.submit(put(b"l")), Done)
        read = await r.driver.read(Range(b"k"))
        assert isinstance(read, Done)
        assert read.result.results[0].kvs  # cancelling is not undoing


async def test_a_watch_wakes_when_its_range_changes(tmp_path: Path) -> None:
    async with rig(tmp_path) as r:
        await r.led()
        done = await r.driver.submit(put(b"k"))
        assert isinstance(done, Done)
        await anext(r.driver.watch(b"k", None, Revision(done.result.revision - 1)))
        waiting = asyncio.ensure_future(anext(r.driver.watch(b"k", None, done.result.revision)))
        await r.driver.submit(put(b"other"))
        assert not waiting.done()
        await r.driver.submit(put(b"k"))
        await waiting


@pytest.mark.parametrize("fast", [0, FAST_WRITES_MIN])
async def test_who_waits_for_a_key_is_woken_before_it_is_gone_and_asks_in_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: int
) -> None:
    """Also where the write stops the loop: he is told before that. What he asks under his lease is answered after it."""
    happened: list[str] = []
    async with rig(tmp_path) as r:
        await r.led()
        await r.driver.submit(LeaseGrant(SEVEN, 60 * 10**9))
        done = await r.driver.submit(put(b"k"))
        assert isinstance(done, Done)

        async def follow() -> None:
            async for _ in r.driver.watch(b"k", None, done.result.revision):
                happened.append("woken")
                await asyncio.sleep(0)  # as a connection: it is told in the next turn
                happened.append("told")
                found = await r.driver.read(Range(b"k"), lease=SEVEN)
                assert isinstance(found, Done)
                assert not found.result.results[0].kvs
                happened.append("answered")
                break

        persist = r.gate.persist

        def write(records: Sequence[Record]) -> None:
            happened.append("written")
            persist(records)

        following = asyncio.create_task(follow())
        await asyncio.sleep(0)
        monkeypatch.setattr(r.gate, "persist", write)
        r.driver._pace._fast = fast
        await r.driver.submit(DeleteRange(b"k"))
        await following
    assert happened.index("answered") > happened.index("written")
    if fast:
        assert happened[:3] == ["woken", "told", "written"]


async def test_a_follower_says_so(tmp_path: Path) -> None:
    async with rig(tmp_path, B, C) as r:
        outcome = await r.driver.submit(put(b"k"))
        assert outcome == Refused(RefusedReason.NOT_LEADER)
        assert r.driver.leadership.role is not Role.LEADER
