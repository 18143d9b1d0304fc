"""How long nobody leads when a leader resigns or hands over: on three real nodes, and on a directory.

Two candidates take turns, each of a cluster object of its own, in one process, so that one clock sees both. *resign*: from the call, on
a body that ends at once, to the line in which the other one leads. *handover*: from the end of the former term to that line. Beside
them stand a linearizable read and a durable write of the same engine in the same run: a gap is some of these.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import CLUSTER, running
from bench.report import case, parser, show

import incumbent
from incumbent.engines.api import CellWrite, Engine
from incumbent.leadership.connect import Cluster
from incumbent.leadership.election import Election

TTL_S: Final = 5.0
SETTLE_S: Final = 0.05
WARM_TRIALS: Final = 3
"""Not counted."""


class Pair:
    """Two who lead in turn."""

    def __init__(self, first: Cluster, second: Cluster) -> None:
        self.elections = [
            cluster.election("bench", candidate=name, fenced=True)
            for name, cluster in (("a", first), ("b", second))
        ]
        self.began_s = 0.0
        self.ended_s = 0.0
        self.leader: Election | None = None
        self._news = asyncio.Event()

    async def stand(self, election: Election) -> None:
        while True:
            try:
                async with election.campaign():
                    self.began_s = time.perf_counter()
                    self.leader = election
                    self._news.set()
                    try:
                        await asyncio.Event().wait()
                    finally:
                        self.ended_s = time.perf_counter()
            except incumbent.LeadershipLost:
                await asyncio.sleep(SETTLE_S)  # as `run` does: it stands again, and not in the other's way

    async def next_leader(self, former: Election | None) -> Election:
        while self.leader is None or self.leader is former:
            self._news.clear()
            await self._news.wait()
        return self.leader

    async def both_stand(self) -> None:
        for _ in range(1000):
            if len(await self.elections[0].candidates()) == 2:
                break
            await asyncio.sleep(0.005)
        await asyncio.sleep(SETTLE_S)  # nobody writes into the history any more


async def round_trips(engine: Engine, trials: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {"read": [], "write": []}
    for _ in range(trials):
        began = time.perf_counter()
        await engine.roster("bench")
        took["read"].append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        await engine.write_cells("rtt", [CellWrite("c", b"v", None)], None)
        took["write"].append(1000 * (time.perf_counter() - began))
    return took


async def measure(name: str, url: str, trials: int) -> list[dict[str, Any]]:
    samples: dict[str, list[float]] = {"resign": [], "handover": []}
    async with incumbent.connect(url, ttl=TTL_S) as first, incumbent.connect(url, ttl=TTL_S) as second:
        pair = Pair(first, second)
        tasks = [asyncio.create_task(pair.stand(election)) for election in pair.elections]
        leader = await pair.next_leader(None)
        for trial in range(trials + WARM_TRIALS):
            for kind, took in samples.items():
                await pair.both_stand()
                if kind == "resign":
                    began_s = time.perf_counter()
                    await leader.resign()
                    leader = await pair.next_leader(leader)
                else:
                    former = leader
                    done = asyncio.create_task(former.handover())
                    leader = await pair.next_leader(former)
                    began_s = pair.ended_s
                    assert (await done).ok
                if trial >= WARM_TRIALS:
                    took.append(1000 * (pair.began_s - began_s))
        trips = await round_trips(first.engine, trials)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [case(f"{name} {kind}", took) for kind, took in (samples | trips).items()]


async def all_engines(trials: int) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        rows = await measure("local", f"local://{directory}/app", trials)
        async with running(Path(directory)) as nodes:
            return rows + await measure("cluster", f"{nodes.url}?cluster={CLUSTER}", trials)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=50, help="of each kind, on each engine (50)")
    options = arguments.parse_args()
    show("handover", asyncio.run(all_engines(options.trials)), as_json=options.json)


if __name__ == "__main__":
    main()
