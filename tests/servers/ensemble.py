"""What servers of several members have in common: processes by name, one of which leads."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Self

LOOK_EVERY_S: Final = 0.05


class Ensemble:
    start_timeout_s = 30.0

    def __init__(self, clients: dict[str, tuple[str, int]]) -> None:
        self.clients = clients  # where each member is asked
        self.processes: dict[str, subprocess.Popen[bytes]] = {}  # of those that run

    def start(self, name: str) -> None:
        raise NotImplementedError

    def leader(self) -> str | None:
        raise NotImplementedError

    def wait(self) -> str:
        """The leader, once there is one."""
        end = time.monotonic() + self.start_timeout_s
        while time.monotonic() < end:
            if (leader := self.leader()) is not None:
                return leader
            time.sleep(LOOK_EVERY_S)
        raise TimeoutError(f"{type(self).__name__} has no leader")

    def kill(self, name: str) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        self.processes[name].send_signal(number)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """All members, with a leader; gone afterwards."""
        try:
            for name in self.clients:
                self.start(name)
            self.wait()
            yield self
        finally:
            self.close()

    def restart(self) -> None:
        """All at once; returns when there is a leader again."""
        self.close()
        for name in self.clients:
            self.start(name)
        self.wait()
