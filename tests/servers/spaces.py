"""Hosts of their own for processes: network namespaces with an address each, on one bridge. Needs root.

Everything is made here and goes with `close`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Final

NUMBERS = count()
OUTSIDE: Final = "outside"
"""The name of this side, where commands run that are not inside of any."""


def run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def can_make() -> str | None:
    """None, or why not."""
    able = os.geteuid() == 0 and shutil.which("ip") is not None
    return None if able else "network namespaces need root and `ip`"


@contextmanager
def apart(*names: str) -> Iterator[Spaces]:
    """A host for each name; gone afterwards."""
    spaces = Spaces(names)
    try:
        spaces.make()
        yield spaces
    finally:
        spaces.close()


class Spaces:
    def __init__(self, names: Iterable[str]) -> None:
        number = (os.getpid() + 10_007 * next(NUMBERS)) % 100_000
        self._prefix = f"inc{number}"
        self._net = f"10.{200 + number % 50}.{number // 50 % 250}"
        self.addresses = {name: f"{self._net}.{10 + at}" for at, name in enumerate(names)}
        self.outside = f"{self._net}.1"

    def make(self) -> None:
        bridge = f"{self._prefix}br"
        run("ip", "link", "add", bridge, "type", "bridge")
        run("ip", "addr", "add", f"{self.outside}/24", "dev", bridge)
        run("ip", "link", "set", bridge, "up")
        for name, address in self.addresses.items():
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
        for name in self.addresses:
            subprocess.run(("ip", "netns", "del", self._space(name)), capture_output=True, check=False)
            subprocess.run(("ip", "link", "del", self._outer(name)), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", f"{self._prefix}br"), capture_output=True, check=False)

    def inside(self, name: str) -> tuple[str, ...]:
        """What stands before a command that is to run there."""
        return "ip", "netns", "exec", self._space(name)

    def isolate(self, name: str, *, cut: bool) -> None:
        run("ip", "link", "set", self._outer(name), "down" if cut else "up")

    def one_way(self, sender: str, *receivers: str, cut: bool) -> None:
        """What `sender` sends to `receivers`, of which one may be OUTSIDE, is lost; the other direction works."""
        verb = "add" if cut else "del"
        for receiver in receivers:
            address = self.outside if receiver == OUTSIDE else self.addresses[receiver]
            run("ip", "-n", self._space(sender), "route", verb, "blackhole", f"{address}/32")

    def _space(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _outer(self, name: str) -> str:
        return f"{self._prefix}o{name}"
