"""cluster:// URLs: every wrong or missing part is named, with the fix, before anything is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from incumbent.engines.cluster import connect, parse
from incumbent.errors import InvalidInput

PEERS = "a@127.0.0.1:7001,b@127.0.0.1:7002,c@[::1]:7003"


def test_a_whole_url() -> None:
    config = parse(
        f"cluster:///data/dir?cluster=app&node=a&peers={PEERS}&heartbeat_ms=20&election_ms=150&insecure=1"
    )
    assert (config.cluster, config.node, config.data_dir) == ("app", "a", Path("/data/dir"))
    assert config.peers == {"a": ("127.0.0.1", 7001), "b": ("127.0.0.1", 7002), "c": ("::1", 7003)}
    assert config.listen_address == ("127.0.0.1", 7001)
    assert (config.timing.heartbeat_ns, config.timing.election_timeout_min_ns) == (20_000_000, 150_000_000)
    assert config.timing.election_timeout_max_ns == 225_000_000
    assert config.insecure


@pytest.mark.parametrize(
    ("path", "changes", "field"),
    [
        ("", {}, "url"),
        ("/", {}, "url"),
        ("/d", {"cluster": None}, "cluster"),
        ("/d", {"cluster": ""}, "cluster"),
        ("/d", {"cluster": "a b"}, "cluster"),
        ("/d", {"node": None}, "node"),
        ("/d", {"node": "d"}, "peers"),
        ("/d", {"node": "a/b"}, "node"),
        ("/d", {"peers": None}, "peers"),
        ("/d", {"peers": "a"}, "peers"),
        ("/d", {"peers": "a@h"}, "peers"),
        ("/d", {"peers": "a@:1"}, "peers"),
        ("/d", {"peers": "@h:1"}, "peers"),
        ("/d", {"peers": "a@h:x"}, "peers"),
        ("/d", {"peers": "a@h:0"}, "peers"),
        ("/d", {"peers": "a@h:65536"}, "peers"),
        ("/d", {"peers": "a@h:999999999999"}, "peers"),
        ("/d", {"peers": "a@::1:7001"}, "peers"),
        ("/d", {"peers": "a@127.0.0.1:1,a@127.0.0.1:2"}, "peers"),
        ("/d", {"peers": "a@127.0.0.1:1,b@127.0.0.1:1"}, "peers"),
        ("/d", {"peers": "a@127.0.0.1:1,"}, "peers"),
        ("/d", {"peers": "a@10.0.0.1:7001"}, "listen"),
        ("/d", {"heartbeat_ms": "0"}, "heartbeat_ms"),
        ("/d", {"heartbeat_ms": "1.5"}, "heartbeat_ms"),
        ("/d", {"heartbeat_ms": "9" * 30}, "heartbeat_ms"),
        ("/d", {"election_ms": "-1"}, "election_ms"),
        ("/d", {"heartbeat_ms": "200"}, "timing"),
        ("/d", {"insecure": "yes"}, "insecure"),
        ("/d", {"nodes": "a"}, "url"),
    ],
)
async def test_what_is_wrong_is_named(
    path: str, changes: dict[str, str | None], field: str, tmp_path: Path
) -> None:
    options: dict[str, str | None] = {"cluster": "app", "node": "a", "peers": PEERS, **changes}
    query = "&".join(f"{name}={value}" for name, value in options.items() if value is not None)
    base = f"{tmp_path}{path}" if path == "/d" else path
    with pytest.raises(InvalidInput) as caught:
        await connect(f"cluster://{base}?{query}")
    assert caught.value.field == field
    assert caught.value.fix
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("cluster://10.0.0.1:7001/data", "names hosts and a directory"),
        ("cluster://10.0.0.1:7001,10.0.0.2", "a host without a port"),
        ("cluster://10.0.0.1:7001?node=a", "does not know the option 'node'"),
        ("cluster://me:hunter2@10.0.0.1:7001", "names a user"),
    ],
)
async def test_what_is_wrong_with_a_remote_url_is_named(url: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        await connect(url)
    assert "hunter2" not in str(caught.value)


async def test_a_user_is_refused() -> None:
    with pytest.raises(InvalidInput) as caught:
        await connect("cluster://user:secret@/data?node=a")
    assert "secret" not in str(caught.value)
