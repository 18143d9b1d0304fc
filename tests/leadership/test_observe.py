"""Following an election without standing in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from incumbent.engines.api import Entry, Roster
from incumbent.errors import EngineUnavailable
from incumbent.leadership.connect import Cluster
from incumbent.leadership.roll import UNKNOWN, Leader, Sighting, leader_of
from incumbent.leadership.standing import member_value
from incumbent.leadership.term import Term
from incumbent.sim.loop import Simulation, simulate
from tests.leadership.lab import TTL_S, Lab, cut, lead_until_lost, mend, until


async def follow(cluster: Cluster, seen: list[Sighting]) -> None:
    async for sighting in cluster.election("e").observe():
        seen.append(sighting)  # noqa: PERF401  - each must be seen when it comes


async def next_of(sightings: AsyncGenerator[Sighting, None]) -> Sighting:
    return await anext(sightings)


def test_observers_see_each_leader_once_in_order() -> None:
    """P36, P37, P26."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        seen: list[Sighting] = []
        async with lab.connect() as one, lab.connect() as two:
            observer = asyncio.create_task(follow(two, seen))
            await until(lambda: seen)
            assert seen == [None]
            tokens = []
            for value in (b"", b"10.0.0.1:80", b"\0\0"):
                async with one.election("e", candidate="é").campaign(value) as term:
                    tokens.append(term.token)
                    assert await two.election("e").leader() == Leader("é", term.token, value)
                    await asyncio.sleep(TTL_S)
                await asyncio.sleep(TTL_S)
            assert seen == [
                None,
                Leader("é", tokens[0], b""),
                None,
                Leader("é", tokens[1], b"10.0.0.1:80"),
                None,
                Leader("é", tokens[2], b"\0\0"),
                None,
            ]
            observer.cancel()

    simulate(story)


def test_lost_contact_is_said_instead_of_the_last_value() -> None:
    """P36: unknown after a TTL of silence; the latest after reconnecting, also when it changed meanwhile."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        terms: list[Term] = []
        async with lab.connect() as one, lab.connect(engine) as two:
            sightings = two.election("e").observe()
            first = asyncio.create_task(lead_until_lost(one.election("e", candidate="a").campaign(), terms))
            await until(lambda: terms)
            assert await next_of(sightings) == Leader("a", terms[0].token)
            cut(engine)
            lost_s = lab.now_s
            assert await next_of(sightings) is UNKNOWN
            assert lab.now_s - lost_s < 3 * TTL_S
            assert await two.election("e").leader() is UNKNOWN
            first.cancel()
            second = asyncio.create_task(lead_until_lost(one.election("e", candidate="b").campaign(), terms))
            await until(lambda: len(terms) == 2)
            mend(engine)
            assert await next_of(sightings) == Leader("b", terms[1].token)
            await sightings.aclose()
            second.cancel()

    simulate(story)


def test_a_lost_watch_is_made_anew_without_losing_a_change() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        seen: list[Sighting] = []
        async with lab.connect() as one, lab.connect() as two:
            observer = asyncio.create_task(follow(two, seen))
            await until(lambda: seen == [None])
            for _ in range(5):
                lab.store.lose_watches()
                async with one.election("e").campaign() as term:
                    lab.store.lose_watches()
                    await until(lambda term=term: Leader(term.candidate, term.token) in seen)  # type: ignore[misc]
                await until(lambda: seen[-1] is None)
            assert UNKNOWN not in seen
            observer.cancel()

    simulate(story)


def test_a_lower_token_is_never_shown() -> None:
    """P37: an engine restored from a backup hands out old numbers; whoever saw higher ones knows that it does not know."""

    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        async with lab.connect() as one, lab.connect() as two:
            sightings = two.election("e").observe()
            lab.store.revision = 1000
            async with one.election("e").campaign() as term:
                assert await next_of(sightings) == Leader(term.candidate, term.token)
            assert await next_of(sightings) is None
            lab.store.revision = 500
            async with one.election("e").campaign():
                lab.store.lose_watches()
                assert await next_of(sightings) is UNKNOWN
            await sightings.aclose()

    simulate(story)


def test_observing_ends_with_the_cluster_object() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        seen: list[Sighting] = []
        async with lab.connect() as cluster:
            observer = asyncio.create_task(follow(cluster, seen))
            await until(lambda: seen)
        with pytest.raises(EngineUnavailable, match="closed"):
            await observer

    simulate(story)


def test_only_who_may_claim_leads() -> None:
    """P36: a first member that the engine does not let claim yet is nobody's leader."""
    entry = Entry("m", 7, member_value("a", b"v"), ours=True)
    assert leader_of(Roster(1, (entry,), None)) is None
    assert leader_of(Roster(1, (entry,), 7)) == Leader("a", 7, b"v")
    assert leader_of(Roster(1, (), None)) is None


def test_foreign_candidates_are_read_as_their_libraries_write_them() -> None:
    assert member_value("node-a", b"") == b"node-a"
    assert leader_of(Roster(1, (Entry("k", 3, b"etcdctl", ours=False),), 3)) == Leader("etcdctl", 3)


def test_unknown_is_not_nobody() -> None:
    assert UNKNOWN is not None
    assert not UNKNOWN
