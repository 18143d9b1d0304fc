"""Candidates as processes of their own, on a real etcd, and the history that they write.

    python -m tests.engines.etcd_process PARENT URL TTL NAME HISTORY GUARDIAN

campaigns for ever; the leader looks every few milliseconds whether it still leads, and writes down that it acts.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import incumbent
from incumbent.check import history
from incumbent.check.history import Event, Kind
from incumbent.check.leadership import Judgement, Verdict, judge
from incumbent.cli.demo.child import die_with
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder, process_name

ROOT = Path(__file__).parents[2]
ELECTION = "e"
ACT_EVERY_S = 0.02
PATIENCE_S = 25.0


async def campaign(url: str, ttl_s: float, name: str, recorder: TermRecorder, *, guardian: bool) -> None:
    async def act(term: incumbent.Term) -> None:
        while True:
            checked_ns = CLOCK.now_ns()
            term.check()
            recorder.acting(ELECTION, name, term.token, time_ns=checked_ns)
            await asyncio.sleep(ACT_EVERY_S)

    async with incumbent.connect(url, ttl=ttl_s, guardian=guardian) as cluster:
        await cluster.election(ELECTION, candidate=name, fenced=True, listener=recorder).run(act)


class Candidates:
    """Started by name. You owe a `close`."""

    def __init__(self, directory: Path, ttl_s: float, *, guardian: bool = False) -> None:
        self._path = directory / "history"
        self._path.touch()
        self._recorder = Recorder(self._path)
        self._ttl_s = ttl_s
        self._guardian = guardian
        self._log = directory / "candidates.log"
        self._processes: dict[str, tuple[subprocess.Popen[bytes], str]] = {}
        self._dead: list[tuple[subprocess.Popen[bytes], str]] = []

    def start(
        self, name: str, url: str, inside: Sequence[str] = (), environment: dict[str, str] | None = None
    ) -> None:
        arguments = [str(os.getpid()), url, str(self._ttl_s), name, str(self._path), str(int(self._guardian))]
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*inside, sys.executable, "-m", "tests.engines.etcd_process", *arguments],
                cwd=ROOT, stdout=log, stderr=log, env={**os.environ, **(environment or {})},
            )  # fmt: skip
        if name in self._processes:
            self._dead.append(self._processes[name])
        self._processes[name] = process, process_name(process.pid)

    def signal(self, name: str, number: signal.Signals) -> None:
        """Also into the history, which must know of whom it hears nothing any more."""
        process, known_as = self._processes[name]
        process.send_signal(number)
        kinds = {signal.SIGKILL: Kind.KILLED, signal.SIGSTOP: Kind.STOPPED, signal.SIGCONT: Kind.CONTINUED}
        self._recorder.record(kinds[number].value, process=known_as)

    def leading(self) -> tuple[str, int] | None:
        """Who has acted last, and with which token."""
        acts = [event for event in self.history() if event.kind is Kind.ACTING]
        return (acts[-1].candidate, acts[-1].token) if acts else None

    def until(self, condition: Callable[[str, int], object]) -> tuple[str, int]:
        """Until the last who acted fulfils it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self.leading()
            if found is not None and condition(*found):
                return found
            time.sleep(0.02)
        raise AssertionError(
            f"not within {PATIENCE_S} s; the last was {self.leading()}\n{self._log.read_text()[-3000:]}"
        )

    def until_above(self, token: int) -> tuple[str, int]:
        return self.until(lambda _, now: now > token)

    def until_acting_anew(self) -> tuple[str, int]:
        """Until somebody acts from now on."""
        now_ns = CLOCK.now_ns()
        return self.until(lambda _, __: self.history()[-1].time_ns > now_ns and self._acted_since(now_ns))

    def _acted_since(self, time_ns: int) -> bool:
        return any(event.kind is Kind.ACTING and event.time_ns > time_ns for event in self.history())

    def history(self) -> Sequence[Event]:
        return history.parse(
            line for line in self._path.read_text().splitlines(keepends=True) if line.endswith("\n")
        )

    def judged(self) -> Judgement:
        """Raises AssertionError unless the history is clean."""
        judgement = judge(self.history())
        assert judgement.verdict is Verdict.OK, (judgement.findings, judgement.gaps)
        return judgement

    def close(self) -> None:
        for process, _ in (*self._processes.values(), *self._dead):
            process.kill()
            process.wait()
        self._recorder.close()


if __name__ == "__main__":
    die_with(int(sys.argv[1]))
    written = TermRecorder(Recorder(Path(sys.argv[5])))
    asyncio.run(campaign(sys.argv[2], float(sys.argv[3]), sys.argv[4], written, guardian=sys.argv[6] == "1"))
