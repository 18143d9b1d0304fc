"""Redis from Debian's packages: one server, and if asked for replicas of it."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.runtime.ports import free_addresses
from tests.servers.packages import debian, libraries

PACKAGES: Final = ("redis-server", "redis-tools", "libjemalloc2", "liblzf1", "libatomic1", "libssl3")
START_TIMEOUT_S: Final = 30.0
ASK_TIMEOUT_S: Final = 2.0
PRIMARY: Final = "primary"
REPLICA: Final = "replica"


class RedisError(Exception):
    """The server answered with an error."""


class Redis:
    """Servers by name, `primary` and `replica`; each keeps its port and its directory."""

    def __init__(self, directory: Path, *options: str, persistent: bool = True) -> None:
        self.addresses = free_addresses(PRIMARY, REPLICA)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment: dict[str, str] = {}  # of what is started from now on: a changed clock, for instance
        self._directory = directory
        self._options = options
        self._persistence = (
            ["--appendonly", "yes", "--appendfsync", "always"] if persistent else ["--appendonly", "no"]
        )
        self._tree = debian(*PACKAGES)

    def start(self, name: str = PRIMARY, *options: str) -> None:
        """And wait until it answers and, if it follows another, has caught up."""
        data = self.data(name)
        data.mkdir(exist_ok=True)
        host, port = self.addresses[name]
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    str(self._tree / "usr" / "bin" / "redis-server"), "--bind", host, "--port", str(port),
                    "--dir", str(data), "--save", "", *self._persistence, *self._options, *options,
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"LD_LIBRARY_PATH": libraries(self._tree), **self.environment},
            )  # fmt: skip
        self.wait(name)

    def add_replica(self) -> None:
        host, port = self.addresses[PRIMARY]
        self.start(REPLICA, "--replicaof", f"{host} {port}", "--repl-diskless-sync-delay", "0")
        end = time.monotonic() + START_TIMEOUT_S
        while b"master_link_status:up" not in self._info(REPLICA):
            if time.monotonic() > end:
                raise TimeoutError("the replica does not follow")
            time.sleep(0.05)

    def promote(self) -> None:
        """Make the replica a primary, whatever the old one does."""
        self.ask("REPLICAOF", "NO", "ONE", name=REPLICA)

    def url(self, name: str = PRIMARY) -> str:
        host, port = self.addresses[name]
        return f"redis://{host}:{port}/0"

    def ask(self, *words: str | bytes, name: str = PRIMARY) -> bytes:
        """One command over a connection of its own; the answer as it stands on the wire, of a nested one the first line.

        Raises OSError, RedisError.
        """
        parts = [word.encode() if isinstance(word, str) else word for word in words]
        with (
            socket.create_connection(self.addresses[name], timeout=ASK_TIMEOUT_S) as link,
            link.makefile("rb") as answer,
        ):
            link.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))
            line = answer.readline()
            if not line:
                raise ConnectionResetError("no answer")
            if line.startswith(b"-"):
                raise RedisError(line[1:].decode().strip())
            return (
                answer.read(int(line[1:]))
                if line.startswith(b"$") and line[1:2] != b"-"
                else line[1:].strip()
            )

    def wait(self, name: str = PRIMARY) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.ask("PING", name=name)
                return
            except (OSError, RedisError) as error:  # not up yet, or loading
                if time.monotonic() > end or self.processes[name].poll() is not None:
                    said = (self._directory / f"{name}.log").read_text()[-2000:]
                    raise TimeoutError(f"Redis does not start: {said}") from error
                time.sleep(0.02)

    def data(self, name: str = PRIMARY) -> Path:
        return self._directory / name

    def backup(self) -> Path:
        """A copy of the primary's files, as they are now."""
        return Path(shutil.copytree(self.data(), self._directory / "backup"))

    def restore(self, copy: Path) -> None:
        """Put a backup in the place of the primary's files. It has to be down."""
        shutil.rmtree(self.data())
        shutil.copytree(copy, self.data())

    def kill(self, name: str = PRIMARY) -> None:
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def signal(self, number: signal.Signals, name: str = PRIMARY) -> None:
        self.processes[name].send_signal(number)

    def stop(self, name: str = PRIMARY) -> None:
        self.signal(signal.SIGSTOP, name)

    def go_on(self, name: str = PRIMARY) -> None:
        self.signal(signal.SIGCONT, name)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def _info(self, name: str) -> bytes:
        return self.ask("INFO", "replication", name=name)


@contextmanager
def redis(directory: Path, *options: str, persistent: bool = True, replica: bool = False) -> Iterator[Redis]:
    """Running; gone afterwards. `persistent`: every write is on disk before its answer. Options are redis-server's."""
    server = Redis(directory, *options, persistent=persistent)
    try:
        server.start()
        if replica:
            server.add_replica()
        yield server
    finally:
        server.close()
