"""Three servers, each on a host of its own: etcd and ZooKeeper."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.etcd import Etcd, etcd
from tests.servers.spaces import Spaces
from tests.servers.wallclock import WallClock
from tests.servers.zookeeper import ZooKeeper
from tests.torture.engines.faults import Verb
from tests.torture.engines.world import World

MEMBERS: Final = ("m0", "m1", "m2")


class Ensemble:
    """etcd or ZooKeeper, each member on a host of its own."""

    members = MEMBERS

    def __init__(
        self, server: Etcd | ZooKeeper, spaces: Spaces, scheme: str, clocks: Mapping[str, WallClock]
    ) -> None:
        self._server = server
        self._spaces = spaces
        self._scheme = scheme
        self._clocks = clocks

    def url(self, turn: int) -> str:
        """All of them, another one first each time."""
        addresses = [f"{host}:{port}" for host, port in self._server.clients.values()]
        turn %= len(addresses)
        return f"{self._scheme}://{','.join(addresses[turn:] + addresses[:turn])}/torture"

    def leader(self) -> str | None:
        return self._server.leader()

    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None:
        for member in members:
            self._begin(verb, member, step_s)

    def end(self, verb: Verb, members: Sequence[str]) -> None:
        for member in members:
            self._end(verb, member)

    def _begin(self, verb: Verb, member: str, step_s: int) -> None:
        match verb:
            case Verb.KILL:
                self._server.kill(member)
            case Verb.STOP:
                self._server.signal(member, signal.SIGSTOP)
            case Verb.STEP:
                self._clocks[member].step(step_s)
            case Verb.CUT:
                self._spaces.isolate(member, cut=True)
            case Verb.MUTE:
                self._spaces.one_way(member, *self._others(member), cut=True)
            case _:
                raise AssertionError(verb)

    def _end(self, verb: Verb, member: str) -> None:
        match verb:
            case Verb.KILL:
                self._server.start(member)
            case Verb.STOP:
                self._server.signal(member, signal.SIGCONT)
            case Verb.CUT:
                self._spaces.isolate(member, cut=False)
            case Verb.MUTE:
                self._spaces.one_way(member, *self._others(member), cut=False)
            case _:
                pass

    @property
    def processes(self) -> Mapping[str, subprocess.Popen[bytes]]:
        return self._server.processes

    def start(self, member: str) -> None:
        self._server.start(member)

    def wait(self) -> None:
        self._server.wait()

    def _others(self, member: str) -> list[str]:
        return [name for name in MEMBERS if name != member]


@contextmanager
def etcds(directory: Path, spaces: Spaces) -> Iterator[World]:
    options = ("--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync")
    with etcd(directory, len(MEMBERS), *options, spaces=spaces) as server:
        yield Ensemble(server, spaces, "etcd", {})


@contextmanager
def zookeepers(directory: Path, spaces: Spaces) -> Iterator[World]:
    within = {name: spaces.inside(name) for name in MEMBERS}
    options = ("tickTime=300", "syncLimit=3", "initLimit=20")
    server = ZooKeeper(directory, len(MEMBERS), *options, hosts=spaces.addresses, within=within)
    clock = WallClock(directory)
    server.environment = clock.environment
    try:
        for name in MEMBERS:
            server.start(name)
        server.wait()
        yield Ensemble(server, spaces, "zookeeper", dict.fromkeys(MEMBERS, clock))
    finally:
        server.close()
