"""What one more costs: 100 to 100,000 elections that are held, and 10 to 1,000 watchers of one, on three real nodes.

Elections: each is joined once by one of 100 sessions and stays held; printed for each step is what one more took (time, memory and
log of a node), what all of them cost in a second while nothing happens but renewals, and how long the cluster takes no write when
its leader is killed, several times: it must not grow. Watchers: each is a candidate's view of one group over connections that many
share; printed is what one more costs a node in memory, and what one change costs the nodes in CPU for each watcher that it wakes.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.failover import Fault, one
from bench.idle import each, keep, segments_between
from bench.nodes import Nodes, memory_mib, running
from bench.report import machine, parser

from incumbent.engines.api import CellWrite, Engine, Session
from incumbent.engines.cluster import connect
from incumbent.errors import IncumbentError

ELECTIONS: Final = (100, 1_000, 10_000, 100_000)
WATCHERS: Final = (10, 100, 1_000)
QUICK: Final = 2
"""Steps of each with ``--quick``."""
SESSIONS: Final = 100
TTL_S: Final = 30.0
LOOK_S: Final = 6.0
KILLS: Final = 3
CHANGES: Final = 50
CONNECTIONS: Final = 10
"""The watchers' engines, each with connections of its own."""


def resident_kib(nodes: Nodes) -> float:
    """Of the node that has most."""
    return 1024 * max(memory_mib(process.pid) for process in nodes.processes.values())


@asynccontextmanager
async def sessions(engine: Engine) -> AsyncIterator[list[Session]]:
    """Open, and kept so."""
    made = [await engine.open_session(TTL_S, f"{time.time_ns()}-{n}") for n in range(SESSIONS)]

    async def renew(session: Session) -> None:
        with suppress(IncumbentError):  # a leader was killed; the next comes in time
            await engine.renew(session)

    keeping = asyncio.create_task(keep([partial(renew, session) for session in made], TTL_S))
    try:
        yield made
    finally:
        keeping.cancel()


# --- elections -------------------------------------------------------------------------------------------------------


async def elections(directory: Path, steps: Sequence[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with running(directory) as nodes:
        engine = await connect(nodes.url)
        async with sessions(engine) as held:
            before = 0
            for wanted in steps:
                rows.append({"elections": wanted, **await _more(nodes, engine, held, range(before, wanted))})
                before = wanted
        await engine.close()
    return rows


async def _more(nodes: Nodes, engine: Engine, held: Sequence[Session], numbers: range) -> dict[str, Any]:
    resident, cpu, began = resident_kib(nodes), sum(nodes.cpu_s().values()), time.monotonic()
    await each(numbers, lambda n: engine.join(held[n % SESSIONS], f"election/{n}", "r", b""))
    took, used = time.monotonic() - began, sum(nodes.cpu_s().values()) - cpu
    more_kib = resident_kib(nodes) - resident
    await nodes.settled()
    idle_cpu, segments, began = nodes.cpu_s(), segments_between(nodes.processes), time.monotonic()
    await asyncio.sleep(LOOK_S)
    looked = time.monotonic() - began
    idle = {name: (after - idle_cpu[name]) / looked for name, after in nodes.cpu_s().items()}
    sent = (segments_between(nodes.processes) - segments) / looked
    gaps = sorted([(await one(nodes, Fault.KILLED, None))[0] for _ in range(KILLS)])
    return {
        "one_more": {
            "kib": round(more_kib / len(numbers), 3),
            "ms": round(1000 * took / len(numbers), 3),
            "cpu_us": round(1e6 * used / len(numbers), 1),
        },
        "idle": {"most_cores": round(max(idle.values()), 4), "segments_per_s": round(sent, 1)},
        "failover_ms": {"p50": round(gaps[len(gaps) // 2], 1), "max": round(gaps[-1], 1), "n": len(gaps)},
    }


# --- watchers --------------------------------------------------------------------------------------------------------


class Watchers:
    def __init__(self, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self.tasks: list[asyncio.Task[None]] = []
        self.woken = 0
        self.all_woken = asyncio.Event()

    async def grow(self, wanted: int) -> None:
        for number in range(len(self.tasks), wanted):
            engine = self._engines[number % len(self._engines)]
            cursor = (await engine.roster("watched")).cursor
            self.tasks.append(asyncio.create_task(self._watch(engine, cursor)))
        await asyncio.sleep(1.0)  # all are asked for

    async def _watch(self, engine: Engine, cursor: object) -> None:
        async for _ in engine.watch("watched", cursor):
            self.woken += 1
            if self.woken >= len(self.tasks):
                self.all_woken.set()

    async def change(self) -> float:
        """One change; ms until all watchers were woken."""
        self.woken = 0
        self.all_woken.clear()
        began = time.perf_counter()
        await self._engines[0].write_cells("watched", [CellWrite("c", b"v", None)], None)
        async with asyncio.timeout(30):
            await self.all_woken.wait()
        return 1000 * (time.perf_counter() - began)


async def watchers(directory: Path, steps: Sequence[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    async with running(directory) as nodes:
        engines = [await connect(nodes.url) for _ in range(CONNECTIONS)]
        watching = Watchers(engines)
        await watching.grow(1)
        await watching.change()
        for wanted in steps:
            resident, before = resident_kib(nodes), len(watching.tasks)
            await watching.grow(wanted)
            more_kib = (resident_kib(nodes) - resident) / (wanted - before)
            cpu, mine = sum(nodes.cpu_s().values()), time.process_time()
            took = sorted([await watching.change() for _ in range(CHANGES)])
            woken = CHANGES * wanted
            rows.append(
                {
                    "watchers": wanted,
                    "one_more_kib": round(more_kib, 2),
                    "nodes_cpu_us_per_wake": round(1e6 * (sum(nodes.cpu_s().values()) - cpu) / woken, 1),
                    "client_cpu_us_per_wake": round(1e6 * (time.process_time() - mine) / woken, 1),
                    "all_woken_p50_ms": round(took[len(took) // 2], 2),
                    "all_woken_max_ms": round(took[-1], 2),
                }
            )
        for task in watching.tasks:
            task.cancel()
        for engine in engines:
            await engine.close()
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--quick", action="store_true", help=f"only the first {QUICK} sizes of each")
    options = arguments.parse_args()
    most = QUICK if options.quick else None
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        rows = asyncio.run(elections(Path(directory), ELECTIONS[:most]))
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        rows += asyncio.run(watchers(Path(directory), WATCHERS[:most]))
    if options.json:
        print(json.dumps({"bench": "scale", "machine": machine(), "rows": rows}))
        return
    print(f"scale on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
