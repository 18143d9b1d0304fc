"""The faults of ``bench/failover.py`` on three members of another system, each asked through a survivor.

A survivor is asked anew every 10 ms, whatever became of the attempts before: one that was passed on to a dead leader is lost.
"""

from __future__ import annotations

import base64
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from bench.report import case
from bench.rivals import zookeeper
from tests.servers.spaces import Spaces
from tests.servers.zookeeper import ZooKeeper

AGAIN_S: Final = 0.01
SETTLE_S: Final = 1.0
NAMES: Final = ("m0", "m1", "m2")


class Members(Protocol):
    """What a running system can be done to."""

    @property
    def names(self) -> Sequence[str]: ...
    def leader(self) -> str:
        """Once there is one, and everybody follows."""

    def write(self, member: str) -> None:
        """One durable, linearizable write. Raises OSError when it cannot be had now."""

    def signal(self, member: str, number: signal.Signals) -> None: ...
    def kill(self, member: str) -> None: ...
    def start(self, member: str) -> None: ...


class Rival(NamedTuple):
    name: str
    running: Callable[[Path, Spaces | None], AbstractContextManager[Members]]


def measure(rival: Rival, directory: Path, trials: int, network: Spaces | None) -> list[dict[str, Any]]:
    samples: dict[str, list[float]] = {"killed": [], "stopped": []}
    if network is not None:
        samples["cut"] = []
    with rival.running(directory, network) as members:
        for _ in range(trials):
            for fault, took in samples.items():
                took.append(_one(members, fault, network))
    return [
        case(f"{rival.name} {fault}", took, who=rival.name, fault=fault) for fault, took in samples.items()
    ]


def _one(members: Members, fault: str, network: Spaces | None) -> float:
    leader = members.leader()
    survivor = next(member for member in members.names if member != leader)
    members.write(survivor)
    time.sleep(SETTLE_S)
    began = time.perf_counter()
    if fault == "cut":
        assert network is not None
        network.isolate(leader, cut=True)
    else:
        members.signal(leader, signal.SIGKILL if fault == "killed" else signal.SIGSTOP)
    _write_until_done(members, survivor)
    took = 1000 * (time.perf_counter() - began)
    if fault == "cut":
        assert network is not None
        network.isolate(leader, cut=False)
    elif fault == "killed":
        members.kill(leader)
        members.start(leader)
    else:
        members.signal(leader, signal.SIGCONT)
    time.sleep(SETTLE_S)
    return took


def _write_until_done(members: Members, survivor: str) -> None:
    done = threading.Event()

    def attempt() -> None:
        with contextlib.suppress(OSError):
            members.write(survivor)
            done.set()

    while not done.wait(AGAIN_S):
        threading.Thread(target=attempt, daemon=True).start()


# --- etcd ------------------------------------------------------------------------------------------------------------


class _Etcd:
    def __init__(self, server: Any) -> None:
        self._server = server
        self.names = list(server.clients)
        self.signal, self.kill, self.start = server.signal, server.kill, server.start

    def leader(self) -> str:
        leader: str = self._server.wait()
        return leader

    def write(self, member: str) -> None:
        key = base64.b64encode(b"k").decode()
        self._server.ask(member, "/v3/kv/put", key=key, value=key)


def _etcd(*options: str) -> Callable[[Path, Spaces | None], AbstractContextManager[Members]]:
    @contextmanager
    def running(directory: Path, network: Spaces | None) -> Iterator[Members]:
        from tests.servers.etcd import etcd

        with etcd(directory, 3, *options, spaces=network) as server:
            yield _Etcd(server)

    return running


# --- ZooKeeper -------------------------------------------------------------------------------------------------------


class _ZooKeeper:
    def __init__(self, server: ZooKeeper) -> None:
        self._server = server
        self.names = list(server.clients)
        self.signal, self.kill, self.start = server.signal, server.kill, server.start

    def leader(self) -> str:
        while None in map(self._server.mode, self.names):
            time.sleep(0.05)
        return self._server.wait()

    def write(self, member: str) -> None:
        zookeeper.write_once(self._server.clients[member], b"/k")


def _zookeeper(
    options: Sequence[str],
) -> Callable[[Path, Spaces | None], AbstractContextManager[Members]]:
    @contextmanager
    def running(directory: Path, network: Spaces | None) -> Iterator[Members]:
        with zookeeper.running(directory, network, options) as server:
            yield _ZooKeeper(server)

    return running


RIVALS: Final[Mapping[str, Sequence[Rival]]] = {
    "etcd": (
        Rival("etcd", _etcd()),
        Rival("etcd 10/50", _etcd("--heartbeat-interval", "10", "--election-timeout", "50")),
    ),
    "zookeeper": (
        Rival("zookeeper", _zookeeper(zookeeper.AS_IT_COMES)),
        Rival("zookeeper 25/50", _zookeeper(zookeeper.AGGRESSIVE)),
    ),
}
