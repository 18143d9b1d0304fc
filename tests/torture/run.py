"""One run: faults in turn, clients and candidates meanwhile, and what the judges say."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from incumbent.check.linear import Verdict, judge
from incumbent.check.models import UNKNOWN, Get, Registers
from incumbent.errors import IncumbentError
from incumbent.kv.api import Range
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator
from tests.torture.clients import Recorded, Terms, one_operation, stand, work
from tests.torture.hosts import NAMES, Hosts

CLIENTS: Final = 24
CANDIDATES: Final = 3
PAUSE_S: Final = 0.15
"""Between two operations of a client, at most: so that a run is long and not only dense."""
BETWEEN_S: Final = (1.0, 4.0)
HEALED_TIMEOUT_S: Final = 30.0


@dataclass
class Torture:
    hosts: Hosts
    random: Random
    faults: Counter[str] = field(default_factory=Counter)
    restarts: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    @property
    def url(self) -> str:
        return "cluster://" + ",".join(f"{host}:{port}" for host, port in self.hosts.addresses.values())

    # --- faults ----------------------------------------------------------------------------------------------------

    async def faults_until(self, end_s: float) -> None:
        kinds: dict[str, Callable[[str], Awaitable[None]]] = {
            "kill": self._kill, "kill_leader": self._kill_leader, "kill_all": self._kill_all, "stop": self._stop,
            "stop_leader": self._stop_leader, "isolate": self._isolate, "one_way": self._one_way,
            "full_disk": self._full_disk, "disk_error": self._disk_error, "clock_step": self._clock_step,
            "restart": self._restart, "transfer": self._transfer,
        }  # fmt: skip
        weights = [1 if kind == "kill_all" else 3 for kind in kinds]
        while time.monotonic() < end_s:
            (kind,) = self.random.choices(list(kinds), weights)
            name = self.random.choice(NAMES)
            sys.stderr.write(f"{time.strftime('%H:%M:%S')} {kind} {name}\n")
            await kinds[kind](name)
            self.faults[kind] += 1
            self._start_those_that_ended()
            await asyncio.sleep(self.random.uniform(*BETWEEN_S))

    def _start_those_that_ended(self) -> None:
        for name in self.hosts.ended():
            self.restarts[name] += 1
            self.hosts.make_room(name)
            self.hosts.start(name)

    async def _kill(self, name: str) -> None:
        self.hosts.kill(name)
        await asyncio.sleep(self.random.uniform(0, 2))
        self.hosts.start(name)

    async def _kill_leader(self, name: str) -> None:
        await self._kill(await self._leader() or name)

    async def _kill_all(self, _: str) -> None:
        for name in NAMES:
            self.hosts.kill(name)
        for name in NAMES:
            self.hosts.start(name)
        await asyncio.sleep(2)

    async def _stop(self, name: str) -> None:
        self.hosts.signal(name, signal.SIGSTOP)
        await asyncio.sleep(self.random.uniform(0.2, 4))
        self.hosts.signal(name, signal.SIGCONT)

    async def _stop_leader(self, name: str) -> None:
        await self._stop(await self._leader() or name)

    async def _isolate(self, name: str) -> None:
        self.hosts.isolate(name, cut=True)
        await asyncio.sleep(self.random.uniform(0.5, 5))
        self.hosts.isolate(name, cut=False)

    async def _one_way(self, name: str) -> None:
        other = self.random.choice([n for n in NAMES if n != name])
        self.hosts.one_way(name, other, cut=True)
        await asyncio.sleep(self.random.uniform(0.5, 5))
        self.hosts.one_way(name, other, cut=False)

    async def _full_disk(self, name: str) -> None:
        self.hosts.fill(name)
        await asyncio.sleep(self.random.uniform(1, 4))
        self.hosts.make_room(name)

    async def _disk_error(self, name: str) -> None:
        self.hosts.break_disk(name)
        await asyncio.sleep(self.random.uniform(0.5, 1.5))

    async def _clock_step(self, name: str) -> None:
        self.hosts.step_clock(name, self.random.choice([-86_400, -3600, -5, 5, 3600, 86_400]))

    async def _restart(self, name: str) -> None:
        self._start_those_that_ended()
        code = await asyncio.to_thread(self.hosts.stop, name)
        if code != 0:
            self.notes["ended_badly"] += 1
        self.hosts.start(name)

    async def _transfer(self, name: str) -> None:
        try:
            await self._operator().transfer(name)
        except IncumbentError:
            self.notes["transfer_refused"] += 1

    async def _leader(self) -> str | None:
        try:
            everyone = await self._operator().everyone()
        except IncumbentError:
            return None
        serving = [
            name for name, report in everyone.items() if not isinstance(report, str) and report.get("serving")
        ]
        return serving[0] if serving else None

    def _operator(self) -> Operator:
        deadline = asyncio.get_running_loop().time() + 2.0
        return Operator("torture", list(self.hosts.addresses.values()), deadline)


@asynccontextmanager
async def cluster(hosts: Hosts) -> AsyncIterator[ClusterClient]:
    hosts.make()
    client = ClusterClient(hosts.addresses, "torture")
    try:
        for name in NAMES:
            hosts.start(name)
        await client.read(Range(b"k"), timeout=HEALED_TIMEOUT_S)
        yield client
    finally:
        await client.close()
        hosts.close()


async def torture(directory: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Hurt a cluster for so long, heal it, read everything once more, and judge."""
    hosts = Hosts(directory)
    run = Torture(hosts, Random(seed))
    recorded, terms = Recorded(), Terms()
    async with cluster(hosts) as client:
        tasks = [
            asyncio.create_task(work(n, hosts.addresses, recorded, seed, PAUSE_S)) for n in range(CLIENTS)
        ]
        candidates = [asyncio.create_task(stand(n, run.url, terms)) for n in range(CANDIDATES)]
        began = time.monotonic()
        await run.faults_until(began + seconds)
        run._start_those_that_ended()
        await client.read(Range(b"k"), timeout=HEALED_TIMEOUT_S)
        for task in [*tasks, *candidates]:
            task.cancel()
        ends = await asyncio.gather(*tasks, *candidates, return_exceptions=True)
        asked: list[Any] = [operation.input for operation in recorded.operations]
        keys = sorted({one.key for one in asked})
        for key in keys:  # what was acknowledged is still there
            told = await one_operation(client, "last", Get(key), recorded)
            assert told is not UNKNOWN
    judged = judge(Registers(), recorded.operations)
    return {
        "seed": seed,
        "seconds": round(time.monotonic() - began),
        "faults": dict(run.faults),
        "faults_total": sum(run.faults.values()),
        "notes": dict(run.notes),
        "processes_that_ended_by_a_fault": sum(run.restarts.values()),
        "operations": len(recorded.operations),
        **recorded.counts,
        "judged": judged.operations,
        "verdict": judged.verdict.value,
        "violation": judged.violation.explain() if judged.violation else None,
        "undecided": [str(key) for key in judged.undecided],
        "terms": len(terms.tokens),
        "overlaps": terms.overlaps,
        "broken": [repr(end) for end in ends if not isinstance(end, asyncio.CancelledError)],
        "clean": judged.verdict is Verdict.LINEARIZABLE
        and not terms.overlaps
        and all(isinstance(end, asyncio.CancelledError) for end in ends),
    }


def can_run() -> str | None:
    """Why it cannot; None when it can."""
    return None if os.geteuid() == 0 else "it needs root: network namespaces and file systems of its own"
