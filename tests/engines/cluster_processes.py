"""Three real processes, each with a voter: starts them, talks to them, looks at their cluster from outside."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from incumbent.engines.api import Roster
from incumbent.engines.cluster import members
from incumbent.runtime.client import ClusterClient
from tests.runtime.ports import free_addresses

ROOT = Path(__file__).parent.parent.parent
NAMES = ("a", "b", "c")
PATIENCE_S = 20.0


class Process:
    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.cluster_process", url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        self.pid = self._process.pid

    def ask(self, verb: str, *arguments: object) -> Any:
        self.tell(verb, *arguments)
        return self.answer()

    def tell(self, verb: str, *arguments: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, f"process {self.name} is dead"
        return json.loads(line)

    def send_signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            pipe.close()


class Trio:
    def __init__(self, path: Path) -> None:
        self.addresses = free_addresses(*NAMES)
        peers = ",".join(f"{name}@{host}:{port}" for name, (host, port) in self.addresses.items())
        self.processes = {
            name: Process(
                name,
                f"cluster://{path}/{name}?cluster=app&node={name}&peers={peers}&heartbeat_ms=40&election_ms=250",
            )
            for name in NAMES
        }
        self.outside = ClusterClient(self.addresses, "app")

    def leader(self) -> Process:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            known = {process.ask("leader") for process in self.processes.values()}
            if len(known) == 1 and None not in known:
                return self.processes[known.pop()]
            assert time.monotonic() < deadline_s, known
            time.sleep(0.02)

    async def roster(self, group: str) -> Roster:
        result = await self.outside.read(members.roster(group), timeout=PATIENCE_S)
        return members.as_roster(group, result)

    async def until_empty(self, group: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while (await self.roster(group)).members:
                await asyncio.sleep(0.002)


@asynccontextmanager
async def trio(path: Path) -> AsyncIterator[Trio]:
    three = Trio(path)
    try:
        for process in three.processes.values():
            assert process.answer() == "connected"
        yield three
    finally:
        await three.outside.close()
        for process in three.processes.values():
            process.end()
