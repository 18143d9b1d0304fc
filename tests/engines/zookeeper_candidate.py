"""A real candidate, on any engine: campaigns for ever, and records its terms for the judge.

python -m tests.engines.zookeeper_candidate NAME URL TTL HISTORY
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Final

import incumbent
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder
from incumbent.leadership.term import Term

ELECTION: Final = "e"
ACT_EVERY_S: Final = 0.02


async def main(name: str, url: str, ttl: str, history: str) -> None:
    recorder = TermRecorder(Recorder(Path(history)))

    async def work(term: Term) -> None:
        while True:
            checked_ns = CLOCK.now_ns()
            term.check()
            recorder.acting(ELECTION, name, term.token, time_ns=checked_ns)
            await asyncio.sleep(ACT_EVERY_S)

    async with incumbent.connect(url, ttl=float(ttl)) as cluster:
        print("ready", flush=True)
        await cluster.election(ELECTION, candidate=name, fenced=True, listener=recorder).run(work)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
