"""Whether leaderships that are over leave anything behind: memory and disk of three real nodes over a million of them.

Workers acquire and release, each through elections of its own and a few that all of them want, and change their session now and
then, while the log is cut by snapshots and the history compacted. Every so many leaderships a row is printed: what each node has
resident, what its disk holds, and where its log begins and ends. At the end the last quarter is compared with the second: what
grows for ever is seen there, and caches that fill at the beginning are not. ``--directory`` keeps the cluster, and the same again goes on.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import Nodes, disk_mib, memory_mib, running
from bench.report import machine, parser

from incumbent.engines.api import Claimed, Engine, Session
from incumbent.engines.cluster import connect
from incumbent.errors import SessionGone, WatchLost

WORKERS: Final = 64
SHARED: Final = 8
"""Elections that all workers want; each takes every 64th of its leaderships there."""
OWN: Final = 50
"""Elections of each worker, in turn: 3,200 in all."""
LEADERSHIPS_PER_SESSION: Final = 500
TTL_S: Final = 60.0
RENEW_S: Final = 10.0
LIMITS: Final = ("--snapshot-entries", "20000", "--history-changes", "10000")
PROGRESS: Final = "progress.json"

Row = dict[str, Any]


class Worker:
    """One after another, for ever."""

    def __init__(self, engine: Engine, number: int) -> None:
        self._engine = engine
        self._number = number
        self._session: Session | None = None

    async def run(self, count: Callable[[], None]) -> None:
        for turn in itertools.count():
            if turn % LEADERSHIPS_PER_SESSION == 0:
                await self._change_session()
            await self._lead(turn)
            count()

    async def end_session(self) -> None:
        if self._session is not None:
            await self._engine.end_session(self._session.ref)

    async def _change_session(self) -> None:
        await self.end_session()
        self._session = await self._engine.open_session(TTL_S, f"{time.time_ns()}-{self._number}")

    async def renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            assert self._session is not None
            with suppress(SessionGone):  # it was just changed
                await self._engine.renew(self._session)

    async def _lead(self, turn: int) -> None:
        assert self._session is not None
        shared = turn % WORKERS == self._number
        group = f"shared/{turn % SHARED}" if shared else f"own/{self._number}/{turn % OWN}"
        member = await self._engine.join(self._session, group, "r", b"")
        while not isinstance(found := await self._engine.claim(member), Claimed):
            try:
                async for _ in self._engine.watch(group, found.cursor):
                    break
            except WatchLost:
                pass
        await self._engine.leave(member)


async def row(nodes: Nodes, directory: Path, done: int, per_s: float) -> Row:
    reports = await nodes.reports()
    return {
        "leaderships": done,
        "per_s": round(per_s),
        "resident_mib": {name: round(memory_mib(p.pid), 1) for name, p in nodes.processes.items()},
        "disk_mib": {name: round(disk_mib(directory / name), 1) for name in nodes.processes},
        "log": {name: [report["first_index"], report["last_index"]] for name, report in reports.items()},
        "term": max(report["term"] for report in reports.values()),
    }


async def churn(directory: Path, wanted: int, every: int, tell: Callable[[Row], None]) -> list[Row]:
    """Up to `wanted` leaderships, those of former runs in this directory included."""
    progress = directory / PROGRESS
    rows: list[Row] = json.loads(progress.read_text()) if progress.exists() else []
    done = rows[-1]["leaderships"] if rows else 0
    async with running(directory, options=LIMITS) as nodes:
        engine = await connect(nodes.url)
        workers = [Worker(engine, number) for number in range(WORKERS)]
        reached = asyncio.Event()

        def count() -> None:
            nonlocal done
            done += 1
            if done % every == 0:
                reached.set()

        tasks = [
            asyncio.create_task(work) for worker in workers for work in (worker.run(count), worker.renew())
        ]
        stopped = asyncio.ensure_future(asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION))
        try:
            while done < wanted:
                began, before = time.monotonic(), done
                reaching = asyncio.ensure_future(reached.wait())
                await asyncio.wait({reaching, stopped}, return_when=asyncio.FIRST_COMPLETED)
                if stopped.done():
                    reaching.cancel()
                    next(task for task in tasks if task.done()).result()
                reached.clear()
                rows.append(await row(nodes, directory, done, (done - before) / (time.monotonic() - began)))
                progress.write_text(json.dumps(rows))
                tell(rows[-1])
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)
            await asyncio.gather(*(worker.end_session() for worker in workers))
            await engine.close()
    return rows


def growth(rows: Sequence[Row], field: str) -> float:
    """How many times the median of the second quarter the last one's is, of the node that has most."""

    def median(quarter: Sequence[Row]) -> float:
        found = sorted(max(one[field].values()) for one in quarter)
        middle: float = found[len(found) // 2]
        return middle

    quarter = max(1, len(rows) // 4)
    return round(median(rows[-quarter:]) / median(rows[quarter : 2 * quarter] or rows[-quarter:]), 3)


def shown(one: Row) -> str:
    def of_all(field: str) -> str:
        return " ".join(f"{name} {value:7.1f}" for name, value in one[field].items())

    log = " ".join(f"{name} {first}-{last}" for name, (first, last) in one["log"].items())
    return (
        f"{one['leaderships']:>9} leaderships {one['per_s']:>6}/s  resident MiB {of_all('resident_mib')}"
        f"  disk MiB {of_all('disk_mib')}  term {one['term']}  log {log}"
    )


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--leaderships", type=int, default=1_000_000, help="in all (1,000,000)")
    arguments.add_argument("--every", type=int, default=50_000, help="leaderships between two rows (50,000)")
    arguments.add_argument("--directory", type=Path, help="keep the cluster here; the same again goes on")
    options = arguments.parse_args()

    def tell(one: Row) -> None:
        if not options.json:
            print(shown(one), flush=True)

    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as temporary:
        directory = options.directory or Path(temporary)
        directory.mkdir(parents=True, exist_ok=True)
        rows = asyncio.run(churn(directory, options.leaderships, options.every, tell))
    grown = {field: growth(rows, field) for field in ("resident_mib", "disk_mib")}
    if options.json:
        print(json.dumps({"bench": "churn", "machine": machine(), "growth": grown, "rows": rows}))
    else:
        print(f"last quarter to second quarter: memory {grown['resident_mib']} x, disk {grown['disk_mib']} x")


if __name__ == "__main__":
    main()
