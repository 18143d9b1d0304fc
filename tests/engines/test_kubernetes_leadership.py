"""Elections over the engine on Kubernetes, as an application sees them, on the strict fake and in real time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

import incumbent
from incumbent import UNKNOWN, Leader, LeadershipLost
from incumbent.engines.kubernetes import leases as names
from incumbent.engines.kubernetes.access import Place, open_access
from incumbent.engines.kubernetes.client import Conflict, Leases, Server
from incumbent.testing.kubernetes import KubernetesFake

pytestmark = pytest.mark.slow

TTL_S = 1.0
PATIENCE_S = 15.0


@pytest.fixture
async def fake() -> AsyncIterator[KubernetesFake]:
    async with KubernetesFake() as fake:
        yield fake


@pytest.fixture
def kubeconfig(fake: KubernetesFake, tmp_path: Path) -> str:
    return str(fake.kubeconfig(tmp_path / "kubeconfig"))


@pytest.fixture
async def cluster(kubeconfig: str) -> AsyncIterator[incumbent.Cluster]:
    async with incumbent.connect(connection(kubeconfig), ttl=TTL_S, guardian=False) as cluster:
        yield cluster


def connection(kubeconfig: str) -> str:
    return f"kubernetes://default?kubeconfig={kubeconfig}&timeout=0.5"


async def take_by_force(leases: Leases) -> None:
    """As somebody with kubectl would: again when a renewal came between."""
    while True:
        with suppress(Conflict):
            lease = await leases.get("e")
            await leases.update(names.changed(lease, spec={"holderIdentity": "kubectl"}))
            return


async def test_an_observer_sees_leaders_that_led_and_says_when_it_does_not_know(
    fake: KubernetesFake, cluster: incumbent.Cluster, kubeconfig: str
) -> None:
    """P36, P37, P38: over a hand-over, an API server that is away and comes back, and a compaction."""
    seen: list[object] = []
    async with (
        asyncio.timeout(PATIENCE_S),
        incumbent.connect(connection(kubeconfig), ttl=TTL_S, guardian=False) as other,
    ):

        async def observe() -> None:
            async for sighting in other.election("e").observe():
                seen.extend([sighting])

        async def until(sighting: object) -> None:
            while not seen or seen[-1] != sighting:
                await asyncio.sleep(0.01)

        observing = asyncio.create_task(observe())
        led: list[Leader] = []
        for name in ("a", "b"):
            async with cluster.election("e", candidate=name, fenced=True).campaign(b"v") as term:
                led.append(Leader(name, term.token, b"v"))
                await until(led[-1])
                fake.compact()
            await until(None)
        with pytest.raises(LeadershipLost):
            async with cluster.election("e", candidate="c", fenced=True).campaign() as term:
                led.append(Leader("c", term.token))
                await until(led[-1])
                await fake.stop()
                await until(UNKNOWN)
                await asyncio.sleep(2 * TTL_S)
        await fake.start()
        async with cluster.election("e", candidate="d", fenced=True).campaign() as term:
            led.append(Leader("d", term.token))
            await until(led[-1])
        observing.cancel()
    leaders = [sighting for sighting in seen if isinstance(sighting, Leader)]
    assert (
        list(dict.fromkeys(leaders)) == led
    )  # nobody else, and in order; after a loss of contact one may come again
    assert [leader.token for leader in led] == sorted({leader.token for leader in led})


async def test_a_deleted_lease_ends_the_term_at_once(cluster: incumbent.Cluster, kubeconfig: str) -> None:
    """P49: by the watch, long before the TTL is over."""
    server = Server(open_access(Place(kubeconfig, "", "default")))
    leases = server.until(asyncio.get_running_loop().time() + PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(LeadershipLost) as caught:
            async with cluster.election("e", fenced=True).campaign() as term:
                await leases.delete(await leases.get(names.election_name("e")))
                await asyncio.sleep(PATIENCE_S)
        assert caught.value.reason == "superseded"
        async with cluster.election("e", fenced=True).campaign() as again:
            assert again.token > term.token
    await server.close()


async def test_a_foreign_takeover_by_force_ends_the_term(cluster: incumbent.Cluster, kubeconfig: str) -> None:
    """P18: an authoritative "not yours" ends it at once, and the session with its other elections lives on."""
    server = Server(open_access(Place(kubeconfig, "", "default")))
    leases = server.until(asyncio.get_running_loop().time() + PATIENCE_S)
    async with asyncio.timeout(PATIENCE_S), cluster.election("other", fenced=True).campaign() as untouched:
        with pytest.raises(LeadershipLost):
            async with cluster.election("e", fenced=True).campaign():
                await take_by_force(leases)
                await asyncio.sleep(PATIENCE_S)
        await asyncio.sleep(TTL_S)
        untouched.check()
    await server.close()
