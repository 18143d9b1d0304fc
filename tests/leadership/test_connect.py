"""The way in and out: what is refused at the door, and who owns what."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import incumbent
from incumbent.engines.local.guarantees import GUARANTEES
from incumbent.errors import InvalidInput, OutcomeUnknown, Unsupported
from incumbent.guardian import supervisor
from incumbent.sim.loop import Simulation, simulate
from tests.engines.stranger import StrangerEngine, StrangerStore
from tests.leadership.lab import Lab


@pytest.mark.parametrize("ttl", [0, -1.0, float("nan"), float("inf"), 0.01, 10_000])
def test_a_ttl_that_cannot_be_honoured_is_refused(ttl: float) -> None:
    """P16: before anything is done, also before the block is entered."""
    with pytest.raises(InvalidInput) as refused:
        incumbent.connect("local:///nowhere/at/all", ttl=ttl)
    assert refused.value.field == "ttl"


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({}, "url"),
        ({"url": "no-scheme"}, "url"),
        ({"url": "local:///x", "engine": StrangerEngine(StrangerStore(lambda: 0))}, "url"),
        ({"engine": StrangerEngine(StrangerStore(lambda: 0)), "guardian": True}, "guardian"),
        ({"engine": StrangerEngine(StrangerStore(lambda: 0)), "require": ["fenced"]}, "require"),
    ],
)
def test_what_does_not_fit_together_is_refused(arguments: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        incumbent.connect(**arguments)
    assert refused.value.field == field


async def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        async with incumbent.connect("gopher://x"):
            pytest.fail("entered")
    assert refused.value.field == "url"


async def test_a_guarantee_that_the_engine_does_not_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unsupported, match="survives_failover"):
        async with incumbent.connect(f"local://{tmp_path}/x", require=["survives_failover"]):
            pytest.fail("entered")


async def test_one_line_is_all_it_takes(tmp_path: Path) -> None:
    """The real engine, the real clock, the real alarm."""
    async with incumbent.connect(f"local://{tmp_path}/x", ttl=2.0, require=["fenced"]) as cluster:
        assert cluster.guarantees.fenced
        election = cluster.election("scheduler", candidate="a")
        async with election.campaign(b"here") as term:
            assert term.is_valid
            assert await election.leader() == incumbent.Leader("a", term.token, b"here")
        assert await election.leader() is None


def test_an_engine_object_stays_the_callers() -> None:
    async def story(sim: Simulation) -> None:
        lab = Lab(sim)
        engine = lab.engine()
        async with lab.connect(engine) as cluster, cluster.election("e").campaign():
            pass
        await engine.roster("e")  # not closed

    simulate(story)


# --- proof of death ---------------------------------------------------------------------------------------------------


class Watcher:
    """Stands in for the guardian process, which has its own tests: writes down what it is told."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.told: list[tuple[str, object]] = []
        self._refuses = refuses

    async def watch(self, scheme: str, ref: bytes, release_delay: float) -> None:
        self.told.append((f"watch {scheme}", release_delay))
        if self._refuses:
            raise OutcomeUnknown("no answer")

    async def forget(self, ref: bytes) -> None:
        self.told.append(("forget", None))

    async def close(self) -> None:
        self.told.append(("close", None))


def stand_in(monkeypatch: pytest.MonkeyPatch, watcher: Watcher | None) -> None:
    async def start(**_: object) -> Watcher:
        if watcher is None:
            raise Unsupported("no pidfd here")
        return watcher

    monkeypatch.setattr(supervisor.Guardian, "start", start)


async def test_a_guardian_is_told_of_each_session_and_its_delay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher()
    stand_in(monkeypatch, watcher)
    async with (
        incumbent.connect(f"local://{tmp_path}/x", guardian=True) as cluster,
        cluster.election("a", fenced=True).campaign(),
        cluster.election("b").campaign(),
    ):
        assert watcher.told == [("watch local", 0.0), ("watch local", 1.0)]
    assert watcher.told[2:] == [("forget", None), ("forget", None), ("close", None)]


async def test_an_engine_that_sees_death_by_itself_needs_no_guardian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watcher = Watcher()
    stand_in(monkeypatch, watcher)
    async with incumbent.connect(f"local://{tmp_path}/x") as cluster, cluster.election("a").campaign():
        assert cluster.guarantees.detects_process_death
    assert watcher.told == []


async def test_a_guardian_that_cannot_be_had_is_an_error_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its absence is said in the log: the TTL alone protects."""
    stand_in(monkeypatch, None)
    with pytest.raises(Unsupported, match="no pidfd"):
        async with incumbent.connect(f"local://{tmp_path}/x", guardian=True):
            pytest.fail("entered")
    monkeypatch.setattr(
        "incumbent.engines.local.engine.GUARANTEES", replace(GUARANTEES, detects_process_death=False)
    )
    with caplog.at_level(logging.WARNING, "incumbent.leadership"):
        async with incumbent.connect(f"local://{tmp_path}/x") as cluster, cluster.election("a").campaign():
            pass
    assert "no pidfd here" in caplog.text


async def test_a_guardian_that_does_not_answer_keeps_nobody_from_leading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stand_in(monkeypatch, Watcher(refuses=True))
    with caplog.at_level(logging.WARNING, "incumbent.leadership"):
        async with (
            incumbent.connect(f"local://{tmp_path}/x", guardian=True) as cluster,
            cluster.election("a").campaign() as term,
        ):
            assert term.is_valid
    assert "the TTL alone protects" in caplog.text


async def test_leaving_by_an_error_closes_all_the_same(tmp_path: Path) -> None:
    async def fall() -> None:
        async with incumbent.connect(f"local://{tmp_path}/x") as cluster, cluster.election("a").campaign():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fall()
    async with (
        asyncio.timeout(2),
        incumbent.connect(f"local://{tmp_path}/x") as cluster,
        cluster.election("a").campaign() as term,
    ):
        assert term.is_valid
