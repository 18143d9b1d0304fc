"""Hosts of their own for processes on one machine: each in a network namespace, on one bridge. Needs root; goes with `close`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable

Address = tuple[str, int]


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def can_run() -> str | None:
    """Why it cannot; None when it can."""
    return None if os.geteuid() == 0 else "it needs root, for network namespaces and what is mounted"


class Namespaces:
    """One for each name. Names of one character, for interfaces have at most fifteen."""

    def __init__(self, names: Iterable[str]) -> None:
        number = os.getpid() % 10_000
        self._prefix = f"inc{number}"
        self._net = f"10.{200 + number % 50}.{number // 50 % 250}"
        self.hosts = {name: f"{self._net}.{10 + at}" for at, name in enumerate(names)}
        """Each one's address. Whoever runs outside, as clients do, reaches it too."""

    def addresses(self, port: int) -> dict[str, Address]:
        return {name: (host, port) for name, host in self.hosts.items()}

    def make(self) -> None:
        bridge = f"{self._prefix}br"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self._net}.1/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for name, address in self.hosts.items():
            space, outer, inner = self._space(name), self._outer(name), f"{self._prefix}i{name}"
            run("ip", "netns", "add", space)
            run("ip", "link", "add", outer, "type", "veth", "peer", "name", inner)
            run("ip", "link", "set", inner, "netns", space)
            run("ip", "link", "set", outer, "master", bridge)
            run("ip", "link", "set", outer, "up")
            for command in (
                ("addr", "add", f"{address}/24", "dev", inner),
                ("link", "set", inner, "up"),
                ("link", "set", "lo", "up"),
            ):
                run("ip", "-n", space, *command)

    def close(self) -> None:
        for name in self.hosts:
            subprocess.run(("ip", "netns", "del", self._space(name)), capture_output=True, check=False)
            subprocess.run(("ip", "link", "del", self._outer(name)), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", f"{self._prefix}br"), capture_output=True, check=False)

    def inside(self, name: str) -> tuple[str, ...]:
        """Stands before a command that is to run there; it becomes that command, under the same process id."""
        return ("ip", "netns", "exec", self._space(name))

    def isolate(self, name: str, *, cut: bool) -> None:
        """Its link is down: nothing comes, nothing goes, and nobody is told."""
        run("ip", "link", "set", self._outer(name), "down" if cut else "up")

    def one_way(self, sender: str, receiver: str, *, cut: bool) -> None:
        """What `sender` sends to `receiver` is lost; the other direction works."""
        verb = "add" if cut else "del"
        run("ip", "-n", self._space(sender), "route", verb, "blackhole", f"{self.hosts[receiver]}/32")

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _outer(self, name: str) -> str:
        return f"{self._prefix}o{name}"
