"""A cluster that is restarted or upgraded node by node, as operators do it, under writes that never stop."""

from __future__ import annotations

import asyncio
import re
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.runtime.ports import free_addresses
from tests.runtime.processes import COMMAND, Processes, processes, until

from incumbent.errors import Unsupported
from incumbent.kv.api import DeleteRange, Put, Range
from incumbent.runtime.client import ClusterClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

NAMES = "abc"
NEXT = (sys.executable, "-m", "tests.runtime.next_release")
PATIENT = {"heartbeat-ms": "100", "election-ms": "2000"}
"""A machine that is busy with other tests is no reason for an election."""
CAMPAIGNS = re.compile(r"^incumbent_voter_elections_total (\d+)$", re.MULTILINE)


class Rolling:
    def __init__(self, cluster: Processes) -> None:
        self._cluster = cluster
        self._http = free_addresses(*NAMES)

    def start(self, name: str, command: Sequence[str]) -> None:
        host, port = self._http[name]
        self._cluster.start(name, command=command, http=f"{host}:{port}", **PATIENT)

    def form(self) -> None:
        for name in NAMES:
            self.start(name, COMMAND)
        until(lambda: self._cluster.try_to("init", *self._cluster.named(*NAMES), of=None).returncode == 0)
        self._cluster.leader()

    def restart(self, name: str, command: Sequence[str]) -> None:
        """As docs/how-to/run-a-cluster.md has it."""
        self._cluster.stop(name)
        self.start(name, command)
        until(lambda: self._page(name, "readyz") is not None)

    def campaigns(self) -> int:
        """Elections that somebody began because a leader was missed; a leader that hands over is not."""
        found = [CAMPAIGNS.search(self._page(name, "metrics") or "") for name in NAMES]
        return sum(int(one[1]) for one in found if one is not None)

    def _page(self, name: str, page: str) -> str | None:
        host, port = self._http[name]
        try:
            with urllib.request.urlopen(f"http://{host}:{port}/{page}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return None


async def write_on(client: ClusterClient, stop: asyncio.Event) -> int:
    """Without a pause worth the name. Raises when one write fails or stays unknown."""
    number = 0
    while not stop.is_set():
        number += 1
        await client.submit(Put(b"k", b"%d" % number), timeout=10)
        await asyncio.sleep(0.005)
    return number


async def roll(cluster: Processes, rolling: Rolling, commands: Sequence[Sequence[str]]) -> None:
    """All nodes, once for each of these releases. No write fails, none is lost, and nobody misses a leader."""
    client = ClusterClient(cluster.addresses, "incumbent")
    stop = asyncio.Event()
    writing = asyncio.create_task(write_on(client, stop))
    try:
        before = await asyncio.to_thread(rolling.campaigns)
        for command in commands:
            for name in NAMES:
                await asyncio.to_thread(rolling.restart, name, command)
                counted = await asyncio.to_thread(rolling.campaigns)
                assert counted <= before, "somebody missed a leader"
        stop.set()
        last = await writing
        found = await client.read(Range(b"k"), timeout=10)
        assert found.results[0].kvs[0].value == b"%d" % last
    finally:
        writing.cancel()
        await client.close()


def test_a_rolling_restart_keeps_a_leader_throughout(tmp_path: Path) -> None:
    with processes(tmp_path, NAMES) as cluster:
        rolling = Rolling(cluster)
        rolling.form()
        asyncio.run(roll(cluster, rolling, [COMMAND]))


def test_a_rolling_upgrade_keeps_a_leader_throughout(tmp_path: Path) -> None:
    """Two versions run together; the new one's commands wait until the last node is upgraded (ADR 20)."""

    async def delete() -> None:
        client = ClusterClient(cluster.addresses, "incumbent")
        try:
            await client.submit(DeleteRange(b"other"), timeout=10)
        finally:
            await client.close()

    def deleted() -> bool:
        try:
            asyncio.run(delete())
        except Unsupported:
            return False
        return True

    with processes(tmp_path, NAMES) as cluster:
        rolling = Rolling(cluster)
        rolling.form()
        rolling.restart("a", NEXT)
        cluster.ask("transfer", "a")
        assert not deleted(), "the new leader knows that two others could not read it"
        asyncio.run(roll(cluster, rolling, [NEXT]))
        until(deleted)
        # Back to where nobody could read the log: the node says so and does not run.
        cluster.stop("b")
        rolling.start("b", COMMAND)
        assert cluster.running["b"].wait(20) != 0
        assert "upgrade this node" in cluster.log("b")
        del cluster.running["b"]
