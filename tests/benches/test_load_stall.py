"""The judge of spurious elections: it blames a stall that there was, and nobody else's."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from bench import load_stall
from bench.load_stall import BEFORE_NS, EXPLAINS_NS, MS, Election, Gap, gaps_in

ELECTION = Election(term=2, after_ns=10_000 * MS, seen_ns=10_250 * MS)


@pytest.mark.parametrize(
    ("gap", "explains"),
    [
        (Gap(10_000 * MS, EXPLAINS_NS), True),
        (Gap(10_000 * MS, EXPLAINS_NS - 1), False),
        (Gap(10_000 * MS - BEFORE_NS - 1, 1000 * MS), False),  # too long ago
        (Gap(10_300 * MS, 200 * MS), True),  # the election was in the middle of it
        (Gap(11_000 * MS, 200 * MS), False),  # it began afterwards
    ],
)
def test_an_election_is_spurious_without_a_stall_right_before_it(gap: Gap, *, explains: bool) -> None:
    others = [Gap(1000 * MS, 500 * MS), Gap(20_000 * MS, 500 * MS)]
    assert (ELECTION.due_to(sorted([*others, gap])) is not None) is explains


@pytest.mark.slow
def test_a_stalled_probe_says_so(tmp_path: Path) -> None:
    written = tmp_path / "gaps"
    with written.open("w") as out:
        probe = subprocess.Popen([sys.executable, load_stall.__file__, "--probe"], stdout=out)
        time.sleep(1.5)
        probe.send_signal(signal.SIGSTOP)
        time.sleep(0.4)
        probe.send_signal(signal.SIGCONT)
        time.sleep(0.2)
        probe.terminate()
        probe.wait()
    assert max(gap.ns for gap in gaps_in(written)) >= 350 * MS
