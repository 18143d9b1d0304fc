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

from tests.mutants.mutant import Killer, Mutant, Seeds

ROOT: Final = Path(__file__).parent.parent.parent
COPIED: Final = ("src", "tests", "docs", "pyproject.toml", "README.md", "CONTRIBUTING.md", "Makefile")
KILLER_TIMEOUT_S: Final = 300.0
RED: Final = 1
"""The exit code of a laboratory, and of pytest, that ran and found something; others mean that it could not run."""


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


def fingerprint(tree: Path) -> str:
    """Changes when anything in the source or the tests does."""
    digest = hashlib.sha256()
    for path in sorted(p for part in ("src", "tests") for p in (tree / part).rglob("*") if p.is_file()):
        digest.update(f"{path.relative_to(tree)}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def mutated(mutant: Mutant, tree: Path) -> str:
    """The mutated file's text. Raises ValueError when the mutant's own text does not stand there exactly once."""
    source = (tree / "src" / "incumbent" / mutant.file).read_text()
    found = source.count(mutant.text)
    if found != 1:
        raise ValueError(f"{mutant.name}: its text stands {found} times in {mutant.file}")
    return source.replace(mutant.text, mutant.instead)


def try_to_kill(mutant: Mutant, tree: Path, scratch: Path) -> Verdict:
    """Plant `mutant` in a copy of `tree` below `scratch`, and run its killers until one goes red."""
    began = time.monotonic()
    home = scratch / hashlib.sha256(mutant.name.encode()).hexdigest()[:16]
    shutil.copytree(tree, home)
    (home / "src" / "incumbent" / mutant.file).write_text(mutated(mutant, tree))
    seeds, fate, by = 0, Fate.SURVIVED, "-"
    for killer in mutant.killers:
        fate, by, output = run(killer, home)
        seeds += killer.spent(output)
        if fate is not Fate.SURVIVED:
            break
    shutil.rmtree(home)
    return Verdict(mutant.name, mutant.file, fate, by, seeds, round(time.monotonic() - began, 1))


def false_alarm(killer: Killer, tree: Path) -> str | None:
    """What `killer` says of the source as it is, when that is not that all is well: then it proves nothing about a mutant."""
    fate, by, _ = run(killer, tree)
    return None if fate is Fate.SURVIVED else f"red without any mutant: {by}"


def run(killer: Killer, home: Path) -> tuple[Fate, str, str]:
    """What one killer says of the source in `home`: its fate, by what, and everything that was printed."""
    command = [sys.executable if word == "{python}" else word for word in killer.command()]
    environment = {**os.environ, "PYTHONPATH": str(home / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=home, env=environment, capture_output=True, text=True, timeout=KILLER_TIMEOUT_S, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Fate.NOT_RUN, f"{' '.join(command[1:])}: no end after {KILLER_TIMEOUT_S:.0f} s", ""
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return Fate.SURVIVED, "-", output
    if done.returncode != RED:
        return Fate.NOT_RUN, f"{' '.join(command[1:])}: exit code {done.returncode}: {output[-300:]}", output
    crash = _crash(done.stderr) if isinstance(killer, Seeds) else ""
    return Fate.KILLED, killer.what(output) + crash, output


def _crash(stderr: str) -> str:
    """Which exception the laboratory itself ended with, when it was no predicate that spoke."""
    if "Traceback" not in stderr:
        return ""
    return f" ({stderr.strip().splitlines()[-1].split(':')[0].rsplit('.', 1)[-1]})"
