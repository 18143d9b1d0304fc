"""One server, on this side of the candidates' links: Redis, and the fake of Kubernetes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.servers.kubernetes import Kubernetes, kubernetes
from tests.servers.redis import PRIMARY, Redis, redis
from tests.servers.spaces import Spaces
from tests.servers.wallclock import WallClock
from tests.torture.engines.faults import Verb
from tests.torture.engines.world import World

API_SERVER: Final = "api"
REDIS_STEPS_S: Final = (-2, -1, 1, 5, 60, 3600)
"""From what it was. Sessions end by this clock, so it never goes back by more than a candidate waits for in this run."""


class RedisWorld:
    members = (PRIMARY,)

    def __init__(self, server: Redis, host: str, clock: WallClock) -> None:
        self._server = server
        self._host = host
        self._clock = clock
        self._wrong_s = 0

    def url(self, turn: int) -> str:
        _, port = self._server.addresses[PRIMARY]
        return f"redis://{self._host}:{port}/0?timeout=1&accept=advisory"

    def leader(self) -> str | None:
        return PRIMARY

    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None:
        match verb:
            case Verb.KILL:
                self._server.kill()
            case Verb.STOP:
                self._server.stop()
            case Verb.STEP:
                self._wrong_s += step_s
                self._clock.step(self._wrong_s)
            case _:
                raise AssertionError(verb)

    def end(self, verb: Verb, members: Sequence[str]) -> None:
        match verb:
            case Verb.KILL:
                self._server.start()
            case Verb.STOP:
                self._server.go_on()
            case _:
                pass

    @property
    def processes(self) -> Mapping[str, subprocess.Popen[bytes]]:
        return self._server.processes

    def start(self, member: str) -> None:
        self._server.start(member)

    def wait(self) -> None:
        self._server.wait()


class KubernetesWorld:
    members = (API_SERVER,)

    def __init__(self, server: Kubernetes) -> None:
        self._server = server

    def url(self, turn: int) -> str:
        return f"kubernetes://default?kubeconfig={self._server.config}"

    def leader(self) -> str | None:
        return API_SERVER

    def begin(self, verb: Verb, members: Sequence[str], step_s: int) -> None:
        match verb:
            case Verb.KILL:  # of the API server; what it kept is elsewhere
                self._server.tell("away")
            case Verb.STOP:
                self._server.stop()
            case Verb.COMPACT:
                self._server.tell("compact")
            case Verb.HARM:
                self._server.tell(f"harm {step_s}")
            case _:
                raise AssertionError(verb)

    def end(self, verb: Verb, members: Sequence[str]) -> None:
        match verb:
            case Verb.KILL:
                self._server.tell("back")
            case Verb.STOP:
                self._server.go_on()
            case Verb.HARM:
                self._server.tell("spare")
            case _:
                pass

    @property
    def processes(self) -> Mapping[str, subprocess.Popen[str]]:
        return {API_SERVER: self._server.process}

    def start(self, member: str) -> None:
        raise AssertionError("the fake ended by itself, and what it kept is gone with it")

    def wait(self) -> None:
        pass


@contextmanager
def redises(directory: Path, spaces: Spaces) -> Iterator[World]:
    clock = WallClock(directory)
    with redis(directory, "--bind", "0.0.0.0", "--protected-mode", "no") as server:
        server.kill()
        server.environment = clock.environment
        server.start()
        yield RedisWorld(server, spaces.outside, clock)


@contextmanager
def kuberneteses(directory: Path, spaces: Spaces) -> Iterator[World]:
    with kubernetes(directory, host=spaces.outside) as server:
        yield KubernetesWorld(server)
