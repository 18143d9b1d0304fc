"""``incumbent serve`` as real processes on loopback, and ``incumbent cluster`` beside them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.runtime.ports import free_addresses

from incumbent.runtime.frames import Address

COMMAND = (sys.executable, "-m", "incumbent")
START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 15.0


class Processes:
    """Nodes by name; each keeps its address over restarts."""

    def __init__(self, path: Path, names: str) -> None:
        self.path = path
        self.addresses: dict[str, Address] = free_addresses(*names)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *names: str, command: Sequence[str] = COMMAND, **options: str) -> None:
        """`command`: another release's."""
        for name in names:
            host, port = self.addresses[name]
            said = {"node": name, "data-dir": str(self.path / name), "listen": f"{host}:{port}", **options}
            flags = [part for key, value in said.items() for part in (f"--{key}", value)]
            with (self.path / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    [*command, "serve", *flags], stderr=log, env=_environment(), start_new_session=True
                )

    def stop(self, *names: str) -> None:
        """As an operator does it. Asserts that it ends well."""
        for name in names:
            process = self.running.pop(name)
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_TIMEOUT_S) == 0, self.log(name)

    def kill(self, *names: str) -> None:
        for name in names:
            process = self.running.pop(name)
            process.kill()
            process.wait(STOP_TIMEOUT_S)

    def log(self, name: str) -> str:
        return (self.path / f"{name}.log").read_text()

    def named(self, *names: str) -> list[str]:
        """As `init` and `add` want them."""
        return [f"{name}={self.endpoint(name)}" for name in names]

    def endpoint(self, name: str) -> str:
        host, port = self.addresses[name]
        return f"{host}:{port}"

    def ask(self, verb: str, *arguments: str, of: str | None = "a", timeout: float = 20.0) -> dict[str, Any]:
        """``incumbent cluster VERB … --json``. Raises AssertionError when it fails."""
        done = self.try_to(verb, *arguments, of=of, timeout=timeout)
        assert done.returncode == 0, (
            verb,
            arguments,
            done.stderr,
            {n: self.log(n)[-2000:] for n in self.running},
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def try_to(
        self, verb: str, *arguments: str, of: str | None = "a", timeout: float = 20.0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        endpoints = () if of is None else ("--endpoints", ",".join(map(self.endpoint, of)))
        return subprocess.run(
            [*COMMAND, "cluster", verb, *arguments, *endpoints, "--timeout", str(timeout), "--json"],
            capture_output=True, text=True, timeout=timeout + START_TIMEOUT_S, env=_environment() | environment, check=False,
        )  # fmt: skip

    def status(self, of: str = "a") -> Mapping[str, Mapping[str, Any]]:
        nodes: Mapping[str, Mapping[str, Any]] = self.ask("status", of=of)["nodes"]
        return nodes

    def form(self, *names: str, witnesses: tuple[str, ...] = ()) -> None:
        """Start them, wait until they answer, and make them a cluster."""
        self.start(*names)
        wanted = [part for name in witnesses for part in ("--witness", name)]
        until(lambda: self.try_to("init", *self.named(*names), *wanted, of=None).returncode == 0)

    def leader(self, of: str = "a") -> str:
        """Once one serves and says so itself."""
        found: list[str] = []

        def serving() -> bool:
            done = self.try_to("status", of=of)
            nodes = json.loads(done.stdout)["nodes"] if done.returncode == 0 else {}
            found[:] = [name for name, report in nodes.items() if report.get("serving")]
            return len(found) == 1

        until(serving)
        return found[0]


@contextmanager
def processes(path: Path, names: str) -> Iterator[Processes]:
    made = Processes(path, names)
    try:
        yield made
    finally:
        made.kill(*list(made.running))


def until(condition: Any, seconds: float = START_TIMEOUT_S) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.05)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("INCUMBENT_")}
