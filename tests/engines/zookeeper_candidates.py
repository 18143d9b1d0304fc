"""Real candidates in processes of their own, and the judge's word on what they recorded."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from incumbent.check.history import Event, Kind, parse
from incumbent.check.leadership import Judgement, Verdict, judge
from incumbent.cli.demo.recorder import Recorder, process_name
from tests.engines.zookeeper_candidate import ELECTION

ROOT: Final = Path(__file__).parent.parent.parent
PATIENCE_S: Final = 40.0
KINDS: Final = {
    signal.SIGKILL: Kind.KILLED,
    signal.SIGSTOP: Kind.STOPPED,
    signal.SIGCONT: Kind.CONTINUED,
}


class Candidates:
    def __init__(self, directory: Path, url: str, ttl_s: float) -> None:
        self.history = directory / "history.jsonl"
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self._directory = directory
        self._url = url
        self._ttl_s = ttl_s
        self._recorder = Recorder(self.history)

    def start(self, name: str, within: Sequence[str] = ()) -> None:
        arguments = (name, self._url, str(self._ttl_s), str(self.history))
        with (self._directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [*within, sys.executable, "-m", "tests.engines.zookeeper_candidate", *arguments],
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=ROOT,
                text=True,
            )
        out = self.processes[name].stdout
        assert out is not None
        assert out.readline() == "ready\n", (self._directory / f"{name}.log").read_text()[-2000:]

    def signal(self, name: str, number: signal.Signals) -> None:
        """Recorded before a stop or a kill could have worked, and after it has."""
        process = self.processes[name]
        who = process_name(process.pid)
        if number is signal.SIGCONT:
            self._recorder.record(KINDS[number], process=who)
        process.send_signal(number)
        if number is signal.SIGKILL:
            process.wait()
            del self.processes[name]
            assert process.stdout is not None
            process.stdout.close()
        if number is not signal.SIGCONT:
            self._recorder.record(KINDS[number], process=who)

    def events(self) -> Sequence[Event]:
        return parse(self.history.read_text().splitlines())

    def leader(self, *, not_token: int = 0) -> Event:
        """Who acts as the leader from now on, with another token than that one."""
        since = len(self.history.read_text().splitlines())
        end_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < end_s:
            lines = self.history.read_text().splitlines()
            for event in parse(lines[since:]):
                if event.kind is Kind.ACTING and event.token != not_token:
                    return event
            time.sleep(0.01)
        raise TimeoutError("nobody leads")

    def judged(self) -> Judgement:
        """Raises AssertionError when leaderships overlapped, tokens fell, or somebody acted outside of its term."""
        judgement = judge(self.events())
        assert judgement.verdict is Verdict.OK, judgement
        tokens = judgement.tokens[ELECTION]
        assert list(tokens) == sorted(set(tokens))
        return judgement

    def close(self) -> None:
        for process in self.processes.values():
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._recorder.close()


@contextmanager
def candidates(directory: Path, url: str, ttl_s: float) -> Iterator[Candidates]:
    running = Candidates(directory, url, ttl_s)
    try:
        yield running
    finally:
        running.close()
