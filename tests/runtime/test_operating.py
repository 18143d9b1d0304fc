"""A cluster as an operator has it: `incumbent serve` and `incumbent cluster`, real processes on real disks."""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from pathlib import Path

import pytest
from tests.runtime.ports import free_addresses
from tests.runtime.processes import Processes, processes, until

from incumbent.kv.api import Put, Range
from incumbent.runtime.client import ClusterClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def put(cluster: Processes, key: bytes, value: bytes = b"v", name: str = "incumbent") -> int:
    """A durable write through whoever leads; its revision."""

    async def write() -> int:
        client = ClusterClient({n: cluster.addresses[n] for n in cluster.running}, name)
        try:
            return (await client.submit(Put(key, value), timeout=10)).revision
        finally:
            await client.close()

    return asyncio.run(write())


def keys(cluster: Processes) -> set[bytes]:
    async def read() -> set[bytes]:
        client = ClusterClient({n: cluster.addresses[n] for n in cluster.running}, "incumbent")
        try:
            result = await client.read(Range(b"k", b"l"), timeout=10)
            return {kv.key for kv in result.results[0].kvs}
        finally:
            await client.close()

    return asyncio.run(read())


def test_init_status_add_promote_transfer_remove(tmp_path: Path) -> None:
    with processes(tmp_path, "abcd") as cluster:
        cluster.form("a", "b", "c")
        cluster.leader()
        put(cluster, b"k1")
        by_environment = cluster.try_to("status", of=None, INCUMBENT_ENDPOINTS=cluster.endpoint("a"))
        assert set(json.loads(by_environment.stdout)["nodes"]) == {"a", "b", "c"}
        again = cluster.try_to("init", *cluster.named("a", "b", "c"), of=None)
        assert again.returncode == 0, again.stderr
        cluster.start("d")
        until(lambda: cluster.try_to("add", *cluster.named("d")).returncode == 0)
        assert cluster.status()["d"]["role"] == "learner"
        assert cluster.ask("promote", "d")["voters"] == ["a", "b", "c", "d"]
        cluster.ask("transfer", "d")
        assert cluster.leader() == "d"
        assert cluster.ask("remove", "a", of="b")["voters"] == ["b", "c", "d"]
        assert cluster.ask("demote", "b", of="c")["learners"] == ["b"]
        cluster.kill("a", "b")
        put(cluster, b"k2")
        assert keys(cluster) == {b"k1", b"k2"}


def test_two_of_three_disks_are_wiped_and_nothing_is_lost(tmp_path: Path) -> None:
    """P55: no leader, whatever the wiped ones are told, and all is there when one disk comes back."""
    with processes(tmp_path, "abc") as cluster:
        cluster.form("a", "b", "c")
        cluster.leader()
        put(cluster, b"k1")
        cluster.stop("a", "b", "c")
        for name in "bc":
            (tmp_path / name).rename(tmp_path / f"{name}.kept")
        cluster.start("a", "b", "c")
        until(lambda: all(cluster.try_to("status", of=name).returncode == 0 for name in "abc"))
        refused = cluster.try_to("init", *cluster.named("a", "b", "c"), of=None)
        assert refused.returncode == 2
        assert "another membership" in refused.stderr
        assert not any(report.get("serving") for report in cluster.status().values())
        cluster.kill("b")
        shutil.rmtree(tmp_path / "b")
        (tmp_path / "b.kept").rename(tmp_path / "b")
        cluster.start("b")
        cluster.leader()
        assert keys(cluster) == {b"k1"}
        assert cluster.ask("replace", *cluster.named("c"))["voters"] == ["a", "b", "c"]
        cluster.kill("a")
        assert keys(cluster) == {b"k1"}, "the new disk of c has everything"


def test_digests_are_compared_from_outside(tmp_path: Path) -> None:
    with processes(tmp_path, "abw") as cluster:
        cluster.form("a", "b", "w", witnesses=("w",))
        cluster.leader()
        put(cluster, b"k1")

        def alike() -> bool:
            nodes = cluster.ask("digest")["nodes"]
            return len({(nodes[name]["index"], nodes[name]["digest"]) for name in "ab"}) == 1

        until(alike)
        assert cluster.ask("digest")["nodes"]["w"]["digest"] is None, "it has no data"


def test_a_cluster_with_a_witness_survives_its_data_voter(tmp_path: Path) -> None:
    with processes(tmp_path, "abw") as cluster:
        cluster.form("a", "b", "w", witnesses=("w",))
        leader = cluster.leader()
        assert leader in "ab"
        assert cluster.status()["w"]["role"] == "witness"
        put(cluster, b"k1")
        cluster.kill(leader)
        other = "b" if leader == "a" else "a"
        assert cluster.leader(of=other) == other
        assert keys(cluster) == {b"k1"}


def test_two_restores_of_one_backup_never_issue_one_token(tmp_path: Path) -> None:
    """P31: each is an incarnation of its own, above the backup's, and no session of the former cluster lives on."""
    tokens: list[tuple[int, int]] = []
    with processes(tmp_path, "a") as cluster:
        cluster.form("a")
        before = put(cluster, b"k1")
        backup = str(tmp_path / "backup")
        cluster.ask("snapshot", backup)
        tokens.append((0, put(cluster, b"k2")))
    for name in ("first", "second"):
        made = tmp_path / name
        made.mkdir()
        with processes(made, "r") as restored:
            restored.ask("restore", backup, "--node", "r", "--data-dir", str(made / "r"), of=None)
            restored.start("r")
            restored.leader(of="r")
            assert keys(restored) == {b"k1"}
            incarnation = asyncio.run(_incarnation(restored))
            tokens += [(incarnation, put(restored, b"k3")), (incarnation, put(restored, b"k4"))]
    assert tokens == sorted(set(tokens))
    assert [incarnation for incarnation, _ in tokens] == [0, 1, 1, 2, 2]
    assert all(revision > before for _, revision in tokens)


async def _incarnation(cluster: Processes) -> int:
    client = ClusterClient(cluster.addresses, "incumbent")
    try:
        result = await client.read(Range(b"meta/incarnation"), timeout=10)
        return int(result.results[0].kvs[0].value)
    finally:
        await client.close()


def test_http_tells_who_leads_who_is_ready_and_how_it_goes(tmp_path: Path) -> None:
    with processes(tmp_path, "a") as cluster:
        host, port = free_addresses("http")["http"]
        cluster.start("a", http=f"{host}:{port}")
        until(lambda: cluster.try_to("init", *cluster.named("a"), of=None).returncode == 0)
        cluster.leader()

        def get(path: str) -> str:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=5) as answer:
                text: str = answer.read().decode()
                return text

        assert get("/livez") == "ok\n"
        assert json.loads(get("/leader"))["leads"]
        assert json.loads(get("/readyz"))["serving"]
        put(cluster, b"k1")
        assert "incumbent_voter_leads 1" in get("/metrics").splitlines()
        assert "incumbent_voter_commands_total 1" in get("/metrics").splitlines()


def test_a_backup_that_was_damaged_is_refused(tmp_path: Path) -> None:
    with processes(tmp_path, "a") as cluster:
        cluster.form("a")
        put(cluster, b"k1")
        backup = tmp_path / "backup"
        cluster.ask("snapshot", str(backup))
        assert "exists" in cluster.try_to("snapshot", str(backup)).stderr
        backup.write_bytes(backup.read_bytes()[:-1] + b"?")
        refused = cluster.try_to(
            "restore", str(backup), "--node", "r", "--data-dir", str(tmp_path / "r"), of=None
        )
        assert refused.returncode == 2
        assert "damaged" in refused.stderr
        assert not (tmp_path / "r").exists()
