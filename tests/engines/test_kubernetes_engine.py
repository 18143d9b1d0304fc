"""The engine on Kubernetes: foreign candidates, operators, and time, on the strict fake."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from incumbent.engines.api import CellWrite, Member
from incumbent.engines.kubernetes import leases as names
from incumbent.engines.kubernetes.client import Conflict
from incumbent.engines.kubernetes.ender import make_ender
from incumbent.engines.kubernetes.ending import mark
from incumbent.engines.registry import bump
from incumbent.errors import (
    IncarnationChanged,
    MemberGone,
    NotFirst,
    SessionGone,
    Unsupported,
)
from incumbent.ids import split_token
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


async def session_lease(lab: KubernetesLab, member: Member) -> names.Lease:
    session = names.session_of_member(member.group, member.id)
    assert session is not None
    return await lab.leases.get(session)


# --- client-go's candidates -------------------------------------------------------------------------------------------


async def test_a_foreign_holder_is_waited_for_by_its_own_duration(lab: KubernetesLab) -> None:
    """P15, P17: the holder's 15 s, not our TTL, and from when we saw it, however old the record looks."""
    go = lab.go(duration_s=15)
    assert await go.step()
    lab.clock.move(3600.0)  # nobody of ours saw it
    engine = await lab.engine()
    _, member = await joined(engine, ttl=600.0)
    assert (await waits(engine, member)).retry_after == pytest.approx(15.0)
    lab.clock.move(14.9)
    answer = await waits(engine, member)
    assert answer.behind == "go-1"
    assert answer.retry_after == pytest.approx(0.1)
    lab.clock.move(0.2)
    assert (await claimed(engine, member)).token > 0
    assert not await go.step()


async def test_a_foreign_renewal_is_waited_out_anew(lab: KubernetesLab) -> None:
    """P15: also one that we did not see: the update that takes it compares the version."""
    go = lab.go(duration_s=15)
    await go.step()
    engine = await lab.engine()
    _, member = await joined(engine, ttl=600.0)
    await waits(engine, member)
    lab.clock.move(14.0)
    await go.step()
    lab.clock.move(2.0)
    assert (await waits(engine, member)).behind == "go-1"


async def test_a_foreign_candidate_in_front_shows_in_the_roster(lab: KubernetesLab) -> None:
    await lab.go().step()
    engine = await lab.engine()
    _, member = await joined(engine)
    roster = await engine.roster("e")
    assert [(entry.id, entry.ours) for entry in roster.members] == [("go-1", False), (member.id, True)]
    assert roster.token is None
    assert await engine.remove("e", "go-1", roster.members[0].order) is False


async def test_a_foreign_release_is_taken_at_once_and_wakes(lab: KubernetesLab) -> None:
    go = lab.go()
    await go.step()
    engine = await lab.engine()
    _, member = await joined(engine)
    answer = await waits(engine, member)
    watch = engine.watch("e", answer.cursor)
    assert await go.release()
    async with asyncio.timeout(5):
        await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]
    await claimed(engine, member)


async def test_a_foreign_candidate_waits_for_ours_and_takes_over_from_the_dead(lab: KubernetesLab) -> None:
    """P15, P18: ours is renewed for it too; after silence it leads, and ours finds out."""
    engine = await lab.engine()
    session, lead = await leading(engine, ttl=2.5)
    go = lab.go()
    for _ in range(4):
        assert not await go.step()
        lab.clock.move(2.0)
        await engine.renew(session)
    assert not await go.step()
    lab.clock.move(2.9)
    assert not await go.step()  # leaseDurationSeconds is rounded up
    lab.clock.move(0.2)
    assert await go.step()
    with pytest.raises(MemberGone):
        await engine.claim(lead.member)


async def test_after_a_foreign_term_ours_has_a_higher_token(lab: KubernetesLab) -> None:
    """P7, P30: and a guard of the term before does not pass, although our annotations are still there."""
    engine = await lab.engine()
    session, lead = await leading(engine, ttl=600.0)
    await engine.end_session(session.ref)
    go = lab.go()
    assert await go.step()
    assert go.lease is not None
    assert names.TOKEN in go.lease["metadata"]["annotations"]
    with pytest.raises(NotFirst):
        await engine.write_cells("e", [CellWrite("c", b"x", None)], lead)
    _, member = await joined(engine)
    await waits(engine, member)
    await go.release()
    assert (await claimed(engine, member)).token > lead.token


async def test_a_forced_foreign_takeover_stops_the_guard(lab: KubernetesLab) -> None:
    """P33: somebody writes another holder by hand; the next guarded write and the next claim see it."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    lease = await lab.leases.get("e")
    await lab.leases.update(names.changed(lease, spec={"holderIdentity": "kubectl"}))
    with pytest.raises(NotFirst):
        await engine.write_cells("e", [CellWrite("c", b"x", None)], lead)
    await engine.renew(session)  # the session lives on
    assert (await waits(engine, lead.member)).behind == "kubectl"
    assert (await lab.leases.get("e"))["spec"]["renewTime"] == lease["spec"]["renewTime"]


# --- operators --------------------------------------------------------------------------------------------------------


async def test_a_deleted_election_ends_the_term(lab: KubernetesLab) -> None:
    """P32, P49: the same member may lead again, with a token above; the old claim is worth nothing."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    watch = engine.watch("e", (await engine.roster("e")).cursor)
    await lab.leases.delete(await lab.leases.get("e"))
    async with asyncio.timeout(5):
        await anext(watch)
    await watch.aclose()  # type: ignore[attr-defined]
    with pytest.raises(NotFirst):
        await engine.write_cells("e", [CellWrite("c", b"x", None)], lead)
    await engine.renew(session)
    again = await claimed(engine, lead.member)
    assert again.token > lead.token


async def test_a_deleted_session_is_over(lab: KubernetesLab) -> None:
    """P49."""
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)
    _, heir = await joined(other)
    await lab.leases.delete(await session_lease(lab, lead.member))
    with pytest.raises(MemberGone):
        await engine.claim(lead.member)
    with pytest.raises(SessionGone):
        await engine.renew(session)
    assert (await claimed(other, heir)).token > lead.token


async def test_an_annotation_by_hand_is_no_renewal_and_no_loss(lab: KubernetesLab) -> None:
    """P49: the conflict that it makes means: read again."""
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)
    for lease in (await lab.leases.list(names.EVERYTHING_BUT_BLOBS)).leases:
        await lab.leases.update(names.changed(lease, annotations={"team": "a"}))
    await engine.renew(session)
    assert await claimed(engine, lead.member) == lead
    lab.clock.move(TTL_S - 1)
    for lease in (await lab.leases.list(names.EVERYTHING_BUT_BLOBS)).leases:
        await lab.leases.update(names.changed(lease, annotations={"team": "b"}))
    lab.clock.move(2)
    assert not (await other.roster("e")).members


async def test_a_half_ended_session_is_ended_by_who_meets_it(lab: KubernetesLab) -> None:
    """The guardian died between the mark and the rest."""
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)
    _, heir = await joined(other)
    await mark(lab.leases, await session_lease(lab, lead.member))
    with pytest.raises(SessionGone):
        await engine.renew(session)
    assert (await claimed(other, heir)).token > lead.token


async def test_a_half_ended_member_is_ended_by_who_meets_it(lab: KubernetesLab) -> None:
    engine, other = await lab.engine(), await lab.engine()
    _, lead = await leading(engine)
    _, heir = await joined(other)
    await mark(lab.leases, await lab.leases.get(lead.member.id))
    assert (await claimed(other, heir)).token > lead.token
    with pytest.raises(MemberGone):
        await engine.claim(lead.member)


async def test_a_raised_incarnation_ends_terms_and_lifts_tokens(lab: KubernetesLab) -> None:
    """P31."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    assert await bump(lab.url) == 1
    with pytest.raises(IncarnationChanged):
        await engine.claim(lead.member)
    await engine.end_session(session.ref)
    _, again = await leading(engine)
    assert split_token(again.token)[0] == 1
    assert again.token > lead.token
    assert await bump(lab.url) == 2


async def test_a_restored_etcd_is_noticed_until_the_incarnation_is_raised(lab: KubernetesLab) -> None:
    """P31: by a process that was connected: the revision went back."""
    engine = await lab.engine()
    before = lab.fake.store.revision
    session, lead = await leading(engine)
    lab.fake.store.turn_back(before)
    for call in (engine.roster("e"), engine.claim(lead.member)):
        with pytest.raises(IncarnationChanged):
            await call
    with pytest.raises(SessionGone):
        await engine.renew(session)
    await bump(lab.url)
    _, again = await leading(engine)
    assert again.token > lead.token


async def test_a_token_that_would_not_rise_is_refused(lab: KubernetesLab) -> None:
    """P30, P32: by a newcomer too, when the Lease itself still knows a higher one."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    await engine.end_session(session.ref)
    lease = await lab.leases.get("e")
    higher = str(lead.token + 1_000_000)
    await lab.leases.update(names.changed(lease, annotations={names.TOKEN: higher}))
    newcomer = await lab.engine()
    _, member = await joined(newcomer)
    with pytest.raises(IncarnationChanged):
        await newcomer.claim(member)
    await bump(lab.url)
    await newcomer.leave(member)
    _, again = await leading(newcomer)
    assert again.token > int(higher)


def test_a_revision_that_is_no_integer_is_refused() -> None:
    """P35: no token and no order can be made of it."""
    for bad in ("", "abc", "-1", "1.5", "٣", "9" * 20, None, 7):
        with pytest.raises(Unsupported):
            names.as_revision(bad)


# --- time -------------------------------------------------------------------------------------------------------------


async def test_who_looks_later_waits_a_whole_ttl(lab: KubernetesLab) -> None:
    """P17, P9: what renewTime says is never read."""
    engine = await lab.engine()
    _, lead = await leading(engine)
    lab.clock.move(TTL_S + 1)
    late = await lab.engine()
    _, heir = await joined(late, ttl=600.0)
    answer = await waits(late, heir)
    assert answer.behind == lead.member.id
    assert answer.retry_after == pytest.approx(TTL_S)
    lab.clock.move(TTL_S + 0.1)
    assert (await claimed(late, heir)).token > lead.token


async def test_a_renewal_that_nobody_saw_wins_over_who_believes_in_silence(lab: KubernetesLab) -> None:
    """P10, P12: the mark compares the version."""
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)
    _, heir = await joined(other, ttl=600.0)
    await waits(other, heir)
    stale = await session_lease(lab, lead.member)
    await other._informer.close()  # it does not see renewals as they come
    lab.clock.move(TTL_S - 1)
    await engine.renew(session)
    lab.clock.move(2)
    with pytest.raises(Conflict):
        await mark(lab.leases, stale)
    assert (await waits(other, heir)).behind == lead.member.id


async def test_who_slept_over_its_ttl_ends_its_session_itself(lab: KubernetesLab) -> None:
    """P11, P12: no renewal after the end, although nobody else looked."""
    engine = await lab.engine()
    session, lead = await leading(engine)
    lab.clock.move(TTL_S + 0.1)
    with pytest.raises(NotFirst):
        await engine.write_cells("e", [CellWrite("c", b"x", None)], lead)
    with pytest.raises(SessionGone):
        await engine.renew(session)
    assert (await lab.leases.get("e"))["spec"]["holderIdentity"] == ""


async def test_release_delay_is_part_of_what_others_wait(lab: KubernetesLab) -> None:
    """P44: and stands in the Lease for foreign candidates too."""
    engine, other = await lab.engine(), await lab.engine()
    session = await engine.open_session(2.0, "r" * 32, release_delay=1.5)
    lead = await claimed(engine, await engine.join(session, "e", "j", b""))
    _, heir = await joined(other)
    assert (await waits(other, heir)).retry_after == pytest.approx(3.5)
    assert (await lab.leases.get("e"))["spec"]["leaseDurationSeconds"] == 4
    lab.clock.move(3.6)
    assert (await claimed(other, heir)).token > lead.token


# --- names, and the ender ----------------------------------------------------------------------------------------------------


def test_names_are_dns_names_and_never_shared() -> None:
    """P5."""
    groups = [
        "e",
        "E",
        "e/",
        "a.b",
        "a..b",
        "ü",
        "incumbent-s-x",
        "incumbent-",
        "-e",
        "x" * 253,
        "x" * 254,
        "\U0010ffff",
    ]
    elections = [names.election_name(group) for group in groups]
    assert len(set(elections)) == len(groups)
    assert [name for name, group in zip(elections, groups, strict=True) if name == group] == [
        "e",
        "a.b",
        "x" * 253,
    ]
    members = [names.member_name(group, names.session_name("r")) for group in groups]
    assert len(set(members)) == len(groups)
    assert not set(members) & set(elections)
    for group, member in zip(groups, members, strict=True):
        assert names.session_of_member(group, member) == names.session_name("r")
        assert names.session_of_member(group + "x", member) is None


async def test_the_ender_ends_what_the_engine_opened(lab: KubernetesLab) -> None:
    engine, other = await lab.engine(), await lab.engine()
    session, lead = await leading(engine)
    _, heir = await joined(other)
    ender = make_ender()
    await ender.prepare(session.ref)
    lab.fake.faults.append(Fault(Harm.DROP_REPLY, "update"))
    assert await ender.end(session.ref) is True
    assert await ender.end(session.ref) is False
    await ender.close()
    assert (await claimed(other, heir)).token > lead.token
    assert b"token" not in session.ref  # no credentials, only where they are
