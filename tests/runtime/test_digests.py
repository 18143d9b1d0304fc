"""Real voters tell each other the digests of their states, and the one that differs stops."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.certificates import Authority
from tests.runtime.cluster import CLUSTER, Cluster, until

from incumbent.errors import NotAllowed, StateDiverged
from incumbent.ids import Index, NodeId
from incumbent.kv.api import Put, ReportDigest
from incumbent.node.node import Limits
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.operator import Operator
from incumbent.runtime.tls import Tls, voter_name
from incumbent.runtime.voter import VoterConfig

TIMEOUT_S = 5.0


class Watchful(Cluster):
    def config(self, name: str) -> VoterConfig:
        return replace(super().config(name), limits=Limits(digest_entries=20))


async def write(client: ClusterClient, times: int) -> None:
    for n in range(times):
        await client.submit(Put(b"k", b"%d" % n), timeout=TIMEOUT_S)


@pytest.mark.slow
async def test_they_agree_until_one_differs_and_that_one_stops(tmp_path: Path) -> None:
    three = Watchful(tmp_path, "a", "b", "c")
    await three.start()
    leader = await three.leader()
    bad = next(name for name in three.names if name != leader)
    try:
        async with three.client() as client:
            await write(client, 50)
            await until(lambda: all(v.driver.status().node.agreed for v in three.voters.values()))
            operator = Operator(
                CLUSTER, list(three.addresses.values()), asyncio.get_running_loop().time() + 5.0
            )
            told = await operator.digests()
            assert {report["agreed"]["index"] for report in told.values() if isinstance(report, dict)} <= {
                20,
                40,
            }
            machine = three.voters[bad].driver._node.machine
            machine._values[b"other"] = machine._values[b"k"]
            machine._digest.touch(b"other")
            writing = asyncio.create_task(write(client, 10_000))
            with pytest.raises(StateDiverged, match=f"node {bad}.* has another state"):
                async with asyncio.timeout(TIMEOUT_S):
                    await three.voters[bad].wait_stopped()
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)
            await write(client, 30)  # the others go on
    finally:
        with suppress(StateDiverged):
            await three.stop(bad)
        await three.stop()


@pytest.mark.slow
async def test_nobody_reports_for_another(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    one = Cluster(tmp_path, "a", tls=lambda node: authority.issue(voter_name(node, CLUSTER)))
    await one.start()
    try:
        await one.leader()
        for name, admitted in (
            ("app-1", False),
            (voter_name("b", CLUSTER), False),
            (voter_name("a", CLUSTER), True),
        ):
            client = ClusterClient(one.addresses, CLUSTER, tls=Tls(authority.issue(name)))
            report = ReportDigest(NodeId(one.voters["a"].me), Index(5), b"x")
            if admitted:
                await client.submit(report, timeout=TIMEOUT_S)
            else:
                with pytest.raises(NotAllowed):
                    await client.submit(report, timeout=TIMEOUT_S)
            await client.close()
    finally:
        await one.stop()
