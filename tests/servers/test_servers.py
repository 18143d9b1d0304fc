"""The servers that tests and benchmarks stand on start, answer, fail over and go."""

from __future__ import annotations

import base64
import signal
from pathlib import Path

import pytest

from tests.servers.etcd import etcd
from tests.servers.zookeeper import zookeeper

pytestmark = pytest.mark.slow


def test_etcd_starts_answers_fails_over_and_goes(tmp_path: Path) -> None:
    key, value = (base64.b64encode(text).decode() for text in (b"k", b"v"))
    with etcd(tmp_path) as server:
        leader = server.wait()
        server.ask(leader, "/v3/kv/put", key=key, value=value)
        server.kill(leader)
        after = server.wait()
        assert after != leader
        found = server.ask(after, "/v3/kv/range", key=key)
        assert found["kvs"][0]["value"] == value
        processes = list(server.processes.values())
    assert all(process.poll() is not None for process in processes)


def test_zookeeper_starts_answers_fails_over_and_goes(tmp_path: Path) -> None:
    with zookeeper(tmp_path) as server:
        leader = server.wait()
        assert "Zookeeper version: 3" in server.ask(leader)
        server.signal(leader, signal.SIGSTOP)
        server.signal(leader, signal.SIGCONT)
        server.kill(leader)
        after = server.wait()
        assert after != leader
        server.start(leader)
        assert server.wait() == after, "a leader stays when others come back"
        processes = list(server.processes.values())
    assert all(process.poll() is not None for process in processes)


def test_one_zookeeper_is_its_own_leader(tmp_path: Path) -> None:
    with zookeeper(tmp_path, 1, "tickTime=200") as server:
        assert server.wait() == "m0"
        assert "tickTime=200" in server.ask("m0", "conf")
