"""The semaphore between real processes, which are killed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recipes import slot_worker

pytestmark = pytest.mark.slow
SLOTS = 2
WORKERS = 5
KILLS = 8
ROOT = Path(__file__).parents[2]


def start(url: str, directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.recipes.slot_worker", url, str(SLOTS), str(directory)]
    return subprocess.Popen(command, cwd=ROOT)


def taken(directory: Path) -> list[int]:
    """How often each slot was taken."""
    return [len(file.read_text().split()) for file in sorted(directory.iterdir())]


def test_never_more_holders_than_slots_while_they_are_killed(tmp_path: Path) -> None:
    directory, url = tmp_path / "slots", f"local://{tmp_path / 'engine'}"
    directory.mkdir()
    chance = random.Random(5)
    workers = [start(url, directory) for _ in range(WORKERS)]
    try:
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.3, 1.0))
            assert all(worker.poll() is None for worker in workers), "one was let in beside another"
            workers[0].kill()
            workers[0].wait()
            workers = [*workers[1:], start(url, directory)]
        before = sum(taken(directory))
        until_s = time.monotonic() + 20
        while sum(taken(directory)) < before + 10:
            assert time.monotonic() < until_s, "nobody gets a slot any more"
            assert all(worker.poll() is None for worker in workers), "one was let in beside another"
            time.sleep(0.1)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
    assert [file.name for file in sorted(directory.iterdir())] == [str(n) for n in range(SLOTS)]


def test_the_judge_sees_a_slot_with_two_holders(tmp_path: Path) -> None:
    """Two semaphores that do not know of each other, on one directory of slots."""
    directory = tmp_path / "slots"
    directory.mkdir()
    workers = [start(f"local://{tmp_path / name}", directory) for name in "ab"]
    try:
        until_s = time.monotonic() + 20
        while all(worker.poll() is None for worker in workers):
            assert time.monotonic() < until_s
            time.sleep(0.05)
        assert {worker.poll() for worker in workers} & {slot_worker.OVERLAP, slot_worker.FELL}
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()
