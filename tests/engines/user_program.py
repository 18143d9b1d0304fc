"""A program as a user would write it: it knows its engine by the URL alone.

    python user_program.py DATABASE RESUME URL TTL HISTORY NAME GUARDIAN

Leads, and while it leads writes into a SQLite database, each row under its token. Resigns and goes on SIGTERM. What it saw of
its terms stands in HISTORY, for `incumbent check`. RESUME is the file to resume by; "none" = it does not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import sys
import time
from pathlib import Path

import incumbent
from incumbent.cli.demo.recorder import CLOCK, Recorder, TermRecorder
from incumbent.fencing.sqlite import Fence

ELECTION = "scheduler"
FORKED_S = 20.0


async def main(
    database: str, resume: str, url: str, ttl_s: str, history: str, name: str, guardian: str
) -> None:
    recorder = Recorder(Path(history))
    connection = sqlite3.connect(database, isolation_level=None, timeout=5.0)
    connection.execute(
        "create table if not exists jobs (number integer primary key, candidate text, token integer)"
    )
    fence = Fence(connection, ELECTION)

    async def work(term: incumbent.Term) -> None:
        if resume != "none" and os.fork() == 0:
            time.sleep(FORKED_S)  # a child that outlives this process, and holds all that it inherited
            os._exit(0)
        fence.prime(term.token)
        while True:
            with fence.write(term.token) as cursor:
                cursor.execute("insert into jobs (candidate, token) values (?, ?)", (name, term.token))
                written_ns = CLOCK.now_ns()  # nobody else writes now, so times are in the order of the writes
            recorder.record("accepted", time_ns=written_ns, election=ELECTION, token=term.token)
            await asyncio.sleep(0.02)

    async with incumbent.connect(
        url,
        ttl=float(ttl_s),
        guardian=guardian == "guardian",
        resume=None if resume == "none" else resume,
    ) as cluster:
        election = cluster.election(ELECTION, candidate=name, fenced=True, listener=TermRecorder(recorder))
        leading = asyncio.create_task(election.run(work))
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        await told.wait()
        await election.resign()
        leading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await leading


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
