"""Real guarded processes, and an engine of a stranger's whose ender writes down what it is asked to do.

The engine is a distribution on the guarded process's path, as a third party would install it, so the helper process has to
find it there too. A reference is a JSON object: the file to write, and how the ender is to behave.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
PATIENCE_S = 20.0
SCHEME = "recorder"

ENDER = """
import asyncio, json, time
from incumbent.errors import EngineUnavailable, InvalidInput

def make_ender():
    return Recorder()

class Recorder:
    failures = 0

    async def prepare(self, ref):
        order = json.loads(ref)
        if order.get("unprepared"):
            raise EngineUnavailable("cannot be reached yet")
        if order.get("hangs"):
            await asyncio.sleep(3600)
        write(order["file"] + ".prepared")

    async def end(self, ref):
        order = json.loads(ref)
        self.failures += 1
        with open(order["file"] + ".attempts", "a") as file:
            file.write(".")
        if self.failures <= order.get("failures", 0):
            raise RuntimeError("a client library fell over")
        if order.get("hangs"):
            await asyncio.sleep(3600)
        write(order["file"])
        return True

    async def close(self):
        pass

def write(path):
    with open(path + ".new", "w") as file:
        file.write(str(time.clock_gettime(time.CLOCK_BOOTTIME)))
    import os
    os.rename(path + ".new", path)
"""


def install_recorder(directory: Path) -> Path:
    """A distribution that registers the scheme `recorder`. Returns what to put on the path."""
    package = directory / "recorder_engine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "ender.py").write_text(ENDER)
    info = directory / "recorder_engine-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: recorder-engine\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[incumbent.engines]\nrecorder = recorder_engine:connect\n")
    return directory


class Order:
    """One session of the recorder engine, and what became of it."""

    def __init__(self, file: Path, **behaviour: object) -> None:
        self.file = file
        self.ref = json.dumps({"file": str(file), **behaviour}).encode()

    @property
    def ended(self) -> bool:
        return self.file.exists()

    @property
    def ended_at_s(self) -> float:
        return float(self.file.read_text())

    @property
    def prepared(self) -> bool:
        return Path(f"{self.file}.prepared").exists()

    @property
    def attempts(self) -> int:
        path = Path(f"{self.file}.attempts")
        return len(path.read_text()) if path.exists() else 0


class Process:
    """Talks to one guarded process."""

    def __init__(self, site: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.guardian.guarded_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])},
            text=True,
        )
        self.pid = self._process.pid
        self._helpers = set[int]()

    def do(self, verb: str, *arguments: object) -> Any:
        answer = self.ask(verb, *arguments)
        assert "done" in answer, answer
        return answer["done"]

    def ask(self, verb: str, *arguments: object) -> Any:
        self.tell(verb, *arguments)
        assert self._process.stdout
        answer = json.loads(self._process.stdout.readline())
        if verb in ("start", "helper") and answer.get("done"):
            self._helpers.add(answer["done"])
        return answer

    def tell(self, verb: str, *arguments: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps([verb, *arguments]) + "\n")
        self._process.stdin.flush()

    def start(self, end_timeout: float = 10.0) -> int:
        helper = self.do("start", end_timeout)
        assert isinstance(helper, int)
        return helper

    def watch(self, order: Order, release_delay: float = 0.0) -> None:
        self.do("watch", SCHEME, order.ref.hex(), release_delay)

    def send_signal(self, number: int) -> None:
        self._process.send_signal(number)

    def kill(self) -> float:
        """SIGKILL, not reaped yet. Returns when."""
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        self._process.kill()
        return now_s

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe
            with suppress(BrokenPipeError):
                pipe.close()
        for helper in self._helpers:
            if is_guardian(helper):
                os.kill(helper, 9)


@contextmanager
def guarded(site: Path) -> Iterator[Process]:
    process = Process(site)
    try:
        yield process
    finally:
        process.close()


def is_guardian(pid: int) -> bool:
    """Whether that process lives and is a helper of ours."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return b"incumbent.guardian" in command and state not in "ZX"


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.005)
