"""One failure run of an engine: servers, candidates and a sink, faults in turn and at once, and what the judge says."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from incumbent.check.history import parse
from incumbent.cli.demo.recorder import CLOCK
from tests.servers.spaces import OUTSIDE, apart
from tests.torture.engines.faults import CANDIDATES, Fault, Kind, Verb, Whom, plan
from tests.torture.engines.sink import sink
from tests.torture.engines.standing import NAMES, Standing, standing
from tests.torture.engines.verdict import Struck, report
from tests.torture.engines.world import World
from tests.torture.engines.worlds import SETTINGS

T = TypeVar("T")

TTL_S: Final = 2.0
AT_ONCE_MAX: Final = 3
BEGUN_TIMEOUT_S: Final = 30.0
HEALED_TIMEOUT_S: Final = 30.0
"""After the last fault somebody leads and writes within this time."""


@dataclass
class Run:
    world: World
    standing: Standing
    struck: list[Struck] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    _busy: set[str] = field(default_factory=set)
    _asking: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def faults_until(self, end_s: float, faults: Iterator[Fault]) -> None:
        """Returns when all that was begun is undone. What could not be done or undone is raised, and ends the run."""
        async with asyncio.TaskGroup() as tasks:
            running = set[asyncio.Task[None]]()
            for fault in faults:
                while len(running) >= AT_ONCE_MAX:
                    _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if time.monotonic() >= end_s:
                    break
                await self.look_for_ended()
                victims = await self._victims(fault)
                if victims:
                    running.add(tasks.create_task(self._strike(fault, victims)))
                else:
                    self.notes[f"nobody to {fault.kind}"] += 1
                await asyncio.sleep(fault.next_s)

    async def _victims(self, fault: Fault) -> Sequence[str]:
        """Whom it strikes; nobody while those are hurt already, which steps of a clock do not mind."""
        holder = self.standing.history.holder
        match fault.kind.whom:
            case Whom.HOLDER:
                found: Sequence[str] = [holder or _one_of(NAMES, fault.chance)]
            case Whom.WAITING:
                found = [_one_of([name for name in NAMES if name != holder], fault.chance)]
            case Whom.LEADER:
                leader = await self.ask(self.world.leader)
                found = [leader or _one_of(self.world.members, fault.chance)]
            case Whom.MEMBER:
                found = [_one_of(self.world.members, fault.chance)]
            case _:
                found = self.world.members
        free = fault.kind.verb is Verb.STEP or not self._busy.intersection(found)
        return found if free else []

    async def _strike(self, fault: Fault, victims: Sequence[str]) -> None:
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {fault.kind}: {', '.join(victims)}\n")
        begin_ns = CLOCK.now_ns()
        if fault.kind.verb is Verb.STEP:
            await self._begin(fault, victims)
        else:
            self._busy.update(victims)
            try:
                await self._begin(fault, victims)
                await asyncio.sleep(fault.lasts_s)
                await self._end(fault.kind, victims)
            finally:
                self._busy.difference_update(victims)
        self.struck.append(Struck(fault.kind, victims, begin_ns, CLOCK.now_ns()))

    async def _begin(self, fault: Fault, victims: Sequence[str]) -> None:
        verb = fault.kind.verb
        if fault.kind.whom in CANDIDATES:
            self.standing.begin(verb, victims[0], fault.step_s)
        else:
            await self.ask(lambda: self.world.begin(verb, victims, fault.step_s))

    async def _end(self, kind: Kind, victims: Sequence[str]) -> None:
        if kind.whom in CANDIDATES:
            self.standing.end(kind.verb, victims[0])
        else:
            await self.ask(lambda: self.world.end(kind.verb, victims))

    async def ask(self, ask: Callable[[], T]) -> T:
        """One at a time, beside the loop."""
        async with self._asking:
            return await asyncio.to_thread(ask)

    async def look_for_ended(self) -> None:
        """Candidates must not end by themselves; servers do with their own faults, which is noted."""
        for name, code in self.standing.ended().items():
            self.broken.append(f"candidate {name} ended by itself with status {code}")
        for name, code in (await self.ask(self._restart_servers)).items():
            self.notes[f"server {name} ended with status {code}"] += 1

    def _restart_servers(self) -> Mapping[str, int]:
        processes = self.world.processes
        over = {name: code for name, process in processes.items() if (code := process.poll()) is not None}
        for name in over:
            self.world.start(name)
        return over

    async def roll_call(self) -> None:
        """Now that everybody is well, each candidate leads: who does is killed, until the last one has led."""
        for left in range(len(NAMES), 0, -1):
            leader = await self.until_led(HEALED_TIMEOUT_S)
            if leader is None:
                self.broken.append(f"nobody of {left} led within {HEALED_TIMEOUT_S} s after the last fault")
                return
            self.standing.begin(Verb.KILL, leader, 0)

    async def until_led(self, timeout_s: float) -> str | None:
        """Who leads and writes from now on; None when nobody does in time."""
        begin_ns = CLOCK.now_ns()
        while CLOCK.now_ns() - begin_ns < timeout_s * 1e9:
            leader, led_ns = self.standing.history.led
            if led_ns > begin_ns:
                return leader
            await asyncio.sleep(0.05)
        return None


def _one_of(names: Sequence[str], chance: float) -> str:
    return names[int(chance * len(names))]


async def run(engine: str, directory: Path, seconds: float, seed: int) -> dict[str, Any]:
    """Hurt everybody for so long, heal them, see somebody lead, and judge."""
    setting = SETTINGS[engine]
    servers = directory / "servers"
    servers.mkdir()
    history = directory / "history.jsonl"
    with (
        apart(*setting.hosts, *NAMES) as spaces,
        setting.open(servers, spaces) as world,
        sink(directory, history) as socket,
        standing(
            directory, spaces, setting.hosts or (OUTSIDE,), world.url, TTL_S, (str(socket), str(seed))
        ) as candidates,
    ):
        torment = Run(world, candidates)
        if await torment.until_led(BEGUN_TIMEOUT_S) is None:
            raise TimeoutError("nobody led before the first fault")
        began = time.monotonic()
        await torment.faults_until(began + seconds, plan(seed, setting.kinds, TTL_S, setting.steps_s))
        await torment.look_for_ended()
        await torment.ask(world.wait)
        await torment.roll_call()
        lasted_s = time.monotonic() - began
    judged = report(
        parse(history.read_text().splitlines()),
        torment.struck,
        setting.excused,
        TTL_S,
        torment.broken,
        torment.notes,
    )
    return {
        "engine": engine,
        "seed": seed,
        "seconds": round(lasted_s),
        **judged.as_json(),
    }
