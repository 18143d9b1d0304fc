"""The guardian's part: ends a session by two frames, touches nothing before, and imports no client library."""

from __future__ import annotations

import asyncio
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from incumbent.engines import registry
from incumbent.engines.zookeeper import connect
from incumbent.engines.zookeeper.ender import make_ender
from incumbent.errors import EngineUnavailable, InvalidInput
from tests.engines.frame_proxy import proxy_before
from tests.engines.zookeeper_service import ZooKeeperService, service

TTL_S = 30.0


def test_no_client_library_is_imported() -> None:
    code = (
        "import sys; from incumbent.engines.registry import ender; ender('zookeeper'); "
        "print([name for name in sys.modules if name.startswith('kazoo')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def zookeepers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ZooKeeperService]:
    with service(tmp_path_factory.mktemp("zookeeper"), 3) as running:
        yield running


@pytest.mark.slow
async def test_nothing_is_sent_before_the_end(zookeepers: ZooKeeperService) -> None:
    """Attaching renews, so preparing must not attach."""
    path = secrets.token_hex(6)
    address = next(iter(zookeepers.server.clients.values()))
    async with proxy_before(address) as proxy:
        engine = await connect(f"zookeeper://127.0.0.1:{proxy.port}/{path}")
        session = await engine.open_session(TTL_S, "r")
        await engine.close()
        before = proxy.frames
        ender = make_ender()
        await ender.prepare(session.ref)
        await asyncio.sleep(0.2)
        assert proxy.frames == before
        assert await ender.end(session.ref) is True
        assert proxy.frames == before + 2
        assert await ender.end(session.ref) is False
        await ender.close()


@pytest.mark.slow
@pytest.mark.parametrize("whom", ["leader", "follower"])
async def test_a_server_that_hangs_is_passed_over(zookeepers: ZooKeeperService, whom: str) -> None:
    server = zookeepers.server
    engine = await connect(zookeepers.url(secrets.token_hex(6)))
    session = await engine.open_session(TTL_S, "r")
    member = await engine.join(session, "g", "r", b"")
    leader = server.wait()
    victim = leader if whom == "leader" else next(name for name in server.processes if name != leader)
    ender = make_ender()
    await ender.prepare(session.ref)
    server.signal(victim, signal.SIGSTOP)
    ending = asyncio.create_task(ender.end(session.ref))
    try:
        if whom == "follower":
            async with asyncio.timeout(10):
                assert await ending is True
    finally:
        server.signal(victim, signal.SIGCONT)
    async with asyncio.timeout(30):
        assert await ending is True
    async with asyncio.timeout(20):
        while True:
            try:
                assert member.id not in [entry.id for entry in (await engine.roster("g")).members]
                break
            except EngineUnavailable:
                continue
    await ender.close()
    await engine.close()


@pytest.mark.slow
async def test_an_ender_without_servers_goes_on_asking(zookeepers: ZooKeeperService) -> None:
    engine = await connect(zookeepers.url(secrets.token_hex(6)))
    session = await engine.open_session(TTL_S, "r")
    await engine.close()
    server = zookeepers.server
    for name in list(server.processes):
        server.kill(name)
    ender = make_ender()
    with pytest.raises(EngineUnavailable):
        await ender.prepare(session.ref)
    ending = asyncio.create_task(ender.end(session.ref))
    await asyncio.sleep(0.3)
    assert not ending.done()
    for name in server.clients:
        server.start(name)
    async with asyncio.timeout(40):
        assert await ending is True
    with pytest.raises(InvalidInput):
        await registry.ender("zookeeper").end(b"incumbent-local/1/x")
    await ender.close()
