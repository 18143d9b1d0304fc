"""Answers of a real etcd that were lost: settled by asking again or by what the cells tell, else unknown; never a failure, and
never done twice."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from typing import Any

import pytest

from incumbent.engines import registry
from incumbent.engines.api import Cell, CellWrite, Claimed, Session, Waiting
from incumbent.engines.cluster.settling import ATTEMPTS_MAX
from incumbent.engines.etcd.engine import EtcdEngine
from incumbent.engines.etcd.wire import Refusal
from incumbent.errors import (
    EngineUnavailable,
    NotFirst,
    OutcomeUnknown,
    ProtocolViolation,
    SessionGone,
    VersionConflict,
)
from tests.engines.etcd_service import EtcdService, serving
from tests.engines.test_etcd_engine import engine_on, name

pytestmark = pytest.mark.slow


class Fault(Enum):
    LOST = auto()  # the request
    ANSWER_LOST = auto()
    DELAYED = auto()  # the request arrives when it is delivered


FAULTS = [*itertools.product(Fault, repeat=1), *itertools.product(Fault, repeat=2)]


class Bench:
    """An engine whose answers can be lost, and another on the same etcd whose answers never are."""

    def __init__(self, engine: EtcdEngine, other: EtcdEngine) -> None:
        self.engine = engine
        self.other = other
        self.faults = deque[Fault]()
        self._delayed: list[tuple[Any, ...]] = []
        self._post = engine._gateway._post
        engine._gateway._post = self._faulty_post  # type: ignore[assignment,method-assign]

    async def _faulty_post(self, *request: Any) -> Any:
        if not self.faults:
            return await self._post(*request)
        match self.faults.popleft():
            case Fault.ANSWER_LOST:
                with suppress(Refusal):
                    await self._post(*request)
            case Fault.DELAYED:
                self._delayed.append(request)
            case Fault.LOST:
                pass
        raise OutcomeUnknown("a fault of the test")

    async def deliver(self) -> None:
        delayed, self._delayed = self._delayed, []
        for request in delayed:
            with suppress(Refusal):
                await self._post(*request)

    async def session(self) -> Session:
        return await self.engine.open_session(60.0, f"request of {name()}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdService]:
    with serving(tmp_path_factory.mktemp("etcd")) as running:
        yield running


@pytest.fixture
async def bench(service: EtcdService) -> AsyncIterator[Bench]:
    async with engine_on(service.url()) as engine, engine_on(service.url()) as other:
        yield Bench(engine, other)


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "-".join(fault.name for fault in faults))
async def test_idempotent_calls_are_asked_again(bench: Bench, faults: tuple[Fault, ...]) -> None:
    """P2, P3: one member, one session, one change, however often the answer is lost, and whenever the rest arrives."""
    group = name()
    bench.faults.extend(faults)
    session = await bench.session()
    await bench.deliver()

    bench.faults.extend(faults)
    member = await bench.engine.join(session, group, "r", b"one")
    await bench.deliver()
    (entry,) = (await bench.other.roster(group)).members
    assert (entry.id, entry.order, entry.value) == (member.id, member.revision, b"one")

    bench.faults.extend(faults)
    await bench.engine.update(member, b"two")
    await bench.deliver()
    (entry,) = (await bench.other.roster(group)).members
    assert (entry.order, entry.value) == (member.revision, b"two")

    bench.faults.extend(faults)
    assert isinstance(await bench.engine.claim(member), Claimed)
    bench.faults.extend(faults)
    await bench.engine.renew(session)

    bench.faults.extend(faults)
    assert await bench.engine.remove(group, member.id, member.revision)
    again = await bench.engine.join(session, group, "r", b"three")
    await bench.deliver()  # a late removal never removes a re-join
    (entry,) = (await bench.other.roster(group)).members
    assert entry.order == again.revision

    bench.faults.extend(faults)
    assert await bench.engine.end_session(session.ref)
    await bench.deliver()
    assert not await bench.engine.end_session(session.ref)
    assert (await bench.other.roster(group)).members == ()


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "-".join(fault.name for fault in faults))
async def test_a_stand_whose_answer_is_lost_finds_its_member(bench: Bench, faults: tuple[Fault, ...]) -> None:
    """P3: alone it is first with the token of the attempt that arrived, behind another it waits."""
    group, session = name(), await bench.session()
    (cell,) = await bench.other.write_cells(group, [CellWrite("c", b"v", None)], None)
    bench.faults.extend(faults)
    member, answer = await bench.engine.stand(session, group, "r", b"one", "c")
    await bench.deliver()
    (entry,) = (await bench.other.roster(group)).members
    assert (entry.id, entry.order, entry.value) == (member.id, member.revision, b"one")
    assert answer == Claimed(member, member.revision)
    assert isinstance(answer, Claimed)
    assert answer.cell == cell

    behind = await bench.session()
    bench.faults.extend(faults)
    second, answer = await bench.engine.stand(behind, group, "r", b"two", "c")
    await bench.deliver()
    assert isinstance(answer, Waiting)
    assert answer.behind == member.id
    assert [e.id for e in (await bench.other.roster(group)).members] == [member.id, second.id]


@pytest.mark.parametrize("stands", [False, True])
async def test_a_late_join_brings_nobody_back(bench: Bench, *, stands: bool) -> None:
    """P2: its first attempt got stuck in a server; the second joined, and the member has left since."""
    group, session = name(), await bench.session()
    bench.faults.append(Fault.DELAYED)
    if stands:
        member, _ = await bench.engine.stand(session, group, "r", b"")
    else:
        member = await bench.engine.join(session, group, "r", b"")
    await bench.engine.leave(member)
    await bench.deliver()
    assert (await bench.other.roster(group)).members == ()


async def test_an_answer_that_stays_lost_is_unknown(bench: Bench) -> None:
    session = await bench.session()
    bench.faults.extend([Fault.LOST] * ATTEMPTS_MAX)
    with pytest.raises(OutcomeUnknown):
        await bench.engine.join(session, name(), "r", b"")


@pytest.mark.parametrize("faults", FAULTS, ids=lambda faults: "-".join(fault.name for fault in faults))
async def test_a_cell_is_written_once(bench: Bench, faults: tuple[Fault, ...]) -> None:
    """Under its version, guarded: done once, and said so, whatever was lost."""
    group, session = name(), await bench.session()
    member = await bench.engine.join(session, group, "r", b"")
    claimed = await bench.engine.claim(member)
    assert isinstance(claimed, Claimed)
    for version in range(3):
        bench.faults.extend(faults)
        (cell,) = await bench.engine.write_cells(group, [CellWrite("n", b"%d" % version, version)], claimed)
        await bench.deliver()
        assert cell == Cell(b"%d" % version, version + 1) == await bench.other.read_cell(group, "n")


async def test_who_lost_the_answer_is_told_what_became_of_it(bench: Bench) -> None:
    """P33: another's write in between is a conflict; a guard that fell is NotFirst; nothing is guessed."""
    group, session = name(), await bench.session()
    member = await bench.engine.join(session, group, "r", b"")
    claimed = await bench.engine.claim(member)
    assert isinstance(claimed, Claimed)

    bench.faults.append(Fault.DELAYED)
    await bench.other.write_cells(group, [CellWrite("n", b"theirs", 0)], None)
    with pytest.raises(VersionConflict):
        await bench.engine.write_cells(group, [CellWrite("n", b"mine", 0)], claimed)
    await bench.deliver()
    assert (await bench.other.read_cell(group, "n")).value == b"theirs"

    await bench.other.remove(group, member.id, member.revision)
    bench.faults.append(Fault.DELAYED)
    with pytest.raises(NotFirst):
        await bench.engine.write_cells(group, [CellWrite("n", b"mine", 1)], claimed)
    await bench.deliver()
    assert (await bench.other.read_cell(group, "n")).value == b"theirs"


# --- on the wire -----------------------------------------------------------------------------------------------------


class Proxy:
    """Between a client and its etcd. Of the next requests to `path`, it cuts the connection: before passing it on, or after."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self.cuts: deque[tuple[bytes, bool]] = deque()  # path, whether etcd gets the request
        self._serving: set[asyncio.Task[object]] = set()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[int]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        async with server:
            yield server.sockets[0].getsockname()[1]
            if self._serving:
                await asyncio.wait(self._serving, timeout=5)  # the client is gone, so these end by themselves

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Requests and answers come in any number of pieces."""
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        etcd_reader, etcd_writer = await asyncio.open_connection(*self._address)
        losing, lost = asyncio.Event(), asyncio.Event()

        async def answers() -> None:
            while data := await etcd_reader.read(1 << 16):
                if losing.is_set():
                    lost.set()
                else:
                    writer.write(data)

        async def requests() -> None:
            while data := await reader.read(1 << 16):
                if not losing.is_set() and self.cuts and self.cuts[0][0] in data:
                    _, passed_on = self.cuts.popleft()
                    if not passed_on:
                        return
                    losing.set()
                etcd_writer.write(data)

        tasks = [asyncio.ensure_future(work) for work in (answers(), requests(), lost.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for one in (writer, etcd_writer):
                one.close()


@pytest.mark.parametrize("passed_on", [True, False])
async def test_connections_that_break_double_nothing(service: EtcdService, *, passed_on: bool) -> None:
    """P3: over real sockets, at every kind of request."""
    proxy, group = Proxy(service.server.clients["m0"]), name()
    async with proxy.serving() as port, engine_on(f"etcd://127.0.0.1:{port}") as engine:
        for path in (b"/v3/lease/grant", b"/v3/kv/txn", b"/v3/lease/keepalive"):
            proxy.cuts.append((path, passed_on))
        session = await engine.open_session(60.0, f"request of {name()}")
        proxy.cuts.append((b"/v3/kv/txn", passed_on))
        member = await engine.join(session, group, "r", b"")
        proxy.cuts.append((b"/v3/kv/txn", passed_on))
        (cell,) = await engine.write_cells(group, [CellWrite("n", b"1", 0)], None)
        assert cell.version == 1
        proxy.cuts.append((b"/v3/lease/keepalive", passed_on))
        await engine.renew(session)
        async with engine_on(service.url()) as other:
            assert [entry.id for entry in (await other.roster(group)).members] == [member.id]
            assert await other.read_cell(group, "n") == cell
        proxy.cuts.append((b"/v3/lease/revoke", passed_on))
        assert await engine.end_session(session.ref)
        with pytest.raises(SessionGone):
            await engine.renew(session)
        assert not proxy.cuts


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"[]",
        b'{"header":{}}',
        b"{}",
        b'{"result":7}',
        b'{"header":{"cluster_id":"x","member_id":"1"}}',
    ],
)
async def test_what_is_no_etcd_is_refused(answer: bytes) -> None:
    """P77."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(answer), answer))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        with pytest.raises((ProtocolViolation, EngineUnavailable)):
            await registry.connect(f"etcd://127.0.0.1:{server.sockets[0].getsockname()[1]}?timeout=0.5")
