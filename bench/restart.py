"""How long a killed leader that is started again waits for itself: with a file to resume by, and without one.

Nobody else stands, and there is no guardian. The time is from right before the signal until the new process leads. It begins with a
Python that starts and imports, which `ready` shows by itself: from the same moment until it is about to connect.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.report import case, parser, percentile, show
from tests.servers.every import EVERY

import incumbent
from incumbent.runtime.clock import BoottimeClock

TTL_S: Final = 5.0
CLOCK: Final = BoottimeClock()
MS: Final = 1_000_000
WAITS: Final = "waits"
"""In the place of a file."""


async def lead(url: str, file: str) -> None:
    """What the measured process does: lead until it is killed."""
    ready_ns = CLOCK.now_ns()
    resume = None if file == WAITS else file
    async with (
        incumbent.connect(url, ttl=TTL_S, guardian=False, resume=resume) as cluster,
        cluster.election("bench", fenced=True).campaign() as term,
    ):
        print(json.dumps([ready_ns, CLOCK.now_ns(), term.token]), flush=True)
        await asyncio.Event().wait()


class Leader:
    """One after the other, each killed and started again."""

    def __init__(self, url: str, file: str) -> None:
        self._command = [sys.executable, __file__, "lead", url, file]
        self._process = self._start()
        _, _, self._token = self._heard()

    def again(self) -> tuple[float, float]:
        """Milliseconds from the kill until the new one is about to connect, and until it leads."""
        killed_ns = CLOCK.now_ns()
        self.close()
        self._process = self._start()
        ready_ns, leads_ns, token = self._heard()
        if token <= self._token:
            raise SystemExit(f"the token {token} came after {self._token}")
        self._token = token
        return (ready_ns - killed_ns) / MS, (leads_ns - killed_ns) / MS

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)

    def _heard(self) -> list[int]:
        assert self._process.stdout is not None
        heard: list[int] = json.loads(self._process.stdout.readline())
        return heard


def measure(engine: str, directory: Path, trials: int) -> list[dict[str, Any]]:
    (directory / engine).mkdir()
    with EVERY[engine](directory / engine) as url:
        resumed = _led(url, str(directory / f"{engine}.leader"), trials)
        waited = _led(url, WAITS, trials)
    shares = {"of_waiting": round(_median(resumed, 1) / _median(waited, 1), 4)}
    return [
        case(f"{engine} ready", [ready for ready, _ in resumed]),
        case(f"{engine} resumed", [leads for _, leads in resumed], **shares),
        case(f"{engine} waited", [leads for _, leads in waited], ttl_ms=1000 * TTL_S),
    ]


def _led(url: str, file: str, trials: int) -> list[tuple[float, float]]:
    with closing(Leader(url, file)) as leader:
        return [leader.again() for _ in range(trials)]


def _median(times: list[tuple[float, float]], which: int) -> float:
    return percentile(sorted(time[which] for time in times), 50)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--trials", type=int, default=5, help="restarts of each kind (default 5)")
    arguments.add_argument("--engine", action="append", choices=EVERY, help="cluster and etcd, if not said")
    options = arguments.parse_args()
    if options.trials < 1:
        arguments.error("--trials: give 1 or more")
    with tempfile.TemporaryDirectory(prefix="incumbent-bench-") as directory:
        found = [
            measure(engine, Path(directory), options.trials)
            for engine in options.engine or ("cluster", "etcd")
        ]
    show("restart", [each for cases in found for each in cases], as_json=options.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["lead"]:
        asyncio.run(lead(*sys.argv[2:]))
    else:
        main()
