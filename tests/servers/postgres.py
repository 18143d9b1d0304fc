"""PostgreSQL from Debian's packages: a primary, and if asked for a standby that can be promoted."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import psycopg

from tests.runtime.ports import free_addresses
from tests.servers import family
from tests.servers.packages import debian, libraries
from tests.servers.unprivileged import Home

PACKAGES: Final = (
    *("postgresql-15", "postgresql-client-15", "libpq5", "libssl3", "libicu72", "libxml2", "libldap-2.5-0"),
    *("libgssapi-krb5-2", "libkrb5-3", "libk5crypto3", "libkrb5support0", "libkeyutils1", "libsasl2-2"),
)
"""The server, and the libraries that a small Debian does not have. jit is off, so LLVM is not needed."""
START_TIMEOUT_S: Final = 30.0
MAKE_TIMEOUT_S: Final = 60.0
USER: Final = "postgres"
PRIMARY: Final = "primary"
STANDBY: Final = "standby"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "jit": "off",
    "timezone": "GMT",
    "log_timezone": "GMT",
    "shared_buffers": "16MB",
    "max_connections": "100",
    "wal_keep_size": "64MB",
    "max_wal_size": "128MB",
}


class Postgres:
    """Servers by name, `primary` and `standby`; each keeps its port and its directory. Any password will do."""

    def __init__(self, **settings: str) -> None:
        self.addresses = free_addresses(PRIMARY, STANDBY)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.home = Home("postgres")
        self.environment: dict[str, str] = {}  # of what is started from now on: a changed clock, for instance
        self.settings = {**SETTINGS, **settings}
        self._tree = debian(*PACKAGES)
        self._libraries = {"LD_LIBRARY_PATH": libraries(self._tree)}

    def make(self) -> None:
        """The primary's directory, empty."""
        self._run(
            "initdb", "--pgdata", str(self.data(PRIMARY)), "--username", USER, "--auth", "trust",
            "--encoding", "UTF8", "--locale", "C", "--no-sync",
        )  # fmt: skip
        # For clients in network namespaces of this host, where the server listens beyond loopback.
        rules = self.data(PRIMARY) / "pg_hba.conf"
        rules.write_text(rules.read_text() + "host all all samenet trust\n")

    def start(self, name: str = PRIMARY) -> None:
        """And wait until it answers."""
        settings = {**self.settings, "port": str(self.addresses[name][1])}
        given = [word for key, value in settings.items() for word in ("-c", f"{key}={value}")]
        self.processes[name] = self.home.start(
            [self._program("postgres"), "-D", str(self.data(name)), *given],
            {**self._libraries, **self.environment},
            f"{name}.log",
        )
        self.wait(name)

    def url(self, name: str = PRIMARY, database: str = "postgres") -> str:
        host, port = self.addresses[name]
        return f"postgresql://{USER}@{host}:{port}/{database}"

    def ask(self, statement: str, *values: object, name: str = PRIMARY) -> list[tuple[Any, ...]]:
        """One statement in a connection of its own. Raises psycopg.Error."""
        with psycopg.connect(self.url(name), autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def wait(self, name: str = PRIMARY) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.ask("SELECT 1", name=name)
                return
            except psycopg.OperationalError:
                if time.monotonic() > end or self.processes[name].poll() is not None:
                    raise TimeoutError(f"PostgreSQL does not start: {self.log(name)}") from None
                time.sleep(0.05)

    def add_standby(self, *, synchronous: bool, name: str = STANDBY, of: str = PRIMARY) -> None:
        """A copy that follows the primary `of`. Synchronous: a commit waits until both have it on disk. What was at the place of
        the copy is removed; it has to be down."""
        host, port = self.addresses[of]
        self.home.run(["rm", "-rf", str(self.data(name))], os.environ, MAKE_TIMEOUT_S)
        self._run(
            "pg_basebackup", "--pgdata", str(self.data(name)), "--write-recovery-conf", "--no-sync",
            "--checkpoint", "fast", "--dbname", f"host={host} port={port} user={USER} application_name={name}",
        )  # fmt: skip
        self.start(name)
        self._until(
            f"SELECT 1 FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'", of
        )
        if synchronous:
            self.ask(f"ALTER SYSTEM SET synchronous_standby_names = '{name}'", name=of)
            self.ask("SELECT pg_reload_conf()", name=of)
            self._until("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'", of)

    def part(self) -> None:
        """The standby follows no more, although both run."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''", name=STANDBY)
        self.ask("SELECT pg_reload_conf()", name=STANDBY)
        self._until("SELECT 1 WHERE NOT EXISTS (SELECT FROM pg_stat_replication)")

    def promote(self, name: str = STANDBY) -> None:
        """Make the standby a primary, whatever the old one does."""
        self.ask("SELECT pg_promote(true, 30)", name=name)
        # What the copy brought along: it would wait for a standby of its own.
        self.ask("ALTER SYSTEM RESET synchronous_standby_names", name=name)
        self.ask("SELECT pg_reload_conf()", name=name)

    def backup(self) -> Path:
        """A copy of the primary's directory. It has to be down."""
        copy = self.home.path / "backup"
        self.home.run(["cp", "-a", str(self.data(PRIMARY)), str(copy)], os.environ, MAKE_TIMEOUT_S)
        return copy

    def restore(self, copy: Path) -> None:
        """Put a backup in the place of the primary's directory. It has to be down."""
        data = str(self.data(PRIMARY))
        self.home.run(["rm", "-rf", data], os.environ, MAKE_TIMEOUT_S)
        self.home.run(["cp", "-a", str(copy), data], os.environ, MAKE_TIMEOUT_S)

    def data(self, name: str) -> Path:
        return self.home.path / name

    def log(self, name: str = PRIMARY) -> str:
        return (self.home.path / f"{name}.log").read_text()[-2000:]

    def kill(self, name: str = PRIMARY) -> None:
        """SIGKILL to all of its processes at one moment."""
        process = self.processes.pop(name)
        family.kill(process.pid)
        process.wait()

    def shut_down(self, name: str = PRIMARY) -> None:
        """In order: what is committed is in the data files."""
        process = self.processes.pop(name)
        self._run("pg_ctl", "stop", "--pgdata", str(self.data(name)), "--mode", "fast")
        process.wait()

    def stop(self, name: str = PRIMARY) -> None:
        """SIGSTOP to all of its processes."""
        family.stop(self.processes[name].pid)

    def go_on(self, name: str = PRIMARY) -> None:
        family.go_on(self.processes[name].pid)

    def close(self) -> None:
        for name in list(self.processes):
            self.kill(name)
        self.home.remove()

    def _until(self, statement: str, name: str = PRIMARY) -> None:
        end = time.monotonic() + START_TIMEOUT_S
        while not self.ask(statement, name=name):
            if time.monotonic() > end:
                raise TimeoutError(f"the standby does not follow: {self.log(name)}")
            time.sleep(0.05)

    def _run(self, program: str, *arguments: str) -> None:
        self.home.run([self._program(program), *arguments], self._libraries, MAKE_TIMEOUT_S)

    def _program(self, name: str) -> str:
        return str(self._tree / "usr" / "lib" / "postgresql" / "15" / "bin" / name)


@contextmanager
def postgres(*, standby: str | None = None, **settings: str) -> Iterator[Postgres]:
    """Running; gone afterwards. `standby`: None, "synchronous" or "asynchronous". Settings are postgresql.conf's."""
    server = Postgres(**settings)
    try:
        server.make()
        server.start()
        if standby is not None:
            server.add_standby(synchronous=standby == "synchronous")
        yield server
    finally:
        server.close()
