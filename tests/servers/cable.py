"""A host of its own for a process: a network namespace on a cable that can be pulled. Needs root; nothing is left behind."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


class Cable:
    """`command` before a command runs it on the other side; `outside` is this side's address, as seen from there."""

    def __init__(self) -> None:
        number = random.SystemRandom().randrange(1 << 14)
        self._space = f"inc{os.getpid() % 10_000}-{number}"
        self._outer = f"ino{number}"
        net = f"10.{192 + number // 256 % 64}.{number % 256}"
        self.outside, self._inside = f"{net}.1", f"{net}.2"
        self.command = ["ip", "netns", "exec", self._space]

    def make(self) -> None:
        inner = self._outer.replace("o", "i")
        _run("ip", "netns", "add", self._space)
        _run("ip", "link", "add", self._outer, "type", "veth", "peer", "name", inner)
        _run("ip", "link", "set", inner, "netns", self._space)
        _run("ip", "addr", "add", f"{self.outside}/30", "dev", self._outer)
        _run("ip", "link", "set", self._outer, "up")
        _run("ip", "-n", self._space, "addr", "add", f"{self._inside}/30", "dev", inner)
        _run("ip", "-n", self._space, "link", "set", inner, "up")
        _run("ip", "-n", self._space, "link", "set", "lo", "up")

    def pull(self) -> None:
        """Nothing passes, and nobody is told."""
        _run("ip", "link", "set", self._outer, "down")

    def plug_in(self) -> None:
        _run("ip", "link", "set", self._outer, "up")

    def remove(self) -> None:
        subprocess.run(("ip", "netns", "del", self._space), capture_output=True, check=False)
        subprocess.run(("ip", "link", "del", self._outer), capture_output=True, check=False)


@contextmanager
def cable() -> Iterator[Cable]:
    """Skips the test where this user may not make one."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")
    made = Cable()
    try:
        made.make()
        yield made
    finally:
        made.remove()
