"""What a cluster costs while nothing happens: 10,000 elections held by 100 sessions, on three real nodes.

Every session is renewed as the election API does it, once in a third of its ttl at the latest; otherwise nobody asks anything. Printed for
each node: its share of a core, its resident memory, and how many segments with data the nodes sent each other in a second.
``--rival`` does the same to etcd (a key with a lease for each election) or ZooKeeper (an ephemeral node, and pings).
"""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import cpu_s, memory_mib, running
from bench.report import machine, parser

from incumbent.engines.cluster import connect

TTL_S: Final = 10.0
SETTLE_S: Final = 2.0
IN_FLIGHT: Final = 64
SEGMENTS: Final = re.compile(r"data_segs_out:(\d+)")
OWNER: Final = re.compile(r"pid=(\d+),")

Processes = Mapping[str, subprocess.Popen[bytes]]


def segments_between(processes: Processes) -> int:
    """With data, on connections whose both ends are nodes, as the kernel counts them."""
    pids = {str(process.pid) for process in processes.values()}
    listed = subprocess.run(["ss", "-tinpHO"], capture_output=True, text=True, check=True).stdout
    sent: dict[tuple[str, str], int] = {}
    for line in listed.splitlines():
        owner, found = OWNER.search(line), SEGMENTS.search(line)
        if owner is not None and found is not None and owner.group(1) in pids:
            _, _, _, here, there, *_ = line.split()
            sent[_address(here), _address(there)] = int(found.group(1))
    return sum(segments for (here, there), segments in sent.items() if (there, here) in sent)


def _address(text: str) -> str:
    """One that is both kinds, as Java's sockets are, is written the one way."""
    return text.replace("[::ffff:", "").replace("]", "")


async def observed(processes: Processes, seconds: float) -> dict[str, Any]:
    """What they use, and what they send each other."""
    cpu = {name: cpu_s(process.pid) for name, process in processes.items()}
    segments, began = segments_between(processes), time.monotonic()
    await asyncio.sleep(seconds)
    took = time.monotonic() - began
    return {
        "cores": {n: round((cpu_s(process.pid) - cpu[n]) / took, 4) for n, process in processes.items()},
        "resident_mib": {name: round(memory_mib(p.pid), 1) for name, p in processes.items()},
        "segments_per_s_between_nodes": round((segments_between(processes) - segments) / took, 1),
    }


async def keep(renewals: Sequence[Callable[[], Awaitable[object]]], ttl_s: float = TTL_S) -> None:
    """Each of them once in a third of the ttl, evenly, and none waiting for another."""
    period_s = ttl_s / 3

    async def again(renew: Callable[[], Awaitable[object]], offset_s: float) -> None:
        await asyncio.sleep(offset_s)
        while True:
            began = time.monotonic()
            await renew()
            await asyncio.sleep(period_s - (time.monotonic() - began))

    async with asyncio.TaskGroup() as group:
        for number, renew in enumerate(renewals):
            group.create_task(again(renew, period_s * number / len(renewals)))


async def each(numbers: range, do: Callable[[int], Awaitable[object]]) -> None:
    at = iter(numbers)

    async def work() -> None:
        for number in at:
            await do(number)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))


@asynccontextmanager
async def ours(directory: Path, elections: int, sessions: int) -> AsyncIterator[Processes]:
    async with running(directory) as nodes:
        engine = await connect(nodes.url)
        made = [await engine.open_session(TTL_S, f"{time.time_ns()}-{n}") for n in range(sessions)]
        keeping = asyncio.create_task(keep([lambda s=s: engine.renew(s) for s in made]))  # type: ignore[misc]
        await each(range(elections), lambda n: engine.join(made[n % sessions], f"election/{n}", "r", b""))
        yield nodes.processes
        keeping.cancel()
        await engine.close()


def subjects(rival: str | None) -> dict[str, Callable[..., AbstractAsyncContextManager[Processes]]]:
    if rival is None:
        return {"incumbent": ours}
    from bench.rivals import etcd, zookeeper

    return {"incumbent": ours, rival: {"etcd": etcd.held, "zookeeper": zookeeper.held}[rival]}


async def measure(
    who: str, subject: Callable[..., AbstractAsyncContextManager[Processes]], options: Any
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        async with subject(Path(directory), options.elections, options.sessions) as processes:
            await asyncio.sleep(SETTLE_S)
            return {"name": who, **await observed(processes, options.seconds)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--elections", type=int, default=10_000, help="held (10,000)")
    arguments.add_argument("--sessions", type=int, default=100, help="that hold them (100)")
    arguments.add_argument("--seconds", type=float, default=15.0, help="to look (15)")
    arguments.add_argument("--rival", choices=["etcd", "zookeeper"], help="measure it too")
    options = arguments.parse_args()
    found = [asyncio.run(measure(who, one, options)) for who, one in subjects(options.rival).items()]
    size = {"elections": options.elections, "sessions": options.sessions}
    if options.json:
        print(json.dumps({"bench": "idle", "machine": machine(), **size, "cases": found}))
        return
    print(f"idle {size} on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    for row in found:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


if __name__ == "__main__":
    main()
