"""A ZooKeeper that was restored from a backup, or lost everything: who was connected does not lead on it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

import incumbent
from incumbent.engines import registry
from incumbent.engines.api import CellWrite, Claimed
from incumbent.engines.zookeeper import connect
from incumbent.errors import EngineError, IncarnationChanged, LeadershipLost
from incumbent.ids import split_token
from incumbent.leadership.tenure import Reason
from tests.engines.zookeeper_service import ZooKeeperService, service

pytestmark = pytest.mark.slow

TTL_S = 3.0


async def go_back(running: ZooKeeperService, backup: Path | None) -> None:
    """Stop, put the backup in place (None: nothing), start."""
    server = running.server
    server.kill("m0")
    shutil.rmtree(server.data("m0"))
    if backup is not None:
        shutil.copytree(backup, server.data("m0"))
    server.start("m0")
    await asyncio.to_thread(server.wait)


async def back_up(running: ZooKeeperService, backup: Path) -> None:
    running.server.kill("m0")
    shutil.copytree(running.server.data("m0"), backup)
    running.server.start("m0")
    await asyncio.to_thread(running.server.wait)


@pytest.mark.parametrize("what", ["restored", "emptied"])
async def test_a_connected_client_does_not_lead_until_the_incarnation_is_raised(
    tmp_path: Path, what: str
) -> None:
    """P31."""
    with service(tmp_path, 1) as running:
        url = running.url("app")
        backup = tmp_path / "backup" if what == "restored" else None
        await (await connect(url)).close()
        if backup is not None:
            await back_up(running, backup)
        engine = await connect(url)
        old = 0
        for turn in range(30):  # history that the backup lacks
            session = await engine.open_session(TTL_S, f"old-{turn}")
            claimed = await engine.claim(await engine.join(session, "g", "r", b""))
            assert isinstance(claimed, Claimed)
            assert claimed.token > old
            old = claimed.token
            await engine.write_cells("g", [CellWrite("c", b"", None)], claimed)
            await engine.end_session(session.ref)
        held = await engine.open_session(TTL_S, "held")
        await go_back(running, backup)

        with pytest.raises(EngineError):
            await engine.renew(held)
        new = await engine.open_session(TTL_S, "new")
        member = await engine.join(new, "g", "r", b"")
        for _ in range(2):
            with pytest.raises(IncarnationChanged):
                await engine.claim(member)
            assert (await engine.roster("g")).token is None
        assert await registry.bump(url) == 1
        with pytest.raises(IncarnationChanged):
            await engine.claim(member)  # it joined before
        await engine.leave(member)
        claimed = await engine.claim(await engine.join(new, "g", "r", b""))
        assert isinstance(claimed, Claimed)
        assert split_token(claimed.token)[0] == 1
        assert claimed.token > old
        await engine.close()


async def test_a_term_ends_when_the_history_goes_back(tmp_path: Path) -> None:
    """P31, P47: and the next one has a higher token."""
    with service(tmp_path, 1) as running:
        url = running.url("app")
        async with incumbent.connect(url, ttl=TTL_S, guardian=False) as cluster:
            election = cluster.election("e", candidate="a", fenced=True)
            async with asyncio.timeout(30):
                with pytest.raises(LeadershipLost) as lost:
                    async with election.campaign() as term:
                        first = term.token
                        for n in range(20):
                            await cluster.engine.write_cells("e", [CellWrite(f"{n}", b"", None)], None)
                        await go_back(running, None)
                        await asyncio.sleep(20)
                assert lost.value.reason in (Reason.SESSION_GONE, Reason.ENGINE_RESET, Reason.EVICTED)
                standing = asyncio.create_task(lead_once(election))
                await asyncio.sleep(1.0)
                assert not standing.done(), "nobody leads on it"
                await registry.bump(url)
                assert await standing > first


async def lead_once(election: incumbent.Election) -> int:
    async with election.campaign() as term:
        return term.token
