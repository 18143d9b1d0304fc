"""A long run is made of chunks that are kept; a run that is not clean is told with what replays it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.torture import chunks

RAN = list[tuple[str, float, int]]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> RAN:
    """Whatever is asked to run; the seed 13 is not clean."""
    asked: RAN = []

    async def run(engine: str, directory: Path, seconds: float, seed: int) -> dict[str, Any]:
        asked.append((engine, seconds, seed))
        (directory / "history.jsonl").write_text("")
        return {
            "engine": engine, "seed": seed, "seconds": seconds, "faults": {"kill holder": 2}, "faults_total": 2,
            "terms": 3, "accepted": 10, "refused": 1, "leaderless_s": seed / 10,
            "leaderless_during": [str(seed)], "excused": [], "gaps": [],
            "findings": ["overlap"] if seed == 13 else [], "broken": [], "notes": {}, "clean": seed != 13,
        }  # fmt: skip

    monkeypatch.setattr(chunks, "run", run)
    return asked


def test_a_long_run_is_summed_over_its_chunks(ran: RAN, tmp_path: Path) -> None:
    whole = chunks.in_chunks("etcd", 600, 5, tmp_path)
    assert ran == [("etcd", 240, 5), ("etcd", 240, 6), ("etcd", 120, 7)]
    assert whole["seeds"] == [5, 6, 7]
    assert (whole["seconds"], whole["faults"]) == (600, {"kill holder": 6})
    assert (whole["leaderless_s"], whole["leaderless_during"]) == (0.7, ["7"])
    assert whole["clean"]


def test_the_same_run_again_goes_on_where_it_was(ran: RAN, tmp_path: Path) -> None:
    before = chunks.in_chunks("etcd", 240, 5, tmp_path)
    whole = chunks.in_chunks("etcd", 480, 5, tmp_path)
    assert ran == [("etcd", 240, 5), ("etcd", 240, 6)]
    assert whole["terms"] == 2 * before["terms"]


def test_a_chunk_that_is_not_clean_ends_it_and_says_how_to_see_it_again(
    ran: RAN, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):  # it is run again, not remembered
        assert not chunks.in_chunks("redis", 960, 12, tmp_path)["clean"]
    assert [seed for _, _, seed in ran] == [12, 13, 13]
    assert 'again: make torture ARGS="--engine redis --seed 13 --minutes 4"' in capsys.readouterr().err
    assert list(tmp_path.rglob("history.jsonl")), "what it wrote is left"
