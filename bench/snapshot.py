"""What a large state does to a cluster: 1 GiB of values, a snapshot taken, sent to an empty node and installed there.

Three nodes in this process would share a GIL; these are real ones. Printed: how long each took, the longest gap between two
linearizable reads meanwhile (as between two heartbeats: a round from the leader to a follower and back, without the disk) and between
two acknowledged writes (all nodes share one disk here), and every node's peak memory against the state's size and what it held before.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import CLUSTER, Nodes, memory_mib, running
from bench.report import machine, parser

from incumbent.errors import IncumbentError, OutcomeUnknown
from incumbent.kv.api import Put, Range
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator

MIB: Final = 1024 * 1024
VALUE_BYTES: Final = 256 * 1024
TIMEOUT_S: Final = 600.0
SETTLE_S: Final = 3.0
SILENCE: Final = "incumbent_voter_leader_silence_seconds_max"
NO_OTHERS: Final = ("--snapshot-entries", "1000000", "--snapshot-bytes", str(1 << 40))
"""The snapshots that are asked for are the only ones."""


class Gaps:
    """Asks without pause; knows the longest time between two answers."""

    def __init__(self, ask: Callable[[], Awaitable[object]]) -> None:
        self._ask = ask
        self.longest_ms = 0.0
        self.failed = 0

    async def run(self) -> None:
        last = time.perf_counter()
        while True:
            try:
                await self._ask()
            except Exception:
                self.failed += 1
            now = time.perf_counter()
            self.longest_ms = max(self.longest_ms, 1000 * (now - last))
            last = now
            await asyncio.sleep(0.005)

    def since(self) -> float:
        longest, self.longest_ms = self.longest_ms, 0.0
        return round(longest, 1)


def operator(nodes: Nodes) -> Operator:
    deadline = asyncio.get_running_loop().time() + TIMEOUT_S
    return Operator(CLUSTER, list(nodes.addresses.values()), deadline)


async def leader_of(nodes: Nodes) -> str:
    while True:
        for name, report in (await operator(nodes).everyone()).items():
            if not isinstance(report, str) and report.get("serving"):
                return name
        await asyncio.sleep(0.1)


async def fill(client: ClusterClient, mib: int) -> None:
    value = bytes(range(256)) * (VALUE_BYTES // 256)
    for start in range(0, mib * MIB // VALUE_BYTES, 8):
        await asyncio.gather(*(put(client, b"value/%d" % n, value) for n in range(start, start + 8)))


async def put(client: ClusterClient, key: bytes, value: bytes) -> None:
    while True:
        try:
            await client.submit(Put(key, value), timeout=60.0)
        except OutcomeUnknown:
            continue  # the same again does no harm
        else:
            return


async def measure(directory: Path, mib: int) -> dict[str, Any]:
    async with running(directory, options=NO_OTHERS) as nodes:
        client, pulse = nodes.client(), nodes.client()
        await fill(client, mib)
        reads = Gaps(lambda: pulse.read(Range(b"pulse"), timeout=30.0))
        writes = Gaps(lambda: pulse.submit(Put(b"pulse", b"x"), timeout=30.0))
        pulsing = [asyncio.create_task(gaps.run()) for gaps in (reads, writes)]
        await asyncio.sleep(2.0)
        found: dict[str, Any] = {"state_mib": mib}

        async def note(what: str) -> None:
            found[f"{what}_longest_read_gap_ms"] = reads.since()
            found[f"{what}_longest_write_gap_ms"] = writes.since()
            for name in nodes.processes.keys() - {leader}:
                silence_s = await asyncio.to_thread(nodes.metric, name, SILENCE)
                which = "receiver" if name == replaced else "follower"
                found[f"{what}_longest_silence_at_a_{which}_ms"] = round(1000 * silence_s, 1)

        replaced = ""
        leader = await leader_of(nodes)
        await note("before")
        await asyncio.sleep(2.0)
        await note("quiet")
        before = {name: memory_mib(p.pid, "VmRSS") for name, p in nodes.processes.items()}
        began = time.perf_counter()
        async with asyncio.timeout(TIMEOUT_S):
            await take_snapshot(nodes, leader)
        found["taken_s"] = round(time.perf_counter() - began, 2)
        await asyncio.sleep(SETTLE_S)  # what it stands for is forgotten: memory and files
        await note("taking")
        found["leader_peak_ratio"] = round(
            memory_mib(nodes.processes[leader].pid, "VmHWM") / before[leader], 3
        )
        follower = replaced = next(name for name in nodes.addresses if name != leader)
        nodes.kill(follower)
        await asyncio.to_thread(shutil.rmtree, directory / follower)  # not in the way of the pulses
        nodes.start(follower, joins=True)
        await until_heard(nodes, follower)
        began = time.perf_counter()
        await operator(nodes).replace(follower, nodes.addresses[follower])
        found["replaced_s"] = round(time.perf_counter() - began, 2)
        await note("sending")
        pid = nodes.processes[follower].pid
        found["receiver_peak_ratio"] = round(memory_mib(pid, "VmHWM") / memory_mib(pid, "VmRSS"), 3)
        found["failed"] = reads.failed + writes.failed
        for task in pulsing:
            task.cancel()
        await client.close()
        await pulse.close()
        return found


async def until_heard(nodes: Nodes, name: str) -> None:
    while True:
        try:
            await operator(nodes).inspect(nodes.addresses[name])
        except IncumbentError:
            await asyncio.sleep(0.1)
        else:
            return


async def take_snapshot(nodes: Nodes, leader: str) -> None:
    from incumbent.runtime.admin_frames import TakeSnapshot
    from incumbent.runtime.operator import Line

    async with Line.dial(CLUSTER, nodes.addresses[leader]) as line:
        await line.ask(TakeSnapshot())


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--mib", type=int, default=1024, help="of values (1024)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        found = asyncio.run(measure(Path(directory), options.mib))
    if options.json:
        print(json.dumps({"bench": "snapshot", "machine": machine(), **found}))
        return
    for name, value in found.items():
        print(f"{name:<30} {value}")


if __name__ == "__main__":
    main()
