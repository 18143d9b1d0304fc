"""Take a safety argument out of the source and see that the test which holds it goes red.

Each row is one fault: the text that carries the argument, what it is replaced with, and the tests that must notice.
The fault is planted in a copy of the source; the tests run against the copy in a process of their own. A row whose text
is not found exactly once fails too, so that no row can rot.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTEST_TESTS_FAILED = 1  # pytest's exit code for "ran, and some failed"; 2 to 5 mean that it could not run


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    file: str  # below src/incumbent
    text: str  # stands there exactly once
    instead: str
    tests: tuple[str, ...]  # node ids; at least one of them must fail


DISRUPTION = "tests/consensus/test_disruption.py"
FAULTS: tuple[Fault, ...] = (
    Fault(
        "the vote is not made durable",
        "consensus/raft/replica.py",
        "encode_hard_state(state.hard_state) if state.hard_state != state.durable else None",
        "None",
        (f"{DISRUPTION}::test_a_vote_leaves_only_after_it_is_durable", "tests/sim/test_seeds.py"),
    ),
    Fault(
        "messages leave before what they rest on is durable",
        "runtime/driver.py",
        "self._transport.send(ready.now)",
        "self._transport.send([*ready.now, *ready.messages])",
        ("tests/runtime/test_driver.py::test_a_vote_leaves_only_after_it_is_durable",),
    ),
    Fault(
        "the fence lets everybody through",
        "fencing/sqlite.py",
        "if token >= highest:",
        "if token >= 0:",
        ("tests/fencing/test_sqlite.py",),
    ),
    Fault(
        "the holder keeps no margin for the rates of clocks",
        "leadership/tenure.py",
        "RATE_SLOW // RATE_FAST",
        "RATE_FAST // RATE_FAST",
        ("tests/leadership/test_overlap.py", "tests/leadership/test_tenure.py"),
    ),
    Fault(
        "the lease is counted from the reply",
        "leadership/keeper.py",
        "await self._engine.renew(self.session)",
        "await self._engine.renew(self.session); self.lease._started_ns = clock.now_ns()",
        ("tests/leadership/test_overlap.py", "tests/leadership/test_losing.py"),
    ),
    Fault(
        "an expiry of an old term is carried out",
        "kv/machine.py",
        "self._end(lease) if proposed == term else Code.EXPIRE_STALE",
        "self._end(lease)",
        ("tests/kv/test_machine.py::test_an_expiry_of_another_term_does_nothing",),
    ),
    Fault(
        "a new leader forgets that leases may just have been renewed",
        "node/leases.py",
        "lease: now_ns + ttl_ns for",
        "lease: now_ns + ttl_ns // 4 for",
        ("tests/node/test_node.py::test_a_leader_change_extends_leases_and_never_shortens_them",),
    ),
    Fault(
        "a renewal is acknowledged without proof of leadership",
        "node/node.py",
        "self._replica.step(ReadRequested(own), self._flight.rounds[own][-1].received_ns)",
        "self._flight.confirmed.append((Index(0), self._flight.rounds.pop(own)))",
        ("tests/node/test_node.py::test_a_renewal_needs_proof_of_leadership_from_after_its_receipt",),
    ),
    Fault(
        "an entry of an old term counts as committed",
        "consensus/raft/replication.py",
        "if state.log.term_at(candidate) != state.term:",
        "if False:",
        ("tests/consensus/test_paper_replication.py",),
    ),
    Fault(
        "corruption is taken for a torn tail",
        "runtime/wal.py",
        "later.batch > self._at.batch + 1",
        "later.batch < 0",
        ("tests/runtime/test_wal.py",),
    ),
    Fault(
        "the disk is not part of the voter's identity",
        "ids.py",
        'return NodeId(f"{name}.{disk}")',
        'return NodeId(f"{name}.0")',
        ("tests/test_ids.py",),
    ),
    Fault(
        "a claim does not look at who came before",
        "engines/cluster/members.py",
        "Condition(key, Compare.CREATE, Is.GREATER, member.revision - 1, end),",
        "",
        ("tests/engines/test_cluster_conformance_memory.py",),
    ),
)


def run_with(fault: Fault, copy: Path) -> subprocess.CompletedProcess[str]:
    """Plant the fault in a copy of the source and run its tests against that."""
    shutil.copytree(ROOT / "src", copy / "src", ignore=shutil.ignore_patterns("__pycache__"))
    target = copy / "src" / "incumbent" / fault.file
    source = target.read_text()
    assert source.count(fault.text) == 1, (
        f"{fault.name}: its text stands {source.count(fault.text)} times in {fault.file}"
    )
    target.write_text(source.replace(fault.text, fault.instead))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *fault.tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_planted_fault_turns_its_test_red(fault: Fault, tmp_path: Path) -> None:
    done = run_with(fault, tmp_path)
    assert done.returncode == PYTEST_TESTS_FAILED, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_harness_sees_a_harmless_change_as_harmless(tmp_path: Path) -> None:
    """The other side of the check: without a fault the same run is green, and it ran the copy."""
    harmless = Fault(
        "harmless",
        "ids.py",
        "TOKEN_NATIVE_BITS: Final = 56",
        "TOKEN_NATIVE_BITS: Final = 28 * 2",
        ("tests/test_ids.py",),
    )
    done = run_with(harmless, tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_harness_runs_the_copy_and_not_the_original(tmp_path: Path) -> None:
    narrow = Fault(
        "narrow",
        "ids.py",
        "TOKEN_NATIVE_BITS: Final = 56",
        "TOKEN_NATIVE_BITS: Final = 60",
        ("tests/test_ids.py",),
    )
    assert run_with(narrow, tmp_path).returncode == PYTEST_TESTS_FAILED
