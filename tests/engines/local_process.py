"""A real process on a local directory, for tests: joins a group, says what it got, and then does as it is told.

    python -m tests.engines.local_process hold DIRECTORY GROUP TTL RELEASE_DELAY

Prints one JSON line with the session's reference and the token, then renews until it is killed.

    python -m tests.engines.local_process race DIRECTORY TERMS

Leads TERMS times. Each time it makes a file that nobody else may have, and writes its token to a journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
from pathlib import Path

from incumbent.engines.api import Claimed, Waiting
from incumbent.engines.local.engine import LocalEngine

ROOT = Path(__file__).parent.parent.parent


async def hold(directory: str, group: str, ttl_s: float, release_delay_s: float) -> None:
    engine = await LocalEngine.open(Path(directory))
    session = await engine.open_session(ttl_s, secrets.token_hex(16), release_delay=release_delay_s)
    member = await engine.join(session, group, secrets.token_hex(16), b"")
    answer = await engine.claim(member)
    token = answer.token if isinstance(answer, Claimed) else None
    print(json.dumps({"ref": session.ref.hex(), "token": token}), flush=True)
    while True:
        await asyncio.sleep(ttl_s / 4)
        await engine.renew(session)


async def race(directory: str, terms: int) -> None:
    engine = await LocalEngine.open(Path(directory))
    marks = Path(f"{directory}-marks")
    for _ in range(terms):
        session = await engine.open_session(60.0, secrets.token_hex(16))
        member = await engine.join(session, "race", secrets.token_hex(16), b"")
        while isinstance(answer := await engine.claim(member), Waiting):
            watch = engine.watch("race", answer.cursor)
            await anext(watch)
            await watch.aclose()
        mark = marks / "leader"
        mark.touch(exist_ok=False)  # fails when somebody else leads
        with (marks / "journal").open("a") as journal:
            print(answer.token, file=journal)
        mark.unlink()
        if secrets.randbelow(2):
            await engine.leave(member)
        else:
            await engine.end_session(session.ref)
    # Dies as a leader or in the queue: the others must get past it.
    session = await engine.open_session(60.0, secrets.token_hex(16))
    await engine.claim(await engine.join(session, "race", secrets.token_hex(16), b""))
    os.kill(os.getpid(), signal.SIGKILL)


async def run_race(directory: Path, processes: int, terms: int) -> list[int]:
    """Let processes race to the end. Returns the tokens in the order in which they led."""
    marks = Path(f"{directory}-marks")
    marks.mkdir()
    arguments = ["-m", "tests.engines.local_process", "race", str(directory), str(terms)]
    racing = [
        await asyncio.create_subprocess_exec(sys.executable, *arguments, cwd=ROOT) for _ in range(processes)
    ]
    codes = [await process.wait() for process in racing]
    assert codes == [-signal.SIGKILL] * processes
    return [int(line) for line in (marks / "journal").read_text().split()]


class Process:
    """Starts one and reads what it says. Kills it at the end."""

    def __init__(self, directory: Path, group: str, ttl_s: float, release_delay_s: float = 0.0) -> None:
        arguments = [str(directory), group, str(ttl_s), str(release_delay_s)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.local_process", "hold", *arguments],
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        assert self._process.stdout is not None
        said = json.loads(self._process.stdout.readline())
        self.ref = bytes.fromhex(said["ref"])
        self.token: int | None = said["token"]
        self.pid = self._process.pid

    def kill(self) -> None:
        """SIGKILL, and no wait: nobody has reaped it when the others look."""
        self._process.kill()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        asyncio.run(hold(sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5])))
    else:
        asyncio.run(race(sys.argv[2], int(sys.argv[3])))
