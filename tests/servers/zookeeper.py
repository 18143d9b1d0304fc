"""ZooKeeper: one member or three, on free ports of loopback, from Debian's packages and any Java, Debian's where there is none."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.runtime.ports import free_addresses
from tests.servers.ensemble import Ensemble
from tests.servers.packages import NotAvailable, debian

PACKAGES: Final = (
    "libzookeeper-java", "libslf4j-java", "libdropwizard-metrics-java", "libsnappy-java", "libsnappy-jni",
    "libnetty-java",
)  # fmt: skip
JARS: Final = ("zookeeper", "zookeeper-jute", "slf4j-api", "slf4j-simple", "metrics-core", "snappy-java")
JARS_PREFIXED: Final = ("netty-",)  # TLS needs them
JVM: Final = (
    "-Xmx192m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true",
)  # fmt: skip
MAIN: Final = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
DEFAULTS: Final = {
    "tickTime": "500",
    "initLimit": "20",
    "syncLimit": "10",
    "admin.enableServer": "false",
    "4lw.commands.whitelist": "*",
    "maxClientCnxns": "0",
}
ASK_TIMEOUT_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 65536
LEADING: Final = ("leader", "standalone")


class ZooKeeper(Ensemble):
    """Members by name; each keeps its ports and its directory. `options` are lines of its configuration, ``tickTime=200``.

    A member of one runs alone, and counts as the leader. With `hosts` and `within`, each member listens on a host of its own and
    is started by a command of its own: in a network namespace.
    """

    start_timeout_s = 40.0

    def __init__(
        self,
        directory: Path,
        members: int,
        *options: str,
        hosts: Mapping[str, str] | None = None,
        within: Mapping[str, Sequence[str]] | None = None,
        jvm: Sequence[str] = JVM,
    ) -> None:
        names = [f"m{number}" for number in range(members)]
        super().__init__(_on(hosts, free_addresses(*names)))
        self.environment: dict[str, str] = {}  # of what is started from now on: a changed clock, for instance
        self._peers = _on(hosts, free_addresses(*names))
        self._elections = _on(hosts, free_addresses(*names))
        self._directory = directory
        self._options = DEFAULTS | dict(option.split("=", 1) for option in options)
        self._within = within or {}
        tree = debian(*PACKAGES) / "usr" / "share" / "java"
        jars = [tree / f"{jar}.jar" for jar in JARS]
        jars += [jar for prefix in JARS_PREFIXED for jar in sorted(tree.glob(f"{prefix}*.jar"))]
        self._command = [*_java(), *jvm, "-cp", ":".join(map(str, jars)), MAIN]

    @property
    def hosts(self) -> str:
        """What stands in a URL: ``127.0.0.1:2181,…``."""
        return ",".join(f"{host}:{port}" for host, port in self.clients.values())

    def data(self, name: str) -> Path:
        """Its directory: copied for a backup, removed for an empty start, while it does not run."""
        return self._directory / name

    def start(self, name: str) -> None:
        data = self.data(name)
        data.mkdir(exist_ok=True)
        host, port = self.clients[name]
        lines = [f"{option}={value}" for option, value in self._options.items()]
        lines += [f"dataDir={data}", f"clientPort={port}", f"clientPortAddress={host}"]
        if len(self.clients) > 1:
            for at, peer in enumerate(self.clients, 1):
                (address, quorum), (_, election) = self._peers[peer], self._elections[peer]
                lines.append(f"server.{at}={address}:{quorum}:{election}")
            (data / "myid").write_text(str(1 + list(self.clients).index(name)))
        configuration = self._directory / f"{name}.cfg"
        configuration.write_text("\n".join(lines) + "\n")
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*self._within.get(name, ()), *self._command, str(configuration)],
                stdout=log, stderr=log, env={**os.environ, **self.environment},
            )  # fmt: skip

    def ask(self, name: str, word: str = "srvr") -> str:
        """A four-letter word's answer. Raises OSError."""
        with socket.create_connection(self.clients[name], ASK_TIMEOUT_S) as connection:
            connection.sendall(word.encode())
            answer = b""
            while len(answer) < ANSWER_BYTES_MAX and (more := connection.recv(4096)):
                answer += more
        return answer.decode()

    def mode(self, name: str) -> str | None:
        """leader, follower or standalone; None while it does not serve."""
        try:
            found = re.search(r"^Mode: (\w+)$", self.ask(name), re.MULTILINE)
        except OSError:
            return None
        return found[1] if found else None

    def leader(self) -> str | None:
        """Who leads, as long as more than half of the members serve."""
        modes = {name: mode for name in self.processes if (mode := self.mode(name)) is not None}
        if len(modes) * 2 <= len(self.clients):
            return None
        return next((name for name, mode in modes.items() if mode in LEADING), None)


@contextmanager
def zookeeper(directory: Path, members: int = 3, *options: str) -> Iterator[ZooKeeper]:
    """Running, with a leader; gone afterwards."""
    server = ZooKeeper(directory, members, *options)
    with server.running():
        yield server


def _on(
    hosts: Mapping[str, str] | None, addresses: Mapping[str, tuple[str, int]]
) -> dict[str, tuple[str, int]]:
    return {name: ((hosts or {}).get(name, host), port) for name, (host, port) in addresses.items()}


def _java() -> list[str]:
    """This machine's, or the one that Debian prefers."""
    found = os.environ.get("INCUMBENT_TEST_JAVA") or shutil.which("java")
    if found:
        return [found]
    package = _preferred_java()
    found = next(map(str, debian(package).glob("usr/lib/jvm/*/bin/java")), None)
    if found is None:
        raise NotAvailable(f"{package} holds no java")
    return [found]


def _preferred_java() -> str:
    asked = ["apt-cache", "depends", "default-jre-headless"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise NotAvailable(f"no java, and no Debian to take one from: {error}") from error
    found = re.search(r"Depends: (openjdk-\d+-jre-headless)", told)
    if found is None:
        raise NotAvailable("Debian names no java")
    return found[1]
