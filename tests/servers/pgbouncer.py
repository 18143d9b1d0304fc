"""PgBouncer in front of a PostgreSQL, pooling by transaction."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import psycopg

from tests.runtime.ports import free_addresses
from tests.servers.packages import debian, libraries
from tests.servers.postgres import PRIMARY, START_TIMEOUT_S, USER, Postgres
from tests.servers.unprivileged import Home

PACKAGES: Final = ("pgbouncer", "libc-ares2", "libevent-2.1-7", "libssl3")


class PgBouncer:
    """Hands every transaction to any of a few server connections, so nothing of a session may be relied on."""

    def __init__(self, host: str, port: int, pool_size: int) -> None:
        self.address = free_addresses("pool")["pool"]
        self.process: subprocess.Popen[bytes] | None = None
        self.home = Home("pgbouncer")
        self._tree = debian(*PACKAGES)
        self._settings = self.home.write(
            "pgbouncer.ini",
            f"""
            [databases]
            * = host={host} port={port} user={USER}
            [pgbouncer]
            listen_addr = {self.address[0]}
            listen_port = {self.address[1]}
            unix_socket_dir =
            auth_type = any
            pool_mode = transaction
            default_pool_size = {pool_size}
            max_client_conn = 200
            server_login_retry = 1
            """.replace("\n            ", "\n"),
        )

    @property
    def url(self) -> str:
        host, port = self.address
        return f"postgresql://{USER}@{host}:{port}/postgres"

    def start(self) -> None:
        """And wait until it answers."""
        self.process = self.home.start(
            [str(self._tree / "usr" / "sbin" / "pgbouncer"), str(self._settings)],
            {"LD_LIBRARY_PATH": libraries(self._tree)},
            "log",
        )
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if time.monotonic() > end or self.process.poll() is not None:
                    said = (self.home.path / "log").read_text()[-2000:]
                    raise TimeoutError(f"PgBouncer does not start: {said}") from error
                time.sleep(0.05)

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def close(self) -> None:
        self.kill()
        self.home.remove()


@contextmanager
def pgbouncer(server: Postgres, *, name: str = PRIMARY, pool_size: int = 4) -> Iterator[PgBouncer]:
    """In front of a running server; gone afterwards."""
    host, port = server.addresses[name]
    pool = PgBouncer(host, port, pool_size)
    try:
        pool.start()
        yield pool
    finally:
        pool.close()
