"""Kills and errors at every call that changes the disk, made below Python by a library that is loaded first."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("faults.c")
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None and "CI" not in os.environ:
        pytest.skip("no C compiler, so no faults can be made below Python: install gcc to run this")
    assert compiler is not None, "CI has a C compiler"
    made = tmp_path_factory.mktemp("faults") / "faults.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", str(made), str(SOURCE), "-ldl"]
    subprocess.run(command, check=True)
    return made


def harness(library: Path, directory: Path, seed: int, *more: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.storage.harness", str(directory), str(seed), *more],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": str(library)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2])
def test_a_fault_at_any_call_loses_nothing_acknowledged(library: Path, tmp_path: Path, seed: int) -> None:
    """P51. Kills before, after and in the middle of every write, sync, renaming and deletion; errors and short writes there."""
    found = harness(library, tmp_path, seed)
    assert found["wrong"] == []
    assert found["trials"] > 500


@pytest.mark.slow
def test_a_log_that_writes_on_after_an_error_is_found(library: Path, tmp_path: Path) -> None:
    """The harness can fail."""
    found = harness(library, tmp_path, 1, "careless")
    assert any("a write succeeded after the error" in one for one in found["wrong"])
