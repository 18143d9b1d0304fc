"""The servers that tests and benchmarks stand on start, answer, fail over and go."""

from __future__ import annotations

import base64
import signal
from pathlib import Path

import psycopg
import pytest

from tests.servers.etcd import etcd
from tests.servers.pgbouncer import pgbouncer
from tests.servers.postgres import STANDBY, postgres
from tests.servers.redis import REPLICA, redis
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


def test_postgresql_starts_answers_restarts_and_goes() -> None:
    with postgres(fsync="off") as server, pgbouncer(server) as pool:
        server.ask("CREATE TABLE kept (n integer)")
        with psycopg.connect(pool.url, autocommit=True) as connection:
            connection.execute("INSERT INTO kept VALUES (7)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            server.ask("SELECT 1")
        server.start()
        server.stop()
        server.go_on()
        assert server.ask("SELECT n FROM kept") == [(7,)]
        processes = [*server.processes.values(), pool.process]
        homes = [server.home.path, pool.home.path]
    assert all(process is not None and process.poll() is not None for process in processes)
    assert not any(home.exists() for home in homes)


@pytest.mark.parametrize("standby", ["synchronous", "asynchronous"])
def test_a_standby_of_postgresql_is_promoted(standby: str) -> None:
    with postgres(standby=standby, fsync="off") as server:
        server.ask("CREATE TABLE kept (n integer)")
        server.ask("INSERT INTO kept VALUES (7)")
        (state,) = server.ask("SELECT sync_state FROM pg_stat_replication")
        assert state == ("sync" if standby == "synchronous" else "async",)
        server.shut_down()  # its last act is to send the standby all it has
        server.promote()
        assert server.ask("SELECT n FROM kept", name=STANDBY) == [(7,)]
        server.ask("INSERT INTO kept VALUES (8)", name=STANDBY)


def test_redis_starts_answers_fails_over_and_goes(tmp_path: Path) -> None:
    with redis(tmp_path, replica=True) as server:
        server.ask("SET", "kept", "7")
        server.ask("WAIT", "1", "1000")
        server.stop()
        server.go_on()
        server.kill()
        server.start()
        assert server.ask("GET", "kept") == b"7"
        server.kill()
        server.promote()
        assert server.ask("GET", "kept", name=REPLICA) == b"7"
        server.ask("SET", "kept", "8", name=REPLICA)
        processes = list(server.processes.values())
    assert all(process.poll() is not None for process in processes)


def test_one_zookeeper_is_its_own_leader(tmp_path: Path) -> None:
    with zookeeper(tmp_path, 1, "tickTime=200") as server:
        assert server.wait() == "m0"
        assert "tickTime=200" in server.ask("m0", "conf")


def test_a_redis_without_persistence_forgets(tmp_path: Path) -> None:
    with redis(tmp_path, persistent=False) as server:
        server.ask("SET", "kept", "7")
        server.kill()
        server.start()
        assert server.ask("EXISTS", "kept") == b"0"
