"""What happens to the cluster does not happen to its tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from incumbent.consensus.api import MembershipChange
from incumbent.engines.api import Claimed
from incumbent.engines.cluster import connect
from incumbent.node.api import Done
from tests.runtime.cluster import cluster

pytestmark = pytest.mark.slow


async def test_tokens_rise_over_snapshots_and_changes_of_leaders_and_members(tmp_path: Path) -> None:
    """P30."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.leader()
        engine = await connect(
            "cluster://" + ",".join(f"{host}:{port}" for host, port in three.addresses.values())
        )
        tokens: list[int] = []

        async def lead() -> None:
            session = await engine.open_session(60.0, f"session {len(tokens)}")
            member = await engine.join(session, "e", "r", b"")
            claimed = await engine.claim(member)
            assert isinstance(claimed, Claimed)
            tokens.append(claimed.token)
            await engine.leave(member)

        await lead()
        for voter in three.voters.values():  # all that led to it is forgotten but for its effect
            await voter.driver.take_snapshot()
        await lead()
        leader = three.voters[await three.leader()].driver
        other = next(v.driver.me for v in three.voters.values() if v.driver is not leader)
        membership = leader.standing().membership
        fewer = MembershipChange(membership.voters - {other}, frozenset({other}), frozenset())
        assert isinstance(await leader.change_membership(fewer), Done)
        await lead()
        assert isinstance(
            await leader.change_membership(MembershipChange(membership.voters, frozenset(), frozenset())),
            Done,
        )
        await lead()
        await three.kill(await three.leader())
        await three.leader()
        await lead()
        await engine.close()
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 5
