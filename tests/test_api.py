"""The public names are few, and stay what they are; and importing them costs little."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import incumbent

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from typing import assert_type

    from incumbent.leadership.roll import Unknown

ROOT = Path(__file__).parent.parent
NAMES_MAX = 25


def test_the_public_names() -> None:
    """A change here is a change for users: it belongs into the changelog."""
    assert incumbent.__all__ == [
        "UNKNOWN",
        "Cluster",
        "Election",
        "EngineError",
        "EngineUnavailable",
        "EventKind",
        "IncumbentError",
        "InvalidInput",
        "Leader",
        "LeadershipLost",
        "OutcomeUnknown",
        "Overloaded",
        "Preference",
        "Reason",
        "SessionGone",
        "StaleToken",
        "State",
        "Term",
        "TermEvent",
        "Unsupported",
        "blocking",
        "connect",
    ]
    assert len(incumbent.__all__) <= NAMES_MAX


def test_every_public_name_is_there_and_listed() -> None:
    for name in incumbent.__all__:
        assert getattr(incumbent, name) is not None
        assert name in dir(incumbent)
    with pytest.raises(AttributeError, match="nonesuch"):
        _ = incumbent.nonesuch  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (incumbent.Cluster, ["election", "engine", "guarantees"]),
        (
            incumbent.Election,
            [
                "campaign",
                "candidates",
                "handover",
                "leader",
                "observe",
                "operations",
                "proclaim",
                "resign",
                "resign_here",
                "run",
                "try_campaign",
            ],
        ),
        (incumbent.blocking.Cluster, ["election", "guarantees"]),
        (
            incumbent.blocking.Election,
            [
                "campaign",
                "candidates",
                "handover",
                "leader",
                "observe",
                "proclaim",
                "resign",
                "run",
                "try_campaign",
            ],
        ),
        (
            incumbent.Term,
            [
                "beat",
                "candidate",
                "check",
                "claimed",
                "election",
                "guard",
                "handover_requested",
                "in_this_thread",
                "is_valid",
                "reason",
                "remaining",
                "state",
                "token",
                "wait_handover",
            ],
        ),
    ],
)
def test_what_the_public_classes_offer(owner: type, names: list[str]) -> None:
    """Besides what is set per object: the name, candidate and fenced of an Election."""
    assert [name for name in dir(owner) if not name.startswith("_")] == names


def test_every_public_name_is_documented() -> None:
    page = (ROOT / "docs" / "reference" / "api.md").read_text()
    assert [name for name in incumbent.__all__ if f"`{name}" not in page] == []
    assert [reason for reason in incumbent.Reason if f"| `{reason}` |" not in page] == []
    assert [state.name for state in incumbent.State if f"`{state.name}`" not in page] == []


def test_importing_brings_neither_a_codec_nor_an_engine_nor_asyncio() -> None:
    code = "import sys, incumbent; print([m for m in sys.modules if m in ('asyncio', 'msgspec') or 'engines' in m])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_importing_costs_at_most_its_budget() -> None:
    """At most 60 ms over a bare interpreter; the median of a few, since other work may run beside."""
    script = [sys.executable, str(ROOT / "bench" / "import_time.py"), "--json", "-n", "5"]
    report = json.loads(subprocess.run(script, capture_output=True, text=True, check=True).stdout)
    assert report["bench"] == "import_time"
    assert report["machine"]["cores"] >= 1
    first = report["cases"][0]
    assert first["name"] == "import incumbent"
    assert first["p50_ms"] <= first["budget_ms"] == 60.0
    assert first["p50_ms"] <= first["p99_ms"] <= first["max_ms"]


def _types(cluster: incumbent.Cluster) -> None:
    """Never run: mypy checks what users' type checkers will see."""

    async def work(term: incumbent.Term) -> int:
        assert_type(term.token, int)
        assert_type(term.is_valid, bool)
        assert_type(term.remaining(), float)
        assert_type(term.state, incumbent.State)
        assert_type(term.reason, incumbent.Reason | None)
        return 1

    async def main() -> None:
        assert_type(incumbent.connect("local:///x"), AbstractAsyncContextManager[incumbent.Cluster])
        election = cluster.election("e", candidate="a", fenced=True, listener=print)
        assert_type(election, incumbent.Election)
        async with election.campaign(b"") as term:
            assert_type(term, incumbent.Term)
        async with election.try_campaign(1.0) as tried:
            assert_type(tried, incumbent.Term | None)
        assert_type(await election.run(work), int)
        with term.guard(min_remaining=1.0) as token:
            assert_type(token, int)
        assert_type(await election.resign(), bool)
        assert_type(election.observe(), AsyncGenerator[incumbent.Leader | Unknown | None, None])
        sighting = await election.leader()
        if sighting is incumbent.UNKNOWN:
            return
        if sighting is not None:
            assert_type(sighting, incumbent.Leader)

    _ = main
