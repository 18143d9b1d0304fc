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


FAULTS: tuple[Fault, ...] = (
    Fault(
        "the fence refuses nobody",
        "fencing/sqlite.py",
        "if token >= highest:",
        "if token:",
        ("tests/fencing/test_sqlite.py",),
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
