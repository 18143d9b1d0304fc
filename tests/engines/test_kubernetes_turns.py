"""Standing, claiming and leaving on Kubernetes in as few writes as can be, and what may happen between them, on the strict fake."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incumbent.engines.api import CellWrite, Claimed, Member, Session, Waiting
from incumbent.engines.kubernetes import informer
from incumbent.engines.kubernetes import leases as names
from incumbent.engines.kubernetes.engine import KubernetesEngine
from incumbent.errors import IncarnationChanged, MemberGone, NotAllowed
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


@pytest.fixture(autouse=True)
def no_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine's events may be late; then the group is read, which is right and not what is tested here."""
    monkeypatch.setattr(informer, "EVENT_WITHIN_S", 2.0)


@pytest.fixture
async def lab(tmp_path: Path) -> AsyncIterator[KubernetesLab]:
    """Its election was held before, so its Lease is there."""
    async with kubernetes_lab(tmp_path) as lab:
        engine = await lab.engine()
        session, _ = await leading(engine)
        await engine.end_session(session.ref)
        yield lab


async def opened(engine: KubernetesEngine) -> Session:
    return await engine.open_session(TTL_S, secrets.token_hex(16))


async def stood(engine: KubernetesEngine, session: Session) -> tuple[Member, Claimed]:
    member, answer = await engine.stand(session, "e", "r", b"")
    assert isinstance(answer, Claimed), answer
    return member, answer


def asked(lab: KubernetesLab) -> list[str]:
    """The requests since the last time, without watches."""
    verbs = [verb for verb, _ in lab.fake.requests if verb != "watch"]
    lab.fake.requests.clear()
    return verbs


async def test_a_turn_takes_four_writes_and_a_succession_one(lab: KubernetesLab) -> None:
    """P41: the control cell comes with the Lease that was taken, as it was at that moment."""
    engine, other = await lab.engine(), await lab.engine()
    session, theirs = await opened(engine), await opened(other)
    (cell,) = await other.write_cells("e", [CellWrite("c", b"v", None)], None)
    await engine._informer.reaches(lab.fake.store.revision)
    asked(lab)
    member, answer = await engine.stand(session, "e", "r", b"", "c")
    assert isinstance(answer, Claimed)
    assert answer.cell == cell
    await engine.leave(member)
    assert asked(lab) == ["create", "update", "update", "delete"]
    member, _ = await stood(engine, session)
    heir, behind = await other.stand(theirs, "e", "r", b"")
    assert isinstance(behind, Waiting)
    watch = other.watch("e", behind.cursor)
    await engine.leave(member)
    await anext(watch)
    await other._informer.reaches(lab.fake.store.revision)
    asked(lab)
    await claimed(other, heir)
    assert asked(lab) == ["update"]


async def test_who_stands_behind_another_takes_nothing(lab: KubernetesLab) -> None:
    """P7: although the election is free: who came before has not claimed yet."""
    engine, other = await lab.engine(), await lab.engine()
    _, first = await joined(engine)
    member, answer = await other.stand(await opened(other), "e", "r", b"")
    assert isinstance(answer, Waiting)
    assert answer.behind == first.id
    assert [entry.id for entry in (await other.roster("e")).members] == [first.id, member.id]
    await claimed(engine, first)


async def test_a_view_that_is_behind_elects_nobody(lab: KubernetesLab) -> None:
    """P7: the update compares the version."""
    engine = await lab.engine()
    _, member = await joined(engine)
    await engine._informer.reaches(lab.fake.store.revision)
    assert engine._informer._task is not None
    engine._informer._task.cancel()  # it sees nothing any more, and does not know
    assert await lab.go().step()
    assert (await waits(engine, member)).behind == "go-1"


async def test_where_no_event_comes_the_group_is_read(
    lab: KubernetesLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer, "EVENT_WITHIN_S", 0.01)
    engine = await lab.engine()
    session = await opened(engine)
    assert engine._informer._task is not None
    engine._informer._task.cancel()
    asked(lab)
    member, _ = await stood(engine, session)
    assert "list" in asked(lab)
    await engine.leave(member)
    assert not (await engine.roster("e")).members


async def test_a_silent_session_does_not_lead_at_once(lab: KubernetesLab) -> None:
    """P1: a view is no more than a list: who was silent for its TTL is over."""
    engine = await lab.engine()
    _, member = await joined(engine)
    lab.clock.move(TTL_S + 1)
    with pytest.raises(MemberGone):
        await engine.claim(member)


async def test_what_an_informer_read_anew_from_a_restored_server_is_not_believed(lab: KubernetesLab) -> None:
    """P31."""
    engine = await lab.engine()
    session = await opened(engine)
    before = lab.fake.store.revision
    member, lead = await stood(engine, session)
    await engine.leave(member)
    lab.fake.store.turn_back(before)
    lab.fake.end_watches()
    async with asyncio.timeout(10):
        while engine._informer._position > lab.fake.store.revision:
            await asyncio.sleep(0.01)
    with pytest.raises(IncarnationChanged):
        await engine.stand(session, "e", "r", b"")
    lease = await lab.leases.get("e")
    assert not names.holder_of(lease)
    assert names.token_of(lease) < lead.token


async def test_an_update_that_a_restored_server_took_is_undone(lab: KubernetesLab) -> None:
    """P31: its past is not what was seen, so what was seen says nothing of who is first."""
    engine, other = await lab.engine(), await lab.engine()
    _, member = await joined(engine)
    before = lab.fake.store.revision
    for _ in range(3):
        await opened(other)
    await engine._informer.reaches(lab.fake.store.revision)
    lab.fake.store.turn_back(before)
    with pytest.raises(IncarnationChanged):
        await engine.claim(member)
    assert not names.holder_of(await lab.leases.get("e"))


# --- before its revision is written down ----------------------------------------------------------------------------------


async def test_a_label_on_who_leads_lets_nobody_take_over(lab: KubernetesLab) -> None:
    """P49: the label makes it look as if it had joined just now, and its holder as if it were gone."""
    engine, other = await lab.engine(), await lab.engine()
    member, _ = await stood(engine, await opened(engine))
    _, heir = await joined(other)
    lease = await lab.leases.get(member.id)
    assert not names.has_joined(lease)
    await lab.leases.update(names.changed(lease, labels={"team": "a"}))
    await waits(other, heir)
    await engine.leave(member)
    assert [entry.id for entry in (await other.roster("e")).members] == [heir.id]
    await claimed(other, heir)


async def test_the_next_claim_writes_the_revision_down(lab: KubernetesLab) -> None:
    engine = await lab.engine()
    member, lead = await stood(engine, await opened(engine))
    assert await claimed(engine, member) == lead
    lease = await lab.leases.get(member.id)
    assert names.has_joined(lease)
    await lab.leases.update(names.changed(lease, labels={"team": "a"}))
    assert await claimed(engine, member) == lead


# --- between the writes ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
async def test_who_has_let_go_to_leave_claims_no_more(lab: KubernetesLab) -> None:
    """P12: also by another's hand, while its own Lease is still there: or a write under it would pass after a roster without it."""
    engine, other = await lab.engine(), await lab.engine()
    member, _ = await stood(engine, await opened(engine))
    lab.fake.faults.append(Fault(Harm.DELAY, "delete", member.id, seconds=0.3))
    leaving = asyncio.create_task(engine.leave(member))
    await asyncio.sleep(0.1)
    with pytest.raises(MemberGone):
        await other.claim(member)
    await leaving
    await stood(other, await opened(other))


@pytest.mark.parametrize("harm", [Harm.DROP_REPLY, Harm.STATUS_AFTER, Harm.REFUSE, Harm.STATUS])
@pytest.mark.parametrize("skip", range(4))
async def test_a_turn_survives_one_lost_answer_anywhere(lab: KubernetesLab, harm: Harm, skip: int) -> None:
    """P2, P3."""
    engine, other = await lab.engine(), await lab.engine()
    session = await opened(engine)
    for verb in WRITES:
        lab.fake.faults.append(Fault(harm, verb, skip=skip))
    token = 0
    for _ in range(3):
        member, lead = await stood(engine, session)
        assert lead.token > token
        token = lead.token
        roster = await other.roster("e")
        assert ([entry.id for entry in roster.members], roster.token) == ([member.id], token)
        await engine.leave(member)
        assert not (await other.roster("e")).members


async def test_who_is_refused_after_it_joined_is_no_member(lab: KubernetesLab) -> None:
    """P2."""
    engine = await lab.engine()
    session = await opened(engine)
    lab.fake.forbidden = {"update"}
    with pytest.raises(NotAllowed):
        await engine.stand(session, "e", "r", b"")
    assert not (await engine.roster("e")).members
