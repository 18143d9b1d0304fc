"""``python -m incumbent.sim.soak``: a great many seeds, in chunks that can be interrupted and resumed.

Each chunk is a file that says which source it ran on; a changed source begins anew, so that a clean soak is one of the code
that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from incumbent.sim.course import Course, Gear
from incumbent.sim.survey import Summary, from_json, survey, to_json

SEEDS_DEFAULT: Final = 100_000
CHUNK: Final = 1_000


def source_hash() -> str:
    """Of every module of ours that a run uses: they are all loaded by now."""
    files = {
        name: module.__file__
        for name, module in sys.modules.items()
        if name.partition(".")[0] == "incumbent" and module.__file__
    }
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + Path(files[name] or "").read_bytes())
    return digest.hexdigest()[:12]


def chunk(first: int, *, jobs: int, gear: Gear = Gear.FAST) -> Summary:
    def courses() -> Iterator[Course]:
        for seed in range(first, first + CHUNK):
            yield Course(seed=seed, gear=gear)

    return survey(courses(), jobs=jobs)


def soak(directory: Path, seeds: int, *, jobs: int, gear: Gear = Gear.FAST) -> Summary:
    """Run what is not there yet of `seeds` seeds, chunk by chunk, and give the sum."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = Summary()
    for first in range(0, seeds, CHUNK):
        path = directory / f"{gear}-{first:07d}.json"
        if path.exists():
            whole.merge(from_json(json.loads(path.read_text())))
            continue
        done = chunk(first, jobs=jobs, gear=gear)
        unfinished = path.with_suffix(".new")
        unfinished.write_text(json.dumps(to_json(done)))
        unfinished.rename(path)
        whole.merge(done)
        sys.stderr.write(f"{first + CHUNK} of {seeds} seeds, {whole.broken} violations\n")
    return whole


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m incumbent.sim.soak", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS_DEFAULT, help=f"how many ({SEEDS_DEFAULT})")
    parser.add_argument(
        "--gear", type=Gear, choices=tuple(Gear), default=Gear.FAST, help="as of simulate (fast)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (1)")
    parser.add_argument("--dir", type=Path, default=Path(".cache/soak"), help="where chunks are kept")
    options = parser.parse_args(arguments)
    source = source_hash()
    whole = soak(options.dir / source, options.seeds, jobs=options.jobs, gear=options.gear)
    stamp = options.dir / f"last-clean-{options.gear}.txt"
    sys.stdout.write(json.dumps(whole.as_json("all"), indent=2) + "\n")
    if whole.broken:
        sys.stdout.write("not clean\n")
    else:
        day = time.strftime("%Y-%m-%d %H:%M")
        stamp.write_text(f"{day}: {whole.seeds} seeds, {whole.events} events, source {source}\n")
    sys.stdout.write("last clean: " + (stamp.read_text() if stamp.exists() else "never\n"))
    return 1 if whole.broken else 0


if __name__ == "__main__":
    sys.exit(main())
