"""Standing in several trips: what the second one may find."""

from __future__ import annotations

import time

import pytest

from incumbent.engines.api import Cell, CellWrite, Claimed
from incumbent.engines.trips import join_and_claim, with_cell
from incumbent.errors import EngineUnavailable, InvalidInput, MemberGone, OutcomeUnknown, Overloaded
from tests.engines.stranger import StrangerEngine, StrangerStore


async def test_it_is_join_and_claim() -> None:
    engine = StrangerEngine(StrangerStore(now_ns=time.monotonic_ns))
    session = await engine.open_session(10.0, "r")
    await engine.write_cells("g", [CellWrite("c", b"v", None)], None)
    member, answer = await join_and_claim(engine, session, "g", "r", b"", "c")
    assert answer == Claimed(member, member.revision)
    assert isinstance(answer, Claimed)
    assert answer.cell == await engine.read_cell("g", "c")
    assert (await with_cell(engine, answer, "other")) == answer
    assert (await with_cell(engine, answer, None)) is answer


@pytest.mark.parametrize("error", [EngineUnavailable("away"), Overloaded("full"), OutcomeUnknown("lost")])
async def test_what_was_joined_is_never_said_to_be_undone(error: Exception) -> None:
    """P3: EngineUnavailable would promise that nothing was done."""
    engine = StrangerEngine(StrangerStore(now_ns=time.monotonic_ns))
    session = await engine.open_session(10.0, "r")
    engine.fail_next("claim", error)
    with pytest.raises(OutcomeUnknown):
        await join_and_claim(engine, session, "g", "r", b"", None)
    (entry,) = (await engine.roster("g")).members
    member, answer = await join_and_claim(engine, session, "g", "r", b"", None)
    assert member.id == entry.id
    assert isinstance(answer, Claimed)


async def test_who_is_refused_after_the_join_leaves() -> None:
    """P2: nobody else knows of the member."""
    engine = StrangerEngine(StrangerStore(now_ns=time.monotonic_ns))
    session = await engine.open_session(10.0, "r")
    engine.fail_next("claim", InvalidInput("group", "is not liked", "use another"))
    with pytest.raises(InvalidInput):
        await join_and_claim(engine, session, "g", "r", b"", None)
    assert not (await engine.roster("g")).members
    engine.fail_next("claim", MemberGone("evicted"))
    with pytest.raises(MemberGone):
        await join_and_claim(engine, session, "g", "r", b"", None)


async def test_a_cell_that_was_never_written_comes_with_version_0() -> None:
    engine = StrangerEngine(StrangerStore(now_ns=time.monotonic_ns))
    member = await engine.join(await engine.open_session(10.0, "r"), "g", "r", b"")
    answer = await with_cell(engine, await engine.claim(member), "c")
    assert isinstance(answer, Claimed)
    assert answer.cell == Cell(None, 0)
