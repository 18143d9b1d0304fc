"""Does a cluster under load elect anybody without need? Ten minutes of the throughput load, and a probe that knows of stalls.

Writes, renewals, acquire with release and one contended election take turns, 64 in flight. The probe is a process of its own that does
nothing but sleep and look how late it wakes, on CLOCK_BOOTTIME: on a machine that stalls, it stalls too. An election with no
gap of half the election timeout in the probe before it is spurious: nothing but our own slowness made a healthy leader look
dead. Both are printed. Exit code 1 when there was a spurious one.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import Nodes, running
from bench.report import machine, parser
from bench.throughput import CANDIDATES, IN_FLIGHT, Ours, Step, run

from incumbent.engines.cluster import connect
from incumbent.errors import IncumbentError
from incumbent.runtime.clock import BoottimeClock
from incumbent.runtime.config import ELECTION_NS, timing

MS: Final = 1_000_000
PROBE_SLEEP_S: Final = 0.005
NOTED_NS: Final = 20 * MS
"""Gaps of the probe from here on are written down."""
EXPLAINS_NS: Final = ELECTION_NS // 2
BEFORE_NS: Final = timing().election_timeout_max_ns + 200 * MS
"""How long before an election was seen a stall may have been that it is due to: the longest timeout, and the campaign itself."""
LOOK_S: Final = 0.25
TURN_S: Final = 5.0
NOW: Final = BoottimeClock().now_ns


class Gap(NamedTuple):
    end_ns: int
    ns: int


class Election(NamedTuple):
    term: int
    after_ns: int  # this term was not there then
    seen_ns: int

    def due_to(self, gaps: Sequence[Gap]) -> Gap | None:
        """The longest stall that explains it; `gaps` are in order."""
        first = bisect.bisect_left(gaps, self.after_ns - BEFORE_NS, key=lambda gap: gap.end_ns)
        near = [gap for gap in gaps[first:] if gap.end_ns - gap.ns <= self.seen_ns and gap.ns >= EXPLAINS_NS]
        return max(near, key=lambda gap: gap.ns, default=None)


# --- the probe -------------------------------------------------------------------------------------------------------


def probe() -> None:
    """Until it is ended, print every gap."""
    last = NOW()
    while True:
        time.sleep(PROBE_SLEEP_S)
        now = NOW()
        if now - last >= NOTED_NS:
            print(now, now - last, flush=True)
        last = now


@contextmanager
def probing(path: Path) -> Iterator[None]:
    with path.open("w") as out:
        process = subprocess.Popen([sys.executable, __file__, "--probe"], stdout=out)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def gaps_in(path: Path) -> list[Gap]:
    whole = [line.split() for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Gap(int(end), int(ns)) for end, ns in whole]


# --- the load --------------------------------------------------------------------------------------------------------


class Counts:
    def __init__(self) -> None:
        self.done: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()

    def counted(self, name: str, step: Step) -> Step:
        """One that fails, as in an election, is counted and the load goes on."""

        async def counting() -> int:
            try:
                did = await step()
            except IncumbentError as error:
                self.failed[type(error).__name__] += 1
                return 0
            self.done[name] += did
            return did

        return counting


async def load(subject: Ours, counts: Counts, seconds: float) -> None:
    most = max(IN_FLIGHT)
    turns: list[tuple[str, Callable[[int], Awaitable[Step]], int]] = [
        ("write", subject.writer, most),
        ("renew", subject.renewer, most),
        ("acquire_release", subject.acquirer, most),
        ("contended", subject.candidate, CANDIDATES),
    ]
    end = time.monotonic() + seconds
    for name, make, workers in itertools.cycle(turns):
        left = end - time.monotonic()
        if left <= 0:
            return
        steps = [counts.counted(name, await make(worker)) for worker in range(workers)]
        await run(steps, min(TURN_S, left))


async def watch_terms(nodes: Nodes, elections: list[Election]) -> None:
    """Every term that somebody is in, as soon as it is seen."""
    term, looked_ns = 0, NOW()
    while True:
        began_ns = NOW()
        found = max((report["term"] for report in (await nodes.reports()).values()), default=term)
        if term and found > term:
            elections.append(Election(found, looked_ns, NOW()))
        term, looked_ns = max(term, found), began_ns
        await asyncio.sleep(LOOK_S)


async def measure(directory: Path, minutes: float) -> dict[str, Any]:
    elections: list[Election] = []
    counts = Counts()
    probed = directory / "gaps"
    async with running(directory) as nodes:
        engine, client = await connect(nodes.url), nodes.client()
        with probing(probed):
            watching = asyncio.create_task(watch_terms(nodes, elections))
            began = time.monotonic()
            await load(Ours(engine, client, lambda: 0.0), counts, 60 * minutes)
            took = time.monotonic() - began
            watching.cancel()
        await client.close()
        await engine.close()
    gaps = gaps_in(probed)
    explained = {election.term: election.due_to(gaps) for election in elections}
    return {
        "minutes": round(took / 60, 2),
        "done": dict(counts.done),
        "failed": dict(counts.failed),
        "elections": [
            {"term": term, "stall_ms": None if gap is None else math.ceil(gap.ns / MS)}
            for term, gap in explained.items()
        ],
        "spurious": sum(gap is None for gap in explained.values()),
        "longest_stall_ms": max((math.ceil(gap.ns / MS) for gap in gaps), default=0),
        "stalls": {f"{ms} ms": sum(gap.ns >= ms * MS for gap in gaps) for ms in (20, 50, 100, 150, 300)},
    }


def main() -> None:
    if sys.argv[1:] == ["--probe"]:
        probe()
    arguments = parser(__doc__)
    arguments.add_argument("--minutes", type=float, default=10.0, help="of load (10)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        found = asyncio.run(measure(Path(directory), options.minutes))
    if options.json:
        print(json.dumps({"bench": "load_stall", "machine": machine(), **found}))
    else:
        print(f"load_stall on {', '.join(f'{name} {value}' for name, value in machine().items())}")
        print(f"load for {found['minutes']} minutes: {found['done']}, failed: {found['failed'] or 'none'}")
        print(f"the probe woke late by at least {found['stalls']}, at most {found['longest_stall_ms']} ms")
        print(f"elections: {found['elections'] or 'none'}, of these spurious: {found['spurious']}")
    sys.exit(1 if found["spurious"] else 0)


if __name__ == "__main__":
    main()
