"""Real processes that stand in one election: starts, stops and kills them, reads what they wrote down, and has it judged."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from incumbent.check.history import Event, Kind, parse
from incumbent.check.leadership import Verdict, judge
from incumbent.cli.demo.children import Kin
from incumbent.cli.demo.recorder import CLOCK, Recorder, process_name
from tests.servers import family

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 30.0
PROGRAM: Final = ("-m", "tests.engines.candidate_process")


class Candidates:
    """By name. All of them write to one history. `program`: the words before URL, TTL, HISTORY, NAME and GUARDIAN."""

    def __init__(self, directory: Path, ttl_s: float, program: Sequence[str] = PROGRAM) -> None:
        self.history = directory / "history.jsonl"
        self.log = directory / "candidates.log"
        self._ttl_s = ttl_s
        self._program = program
        self._recorder = Recorder(self.history)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(
        self,
        name: str,
        url: str,
        *,
        guardian: bool = False,
        within: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`within`: what stands before the command, such as the way into a network namespace."""
        words = [url, str(self._ttl_s), str(self.history), name, "guardian" if guardian else "alone"]
        with self.log.open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [*within, sys.executable, *self._program, *words],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, **(environment or {})},
            )  # fmt: skip

    def kill(self, name: str) -> None:
        process = self._processes.pop(name)
        named = process_name(process.pid)
        # Stopped first: between a look at the clock and the kill it would act on, and after the kill a successor may be first.
        process.send_signal(signal.SIGSTOP)
        while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] not in "TZ":
            time.sleep(0.0001)
        killed_ns = CLOCK.now_ns()
        process.kill()
        process.wait()
        self._recorder.record("killed", time_ns=killed_ns, process=named)

    def crash(self, name: str) -> None:
        """Killed together with its guardian, as by the end of their host."""
        pid = self._processes[name].pid
        family.stop(pid)
        with Kin([pid]) as kin:
            self.kill(name)
            kin.kill()

    def terminate(self, name: str) -> int:
        """Asked to go (SIGTERM); its exit code."""
        process = self._processes.pop(name)
        process.terminate()
        return process.wait(PATIENCE_S)

    def stop(self, name: str) -> None:
        process = self._processes[name]
        process.send_signal(signal.SIGSTOP)
        self._recorder.record("stopped", process=process_name(process.pid))

    def go_on(self, name: str) -> None:
        process = self._processes[name]
        self._recorder.record("continued", process=process_name(process.pid))
        process.send_signal(signal.SIGCONT)

    def ended(self) -> dict[str, int]:
        """Whose process is over by itself, and its exit code. They can be started again."""
        over = {name: code for name, p in self._processes.items() if (code := p.poll()) is not None}
        for name in over:
            del self._processes[name]
        return over

    def close(self) -> None:
        with Kin([process.pid for process in self._processes.values()]) as kin:
            for process in self._processes.values():
                process.kill()
                process.wait()
            kin.kill()
        self._recorder.close()

    # --- what they wrote down -------------------------------------------------------------------------------------

    def events(self, *kinds: Kind) -> list[Event]:
        found = parse(self.history.read_text().splitlines())
        return [event for event in found if not kinds or event.kind in kinds]

    def elected(self) -> list[Event]:
        return self.events(Kind.ELECTED)

    def until(self, what: Callable[[], bool], words: str) -> None:
        end = time.monotonic() + PATIENCE_S
        while not what():
            if time.monotonic() > end:
                raise AssertionError(f"{words}: {self.log.read_text()[-1500:]}")
            time.sleep(0.01)

    def until_elected(self, terms: int) -> Event:
        """The newest term, once there have been so many."""
        self.until(lambda: len(self.elected()) >= terms, f"no term number {terms} came")
        return self.elected()[-1]

    def until_ended(self, token: int) -> Event:
        def ended() -> list[Event]:
            return [event for event in self.events(Kind.ENDED) if event.token == token]

        self.until(lambda: bool(ended()), f"the term {token} did not end")
        return ended()[0]

    def until_acting(self, *, other_than: int = 0) -> Event:
        """Who acts as the leader from now on, with another token than that one."""
        before = len(self.events())

        def acting() -> list[Event]:
            return [e for e in self.events()[before:] if e.kind is Kind.ACTING and e.token != other_than]

        self.until(lambda: bool(acting()), "nobody acts as the leader")
        return acting()[0]

    def until_renewed(self) -> None:
        """Until a leader's renewal was confirmed from now on."""
        before = len(self.events(Kind.EXTENDED))
        self.until(lambda: len(self.events(Kind.EXTENDED)) > before, "no renewal was confirmed")

    def check(self) -> None:
        """No overlap, tokens rise, nobody acts outside of a term."""
        judgement = judge(self.events())
        assert judgement.verdict is Verdict.OK, [*judgement.findings, *judgement.gaps]


@contextmanager
def candidates(directory: Path, ttl_s: float, program: Sequence[str] = PROGRAM) -> Iterator[Candidates]:
    standing = Candidates(directory, ttl_s, program)
    try:
        yield standing
    finally:
        standing.close()
