"""The strict fake of the Lease API in a process of its own, over real HTTP, on loopback unless told otherwise.

    python -m tests.servers.kubernetes KUBECONFIG HOST

Says `ready` once it serves, and serves until it is killed. Obeys lines on its standard input: `away` and `back` (the API server,
with the Leases kept), `compact`, `harm SEED` (some of the next answers are lost, late or errors) and `spare`; says `ready` after each.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from incumbent.testing.kubernetes import Fault, Harm, KubernetesFake

ROOT = Path(__file__).parents[2]
HARMED: Final = ("get", "list", "create", "update", "delete")
HARMED_TIMES: Final = 3
HARMED_AFTER_MAX: Final = 12
STATUSES: Final = (429, 500, 503)
DELAY_S_MAX: Final = 1.0


class Kubernetes:
    def __init__(self, directory: Path, host: str) -> None:
        self.config = directory / "kubeconfig"
        command = [sys.executable, "-m", "tests.servers.kubernetes", str(self.config), host]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def wait(self) -> None:
        """For its word that it has done what it was told."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            raise TimeoutError("the fake does not serve")

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        self.wait()

    def stop(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@contextmanager
def kubernetes(directory: Path, *, host: str = "127.0.0.1") -> Iterator[Kubernetes]:
    """Serving; gone afterwards, with all that it kept."""
    server = Kubernetes(directory, host)
    try:
        server.wait()
        yield server
    finally:
        server.close()


def _harm(fake: KubernetesFake, random: Random) -> None:
    for verb in HARMED:
        for harm in Harm:
            fake.faults.append(
                Fault(
                    harm, verb, times=HARMED_TIMES, skip=random.randrange(HARMED_AFTER_MAX),
                    seconds=random.uniform(0, DELAY_S_MAX), status=random.choice(STATUSES),
                )
            )  # fmt: skip


async def _obey(fake: KubernetesFake, line: str) -> None:
    match line.split():
        case ["away"]:
            await fake.stop()
        case ["back"]:
            await fake.start()
        case ["compact"]:
            fake.compact()
        case ["harm", seed]:
            _harm(fake, Random(seed))
        case ["spare"]:
            fake.faults.clear()
        case _:
            raise ValueError(line)


async def _serve(config: Path, host: str) -> None:
    async with KubernetesFake(host=host) as fake:
        fake.kubeconfig(config)
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            await _obey(fake, line)
            print("ready", flush=True)


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), sys.argv[2]))
