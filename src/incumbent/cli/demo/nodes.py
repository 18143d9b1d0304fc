"""The demo's processes: three workers and the resource, started, signalled, listened to and ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

from incumbent.cli.demo.children import Kin
from incumbent.cli.demo.recorder import CLOCK, Recorder, process_name
from incumbent.errors import IncumbentError

WAIT_S_MAX: Final = 30.0
"""How long any single thing may take before the demo gives up and says which."""
POLL_S: Final = 0.02
LOG_LINES_SHOWN: Final = 15
LINE_BYTES_MAX: Final = 64 * 1024

Message = Mapping[str, Any]


class DemoFailed(IncumbentError):
    """The demo could not go on: something did not happen in time, or a process ended that should not have."""


@dataclass(slots=True)
class Child:
    """One process, and everything it said."""

    name: str
    module: str
    arguments: list[str]
    log: Path
    on_line: Callable[[str, Message], None]
    process: asyncio.subprocess.Process | None = None
    identity: str = ""  # pid and start time
    stopped: bool = False
    said: list[Message] = field(default_factory=list)  # since its start
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _reading: asyncio.Task[None] | None = None

    async def start(self) -> Self:
        """Start it; it dies with the demo, but not of a Ctrl-C that is meant for the demo."""
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.module, str(os.getpid()), *self.arguments,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=log, limit=LINE_BYTES_MAX,
                start_new_session=True,
            )  # fmt: skip
        self.identity = process_name(self.process.pid)
        self.said = []
        self._reading = asyncio.create_task(self._read(self.process))
        return self

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    def tell(self, command: str) -> None:
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(command.encode() + b"\n")

    def signal(self, number: signal.Signals) -> int:
        """Send a signal; gives the time right before."""
        assert self.process is not None
        signalled_ns = CLOCK.now_ns()
        self.process.send_signal(number)
        return signalled_ns

    async def wait_for(self, what: str, matches: Callable[[Message], bool], *, since: int = 0) -> Message:
        """The first thing it says, from the `since`th on, that matches."""

        def find() -> Message | None:
            return next((message for message in self.said[since:] if matches(message)), None)

        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while (found := find()) is None:
                    if not self.alive:
                        raise DemoFailed(f"node {self.name} ended while waiting for: {what}\n{self.tail()}")
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError as error:
            raise DemoFailed(
                f"node {self.name}: {what} did not happen in {WAIT_S_MAX} s\n{self.tail()}"
            ) from error
        return found

    async def ask(self, command: str, answer: str) -> Message:
        """Send a command and wait for its answer."""
        since = len(self.said)
        self.tell(command)
        found = await self.wait_for(
            f"the answer to {command!r}", lambda m: m.get("event") in (answer, "failed"), since=since
        )
        if found["event"] == "failed":
            raise DemoFailed(f"node {self.name} could not {command}: {found['error']}\n{self.tail()}")
        return found

    async def end(self) -> None:
        """Kill it, by its pid, and wait for its end."""
        if self.alive:
            self.signal(signal.SIGKILL)
        if self.process is not None:
            await self.process.wait()
        if self._reading is not None:
            await self._reading

    def tail(self) -> str:
        """The end of its log, for a failure message."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {self.name}| {line}" for line in lines[-LOG_LINES_SHOWN:])

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            message = json.loads(line)
            self.said.append(message)
            self.on_line(self.name, message)
            self._news.set()
        await process.wait()
        self._news.set()


class Nodes:
    """Three workers and a resource in one directory."""

    NAMES: Final = ("a", "b", "c")

    def __init__(self, directory: Path, *, ttl: float, on_line: Callable[[str, Message], None]) -> None:
        self.directory = directory
        self._ttl = ttl
        self._on_line = on_line
        self._starts = dict.fromkeys(self.NAMES, 0)
        self._killed: dict[str, int] = {}  # when, until it is recorded
        self.operator = Recorder(directory / "history-operator.jsonl")
        peers = ",".join(
            f"{name}@127.0.0.1:{port}" for name, port in zip(self.NAMES, free_ports(3), strict=True)
        )
        self._urls = {
            name: f"cluster://{quote(str(directory / name))}?cluster=demo&node={name}&peers={peers}"
            for name in self.NAMES
        }
        self._resource_port = 0
        files = [str(directory / "resource.db"), str(directory / "history-resource.jsonl")]
        self.resource = self._child("resource", "incumbent.cli.demo.resource", files)
        self.workers = {name: self._child(name, "incumbent.cli.demo.worker", []) for name in self.NAMES}

    def _child(self, name: str, module: str, arguments: list[str]) -> Child:
        return Child(name, module, arguments, self.directory / f"{name}.log", self._on_line)

    async def start(self) -> None:
        """Start everything, and wait until all three stand for election."""
        await self.resource.start()
        said = await self.resource.wait_for("listening", lambda message: "listening" in message)
        self._resource_port = said["listening"]
        for name in self.NAMES:
            await self._start(name)
        await self.settle()

    async def _start(self, name: str) -> None:
        self._starts[name] += 1
        self.workers[name].arguments = [
            name, self._urls[name], str(self._ttl), str(self._resource_port), str(self._history_of(name)),
        ]  # fmt: skip
        await self.workers[name].start()

    def _history_of(self, name: str) -> Path:
        return self.directory / f"history-{name}-{self._starts[name]}.jsonl"

    async def settle(self) -> None:
        """Restart who is dead, from its disk, and wait until all three are candidates again."""
        for name, worker in self.workers.items():
            if not worker.alive:
                await self._bury(name)
                await self._start(name)
        for worker in self.workers.values():
            await worker.wait_for("joining the cluster", lambda message: message["event"] == "ready")
        await self.raft_leader()

    async def raft_leader(self) -> str:
        """Wait until all living nodes agree on who leads the Raft cluster, and each of them stands for election once."""
        alive = [name for name, worker in self.workers.items() if worker.alive]
        status: list[Message] = []
        try:
            async with asyncio.timeout(WAIT_S_MAX):
                while True:
                    status = [await self.workers[name].ask("status", "status") for name in alive]
                    leaders = {each["raft_leader"] for each in status}
                    if len(leaders) == 1 and all(sorted(each["candidates"]) == alive for each in status):
                        (leader,) = leaders
                        if leader in alive:
                            return str(leader)
                    await asyncio.sleep(POLL_S)
        except TimeoutError as error:
            raise DemoFailed(
                f"nodes {', '.join(alive)} did not agree on a Raft leader and on the candidates in {WAIT_S_MAX} s; they say "
                f"{[dict(each) for each in status]}\n{self.tails()}"
            ) from error

    def tails(self) -> str:
        """The ends of all logs, for a failure message."""
        return "\n".join(child.tail() for child in (*self.workers.values(), self.resource))

    def signal(self, name: str, number: signal.Signals) -> int:
        """Stop a worker (SIGSTOP) or let it go on (SIGCONT), and record it; gives the time."""
        worker = self.workers[name]
        worker.stopped = number is signal.SIGSTOP
        signalled_ns = worker.signal(number)
        word = "stopped" if worker.stopped else "continued"
        self.operator.record(word, time_ns=signalled_ns, process=worker.identity)
        return signalled_ns

    def kill(self, name: str) -> int:
        """SIGKILL a worker; gives the time."""
        self._killed[name] = self.workers[name].signal(signal.SIGKILL)
        return self._killed[name]

    async def _bury(self, name: str) -> None:
        """Wait for the end of a killed worker, and record its death: right after the signal was sent, or after the last
        line that it managed to write before the signal was delivered."""
        worker = self.workers[name]
        await worker.end()
        if name in self._killed:
            last_lines = self._history_of(name).read_text().splitlines()[-1:]
            last_ns = json.loads(last_lines[0])["time_ns"] if last_lines else 0
            self.operator.record(
                "killed", time_ns=max(self._killed.pop(name), last_ns), process=worker.identity
            )

    async def end(self) -> None:
        """Kill everything, by pid. The guardians too: there is no cluster left in which they could end a session."""
        with Kin(
            [worker.process.pid for worker in self.workers.values() if worker.process is not None]
        ) as kin:
            for name in self.NAMES:
                if self._starts[name]:
                    await self._bury(name)
            kin.kill()
        await self.resource.end()
        self.operator.close()

    def history(self) -> list[str]:
        """All histories merged, as lines."""
        files = sorted(self.directory.glob("history-*.jsonl"))
        return [line for file in files for line in file.read_text().splitlines()]


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that nobody uses at this moment."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def wait_ms(start_ns: int, end_ns: int) -> float:
    return round((end_ns - start_ns) / 1e6, 3)
