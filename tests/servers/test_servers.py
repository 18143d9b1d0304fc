"""The servers that tests and benchmarks stand on start, answer, fail over and go."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from tests.servers.etcd import etcd

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
