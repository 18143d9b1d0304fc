"""A candidate of a failure run, as a user would write it: over the public API, leading and resigning, and writing with its token.

    python -m tests.torture.engines.candidate PARENT SINK SEED URL TTL HISTORY NAME GUARDIAN

Some of what it writes is late: it passed its check, and is sent up to one and a half TTLs later, whoever leads then.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from typing import Final

import incumbent
from incumbent.cli.demo.child import die_with
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder
from tests.torture.engines.sink import ELECTION

ACT_EVERY_S: Final = 0.03
LEADS_S: Final = (2.0, 12.0)
LATE: Final = 0.1
"""So many of all writes."""
LATE_TTLS_MAX: Final = 1.5
LATE_AT_ONCE_MAX: Final = 16
AGAIN_S: Final = 0.1


class Candidate:
    def __init__(self, name: str, ttl_s: float, sink: str, seed: str, recorder: TermRecorder) -> None:
        self._name = name
        self._ttl_s = ttl_s
        self._sink = sink
        self._random = Random(f"{seed}/{name}")
        self._recorder = recorder
        self._late = set[asyncio.Task[None]]()

    async def stand(self, url: str, *, guardian: bool) -> None:
        """For ever, whatever fails."""
        while True:
            try:
                async with incumbent.connect(url, ttl=self._ttl_s, guardian=guardian) as cluster:
                    election = cluster.election(
                        ELECTION, candidate=self._name, fenced=True, listener=self._recorder
                    )
                    while True:
                        await election.run(self._lead)
            except incumbent.IncumbentError as error:
                print(f"{self._name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                await asyncio.sleep(AGAIN_S)

    async def _lead(self, term: incumbent.Term) -> None:
        end_ns = CLOCK.now_ns() + int(self._random.uniform(*LEADS_S) * 1e9)
        while (checked_ns := CLOCK.now_ns()) < end_ns:
            term.check()
            self._recorder.acting(ELECTION, self._name, term.token, time_ns=checked_ns)
            if self._random.random() < LATE and len(self._late) < LATE_AT_ONCE_MAX:
                after_s = self._random.uniform(0.0, LATE_TTLS_MAX * self._ttl_s)
                task = asyncio.create_task(self._write(term.token, after_s))
                self._late.add(task)
                task.add_done_callback(self._late.discard)
            else:
                await self._write(term.token, 0.0)
            await asyncio.sleep(ACT_EVERY_S)

    async def _write(self, token: int, after_s: float) -> None:
        await asyncio.sleep(after_s)
        reader, writer = await asyncio.open_unix_connection(self._sink)
        try:
            writer.write(b"%d\n" % token)
            await reader.readline()
        finally:
            writer.close()


if __name__ == "__main__":
    parent, sink, seed, url, ttl_s, history, name, guardian = sys.argv[1:]
    die_with(int(parent))
    candidate = Candidate(name, float(ttl_s), sink, seed, TermRecorder(Recorder(Path(history))))
    asyncio.run(candidate.stand(url, guardian=guardian == "guardian"))
