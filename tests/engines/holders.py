"""What real holders go through on any server that others run. Each function is one story, and its history is judged."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from tests.engines.candidates import Candidates, candidates
from tests.servers.cable import cable

LONG_S: Final = 30.0
"""A TTL that none of this can be the doing of."""
Stand = Callable[[int], bool]
"""Whether so many stand in the election."""


class Server(Protocol):
    def start(self) -> None: ...
    def kill(self) -> None: ...
    def stop(self) -> None: ...
    def go_on(self) -> None: ...


def killed_and_guarded(directory: Path, url: str, stand: Stand) -> None:
    """The guardian ends its session by the reference, long before the TTL."""
    with candidates(directory, LONG_S) as standing:
        standing.start("a", url, guardian=True)
        standing.until_elected(1)
        standing.start("b", url)
        standing.until(lambda: stand(2), "the other does not stand")
        killed = time.monotonic()
        standing.kill("a")
        assert standing.until_elected(2).candidate == "b"
        assert time.monotonic() - killed < LONG_S / 3
        standing.check()


def killed(standing: Candidates, url: str, stand: Stand) -> None:
    standing.start("a", url)
    standing.until_elected(1)
    standing.start("b", url)
    standing.until(lambda: stand(2), "the other does not stand")
    standing.kill("a")
    assert standing.until_elected(2).candidate == "b"
    standing.check()


def stopped(standing: Candidates, url: str) -> None:
    """Past its TTL; when it goes on, it acts no more."""
    standing.start("a", url)
    first = standing.until_elected(1)
    standing.start("b", url)
    standing.stop("a")
    standing.until_elected(2)
    standing.go_on("a")
    assert standing.until_ended(first.token).candidate == "a"
    standing.until_renewed()
    standing.check()


def server_killed(standing: Candidates, server: Server, url: str) -> None:
    """For longer than the TTL: terms end by their deadline, and begin again with higher tokens."""
    _without(standing, server.kill, server.start, url)


def server_stopped(standing: Candidates, server: Server, url: str) -> None:
    _without(standing, server.stop, server.go_on, url)


def _without(standing: Candidates, take: Callable[[], None], give: Callable[[], None], url: str) -> None:
    for name in "ab":
        standing.start(name, url)
    first = standing.until_elected(1)
    take()
    standing.until_ended(first.token)
    give()
    standing.until_elected(2)
    standing.until_renewed()
    standing.check()


def cut_off(standing: Candidates, url: str, stand: Stand) -> None:
    """Its packets vanish; it gives up before the other is elected, and takes part again when it is back."""
    with cable() as wire:
        standing.start("a", url.replace("127.0.0.1", wire.outside), within=wire.command)
        first = standing.until_elected(1)
        standing.start("b", url)
        standing.until(lambda: stand(2), "the other does not stand")
        wire.pull()
        ended = standing.until_ended(first.token)
        assert ended.time_ns <= standing.until_elected(2).time_ns
        wire.plug_in()
        standing.until(lambda: stand(2), "it does not come back")
        standing.kill("b")
        assert standing.until_elected(3).candidate == "a"
        standing.check()
