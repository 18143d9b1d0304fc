"""What the cluster engine does beyond the suite: incarnations, order in the queue, its own process."""

from __future__ import annotations

import itertools
import os

import pytest

from incumbent.engines.api import CellWrite, Claimed, Waiting
from incumbent.engines.cluster.engine import ClusterEngine
from incumbent.engines.cluster.layout import INCARNATION_KEY
from incumbent.errors import (
    EngineUnavailable,
    IncarnationChanged,
    InvalidInput,
    NotFirst,
    Unsupported,
    WatchLost,
)
from incumbent.ids import TOKEN_NATIVE_BITS
from incumbent.kv.api import Put
from tests.engines.memory_client import MemoryCluster, MemoryLink


async def test_who_waits_waits_for_the_one_right_before() -> None:
    """So that the end of one member wakes one candidate, not all of them."""
    engine = MemoryCluster().engine()
    members = [
        await engine.join(await engine.open_session(10.0, f"request {n}"), "g", "r", b"") for n in range(4)
    ]
    for before, member in itertools.pairwise(members):
        answer = await engine.claim(member)
        assert isinstance(answer, Waiting)
        assert answer.behind == before.id


async def test_a_raised_incarnation_ends_the_terms_of_before() -> None:
    """P31: a member that joined before it leads no more; who joins after it has a higher token than anybody before."""
    cluster = MemoryCluster()
    engine = cluster.engine()
    session = await engine.open_session(10.0, "request")
    old = await engine.join(session, "g", "r", b"")
    lead = await engine.claim(old)
    assert isinstance(lead, Claimed)
    assert lead.token == old.revision

    cluster.apply(Put(INCARNATION_KEY, b"3"))
    with pytest.raises(IncarnationChanged):
        await engine.claim(old)
    with pytest.raises(NotFirst):
        await engine.write_cells("g", [CellWrite("c", b"v", None)], lead)
    assert (await engine.roster("g")).token is None

    await engine.leave(old)
    new = await engine.join(session, "g", "r", b"")
    lead = await engine.claim(new)
    assert isinstance(lead, Claimed)
    assert lead.token == 3 << TOKEN_NATIVE_BITS | new.revision == (await engine.roster("g")).token


async def test_an_updated_member_still_leaves_with_its_session() -> None:
    """P2: an update keeps the member's place, and its tie to the session."""
    cluster = MemoryCluster()
    engine = cluster.engine()
    for end in ("revoked", "expired"):
        session = await engine.open_session(10.0, f"request {end}")
        await engine.update(await engine.join(session, "g", "r", b""), b"new")
        if end == "revoked":
            await engine.end_session(session.ref)
        else:
            cluster.pass_time(10.0)
        assert not (await engine.roster("g")).members


async def test_a_lease_lasts_ttl_and_release_delay() -> None:
    """P16, P44: counted in whole nanoseconds, never rounded down."""
    cluster = MemoryCluster()
    engine = cluster.engine()
    session = await engine.open_session(0.1 + 1e-10, "request", release_delay=0.5)
    assert session.ttl == 0.1 + 1e-10
    ((_, ttl_ns),) = cluster.machine.leases()
    assert ttl_ns == 600_000_001
    with pytest.raises(InvalidInput) as caught:
        await engine.open_session(0.2, "request")
    assert caught.value.field == "request_id"


async def test_a_session_of_another_cluster_is_refused() -> None:
    cluster = MemoryCluster()
    session = await cluster.engine().open_session(10.0, "request")
    stranger = ClusterEngine(MemoryLink(cluster), cluster="another", voters=lambda: {"x": ("h", 1)})
    with pytest.raises(InvalidInput) as caught:
        await stranger.end_session(session.ref)
    assert caught.value.field == "ref"


async def test_a_watch_of_compacted_history_is_lost() -> None:
    """P38: it says so, and reading again goes on."""
    cluster = MemoryCluster()
    cluster.machine._history_changes_max = 3
    engine = cluster.engine()
    old = await engine.roster("g")
    for _ in range(5):
        await engine.write_cells("g", [CellWrite("c", b"v", None)], None)
    with pytest.raises(WatchLost):
        await anext(engine.watch("g", old.cursor))
    watch = engine.watch("g", (await engine.roster("g")).cursor)
    await engine.write_cells("g", [CellWrite("c", b"v", None)], None)
    await anext(watch)


async def test_a_forked_child_gets_nothing() -> None:
    """P75."""
    engine = MemoryCluster().engine()
    pid = os.fork()
    if pid == 0:
        try:
            engine._check_open()
        except Unsupported:
            os._exit(0)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


async def test_a_closed_engine_does_nothing() -> None:
    engine = MemoryCluster().engine()
    await engine.close()
    await engine.close()
    with pytest.raises(EngineUnavailable):
        await engine.open_session(10.0, "request")
    with pytest.raises(WatchLost):
        await anext(engine.watch("g", 1))
