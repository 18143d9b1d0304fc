"""How long an election on PostgreSQL or Redis has no leader after its holder was killed, guarded and not.

Real candidates in processes of their own; a gap is from right before the kill to the moment at which another's term begins, and every
history is judged. ``--rival`` measures what is there without us, killed in the same way on the same server: PostgreSQL's advisory
lock, which the server frees when it sees the connection close, and redis-py's lock, which lasts as long as its timeout.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, show
from tests.engines.candidates import candidates
from tests.servers.postgres import postgres
from tests.servers.redis import redis

from incumbent.check.history import Kind

TTL_S: Final = 2.0
SETTLE_S: Final = 1.5
RIVALS: Final = {
    "postgresql": """
import psycopg, signal, sys, time
connection = psycopg.connect(sys.argv[1], autocommit=True)
print("ready", flush=True)
connection.execute("SELECT pg_advisory_lock(7)")
print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
signal.pause()
""",
    "redis": """
import redis, sys, threading, time
lock = redis.Redis.from_url(sys.argv[1]).lock("e", timeout=float(sys.argv[2]))
print("ready", flush=True)
lock.acquire()
print(time.clock_gettime(time.CLOCK_BOOTTIME), flush=True)
while True:
    time.sleep(float(sys.argv[2]) / 3)
    lock.reacquire()
""",
}


def ours(
    directory: Path, name: str, url: Callable[[str], str], trials: int, *, guardian: bool
) -> dict[str, Any]:
    """One heir waits in each trial, so that who succeeds is never a newcomer."""
    gaps_ms = list[float]()
    with candidates(directory, TTL_S) as standing:
        own = url("guarded" if guardian else "alone")
        standing.start("0", own, guardian=guardian)
        for trial in range(trials):
            holder = standing.until_elected(trial + 1)
            standing.start(str(trial + 1), own, guardian=guardian)
            time.sleep(SETTLE_S)
            standing.kill(holder.candidate)
            heir = standing.until_elected(trial + 2)
            gaps_ms.append((heir.time_ns - standing.events(Kind.KILLED)[-1].time_ns) / 1e6)
        standing.check()
    how = "guarded" if guardian else "by silence"
    return case(f"{name}: holder killed, {how}", gaps_ms, ttl_ms=1000 * TTL_S)


def rival(name: str, url: str, trials: int) -> dict[str, Any]:
    def start() -> tuple[subprocess.Popen[str], Iterator[str]]:
        words = [sys.executable, "-c", RIVALS[name], url, str(TTL_S)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        said = iter(process.stdout)
        next(said)
        return process, said

    gaps_ms = list[float]()
    holder, said = start()
    next(said)
    for _ in range(trials):
        heir, heard = start()
        time.sleep(SETTLE_S)
        killed_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        holder.kill()
        gaps_ms.append((float(next(heard)) - killed_s) * 1e3)
        holder.wait()
        holder = heir
    holder.kill()
    holder.wait()
    what = "advisory lock" if name == "postgresql" else "redis-py lock"
    return case(f"{name}: {what}, holder killed", gaps_ms, ttl_ms=1000 * TTL_S)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=10, help="samples for each case (10)")
    arguments.add_argument("--rival", action="store_true", help="measure the servers' own locks, too")
    options = arguments.parse_args()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="incumbent-bench-")))
        sql, keys = stack.enter_context(postgres()), stack.enter_context(redis(directory))
        urls: dict[str, Callable[[str], str]] = {
            "postgresql": lambda place: f"{sql.url()}?schema={place}",
            "redis": lambda place: f"{keys.url()}?namespace={place}&accept=advisory",
        }
        rows = list[dict[str, Any]]()
        for name, url in urls.items():
            for guardian in (True, False):
                home = directory / f"{name}-{guardian}"
                home.mkdir()
                rows.append(ours(home, name, url, options.trials, guardian=guardian))
            if options.rival:
                rows.append(rival(name, url("").partition("?")[0], options.trials))
    show("failover_servers", rows, as_json=options.json)


if __name__ == "__main__":
    main()
