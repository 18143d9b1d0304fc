"""A ZooKeeper of three hosts, and links that are cut: what a renewal is worth when its follower is cut off at once, and who leads."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from incumbent.engines.api import Member, Session
from incumbent.engines.zookeeper import wire
from incumbent.engines.zookeeper.engine import ZooKeeperEngine
from incumbent.engines.zookeeper.place import parse
from incumbent.engines.zookeeper.reference import Reference
from incumbent.errors import OutcomeUnknown
from tests.engines.zookeeper_candidates import candidates
from tests.servers.spaces import Spaces, apart, can_make
from tests.servers.zookeeper import ZooKeeper

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

MEMBERS = ("m0", "m1", "m2")
TTL_S = 4.0
TICK_S = 1.0
RATE = 0.998
"""Two clocks may differ by the declared drift."""


@contextmanager
def ensemble(directory: Path, *others: str, tick_s: float = TICK_S) -> Iterator[tuple[Spaces, ZooKeeper]]:
    unable = can_make()
    if unable and "CI" not in os.environ:
        pytest.skip(unable)
    assert unable is None, "CI has root"
    with apart(*MEMBERS, *others) as spaces:
        options = (f"tickTime={int(tick_s * 1000)}", "syncLimit=3", "initLimit=20")
        within = {name: spaces.inside(name) for name in MEMBERS}
        server = ZooKeeper(directory, len(MEMBERS), *options, hosts=spaces.addresses, within=within)
        try:
            for name in MEMBERS:
                server.start(name)
            server.wait()
            yield spaces, server
        finally:
            server.close()


def now_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Cut:
    """A session that lives through one follower, which is then cut off from the others; and an engine on those."""

    def __init__(self, spaces: Spaces, server: ZooKeeper) -> None:
        self.spaces = spaces
        self.leader = server.wait()
        self.follower = next(name for name in MEMBERS if name != self.leader)
        self.rest = [name for name in MEMBERS if name != self.follower]
        self.server = server

    def url(self, *names: str) -> str:
        hosts = ",".join("{}:{}".format(*self.server.clients[name]) for name in names)
        return f"zookeeper://{hosts}/cut"

    async def open(self) -> None:
        self.mine = await ZooKeeperEngine.open(parse(self.url(self.follower)))
        self.theirs = await ZooKeeperEngine.open(parse(self.url(*self.rest)))

    async def session(self, group: str) -> tuple[Session, Member]:
        session = await self.mine.open_session(TTL_S, os.urandom(16).hex())
        return session, await self.mine.join(session, group, "r", b"")

    async def lives_after_cut_s(self, member: Member, renewed_s: float) -> float:
        """Cut now; how long after `renewed_s` the others first saw the member gone."""
        self.spaces.one_way(self.follower, *self.rest, cut=True)
        try:
            async with asyncio.timeout(3 * TTL_S):
                while (await self.theirs.roster(member.group)).members:
                    await asyncio.sleep(0.02)
            return now_s() - renewed_s
        finally:
            self.spaces.one_way(self.follower, *self.rest, cut=False)
            await asyncio.to_thread(self.server.wait)

    async def close(self) -> None:
        await self.mine.close()
        await self.theirs.close()


@pytest.mark.parametrize("silence_s", [TTL_S * 0.2, TTL_S * 0.8])
async def test_a_renewal_counts_from_its_call_whatever_happens_to_the_follower(
    tmp_path: Path, silence_s: float
) -> None:
    """P10, P47: `lag` is 0. The follower is cut off as soon as it has acknowledged, after a silence of any length."""
    with ensemble(tmp_path) as (spaces, server):
        cut = Cut(spaces, server)
        await cut.open()
        session, member = await cut.session("g")
        await asyncio.sleep(silence_s)
        called_s = now_s()
        await cut.mine.renew(session)
        assert await cut.lives_after_cut_s(member, called_s) >= session.ttl * RATE
        assert session.lag == 0.0
        await cut.close()


async def test_a_write_alone_would_be_no_renewal(tmp_path: Path) -> None:
    """P47: a quorum commits it, and the leader still counts from before the silence. This is what the test above would notice."""
    with ensemble(tmp_path) as (spaces, server):
        cut = Cut(spaces, server)
        await cut.open()
        lives_s = list[float]()
        for attempt in range(3):  # a tick may just have told the leader
            session, member = await cut.session(f"g{attempt}")
            visit = cut.mine._sessions._attendants[Reference.from_bytes(session.ref).session]._visit
            assert visit is not None
            await asyncio.sleep(TTL_S * 0.8)
            called_s = now_s()
            (answer,) = await visit.ask(wire.set_data(Reference.from_bytes(session.ref).node, session.ref))
            assert not isinstance(answer, OutcomeUnknown)
            assert answer.error == wire.OK
            lives_s.append(await cut.lives_after_cut_s(member, called_s))
            if lives_s[-1] < TTL_S * 0.9:
                break
        assert min(lives_s) < TTL_S * 0.9
        await cut.close()


def test_one_leader_while_hosts_are_cut_off(tmp_path: Path) -> None:
    """P47: the holder, one server, the ensemble's leader, the holder's way to all but one server."""
    with ensemble(tmp_path, "a", "b", tick_s=0.3) as (spaces, server):
        url = f"zookeeper://{server.hosts}/cut"
        with candidates(tmp_path, url, 2.0) as running:
            for name in ("a", "b"):
                running.start(name, spaces.inside(name))
            holder = running.leader()
            spaces.isolate(holder.candidate, cut=True)
            heir = running.leader(not_token=holder.token)
            assert heir.candidate != holder.candidate
            assert heir.token > holder.token
            spaces.isolate(holder.candidate, cut=False)
            running.leader()
            for victim in (next(name for name in MEMBERS if name != server.wait()), server.wait()):
                spaces.isolate(victim, cut=True)
                time.sleep(3.0)
                running.leader()
                spaces.isolate(victim, cut=False)
                server.wait()
            leads = running.leader().candidate
            spaces.one_way(leads, "m0", "m1", cut=True)
            time.sleep(3.0)
            running.leader()
            spaces.one_way(leads, "m0", "m1", cut=False)
            running.leader()
            running.judged()
