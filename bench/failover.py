"""How long a cluster of three takes no durable write: its leader killed, stopped, cut off, or asked to hand over.

One client outside of the nodes writes without pause; a sample is from right before the fault to the next write that was
acknowledged. As root every node has a network namespace, so that links can be cut; without, that case is missing and it says
so. ``--rival`` measures three members of another system in the same minute, through a client that asks a survivor: etcd as it
comes, and at its most aggressive beside ours with the same (heartbeat 10 ms, election 50 ms). A killed process, which a closed
connection tells, and a silent one, which only a timeout tells, always stand side by side.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.nodes import Nodes, running
from bench.report import case, machine, parser, show
from tests.servers.spaces import Spaces, can_make

from incumbent.errors import EngineUnavailable, OutcomeUnknown, Overloaded
from incumbent.kv.api import Put
from incumbent.runtime.client import ClusterClient

WRITE_TIMEOUT_S: Final = 5.0
SETTLE_S: Final = 1.0
SETTLED_TIMEOUT_S: Final = 30.0
AGGRESSIVE: Final = ("--heartbeat-ms", "10", "--election-ms", "50")


class Fault(StrEnum):
    KILLED = "killed"
    STOPPED = "stopped"
    CUT = "cut"
    TRANSFERRED = "transferred"


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


async def one(nodes: Nodes, fault: Fault, network: Spaces | None) -> tuple[float, int]:
    """One sample; the cluster is whole again afterwards."""
    client = nodes.client()
    await write_until_done(client)
    async with asyncio.timeout(SETTLED_TIMEOUT_S):
        leader = await nodes.settled()
    await asyncio.sleep(SETTLE_S)
    heir = next(name for name in nodes.addresses if name != leader)

    async def hurt() -> None:
        match fault:
            case Fault.KILLED:
                nodes.signal(leader, signal.SIGKILL)
            case Fault.STOPPED:
                nodes.signal(leader, signal.SIGSTOP)
            case Fault.CUT:
                assert network is not None
                network.isolate(leader, cut=True)
            case Fault.TRANSFERRED:
                await nodes.operator().transfer(heir)

    took, failed = await gap(client, hurt)
    match fault:
        case Fault.KILLED:
            nodes.kill(leader)
            nodes.start(leader)
        case Fault.STOPPED:
            nodes.signal(leader, signal.SIGCONT)
        case Fault.CUT:
            assert network is not None
            network.isolate(leader, cut=False)
        case Fault.TRANSFERRED:
            pass
    await client.close()
    return took, failed


async def ours(
    who: str, directory: Path, trials: int, network: Spaces | None, options: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """All faults in turn, trial by trial, so that a machine that slows down slows all of them."""
    samples: dict[Fault, list[float]] = {fault: [] for fault in Fault if fault is not Fault.CUT or network}
    failed = dict.fromkeys(samples, 0)
    async with running(directory, options=options, network=network) as nodes:
        for _ in range(trials):
            for fault, of_fault in samples.items():
                took, lost = await one(nodes, fault, network)
                of_fault.append(took)
                failed[fault] += lost
    return [
        case(f"{who} {fault}", took, who=who, fault=fault.value, failed=failed[fault])
        for fault, took in samples.items()
    ]


@contextmanager
def namespaces(names: Sequence[str]) -> Iterator[Spaces | None]:
    """None, and a word of why, where there can be none."""
    if (why := can_make()) is not None:
        sys.stderr.write(f"no links are cut: {why}\n")
        yield None
        return
    network = Spaces(names)
    try:
        network.make()
        yield network
    finally:
        network.close()


def table(rows: list[dict[str, Any]]) -> None:
    """One line for each system, so that a kill never stands without a silent failure."""
    print(f"failover on {', '.join(f'{name} {value}' for name, value in machine().items())}")
    print(f"{'p50 / max ms of n':<18}" + "".join(f"{fault.value:>26}" for fault in Fault))
    for who in dict.fromkeys(row["who"] for row in rows):
        found = {row["fault"]: row for row in rows if row["who"] == who}
        cells = [
            f"{row['p50_ms']:.1f} / {row['max_ms']:.1f} of {row['n']}" if (row := found.get(fault)) else "-"
            for fault in Fault
        ]
        print(f"{who:<18}" + "".join(f"{cell:>26}" for cell in cells))
    failed = {row["fault"]: row["failed"] for row in rows if row.get("failed")}
    print(f"requests of incumbent's client that failed or stayed unknown: {failed or 'none'}")


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=10, help="samples of each fault (10)")
    arguments.add_argument("--rival", choices=["etcd", "zookeeper"], help="measure it too")
    options = arguments.parse_args()
    if options.trials < 1:
        arguments.error("--trials: give 1 or more")
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory, namespaces("abc") as network:
        rows = asyncio.run(ours("incumbent", Path(directory), options.trials, network))
    if options.rival is not None:
        from bench.rivals import failovers

        with (
            tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory,
            namespaces("abc") as network,
        ):
            aggressive = ours("incumbent 10/50", Path(directory), options.trials, network, AGGRESSIVE)
            rows += asyncio.run(aggressive)
        for make in failovers.RIVALS[options.rival]:
            with (
                tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory,
                namespaces(failovers.NAMES) as network,
            ):
                rows += failovers.measure(make, Path(directory), options.trials, network)
    if options.json:
        show("failover", rows, as_json=True)
    else:
        table(rows)


if __name__ == "__main__":
    main()
