"""The cluster engine in real processes: a holder that is stopped or dead is ended from outside, whoever leads the cluster."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from incumbent.engines.cluster import connect
from incumbent.engines.cluster.ender import make_ender
from incumbent.errors import EngineUnavailable, IncumbentError, InvalidInput, WatchLost
from tests.engines.cluster_processes import trio
from tests.runtime.ports import free_addresses

pytestmark = [pytest.mark.slow, pytest.mark.timeout(90)]

TTL_S = 600.0


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGKILL])
@pytest.mark.parametrize("holder_is", ["leader", "follower"])
async def test_a_session_is_ended_from_another_process(
    tmp_path: Path, number: signal.Signals, holder_is: str
) -> None:
    """Also when the holder's process is the cluster's leader, so that another has to be elected first."""
    async with trio(tmp_path) as three:
        leader = three.leader()
        holder = leader
        if holder_is == "follower":
            holder = next(process for process in three.processes.values() if process is not leader)
        held = holder.ask("hold", "g", TTL_S, 0.0, "")
        assert held["token"] == (await three.roster("g")).token
        ref = bytes.fromhex(held["ref"])
        ender = make_ender()
        await ender.prepare(ref)
        holder.send_signal(number)
        async with asyncio.timeout(20):
            assert await ender.end(ref) is True
            assert await ender.end(ref) is False
        assert not (await three.roster("g")).members
        await ender.close()


async def test_an_ender_that_was_never_prepared_ends_too(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        holder = three.leader()
        ref = bytes.fromhex(holder.ask("hold", "g", TTL_S, 0.0, "")["ref"])
        ender = make_ender()
        assert await ender.end(ref) is True
        await ender.close()
        await ender.close()
        with pytest.raises(InvalidInput):
            await ender.end(b"incumbent-local/1/x")


async def test_an_ender_without_a_quorum_goes_on_asking(tmp_path: Path) -> None:
    async with trio(tmp_path) as three:
        holder = three.leader()
        ref = bytes.fromhex(holder.ask("hold", "g", TTL_S, 0.0, "")["ref"])
        ender = make_ender()
        stopped = list(three.processes.values())[:2]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        ending = asyncio.create_task(ender.end(ref))
        await asyncio.sleep(0.5)
        assert not ending.done()
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        async with asyncio.timeout(20):
            assert await ending
        assert not (await three.roster("g")).members
        await ender.close()


async def test_guardian_ends_a_killed_holders_session(tmp_path: Path) -> None:
    """DESIGN 4.4: in milliseconds, with a TTL of ten minutes; also when the dead process was the cluster's leader."""
    async with trio(tmp_path) as three:
        holder = three.leader()
        held = holder.ask("hold", "g", TTL_S, 0.0, "guarded")
        await asyncio.sleep(0.3)  # let it prepare, as it would have
        killed_s = time.monotonic()
        holder.send_signal(signal.SIGKILL)
        await three.until_empty("g")
        assert time.monotonic() - killed_s < 10.0
        assert held["helper"]


async def test_a_closed_engine_has_stopped_its_voter(tmp_path: Path) -> None:
    """One voter is a cluster too."""
    ((host, port),) = free_addresses("a").values()
    url = f"cluster://{tmp_path}/a?cluster=app&node=a&peers=a@{host}:{port}"
    async with asyncio.timeout(20):
        engine = await connect(url)
        session = await engine.open_session(TTL_S, "request")
        member = await engine.join(session, "g", "r", b"")
        watch = engine.watch("g", (await engine.roster("g")).cursor)
        waiting = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)
        with pytest.raises(InvalidInput) as caught:
            await connect(url)  # the port is in use, by us
        assert caught.value.field == "listen"
        await engine.close()
        with pytest.raises(WatchLost):
            await waiting
        with pytest.raises(EngineUnavailable):
            await engine.renew(session)
        again = await connect(url)
        assert [entry.order for entry in (await again.roster("g")).members] == [member.revision]
        await again.close()


async def test_a_directory_of_another_node_is_refused(tmp_path: Path) -> None:
    addresses = free_addresses("a", "b")
    urls = {
        name: f"cluster://{tmp_path}/shared?cluster=app&node={name}&peers={name}@{host}:{port}"
        for name, (host, port) in addresses.items()
    }
    async with asyncio.timeout(20):
        await (await connect(urls["a"])).close()
        before = sorted(path.name for path in (tmp_path / "shared").iterdir())
        with pytest.raises(IncumbentError, match="shared"):
            await connect(urls["b"])
        assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == before
