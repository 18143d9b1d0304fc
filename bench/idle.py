"""What a cluster costs while nothing happens: 10,000 elections held by 100 sessions, on three real nodes.

Every session is renewed as the election API does it, once in a third of its ttl at the latest; otherwise nobody asks anything. Printed for
each node: its share of a core, its resident memory, and how many segments with data it sent to the other nodes in a second.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import Nodes, memory_mib, running
from bench.report import machine, parser

from incumbent.engines.api import Session
from incumbent.engines.cluster import connect

TTL_S: Final = 10.0
SEGMENTS: Final = re.compile(r"data_segs_out:(\d+)")
OWNER: Final = re.compile(r"pid=(\d+),")


def segments_between(nodes: Nodes) -> int:
    """With data, on connections whose both ends are nodes, as the kernel counts them."""
    pids = {str(process.pid) for process in nodes.processes.values()}
    listed = subprocess.run(["ss", "-tinpHO"], capture_output=True, text=True, check=True).stdout
    sent: dict[tuple[str, str], int] = {}
    for line in listed.splitlines():
        owner, found = OWNER.search(line), SEGMENTS.search(line)
        if owner is not None and found is not None and owner.group(1) in pids:
            _, _, _, here, there, *_ = line.split()
            sent[here, there] = int(found.group(1))
    return sum(segments for (here, there), segments in sent.items() if (there, here) in sent)


async def keep(engine: Any, sessions: list[Session]) -> None:
    while True:
        for session in sessions:
            await engine.renew(session)
            await asyncio.sleep(TTL_S / 3 / len(sessions))


async def measure(directory: Path, elections: int, sessions: int, seconds: float) -> dict[str, Any]:
    async with running(directory) as nodes:
        engine = await connect(nodes.url)
        made = [await engine.open_session(TTL_S, f"{time.time_ns()}-{n}") for n in range(sessions)]
        keeping = asyncio.create_task(keep(engine, made))
        for start in range(0, elections, 64):
            await asyncio.gather(
                *(
                    engine.join(made[n % sessions], f"election/{n}", "r", b"")
                    for n in range(start, min(start + 64, elections))
                )
            )
        await asyncio.sleep(2.0)
        cpu, segments, began = nodes.cpu_s(), segments_between(nodes), time.monotonic()
        await asyncio.sleep(seconds)
        took = time.monotonic() - began
        after, sent = nodes.cpu_s(), segments_between(nodes)
        keeping.cancel()
        await engine.close()
        return {
            "elections": elections,
            "sessions": sessions,
            "cores": {name: round((after[name] - cpu[name]) / took, 4) for name in after},
            "resident_mib": {name: round(memory_mib(p.pid), 1) for name, p in nodes.processes.items()},
            "segments_per_s_between_nodes": round((sent - segments) / took, 1),
        }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--elections", type=int, default=10_000, help="held (10,000)")
    arguments.add_argument("--sessions", type=int, default=100, help="that hold them (100)")
    arguments.add_argument("--seconds", type=float, default=15.0, help="to look (15)")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        found = asyncio.run(measure(Path(directory), options.elections, options.sessions, options.seconds))
    if options.json:
        import json

        print(json.dumps({"bench": "idle", "machine": machine(), **found}))
        return
    for name, value in found.items():
        print(f"{name:<30} {value}")


if __name__ == "__main__":
    main()
