"""Three real voters: forming, electing, committing, dying, coming back, and refusing those who do not belong."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from tests.runtime.cluster import Cluster, cluster, until

from incumbent.consensus.api import Record, Timing
from incumbent.errors import (
    EngineUnavailable,
    IdentityMismatch,
    IncumbentError,
    InvalidInput,
    OutcomeUnknown,
    StorageCorrupt,
    StorageFailed,
    WatchLost,
)
from incumbent.ids import Revision
from incumbent.kv.api import Put, Range, prefix_end
from incumbent.runtime.client import ClusterClient
from incumbent.runtime.config import check_config, timing
from incumbent.runtime.storage.segments import path_of
from incumbent.runtime.voter import Voter, VoterConfig

TIMEOUT_S = 5.0


async def values(client: ClusterClient, prefix: bytes = b"k") -> dict[bytes, bytes]:
    result = await client.read(Range(prefix, prefix_end(prefix)), timeout=TIMEOUT_S)
    return {kv.key: kv.value for kv in result.results[0].kvs}


@pytest.mark.slow
async def test_three_voters_form_elect_and_commit(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        for name in three.names:
            async with three.client(name) as client:
                await client.submit(Put(b"k" + name.encode(), b"v"), timeout=TIMEOUT_S)
        async with three.client() as outside:
            assert await values(outside) == {b"ka": b"v", b"kb": b"v", b"kc": b"v"}
        assert await three.leader() == leader
        status = three.voters[leader].status()
        assert status.me in status.voters
        assert len(status.voters) == 3
        assert set(status.connected.values()) == {True}


@pytest.mark.slow
async def test_a_killed_leader_is_replaced_and_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    acknowledged = set[bytes]()

    async def write(client: ClusterClient) -> None:
        for n in range(100_000):
            key = b"k%06d" % n
            try:
                await client.submit(Put(key, b"v"), timeout=TIMEOUT_S)
            except OutcomeUnknown:
                continue
            acknowledged.add(key)

    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        follower = next(name for name in three.names if name != leader)
        async with three.client(follower) as client:
            writing = asyncio.create_task(write(client))
            await until(lambda: len(acknowledged) > 20)
            await three.kill(leader)
            before = len(acknowledged)
            assert await three.leader() != leader
            await until(lambda: len(acknowledged) > before + 20)
            await three.start(leader)  # from its disk
            await until(lambda: len(acknowledged) > before + 40)
            writing.cancel()
            assert await three.leader()
            assert acknowledged <= set(await values(client))


@pytest.mark.slow
async def test_a_cluster_comes_back_from_its_disks_with_a_majority(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        async with three.client("a") as client:
            await client.submit(Put(b"k", b"kept"), timeout=TIMEOUT_S)
        await three.stop()
        await three.start("b", "c")
        async with three.client("b") as client:
            assert await values(client) == {b"k": b"kept"}


@pytest.mark.slow
async def test_a_lone_voter_of_three_does_not_lead(tmp_path: Path) -> None:
    async with cluster(tmp_path, "a", "b", "c") as three:
        await three.leader()
        await three.stop()
        await three.start("a")
        async with three.client("a") as client:
            with pytest.raises(EngineUnavailable):
                await client.submit(Put(b"k", b"v"), timeout=0.5)
        assert not three.leaders()


@pytest.mark.slow
async def test_a_node_that_is_alone_forms_nothing(tmp_path: Path) -> None:
    """P55: two empty disks of three neither form nor vote, however long they wait."""
    three = Cluster(tmp_path, "a", "b", "c")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.4):
            await three.start("a", "b")
    assert not three.voters
    await three.start()  # all three: now it forms
    assert await three.leader()
    await three.stop()


@pytest.mark.slow
async def test_a_wiped_disk_cannot_vote(tmp_path: Path) -> None:
    """P55: it is told which disk the cluster knows, and the other two go on undisturbed."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        wiped = next(name for name in three.names if name != leader)
        await three.stop(wiped)
        shutil.rmtree(tmp_path / wiped)
        with pytest.raises(IdentityMismatch, match=f"the cluster knows node {wiped} with disk"):
            await three.start(wiped)
        assert three.leaders() == [leader]
        async with three.client() as client:
            await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)


@pytest.mark.slow
async def test_two_of_three_wiped_disks_mean_no_leader_and_nothing_lost(tmp_path: Path) -> None:
    """P55: the survivor alone cannot lead, the wiped cannot vote or form anew; one restored disk brings all back."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        async with three.client("a") as client:
            await client.submit(Put(b"k", b"kept"), timeout=TIMEOUT_S)
        await three.stop()
        for name in ("b", "c"):
            (tmp_path / name).rename(tmp_path / f"{name}.kept")
        await three.start("a")
        outcomes = await asyncio.gather(three.start("b"), three.start("c"), return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [IdentityMismatch] * 2
        await asyncio.sleep(0.4)  # two election timeouts
        assert not three.leaders()
        shutil.rmtree(tmp_path / "b")
        (tmp_path / "b.kept").rename(tmp_path / "b")
        await three.start("b")
        async with three.client("a") as client:
            assert await values(client) == {b"k": b"kept"}


@pytest.mark.slow
async def test_strangers_disturb_nothing(tmp_path: Path) -> None:
    """P77: random bytes at every voter's port, while it works."""
    rng = random.Random(5)
    slow = timing(
        heartbeat_ns=200_000_000, election_ns=2_000_000_000
    )  # what the machine stalls is no stranger's doing
    async with cluster(tmp_path, "a", "b", "c", timing=slow) as three:
        leader = await three.leader()
        term = three.voters[leader].driver.leadership.term
        for address in list(three.addresses.values()) * 20:
            _, writer = await asyncio.open_connection(*address)
            writer.write(rng.randbytes(rng.randrange(1, 200)))
            writer.close()
        async with three.client() as client:
            await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
        assert await three.leader() == leader
        assert three.voters[leader].driver.leadership.term == term


@pytest.mark.slow
async def test_a_voter_whose_disk_fails_is_gone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DESIGN 4.6: it says nothing more, the others replace it, and whoever runs it gets the error."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        voter = three.voters[leader]

        def fail(_records: object) -> None:
            raise StorageFailed("the disk is gone")

        monkeypatch.setattr(voter.driver._storage, "persist", fail)
        async with three.client(leader) as client:
            with pytest.raises(OutcomeUnknown):
                await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
            with pytest.raises(StorageFailed):
                await voter.wait_stopped()
            # Its connections are closed too, so to its peers it is as dead as it is.
            others = [three.voters[name] for name in three.names if name != leader]
            await until(lambda: not any(other.status().connected[leader] for other in others))
            # The process should stop. While it has not, it can ask the others.
            await client.submit(Put(b"k", b"w"), timeout=TIMEOUT_S)
        with pytest.raises(StorageFailed):
            await three.stop(leader)
        assert await three.leader() != leader


@pytest.mark.slow
async def test_a_leader_whose_disk_stalls_is_replaced_and_whoever_waits_for_it_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P56; and a client beside a voter that knows the new leader does not wait out its time at the old one."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        other = next(name for name in three.names if name != leader)
        storage = three.voters[leader].driver._storage
        persist, stalled = storage.persist, threading.Event()

        def stall(records: Sequence[Record]) -> None:
            assert stalled.wait(10)
            persist(records)

        monkeypatch.setattr(storage, "persist", stall)
        async with three.client(other) as client:
            async with asyncio.timeout(2):
                with pytest.raises(OutcomeUnknown):
                    await client.submit(Put(b"k", b"1"), timeout=60)
                await client.submit(Put(b"k", b"2"), timeout=60)
                assert await values(client) == {b"k": b"2"}
            stalled.set()  # the old leader's disk answers at last, and changes nothing
            await until(lambda: three.leaders() and leader not in three.leaders())
            assert await values(client) == {b"k": b"2"}


@pytest.mark.slow
async def test_a_watch_without_a_quorum_ends_within_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P38."""
    monkeypatch.setattr("incumbent.runtime.driver.LEADERLESS_NS_MAX", 300_000_000)
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        alone = three.voters[next(name for name in three.names if name != leader)].driver
        watch = aiter(alone.watch(b"k", None, Revision(1)))
        waiting = asyncio.ensure_future(anext(watch))
        for name in [name for name in three.names if three.voters[name].driver is not alone]:
            await three.kill(name)
        async with asyncio.timeout(3):
            with pytest.raises(WatchLost):
                await waiting


@pytest.mark.slow
async def test_the_local_voter_wakes_a_waiting_client(tmp_path: Path) -> None:
    """A client that waits for a leader asks again as soon as its voter knows one, not after a pause."""
    async with cluster(tmp_path, "a", "b", "c") as three:
        leader = await three.leader()
        other = next(name for name in three.names if name != leader)
        async with three.client(other) as client:
            await client.read(Range(b"k"), timeout=TIMEOUT_S)
            await three.kill(leader)
            await client.submit(Put(b"k", b"v"), timeout=TIMEOUT_S)
            assert await values(client) == {b"k": b"v"}


# what is refused before anything is written


def config(tmp_path: Path, **changes: object) -> VoterConfig:
    good = VoterConfig(
        cluster="app",
        node="a",
        data_dir=tmp_path / "data",
        peers={"a": ("127.0.0.1", 7001), "b": ("127.0.0.1", 7002), "c": ("127.0.0.1", 7003)},
    )
    return replace(good, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "field", "says"),
    [
        ({"cluster": ""}, "cluster", "is not a name"),
        ({"cluster": "a b"}, "cluster", "use ASCII letters"),
        ({"node": "a.b"}, "node", "use ASCII letters"),
        ({"node": "x" * 65}, "node", "at most 64"),
        ({"node": "d"}, "peers", "do not name this node, 'd'"),
        ({"peers": {}}, "listen", "there are no peers"),
        ({"peers": {c: ("127.0.0.1", 7000 + n) for n, c in enumerate("abcdefgh")}}, "peers", "are 8 voters"),
        ({"peers": {"a": ("127.0.0.1", 7001), "b": ("127.0.0.1", 7001)}}, "peers", "one address"),
        ({"peers": {"a": ("127.0.0.1", 0)}}, "peers", "is no address"),
        ({"peers": {"a": ("", 7001)}}, "peers", "is no address"),
        ({"listen": ("127.0.0.1", 65536)}, "listen", "is no address"),
        ({"listen": ("0.0.0.0", 7001)}, "listen", "is not loopback"),
        ({"listen": ("::", 7001)}, "listen", "[::]:7001 is not loopback"),
        ({"listen": ("example.org", 7001)}, "listen", "is not loopback"),
        ({"timing": Timing(heartbeat_ns=0)}, "timing", "heartbeat 0 ns"),
        ({"timing": Timing(heartbeat_ns=200_000_000)}, "timing", "at least twice the heartbeat"),
        ({"timing": Timing(election_timeout_max_ns=300_000_000)}, "timing", "greatest larger than the least"),
    ],
)
async def test_a_wrong_value_is_named_before_anything_is_written(
    tmp_path: Path, changes: dict[str, object], field: str, says: str
) -> None:
    with pytest.raises(InvalidInput, match=r".") as raised:
        async with Voter.open(config(tmp_path, **changes)):
            pass
    assert raised.value.field == field
    assert says in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_permission(tmp_path: Path, host: str) -> None:
    check_config(config(tmp_path, listen=(host, 7001)))


def test_anything_else_can_be_permitted(tmp_path: Path) -> None:
    check_config(config(tmp_path, listen=("0.0.0.0", 7001), insecure=True))


async def test_a_port_in_use_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = taken.getsockname()
        with pytest.raises(InvalidInput, match="is in use; stop the process that listens there") as raised:
            async with Voter.open(config(tmp_path, peers={"a": address})):
                pass
    assert raised.value.field == "listen"
    assert list(tmp_path.iterdir()) == []


async def test_an_address_of_another_host_is_named(tmp_path: Path) -> None:
    foreign = ("192.0.2.1", 7001)
    with pytest.raises(InvalidInput, match="cannot be bound") as raised:
        async with Voter.open(config(tmp_path, listen=foreign, insecure=True)):
            pass
    assert raised.value.field == "listen"
    assert list(tmp_path.iterdir()) == []


async def test_nodes_with_different_peers_do_not_form(tmp_path: Path) -> None:
    three = Cluster(tmp_path, "a", "b", "c")
    two = {name: three.addresses[name] for name in ("a", "b")}

    async def run(name: str, peers: dict[str, tuple[str, int]]) -> None:
        async with asyncio.timeout(5), Voter.open(replace(three.config(name), peers=peers)):
            pass

    outcomes = await asyncio.gather(run("a", two), run("b", three.addresses), return_exceptions=True)
    assert any(isinstance(o, InvalidInput) and o.field == "peers" for o in outcomes)
    assert all(isinstance(o, IncumbentError | TimeoutError) for o in outcomes)


async def test_a_formed_voter_does_not_start_with_other_peers(tmp_path: Path) -> None:
    one = Cluster(tmp_path, "a")
    await one.start()
    await one.stop()
    other = replace(one.config("a"), peers={**one.addresses, "b": ("127.0.0.1", 7002)})
    with pytest.raises(InvalidInput, match="the cluster was formed with a") as raised:
        async with Voter.open(other):
            pass
    assert raised.value.field == "peers"


async def test_another_nodes_directory_is_refused(tmp_path: Path) -> None:
    one = Cluster(tmp_path, "a")
    await one.start()
    await one.stop()
    for changed in (
        replace(one.config("a"), cluster="other"),
        replace(one.config("a"), node="b", peers={"b": one.addresses["a"]}),
    ):
        with pytest.raises(IdentityMismatch):
            async with Voter.open(changed):
                pass


async def test_a_voter_that_lost_its_log_does_not_start(tmp_path: Path) -> None:
    """P55: its disk's id is there, its vote is not."""
    one = Cluster(tmp_path, "a")
    await one.start()
    await one.stop()
    path_of(tmp_path / "a" / "log", 1).unlink()
    with pytest.raises(StorageCorrupt, match="and with it this node's vote"):
        await one.start()


async def test_a_directory_serves_one_voter_at_a_time(tmp_path: Path) -> None:
    one = Cluster(tmp_path, "a")
    await one.start()
    second = Cluster(tmp_path, "a")
    with pytest.raises(IncumbentError):
        await second.start()
    await one.stop()
