"""A long run of an engine as several short ones, each with servers and a seed of its own: what is done is kept, and the same command
again goes on where it was.

Each chunk is a file below a directory named for the source that it ran on, so that a clean run is one of the code that is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tests.torture.engines.run import run

ROOT: Final = Path(__file__).parents[2]
KEPT: Final = ROOT / ".cache" / "torture"
CHUNK_S: Final = 240.0
SUMMED: Final = ("seconds", "faults_total", "terms", "accepted", "refused")
COUNTED: Final = ("faults", "notes")
LISTED: Final = ("excused", "findings", "gaps", "broken")


def source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(path for place in ("src", "tests/torture") for path in (ROOT / place).rglob("*.py")):
        digest.update(str(path.relative_to(ROOT)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:12]


def parts(seconds: float, seed: int) -> Iterator[tuple[int, float]]:
    """The seed and the length of each chunk."""
    while seconds > 0:
        yield seed, min(CHUNK_S, seconds)
        seed += 1
        seconds -= CHUNK_S


def replay(engine: str, seed: int, seconds: float) -> str:
    return f'make torture ARGS="--engine {engine} --seed {seed} --minutes {seconds / 60:g}"'


def chunk(engine: str, seed: int, seconds: float, kept: Path) -> dict[str, Any]:
    """Run it, or say what came of it before. What is not clean is not kept, but its files are."""
    kept.mkdir(parents=True, exist_ok=True)
    name = f"{engine}-{seed}-{seconds:g}"
    path, files = kept / f"{name}.json", kept / name
    if path.exists():
        before: dict[str, Any] = json.loads(path.read_text())
        return before
    sys.stderr.write(f"{engine}, seed {seed}: {replay(engine, seed, seconds)}\n")
    shutil.rmtree(files, ignore_errors=True)
    files.mkdir()
    summary = asyncio.run(run(engine, files, seconds, seed))
    if summary["clean"]:
        path.write_text(json.dumps(summary))
        shutil.rmtree(files)
    else:
        sys.stderr.write(f"not clean; again: {replay(engine, seed, seconds)}\nwhat it wrote: {files}\n")
    return summary


def total(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the chunks of one engine."""
    whole: dict[str, Any] = {
        "engine": summaries[0]["engine"],
        "seeds": [summary["seed"] for summary in summaries],
    }
    whole |= {name: sum(summary[name] for summary in summaries) for name in SUMMED}
    whole |= {name: dict(sum((Counter(s[name]) for s in summaries), Counter[str]())) for name in COUNTED}
    longest = max(summaries, key=lambda summary: summary["leaderless_s"])
    whole |= {name: longest[name] for name in ("leaderless_s", "leaderless_during")}
    whole |= {name: [one for summary in summaries for one in summary[name]] for name in LISTED}
    whole["clean"] = all(summary["clean"] for summary in summaries)
    return whole


def in_chunks(engine: str, seconds: float, seed: int, kept: Path = KEPT) -> dict[str, Any]:
    """The sum of all chunks; it ends with the first that is not clean."""
    done = list[dict[str, Any]]()
    for part, lasts_s in parts(seconds, seed):
        done.append(chunk(engine, part, lasts_s, kept / source_hash()))
        if not done[-1]["clean"]:
            break
    return total(done)
