"""The strict fake of the Lease API in a process of its own, over real HTTP on loopback.

    python -m tests.servers.kubernetes KUBECONFIG

Says `ready` once it serves, and serves until it is killed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from incumbent.testing.kubernetes import KubernetesFake

ROOT = Path(__file__).parents[2]


@contextmanager
def kubernetes(directory: Path) -> Iterator[Path]:
    """Its kubeconfig, while it serves."""
    config = directory / "kubeconfig"
    command = [sys.executable, "-m", "tests.servers.kubernetes", str(config)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise TimeoutError("the fake does not start")
            yield config
        finally:
            process.kill()


async def _serve(config: Path) -> None:
    async with KubernetesFake() as fake:
        fake.kubeconfig(config)
        print("ready", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
