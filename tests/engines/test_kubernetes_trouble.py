"""The engine on Kubernetes in trouble: lost answers, busy servers, claims under way, and large cells, on the strict fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incumbent.engines.api import CellWrite, Claimed
from incumbent.engines.kubernetes import leases as names
from incumbent.engines.registry import bump
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    MemberGone,
    NotAllowed,
    NotFirst,
    OutcomeUnknown,
    Overloaded,
    VersionConflict,
    WatchLost,
)
from incumbent.testing.kubernetes import Fault, Harm
from tests.engines.kubernetes_lab import (
    TTL_S,
    KubernetesLab,
    claimed,
    joined,
    kubernetes_lab,
    leading,
    waits,
)

WRITES = ("create", "update", "delete")


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[KubernetesLab]:
    async with kubernetes_lab(tmp_path) as lab:
        yield lab


# --- answers that are lost, and servers that are busy -------------------------------------------------------------------


@pytest.mark.parametrize("harm", [Harm.DROP_REPLY, Harm.STATUS_AFTER, Harm.REFUSE, Harm.STATUS])
@pytest.mark.parametrize("skip", range(6))
async def test_a_life_survives_one_lost_answer_anywhere(lab: KubernetesLab, harm: Harm, skip: int) -> None:
    """P3: each step takes effect once, whichever request's answer is lost."""
    engine, other = await lab.engine(), await lab.engine()
    for verb in WRITES:
        lab.fake.faults.append(Fault(harm, verb, skip=skip))
    session, lead = await leading(engine)
    assert await claimed(engine, lead.member) == lead
    await engine.renew(session)
    (cell,) = await engine.write_cells("e", [CellWrite("c", b"one", 0)], lead)
    assert await other.read_cell("e", "c") == cell
    await engine.update(lead.member, b"v")
    roster = await other.roster("e")
    assert [(entry.id, entry.value) for entry in roster.members] == [(lead.member.id, b"v")]
    await engine.leave(lead.member)
    assert not (await other.roster("e")).members
    assert await engine.end_session(session.ref) is True
    _, again = await leading(other)
    assert again.token > lead.token


@pytest.mark.parametrize("size", [3, 300_000])
async def test_a_cell_whose_answer_is_lost_is_written_once(lab: KubernetesLab, size: int) -> None:
    """P3: found by its tag; a second write would conflict with the first."""
    engine, value = await lab.engine(), b"x" * size
    value = value[: 256 * 1024]
    await engine.write_cells("e", [CellWrite("c", b"0", 0)], None)
    before = await engine.read_cell("e", "c")
    for harm in (Harm.DROP_REPLY, Harm.REFUSE):
        lab.fake.faults.append(Fault(harm, "update", "e"))
        (cell,) = await engine.write_cells("e", [CellWrite("c", value, before.version)], None)
        assert await engine.read_cell("e", "c") == cell
        with pytest.raises(VersionConflict):
            await engine.write_cells("e", [CellWrite("c", b"", before.version)], None)
        before = cell


@pytest.mark.slow
async def test_a_write_that_was_overwritten_before_anybody_looked_is_unknown(lab: KubernetesLab) -> None:
    """Done, the answer lost, and another's write over it: nobody can tell, and it is not said that it failed."""
    engine, other = await lab.engine(), await lab.engine()
    await other.write_cells("e", [CellWrite("c", b"0", 0)], None)
    lab.fake.faults.append(Fault(Harm.DROP_REPLY, "update", "e", seconds=0.3))
    lost = asyncio.create_task(engine.write_cells("e", [CellWrite("c", b"mine", None)], None))
    async with asyncio.timeout(5):
        while (await other.read_cell("e", "c")).value != b"mine":
            await asyncio.sleep(0.01)
    await other.write_cells("e", [CellWrite("c", b"theirs", None)], None)
    with pytest.raises(OutcomeUnknown):
        await lost
    assert (await other.read_cell("e", "c")).value == b"theirs"


@pytest.mark.slow
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_waited_for_inside_the_deadline(lab: KubernetesLab, status: int) -> None:
    """P49."""
    engine = await lab.engine(timeout_s=2.5)
    session, _ = await leading(engine)
    lab.fake.faults.append(Fault(Harm.STATUS, "update", status=status, retry_after_s=1, times=2))
    started = asyncio.get_running_loop().time()
    await engine.renew(session)
    assert asyncio.get_running_loop().time() - started >= 1.0


async def test_a_retry_after_beyond_the_deadline_is_not_waited_for(lab: KubernetesLab) -> None:
    """P49: certainly not done, and said at once."""
    engine = await lab.engine(timeout_s=2.0)
    session, _ = await leading(engine)
    lab.fake.faults.append(Fault(Harm.STATUS, "update", status=429, retry_after_s=30, times=9))
    started = asyncio.get_running_loop().time()
    with pytest.raises(Overloaded):
        await engine.renew(session)
    assert asyncio.get_running_loop().time() - started < 1.0


@pytest.mark.slow
async def test_a_storm_of_conflicts_loses_nothing(lab: KubernetesLab) -> None:
    """P49, P18: conflicts mean to read again, for the leader's renewals too."""
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)

    async def write(number: int) -> None:
        for turn in range(10):
            await other.write_cells("e", [CellWrite(f"c{number}", b"%d" % turn, None)], None)

    async def renew() -> None:
        for _ in range(20):
            await engine.renew(session)

    await asyncio.gather(renew(), *(write(number) for number in range(4)))
    assert await claimed(engine, lead.member) == lead
    for number in range(4):
        assert (await engine.read_cell("e", f"c{number}")).value == b"9"


@pytest.mark.slow
async def test_an_api_server_that_is_away_is_unavailable_and_comes_back(lab: KubernetesLab) -> None:
    """P38: watches end, nothing is done, and afterwards all goes on."""
    engine = await lab.engine(timeout_s=0.5)
    session, lead = await leading(engine)
    watch = engine.watch("e", (await engine.roster("e")).cursor)
    await lab.fake.stop()
    with pytest.raises(WatchLost):
        async with asyncio.timeout(5):
            while True:
                await anext(watch)
    with pytest.raises((EngineUnavailable, OutcomeUnknown)):
        await engine.renew(session)
    with pytest.raises(EngineUnavailable):
        await engine.roster("e")
    await lab.fake.start()
    await engine.renew(session)
    assert await claimed(engine, lead.member) == lead


async def test_a_compacted_watch_reads_again_and_wakes(lab: KubernetesLab) -> None:
    """P36: 410 Gone; nothing of before is taken for the present."""
    engine, other = await lab.engine(), await lab.engine()
    watch = engine.watch("e", (await engine.roster("e")).cursor)
    lab.fake.compact()
    _, member = await joined(other)
    async with asyncio.timeout(5):
        await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]
    assert [entry.id for entry in (await engine.roster("e")).members] == [member.id]


async def test_a_token_that_expired_is_read_again(lab: KubernetesLab, tmp_path: Path) -> None:
    """P48: credentials that change end nothing."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    lab.fake.token = "rotated"
    with pytest.raises(EngineUnavailable):
        await engine.renew(session)
    lab.fake.kubeconfig(tmp_path / "kubeconfig")
    await engine.renew(session)
    assert await claimed(engine, lead.member) == lead


async def test_a_missing_right_is_said(lab: KubernetesLab) -> None:
    engine = await lab.engine()
    lab.fake.forbidden = {"create"}
    with pytest.raises(NotAllowed):
        await engine.open_session(TTL_S, "r" * 32)


# --- claims under way -----------------------------------------------------------------------------------------------------


BY = pytest.mark.parametrize("by", ["a view", "lists"])
"""What the claim looks at: there is a view where the election's Lease is there."""


async def elected_before(lab: KubernetesLab, by: str) -> None:
    if by == "a view":
        engine = await lab.engine()
        session, _ = await leading(engine)
        await engine.end_session(session.ref)


@BY
@pytest.mark.slow
async def test_a_claim_under_way_while_its_session_ends_is_never_answered(
    lab: KubernetesLab, by: str
) -> None:
    """P1, P48: the update that takes the election is done after the session's end: it is undone, and no claim."""
    await elected_before(lab, by)
    engine, other = await lab.engine(), await lab.engine()
    session, member = await joined(engine)
    lab.fake.faults.append(Fault(Harm.DELAY, "update", "e", seconds=0.3))
    claim = asyncio.create_task(engine.claim(member))
    await asyncio.sleep(0.1)
    await other.end_session(session.ref)
    with pytest.raises(MemberGone):
        await claim
    _, heir = await joined(other)
    await claimed(other, heir)


@BY
@pytest.mark.slow
async def test_a_claim_under_way_while_the_incarnation_is_raised_is_never_answered(
    lab: KubernetesLab, by: str
) -> None:
    """P31."""
    await elected_before(lab, by)
    engine = await lab.engine()
    _, member = await joined(engine)
    lab.fake.faults.append(Fault(Harm.DELAY, "update", "e", seconds=0.3))
    claim = asyncio.create_task(engine.claim(member))
    await asyncio.sleep(0.1)
    await bump(lab.url)
    with pytest.raises(IncarnationChanged):
        await claim


async def test_an_answer_that_is_overtaken_is_no_restored_server(lab: KubernetesLab) -> None:
    """P18: an older list that comes late says nothing of the present, and ends no term."""
    engine = await lab.engine()
    _, lead = await leading(engine)
    lab.fake.faults.append(Fault(Harm.DELAY_REPLY, "list", seconds=0.2))
    late = asyncio.create_task(engine.claim(lead.member))
    await asyncio.sleep(0.05)
    await engine.update(lead.member, b"newer")
    await engine.roster("e")
    assert await late == lead


async def test_a_client_that_is_closed_answers_those_who_wait(lab: KubernetesLab) -> None:
    """P29: with an error, and never with a cancellation that nobody asked for."""
    engine = await lab.engine()
    _, member = await joined(engine)
    lab.fake.faults.append(Fault(Harm.DELAY, "update", seconds=0.2))
    claim = asyncio.create_task(engine.claim(member))
    await asyncio.sleep(0.05)
    await engine.close()
    with pytest.raises(OutcomeUnknown):
        await claim
    with pytest.raises(EngineUnavailable):
        await engine.claim(member)


@pytest.mark.slow
async def test_a_cancelled_call_is_done_to_its_end(lab: KubernetesLab) -> None:
    """P4."""
    engine = await lab.engine()
    session = await engine.open_session(TTL_S, "r" * 32)
    lab.fake.faults.append(Fault(Harm.DELAY, "create", seconds=0.2))
    join = asyncio.create_task(engine.join(session, "e", "j", b""))
    await asyncio.sleep(0.05)
    join.cancel()
    with pytest.raises(asyncio.CancelledError):
        await join
    member = await engine.join(session, "e", "j", b"")
    await engine.leave(member)
    await asyncio.sleep(0.3)
    assert not (await engine.roster("e")).members


async def test_a_renewal_costs_one_write_and_one_for_each_held_election(lab: KubernetesLab) -> None:
    """What `renew_writes` declares."""
    engine = await lab.engine()
    session, _ = await leading(engine, "one")
    await claimed(engine, await engine.join(session, "two", "j", b""))
    other = await lab.engine()
    _, member = await joined(other, "one")
    await waits(other, member)
    await engine.renew(session)
    lab.fake.requests.clear()
    await engine.renew(session)
    assert sorted(verb for verb, _ in lab.fake.requests if verb != "watch") == ["update"] * 3


# --- cells ---------------------------------------------------------------------------------------------------------------


async def test_several_large_cells_change_in_one_step(lab: KubernetesLab) -> None:
    """P33: a reader sees all of a step or nothing of it, and a guard decides for all."""
    engine, other = await lab.engine(), await lab.engine()
    _, lead = await leading(engine)
    large = 256 * 1024
    for turn in range(3):
        writes = [CellWrite(f"c{n}", bytes([turn]) * large, None) for n in range(3)]
        await engine.write_cells("e", writes, lead)
        cells = [await other.read_cell("e", f"c{n}") for n in range(3)]
        assert {(cell.value or b"")[:1] for cell in cells} == {bytes([turn])}
        assert len({cell.version for cell in cells}) == 1
    stale = Claimed(lead.member, lead.token - 1)
    with pytest.raises(NotFirst):
        await engine.write_cells("e", [CellWrite("c0", b"bad" * 1000, None)], stale)
    assert len((await other.read_cell("e", "c0")).value or b"") == large


async def test_replaced_and_orphaned_pieces_are_deleted(lab: KubernetesLab) -> None:
    engine = await lab.engine()
    orphan = names.new_lease(
        f"{names.BLOB}dead-0", {names.IN: names.hashed("e"), names.KIND: "blob"}, {names.VALUE: "eA=="}, {}
    )
    await lab.leases.create(orphan)
    for value in (b"a" * 5000, b"b" * 5000, b"small"):
        await engine.write_cells("e", [CellWrite("c", value, None)], None)
        await engine._calls.settle()
        left = (await lab.leases.list(f"{names.KIND}=blob")).leases
        assert len(left) == (0 if value == b"small" else 1)


async def test_a_reader_whose_pieces_are_replaced_reads_again(lab: KubernetesLab) -> None:
    engine, other = await lab.engine(), await lab.engine()

    async def write() -> None:
        for turn in range(8):
            await engine.write_cells("e", [CellWrite("c", bytes([turn]) * 200_000, None)], None)

    await engine.write_cells("e", [CellWrite("c", b"\xff" * 200_000, None)], None)
    writing = asyncio.create_task(write())
    while not writing.done():
        value = (await other.read_cell("e", "c")).value
        assert value is not None
        assert len(value) == 200_000
        assert len(set(value)) == 1
    await writing


async def test_a_table_of_cells_that_is_full_is_said(lab: KubernetesLab) -> None:
    engine = await lab.engine()
    lease = await lab.leases.create(names.new_election("e"))
    await lab.leases.update(
        names.changed(lease, annotations={names.CELLS: '{"k":[1,"t","' + "A" * 200_000 + '"]}'})
    )
    with pytest.raises(Overloaded):
        await engine.write_cells("e", [CellWrite("c", b"x", None)], None)
