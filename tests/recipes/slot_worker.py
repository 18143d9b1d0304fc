"""A process that takes a slot again and again: ``python -m tests.recipes.slot_worker URL SLOTS DIRECTORY``.

The judge is the kernel: while it holds slot k, the process holds the file lock of ``DIRECTORY/k``, which goes with the process and
not a moment before. Whoever finds it taken was let in beside another, and ends with OVERLAP.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import random
import sys
from pathlib import Path

import incumbent
from incumbent.errors import LeadershipLost
from incumbent.recipes.semaphore import Semaphore

TTL_S = 1.0
OVERLAP = 3
FELL = 4


async def take(semaphore: Semaphore, directory: Path) -> None:
    async with semaphore.hold() as slot:
        file = os.open(directory / str(slot.number), os.O_RDWR | os.O_CREAT)
        try:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.exit(OVERLAP)
            tokens = os.pread(file, 1 << 20, 0).decode().split()
            if tokens and int(tokens[-1]) >= slot.term.token:
                sys.exit(FELL)
            os.pwrite(file, f"{slot.term.token}\n".encode(), os.fstat(file).st_size)
            await asyncio.sleep(random.uniform(0.01, 0.2))
        finally:
            os.close(file)


async def main(url: str, slots: int, directory: Path) -> None:
    async with incumbent.connect(url, ttl=TTL_S) as cluster:
        semaphore = Semaphore(cluster, "s", slots, fenced=True)
        while True:
            try:
                await take(semaphore, directory)
            except LeadershipLost:
                continue


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
