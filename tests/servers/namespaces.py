"""Hosts of their own for servers and clients: network namespaces on one bridge, which can be cut. Needs root, and goes with `close`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Final

_NUMBERS: Final = count()


def why_not() -> str | None:
    """Why this machine cannot, or None."""
    return None if os.geteuid() == 0 else "it needs root: network namespaces of its own"


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Namespaces:
    """`host` is where this process stands: on the bridge, where everybody reaches it."""

    def __init__(self, names: Sequence[str]) -> None:
        number = os.getpid() % 10_000
        self._prefix = f"n{number}{next(_NUMBERS)}"
        net = f"10.{100 + number % 90}.{number // 90 % 250}"
        self.host = f"{net}.1"
        self.hosts = {name: f"{net}.{10 + at}" for at, name in enumerate(names)}

    def make(self) -> None:
        bridge = f"{self._prefix}b"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.host}/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for name, address in self.hosts.items():
            space, outer, inner = self._space(name), self._outer(name), f"{self._prefix}i{name}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            run("ip", "link", "set", inner, "netns", space)
            run("ip", "link", "set", outer, "master", bridge)
            run("ip", "link", "set", outer, "up")
            run("ip", "-n", space, "addr", "add", f"{address}/24", "dev", inner)
            run("ip", "-n", space, "link", "set", inner, "up")
            run("ip", "-n", space, "link", "set", "lo", "up")

    def within(self, name: str) -> list[str]:
        """What a command is put behind to be run there."""
        return ["ip", "netns", "exec", self._space(name)]

    def cut(self, name: str) -> None:
        """From everybody."""
        run("ip", "link", "set", self._outer(name), "down")

    def mend(self, name: str) -> None:
        run("ip", "link", "set", self._outer(name), "up")

    def part(self, name: str, *others: str) -> None:
        """What `name` sends to `others` is lost; all else arrives."""
        for other in others:
            run("ip", "-n", self._space(name), "route", "add", "blackhole", f"{self.hosts[other]}/32")

    def join(self, name: str, *others: str) -> None:
        for other in others:
            run("ip", "-n", self._space(name), "route", "del", "blackhole", f"{self.hosts[other]}/32")

    def close(self) -> None:
        for name in self.hosts:
            subprocess.run(("ip", "netns", "del", self._space(name)), capture_output=True, check=False)
            subprocess.run(("ip", "link", "del", self._outer(name)), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", f"{self._prefix}b"), capture_output=True, check=False)

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _outer(self, name: str) -> str:
        return f"{self._prefix}o{name}"


@contextmanager
def namespaces(*names: str) -> Iterator[Namespaces]:
    spaces = Namespaces(names)
    try:
        spaces.make()
        yield spaces
    finally:
        spaces.close()
