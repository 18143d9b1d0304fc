"""The candidates of a failure run, each on a host of its own with a wall clock of its own, and what is done to them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from incumbent.check.history import Kind
from incumbent.cli.demo.recorder import CLOCK
from tests.engines.candidates import Candidates
from tests.servers.spaces import Spaces
from tests.servers.wallclock import WallClock
from tests.torture.engines.faults import Verb

NAMES: Final = "abcd"
GUARDED: Final = "cd"
PROGRAM: Final = ("-m", "tests.torture.engines.candidate")
FRESH_NS: Final = 1_000_000_000
"""Who acted last holds no longer for the holder after so long."""


class Standing:
    """`url`: where the nth candidate finds the servers, of which `servers` are the names in `spaces`."""

    def __init__(
        self,
        candidates: Candidates,
        directory: Path,
        spaces: Spaces,
        servers: Sequence[str],
        url: Callable[[int], str],
    ) -> None:
        self.history = Tail(candidates.history)
        self._candidates = candidates
        self._spaces = spaces
        self._servers = servers
        self._url = url
        self._clocks = dict[str, WallClock]()
        for name in NAMES:
            own = directory / name
            own.mkdir()
            self._clocks[name] = WallClock(own)

    def start(self, name: str) -> None:
        self._candidates.start(
            name, self._url(NAMES.index(name)), guardian=name in GUARDED,
            within=self._spaces.inside(name), environment=self._clocks[name].environment,
        )  # fmt: skip

    def begin(self, verb: Verb, name: str, step_s: int) -> None:
        match verb:
            case Verb.KILL:
                self._candidates.kill(name)
            case Verb.CRASH:
                self._candidates.crash(name)
            case Verb.STOP:
                self._candidates.stop(name)
            case Verb.STEP:
                self._clocks[name].step(step_s)
            case Verb.CUT:
                self._spaces.isolate(name, cut=True)
            case Verb.PART | Verb.MUTE:
                self._spaces.one_way(name, *self._lost(verb), cut=True)
            case _:
                raise AssertionError(verb)

    def end(self, verb: Verb, name: str) -> None:
        match verb:
            case Verb.KILL | Verb.CRASH:
                self.start(name)
            case Verb.STOP:
                self._candidates.go_on(name)
            case Verb.CUT:
                self._spaces.isolate(name, cut=False)
            case Verb.PART | Verb.MUTE:
                self._spaces.one_way(name, *self._lost(verb), cut=False)
            case _:
                pass

    def ended(self) -> dict[str, int]:
        """Whose process is over by itself; it is started again."""
        over = self._candidates.ended()
        for name in over:
            self.start(name)
        return over

    def _lost(self, verb: Verb) -> Sequence[str]:
        most = len(self._servers) // 2 + 1
        return self._servers[:most] if verb is Verb.PART else self._servers


class Tail:
    """A history while it is being written."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._acting = ("", 0, 0)  # candidate, token, time
        self._led = ("", 0)

    @property
    def holder(self) -> str | None:
        """Who leads, as far as its acts tell."""
        self._read()
        candidate, _, acted_ns = self._acting
        return candidate if CLOCK.now_ns() - acted_ns < FRESH_NS else None

    @property
    def led(self) -> tuple[str, int]:
        """Who last passed its check with a token that the sink then took, and when. What former leaders sent late is none of it."""
        self._read()
        return self._led

    def _read(self) -> None:
        while (line := self._file.readline()).endswith(b"\n"):
            event = json.loads(line)
            candidate, token, acted_ns = self._acting
            match event["event"]:
                case Kind.ACTING:
                    self._acting = event["candidate"], event["token"], event["time_ns"]
                case Kind.ACCEPTED if event["token"] == token:
                    self._led = candidate, acted_ns
        self._file.seek(-len(line), os.SEEK_CUR)

    def close(self) -> None:
        self._file.close()


@contextmanager
def standing(
    directory: Path,
    spaces: Spaces,
    servers: Sequence[str],
    url: Callable[[int], str],
    ttl_s: float,
    words: Sequence[str],
) -> Iterator[Standing]:
    """All of them, started. `words`: what the program wants before the URL."""
    candidates = Candidates(directory, ttl_s, (*PROGRAM, str(os.getpid()), *words))
    everybody = Standing(candidates, directory, spaces, servers, url)
    try:
        for name in NAMES:
            everybody.start(name)
        yield everybody
    finally:
        everybody.history.close()
        candidates.close()
