"""A real process that stands in an election, and writes down what it sees of itself.

    python -m tests.engines.candidate_process URL TTL HISTORY NAME GUARDIAN

Stands again after every loss, for ever. While it leads it acts as often as it can, each time after its own check.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import incumbent
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder
from incumbent.errors import IncumbentError
from incumbent.leadership.term import Term

ELECTION: Final = "e"
ACT_EVERY_S: Final = 0.005


async def stand(url: str, ttl_s: float, history: Path, name: str, *, guardian: bool) -> None:
    recorder = TermRecorder(Recorder(history))

    async def act(term: Term) -> None:
        while True:
            now_ns = CLOCK.now_ns()
            if term.is_valid:
                recorder.acting(ELECTION, name, term.token, time_ns=now_ns)
            await asyncio.sleep(ACT_EVERY_S)

    while True:
        try:
            async with incumbent.connect(url, ttl=ttl_s, guardian=guardian) as cluster:
                await cluster.election(ELECTION, candidate=name, fenced=True, listener=recorder).run(act)
        except IncumbentError as error:
            print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            await asyncio.sleep(0.1)


if __name__ == "__main__":
    url, ttl_s, history, name, guardian = sys.argv[1:]
    asyncio.run(stand(url, float(ttl_s), Path(history), name, guardian=guardian == "guardian"))
