"""A PostgreSQL and its synchronous standby, on this side of the candidates' links. Either may be the primary: that changes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.servers.postgres import PRIMARY, STANDBY, Postgres, postgres
from tests.servers.spaces import Spaces
from tests.servers.wallclock import WallClock
from tests.torture.engines.faults import Verb
from tests.torture.engines.world import World


class PostgresWorld:
    members = (PRIMARY, STANDBY)

    def __init__(self, server: Postgres, host: str, clock: WallClock) -> None:
        self._server = server
        self._host = host
        self._clock = clock
        self._primary = PRIMARY

    def url(self, turn: int) -> str:
        servers = ",".join(f"{self._host}:{port}" for _, port in self._server.addresses.values())
        return f"postgresql://postgres@{servers}/postgres?timeout=1&standby=synchronous"

    def leader(self) -> str | None:
        return self._primary

    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None:
        match verb:
            case Verb.KILL:
                for name in members:
                    self._server.kill(name)
            case Verb.STOP:
                for name in members:
                    self._server.stop(name)
            case Verb.RESTART:
                self._server.shut_down(self._primary)
            case Verb.STEP:
                self._clock.step(step_s)
            case Verb.PROMOTE:
                self._server.kill(self._primary)
                self._primary = self._other()
                self._server.promote(self._primary)
            case _:
                raise AssertionError(verb)

    def end(self, verb: Verb, members: Sequence[str]) -> None:
        match verb:
            case Verb.KILL:
                for name in members:
                    self._server.start(name)
            case Verb.STOP:
                for name in members:
                    self._server.go_on(name)
            case Verb.RESTART:
                self._server.start(self._primary)
            case Verb.PROMOTE:
                self._server.add_standby(synchronous=True, name=self._other(), of=self._primary)
            case _:
                pass

    @property
    def processes(self) -> Mapping[str, subprocess.Popen[bytes]]:
        return self._server.processes

    def start(self, member: str) -> None:
        self._server.start(member)

    def wait(self) -> None:
        self._server.wait(self._primary)

    def _other(self) -> str:
        return STANDBY if self._primary == PRIMARY else PRIMARY


@contextmanager
def postgreses(_: Path, spaces: Spaces) -> Iterator[World]:
    with postgres(fsync="off", listen_addresses="*", wal_retrieve_retry_interval="200ms") as server:
        clock = WallClock(server.home.path)
        server.kill()
        server.environment = clock.environment
        server.start()
        server.add_standby(synchronous=True)
        yield PostgresWorld(server, spaces.outside, clock)
