"""A real process on a local directory, for tests: joins a group, says what it got, and then does as it is told.

    python -m tests.engines.local_process DIRECTORY GROUP TTL RELEASE_DELAY

Prints one JSON line with the session's reference and the token, then renews until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import subprocess
import sys
from pathlib import Path

from incumbent.engines.api import Claimed
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


class Process:
    """Starts one and reads what it says. Kills it at the end."""

    def __init__(self, directory: Path, group: str, ttl_s: float, release_delay_s: float = 0.0) -> None:
        arguments = [str(directory), group, str(ttl_s), str(release_delay_s)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engines.local_process", *arguments],
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
    asyncio.run(hold(sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])))
