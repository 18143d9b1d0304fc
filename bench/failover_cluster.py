"""How long a cluster of three real nodes takes no durable write: its leader killed, stopped, or asked to hand over.

A client process on the same machine writes without pause; a gap is from right before the signal to the next write that was
acknowledged. ``--rival etcd`` measures three etcd members in the same minute, as they come and at their most aggressive
(heartbeat 10 ms, election 50 ms), through a client that asks a survivor. Process kill and silent failure stand side by side.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import CLUSTER, Nodes, running
from bench.report import case, parser, show

from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded
from incumbent.kv.api import Put
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator

WRITE_TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 1.0


async def write_until_done(client: ClusterClient) -> int:
    """One write that was acknowledged; gives how many attempts failed or stayed unknown."""
    failed = 0
    while True:
        try:
            await client.submit(Put(b"k", b"v"), timeout=WRITE_TIMEOUT_S)
        except (EngineUnavailable, OutcomeUnknown, Overloaded):
            failed += 1
        else:
            return failed


def operator(nodes: Nodes) -> Operator:
    return Operator(
        CLUSTER, list(nodes.addresses.values()), asyncio.get_running_loop().time() + WRITE_TIMEOUT_S
    )


async def leader_of(nodes: Nodes) -> str:
    while True:
        for name, report in (await operator(nodes).everyone()).items():
            if not isinstance(report, str) and report.get("serving"):
                return name
        await asyncio.sleep(0.05)


async def gap(client: ClusterClient, hurt: Callable[[], Awaitable[None]]) -> tuple[float, int]:
    """ms from `hurt` to the next acknowledged write, and the attempts that failed."""
    await write_until_done(client)
    began = time.perf_counter()
    hurting = asyncio.ensure_future(hurt())
    await asyncio.sleep(0)
    failed = await write_until_done(client)
    took = 1000 * (time.perf_counter() - began)
    await hurting
    return took, failed


async def ours(directory: Path, trials: int) -> list[dict[str, Any]]:
    samples: dict[str, list[float]] = {"killed": [], "stopped": [], "transferred": []}
    failed = dict.fromkeys(samples, 0)
    async with running(directory) as nodes:
        for _ in range(trials):
            for kind, of_kind in samples.items():
                client = nodes.client()
                await write_until_done(client)
                await asyncio.sleep(SETTLE_S)  # everybody is connected and has everything
                leader = await leader_of(nodes)
                others = [name for name in nodes.addresses if name != leader]

                async def hurt(kind: str = kind, leader: str = leader, to: str = others[0]) -> None:
                    if kind == "transferred":
                        await operator(nodes).transfer(to)
                    else:
                        nodes.signal(leader, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)

                took, lost = await gap(client, hurt)
                of_kind.append(took)
                failed[kind] += lost
                if kind == "killed":
                    nodes.kill(leader)
                    nodes.start(leader)
                elif kind == "stopped":
                    nodes.signal(leader, signal.SIGCONT)
                await client.close()
    return [case(f"incumbent leader {kind}", took, failed=failed[kind]) for kind, took in samples.items()]


def first_answer(ask: Callable[[], object]) -> None:
    """A new attempt every 10 ms, whatever became of the ones before: one that etcd passed on to a dead leader is lost."""
    done = threading.Event()

    def attempt() -> None:
        with contextlib.suppress(OSError):
            ask()
            done.set()

    while not done.wait(0.01):
        threading.Thread(target=attempt, daemon=True).start()


def etcd(directory: Path, trials: int, name: str, *options: str) -> list[dict[str, Any]]:
    from tests.servers.etcd import etcd as etcd_running

    key = base64.b64encode(b"k").decode()
    samples: dict[str, list[float]] = {"killed": [], "stopped": []}
    with etcd_running(directory, 3, *options) as server:
        for _ in range(trials):
            for kind, took in samples.items():
                leader = server.wait()
                survivor = next(member for member in server.clients if member != leader)
                server.ask(survivor, "/v3/kv/put", key=key, value=key)
                time.sleep(SETTLE_S)
                began = time.perf_counter()
                server.signal(leader, signal.SIGKILL if kind == "killed" else signal.SIGSTOP)
                first_answer(partial(server.ask, survivor, "/v3/kv/put", key=key, value=key))
                took.append(1000 * (time.perf_counter() - began))
                if kind == "killed":
                    server.kill(leader)
                    server.start(leader)
                else:
                    server.signal(leader, signal.SIGCONT)
                time.sleep(SETTLE_S)
    return [case(f"{name} leader {kind}", took) for kind, took in samples.items()]


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=10, help="samples for each case (10)")
    arguments.add_argument("--rival", choices=["etcd"], help="measure it too")
    options = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        rows = asyncio.run(ours(Path(directory), options.trials))
    if options.rival is not None:
        aggressive = ("--heartbeat-interval", "10", "--election-timeout", "50")
        for name, more in (("etcd", ()), ("etcd 10/50", aggressive)):
            with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
                rows += etcd(Path(directory), options.trials, name, *more)
    show("failover_cluster", rows, as_json=options.json)


if __name__ == "__main__":
    main()
