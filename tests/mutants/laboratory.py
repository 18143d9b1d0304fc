"""Plant a mutant in a copy of everything and let its killers at it, in processes of their own."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Finding, Killer, Mutant, Seeds

ROOT: Final = Path(__file__).parent.parent.parent
COPIED: Final = ("src", "tests", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile")
COMMAND_TIMEOUT_S: Final = 120.0
RED: Final = 1
"""The exit code of a laboratory, and of pytest, that ran and found something; others mean that it could not run."""


NOTHING: Final = Finding("-")


class Fate(StrEnum):
    KILLED = "killed"
    SURVIVED = "SURVIVED"
    NOT_RUN = "NOT RUN"  # a killer could not run at all, or ran out of time


@dataclass(frozen=True, slots=True)
class Verdict:
    mutant: str
    file: str
    fate: Fate
    by: str  # what killed it, or why nobody could try
    seeds: int  # looked at, the red one included
    seconds: float


def copy_everything(to: Path) -> Path:
    """A copy in which to plant; the tree may change meanwhile."""
    to.mkdir(parents=True)
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, to / name)
    return to


def mutated(mutant: Mutant, tree: Path) -> str:
    """The mutated file's text. Raises ValueError when the mutant's own text does not stand there exactly once."""
    source = (tree / "src" / "incumbent" / mutant.file).read_text()
    found = source.count(mutant.text)
    if found != 1:
        raise ValueError(f"{mutant.name}: its text stands {found} times in {mutant.file}")
    return source.replace(mutant.text, mutant.instead)


def try_to_kill(mutant: Mutant, tree: Path, scratch: Path) -> Verdict:
    """Plant `mutant` in a copy of `tree` below `scratch`, and let its killers at it until one goes red."""
    began = time.monotonic()
    home = scratch / hashlib.sha256(mutant.name.encode()).hexdigest()[:16]
    shutil.copytree(tree, home)
    (home / "src" / "incumbent" / mutant.file).write_text(mutated(mutant, tree))
    seeds = 0
    fate, finding = Fate.SURVIVED, NOTHING
    for killer in mutant.killers:
        fate, finding = run(killer, home)
        seeds += finding.seeds
        if fate is not Fate.SURVIVED:
            break
    shutil.rmtree(home)
    seconds = round(time.monotonic() - began, 1)
    return Verdict(mutant.name, mutant.file, fate, finding.what, seeds, seconds)


def false_alarm(killer: Killer, tree: Path) -> str | None:
    """What `killer` says of the source as it is, when that is not that all is well: then it proves nothing about a mutant."""
    fate, finding = run(killer, tree)
    return None if fate is Fate.SURVIVED else f"red without any mutant: {finding.what}"


def run(killer: Killer, home: Path) -> tuple[Fate, Finding]:
    """What one killer says of the source in `home`."""
    words = " ".join(killer.command)
    try:
        done = subprocess.run(
            [sys.executable, "-m", *killer.command],
            cwd=home,
            env={
                **os.environ,
                "PYTHONPATH": str(home / "src"),
                "PYTHONDONTWRITEBYTECODE": "1",
                "INCUMBENT_TEST_CACHE": str(ROOT / ".cache"),
            },
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Fate.NOT_RUN, Finding(f"{words}: no end after {COMMAND_TIMEOUT_S:.0f} s")
    if done.returncode == RED:
        return Fate.KILLED, killer.finding(done.stdout)
    if done.returncode != 0:
        output = (done.stdout + done.stderr)[-300:]
        return Fate.NOT_RUN, Finding(f"{words}: exit code {done.returncode}: {output}")
    return Fate.SURVIVED, Finding("-", killer.budget if isinstance(killer, Seeds) else 0)
