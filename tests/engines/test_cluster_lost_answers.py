"""Answers that were lost: settled by asking again or by what the cells tell, else unknown; never taken for a failure."""

from __future__ import annotations

import itertools

import pytest

from incumbent.engines.api import Cell, CellWrite, Claimed, Member, Session
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.engines.cluster.settling import ATTEMPTS_MAX
from incumbent.errors import EngineUnavailable, NotFirst, OutcomeUnknown, SessionGone, VersionConflict
from incumbent.ids import LeaseId
from incumbent.kv.api import NO_LEASE, Command, Query, Result
from tests.engines.memory_client import VOTERS, Fault, MemoryCluster, MemoryLink

TRICKY = (Fault.LOST, Fault.ANSWER_LOST, Fault.DELAYED)


class Bench:
    """An engine whose answers can be lost, and another on the same cluster whose answers never are."""

    def __init__(self) -> None:
        self.cluster = MemoryCluster()
        self.link = MemoryLink(self.cluster)
        self.engine = ClusterEngine(self.link, cluster="test", voters=lambda: VOTERS)
        self.other = self.cluster.engine()

    async def session(self) -> Session:
        return await self.engine.open_session(10.0, "request")

    async def lead(self) -> Claimed:
        member = await self.engine.join(await self.session(), "g", "r", b"")
        claimed = await self.engine.claim(member)
        assert isinstance(claimed, Claimed)
        return claimed


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.mark.parametrize(
    "faults", [*itertools.product(TRICKY, repeat=1), *itertools.product(TRICKY, repeat=2)]
)
async def test_idempotent_calls_are_asked_again(bench: Bench, faults: tuple[Fault, ...]) -> None:
    """P3: one member, one session, one change, however often the answer is lost, and whenever the rest arrives."""
    bench.link.faults.extend(faults)
    session = await bench.session()
    bench.cluster.deliver_delayed()

    bench.link.faults.extend(faults)
    member = await bench.engine.join(session, "g", "r", b"one")
    bench.cluster.deliver_delayed()
    (entry,) = (await bench.other.roster("g")).members
    assert (entry.id, entry.order, entry.value) == (member.id, member.revision, b"one")

    bench.link.faults.extend(faults)
    await bench.engine.update(member, b"two")
    bench.cluster.deliver_delayed()
    (entry,) = (await bench.other.roster("g")).members
    assert (entry.order, entry.value) == (member.revision, b"two")

    bench.link.faults.extend(faults)
    assert await bench.engine.remove("g", member.id, member.revision)
    again = await bench.engine.join(session, "g", "r", b"three")
    bench.cluster.deliver_delayed()  # a late removal never removes a re-join
    (entry,) = (await bench.other.roster("g")).members
    assert entry.order == again.revision

    bench.link.faults.extend(faults)
    assert await bench.engine.end_session(session.ref)
    bench.cluster.deliver_delayed()
    assert not await bench.engine.end_session(session.ref)


async def test_an_answer_that_stays_lost_is_unknown(bench: Bench) -> None:
    session = await bench.session()
    bench.link.faults.extend([Fault.LOST] * ATTEMPTS_MAX)
    with pytest.raises(OutcomeUnknown):
        await bench.engine.join(session, "g", "r", b"")
    assert not bench.link.faults


async def test_certainly_not_done_after_perhaps_done_is_unknown(bench: Bench) -> None:
    session = await bench.session()
    bench.link.faults.extend([Fault.ANSWER_LOST, Fault.UNAVAILABLE])
    with pytest.raises(OutcomeUnknown):
        await bench.engine.join(session, "g", "r", b"")
    assert (await bench.other.roster("g")).members
    bench.link.faults.append(Fault.UNAVAILABLE)
    with pytest.raises(EngineUnavailable):
        await bench.engine.join(session, "other", "r", b"")


async def test_a_session_that_was_granted_and_not_confirmed_is_unknown(bench: Bench) -> None:
    bench.link.read_faults.append(Fault.UNAVAILABLE)
    with pytest.raises(OutcomeUnknown):
        await bench.session()
    await bench.engine.renew(await bench.session())


async def test_a_session_that_ended_between_is_gone(bench: Bench) -> None:
    session = await bench.session()
    await bench.other.end_session(session.ref)
    bench.link.faults.append(Fault.LOST)
    with pytest.raises(SessionGone):
        await bench.engine.join(session, "g", "r", b"")


# --- cells ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", TRICKY)
@pytest.mark.parametrize("value", [b"new", None])
@pytest.mark.parametrize("guarded", ["guarded", "not guarded"])
async def test_a_versioned_write_is_done_once(
    bench: Bench, fault: Fault, value: bytes | None, guarded: str
) -> None:
    lead = await bench.lead()
    await bench.other.write_cells("g", [CellWrite("c", b"old", 0)], None)
    bench.link.faults.append(fault)
    (cell,) = await bench.engine.write_cells(
        "g", [CellWrite("c", value, 1)], lead if guarded == "guarded" else None
    )
    bench.cluster.deliver_delayed()
    assert cell == Cell(value, 2) == await bench.other.read_cell("g", "c")


async def test_a_step_is_known_by_any_of_its_cells(bench: Bench) -> None:
    writes = [CellWrite("x", b"1", 0), CellWrite("y", b"2", None)]
    bench.link.faults.append(Fault.ANSWER_LOST)
    assert await bench.engine.write_cells("g", writes, None) == (Cell(b"1", 1), Cell(b"2", 1))


class Interloper(MemoryLink):
    """Lets another write come between the lost answer and the look at the cells."""

    def __init__(self, cluster: MemoryCluster, name: str, value: bytes, times: int) -> None:
        super().__init__(cluster)
        self._other = cluster.engine()
        self._write = (name, value, times)

    async def read(self, query: Query, *, lease: LeaseId = NO_LEASE, timeout: float) -> Result:
        name, value, times = self._write
        for _ in range(times):
            await self._other.write_cells("g", [CellWrite(name, value, None)], None)
        self._write = (name, value, 0)
        return await super().read(query, lease=lease, timeout=timeout)


@pytest.mark.parametrize(
    ("fault", "times", "expected", "outcome"),
    [
        # Another write took the version that ours expected, with the very same value: ours never was nor will be done.
        (Fault.LOST, 1, 0, VersionConflict),
        (Fault.DELAYED, 1, 0, VersionConflict),
        # Two writes since, and ours may have been the first of them: nobody can tell.
        (Fault.LOST, 2, 0, OutcomeUnknown),
        (Fault.ANSWER_LOST, 1, 0, OutcomeUnknown),
        # Written under no version: sending it again could do it twice.
        (Fault.LOST, 0, None, OutcomeUnknown),
        (Fault.DELAYED, 0, None, OutcomeUnknown),
        (Fault.ANSWER_LOST, 1, None, OutcomeUnknown),
        (Fault.ANSWER_LOST, 0, None, None),
        (Fault.ANSWER_LOST, 0, 0, None),
    ],
)
async def test_what_the_cells_tell(
    fault: Fault, times: int, expected: int | None, outcome: type[Exception] | None
) -> None:
    cluster = MemoryCluster()
    link = Interloper(cluster, "c", b"same", times)
    engine = ClusterEngine(link, cluster="test", voters=lambda: VOTERS)
    link.faults.append(fault)
    if outcome is None:
        assert await engine.write_cells("g", [CellWrite("c", b"same", expected)], None) == (Cell(b"same", 1),)
    else:
        with pytest.raises(outcome):
            await engine.write_cells("g", [CellWrite("c", b"same", expected)], None)
        assert len(link.submitted) == 1
    before = await engine.read_cell("g", "c")
    cluster.deliver_delayed()
    if expected is not None:
        assert await engine.read_cell("g", "c") == before  # what arrives late does nothing any more


async def test_a_step_that_is_known_but_for_a_version_is_unknown() -> None:
    """Done, by its other cell; but nobody can tell which version the overwritten one had."""
    cluster = MemoryCluster()
    link = Interloper(cluster, "y", b"other", 1)
    link.faults.append(Fault.ANSWER_LOST)
    engine = ClusterEngine(link, cluster="test", voters=lambda: VOTERS)
    with pytest.raises(OutcomeUnknown):
        await engine.write_cells("g", [CellWrite("x", b"1", 0), CellWrite("y", b"2", None)], None)


class Straggler(MemoryLink):
    """What was delayed arrives right before the next attempt."""

    async def submit(self, command: Command, *, timeout: float) -> Result:
        self.cluster.deliver_delayed()
        return await super().submit(command, timeout=timeout)


async def test_a_refused_second_attempt_is_not_believed_before_the_cells() -> None:
    """The first attempt arrives between the look and the second attempt, which it then makes fail."""
    cluster = MemoryCluster()
    link = Straggler(cluster)
    link.faults.append(Fault.DELAYED)
    engine = ClusterEngine(link, cluster="test", voters=lambda: VOTERS)
    assert await engine.write_cells("g", [CellWrite("c", b"v", 0)], None) == (Cell(b"v", 1),)
    assert len(link.submitted) == 2


async def test_a_lead_that_was_lost_meanwhile_is_told(bench: Bench) -> None:
    lead = await bench.lead()
    await bench.other.remove("g", lead.member.id, lead.member.revision)
    bench.link.faults.append(Fault.LOST)
    with pytest.raises(NotFirst):
        await bench.engine.write_cells("g", [CellWrite("c", b"v", 0)], lead)
    assert await bench.other.read_cell("g", "c") == Cell(None, 0)


async def test_a_conflict_under_a_held_lead_is_a_conflict(bench: Bench) -> None:
    lead = await bench.lead()
    behind = await bench.other.join(await bench.other.open_session(10.0, "other"), "g", "r", b"")
    with pytest.raises(VersionConflict):
        await bench.engine.write_cells("g", [CellWrite("c", b"v", 5)], lead)
    with pytest.raises(NotFirst):
        await bench.other.write_cells("g", [CellWrite("c", b"v", 5)], Claimed(behind, lead.token))


async def test_cells_that_cannot_be_looked_at_leave_it_unknown(bench: Bench) -> None:
    bench.link.faults.append(Fault.ANSWER_LOST)
    bench.link.read_faults.append(Fault.UNAVAILABLE)
    with pytest.raises(OutcomeUnknown):
        await bench.engine.write_cells("g", [CellWrite("c", b"v", 0)], None)
    assert await bench.other.read_cell("g", "c") == Cell(b"v", 1)


async def test_a_write_that_was_certainly_not_done_says_so(bench: Bench) -> None:
    bench.link.faults.append(Fault.UNAVAILABLE)
    with pytest.raises(EngineUnavailable):
        await bench.engine.write_cells("g", [CellWrite("c", b"v", 0)], None)


async def test_a_member_of_another_engine_is_none_of_ours(bench: Bench) -> None:
    stranger = Claimed(Member("g", "17", 17), 17)
    with pytest.raises(NotFirst):
        await bench.engine.write_cells("g", [CellWrite("c", b"v", 0)], stranger)
