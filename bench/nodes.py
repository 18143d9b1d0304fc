"""Three real nodes as ``incumbent serve`` starts them, for benchmarks to ask and to hurt: on loopback, or each in a network
namespace whose link can be cut."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from tests.servers.spaces import Spaces

from incumbent.errors import EngineUnavailable, IncumbentError
from incumbent.kv.api import Range
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator, Report

START_TIMEOUT_S: Final = 30.0
CLUSTER: Final = "bench"
PORT: Final = 7000
"""In a namespace."""
ASK_TIMEOUT_S: Final = 5.0
BLOCK_BYTES: Final = 512
"""What `st_blocks` counts."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port


class Nodes:
    """Processes by name."""

    def __init__(
        self,
        directory: Path,
        names: str = "abc",
        options: Sequence[str] = (),
        network: Spaces | None = None,
    ) -> None:
        self.addresses = (
            {name: ("127.0.0.1", free_port()) for name in names}
            if network is None
            else {name: (host, PORT) for name, host in network.addresses.items()}
        )
        self.http = {name: ("127.0.0.1", free_port()) for name in names}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._directory = directory
        self._options = options if network is None else (*options, "--insecure")
        self._network = network

    def start(self, name: str, *, joins: bool = False) -> None:
        """`joins`: it is empty, and an operator will add it; else it is one of those that form the cluster."""
        peers = ",".join(f"{n}={host}:{port}" for n, (host, port) in self.addresses.items())
        command = [sys.executable, "-m", "incumbent", "serve", "--cluster", CLUSTER, "--node", name]
        command += ["--data-dir", str(self._directory / name), *self._options]
        if self._network is None:
            command += ["--http", "{}:{}".format(*self.http[name])]
        host, port = self.addresses[name]
        command += ["--listen", f"{host}:{port}"] if joins else ["--peers", peers]
        profile = os.environ.get("INCUMBENT_BENCH_PROFILE")
        if profile is not None:
            command[1:3] = ["-m", "cProfile", "-o", f"{profile}.{name}", "-m", "incumbent"]
        if self._network is not None:
            command[:0] = self._network.inside(name)
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(command, stderr=log, start_new_session=True)

    def metric(self, name: str, metric: str) -> float:
        """One figure of a node's, as a scraper gets it."""
        host, port = self.http[name]
        with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=ASK_TIMEOUT_S) as answer:
            lines = answer.read().decode().splitlines()
        return next(float(line.split()[1]) for line in lines if line.startswith(f"{metric} "))

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.terminate()
        for process in self.processes.values():
            process.wait()
        self.processes.clear()

    def client(self) -> ClusterClient:
        return ClusterClient(self.addresses, CLUSTER)

    @property
    def url(self) -> str:
        return "cluster://" + ",".join(f"{host}:{port}" for host, port in self.addresses.values())

    async def formed(self) -> None:
        """Until they have a leader that answers."""
        client = self.client()
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                try:
                    await client.read(Range(b"k"), timeout=1.0)
                    break
                except EngineUnavailable:
                    await asyncio.sleep(0.05)
        await client.close()

    def operator(self) -> Operator:
        deadline = asyncio.get_running_loop().time() + ASK_TIMEOUT_S
        return Operator(CLUSTER, list(self.addresses.values()), deadline)

    async def reports(self) -> dict[str, Report]:
        """What each node that answers tells of itself."""
        try:
            everyone = await self.operator().everyone()
        except IncumbentError:
            return {}
        return {name: report for name, report in everyone.items() if not isinstance(report, str)}

    async def settled(self) -> str:
        """The leader, once all are connected to all, follow it and have applied the same."""
        while True:
            reports = await self.reports()
            serving = [name for name, report in reports.items() if report.get("serving")]
            alike = len({(report.get("leader"), report.get("applied")) for report in reports.values()}) == 1
            connected = all(all(report["connected"].values()) for report in reports.values())
            if len(reports) == len(self.addresses) and len(serving) == 1 and alike and connected:
                return serving[0]
            await asyncio.sleep(0.05)

    def cpu_s(self) -> dict[str, float]:
        """What each process has used so far."""
        return {name: cpu_s(process.pid) for name, process in self.processes.items()}


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """What a process has resident; ``VmHWM``: had at most."""
    found = re.search(rf"{field}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found.group(1)) / 1024 if found else 0.0


def disk_mib(directory: Path) -> float:
    """What all files below take, zero-filled or not."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_blocks * BLOCK_BYTES
        except FileNotFoundError:  # a segment or a snapshot that has had its day
            continue
    return total / 2**20


@asynccontextmanager
async def running(
    directory: Path, names: str = "abc", options: Sequence[str] = (), network: Spaces | None = None
) -> AsyncIterator[Nodes]:
    """Formed, and with a leader."""
    nodes = Nodes(directory, names, options, network)
    try:
        for name in names:
            nodes.start(name)
        await nodes.formed()
        yield nodes
    finally:
        nodes.stop()
